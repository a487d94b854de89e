"""`python -m card` is the `card` command."""

from card.cli import main

if __name__ == "__main__":
    main()
