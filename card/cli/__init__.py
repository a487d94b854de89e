"""The `card` command."""

from typing import Annotated

import typer

import card
from card.base.terminals import tell
from card.cli import benchmarks, model, schedules, studies, taking_home
from card.cli import profiling as lab
from card.cli import training as runtime
from card.cli.options import Commands
from card.cli.studies import study_schema

__all__ = ["app", "study_schema"]

app = typer.Typer(
    cls=Commands,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        tell(f"card {card.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Cut layer and computing resource decision for split fine-tuning of LLMs at the edge."""


for part in (model, schedules, benchmarks, taking_home, lab, runtime, studies):
    app.add_typer(part.app)
