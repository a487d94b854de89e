"""`python -m card` is the `card` command."""

from card.base.processes import end_on_signals


def main() -> None:
    """Run the command; one signal ends it with all that it started, from the first moment on."""
    end_on_signals()
    from card.base.terminals import spare_results

    spare_results()
    from card.cli import app

    app(prog_name="card")


if __name__ == "__main__":
    main()
