"""Commands on studies: their books and the shape of their files."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from card.cli.terminal import print_json, progress, refusals
from card.scenario import Scenario

app = typer.Typer()


@app.command()
def book(
    study: Annotated[str, typer.Argument(help="Scenario name, or a file of one.")] = "nominal",
    quick: Annotated[bool, typer.Option("--quick", help="Few rounds, to look at only.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Notebooks run side by side.")] = None,
) -> None:
    """Build the book of a study; print the path of its first page."""
    from card.study import BookError, build_book  # loads pandas and the book's tools

    with refusals():
        try:
            page = build_book(study, quick=quick, jobs=jobs, echo=progress)
        except BookError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(1) from None
    typer.echo(page)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a scenario or study, for editors to complete from."""
    print_json(study_schema())


def study_schema() -> dict[str, Any]:
    """JSON Schema of a study: a scenario's shape in which every key is optional, and its base."""
    whole = Scenario.model_json_schema()
    for part in (whole, *whole["$defs"].values()):
        part.pop("required", None)
    keys = whole["properties"]
    by_name = {"type": "object", "additionalProperties": keys["devices"]["items"]}
    keys["devices"] = {"anyOf": [keys["devices"], by_name]}
    keys["base"] = {"type": "string", "description": "Scenario that this file overrides."}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}
