"""`python -m card` is the `card` command."""

from card.cli import app

if __name__ == "__main__":
    app()
