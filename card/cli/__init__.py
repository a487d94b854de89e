"""The `card` command."""

import typer

from card.base.processes import end_on_signals
from card.cli import model, studies
from card.cli import profiling as lab
from card.cli import training as runtime
from card.cli.studies import study_schema
from card.cli.terminal import Commands

__all__ = ["app", "main", "study_schema"]

app = typer.Typer(
    cls=Commands,
    help="Cut layer and computing resource decision for split fine-tuning of LLMs at the edge.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for part in (model, lab, runtime, studies):
    app.add_typer(part.app)


def main() -> None:
    """Run the command; one signal ends it with all that it started."""
    end_on_signals()
    app(prog_name="card")
