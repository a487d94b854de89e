"""What every command shares: its options, its refusals, and how it prints."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from card.base.errors import ScenarioError
from card.base.yaml_files import parse_value
from card.costs import load_scenario
from card.scenario import Scenario

Name = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="Scenario name, or scenario or study file.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Replace a value; may be given repeatedly."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


@contextmanager
def refusals() -> Iterator[None]:
    """Bad input ends with one readable message and exit code 2; a warning is one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        except ScenarioError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(2) from None
    for text in dict.fromkeys(str(item.message) for item in caught):
        typer.echo(f"Warning: {text}", err=True)


def load(name: str, settings: Sequence[str] | None) -> Scenario:
    """Scenario of a name or file, with the values that `--set` replaces."""
    return load_scenario(
        name, **by_path("--set", settings or (), "VALUE, e.g. link.bandwidth_hz=2e7")
    )


def by_path(option: str, given: Sequence[str], form: str) -> dict[str, Any]:
    """Values of an option that may be repeated, by path; none is given twice, whole or in part."""
    texts: dict[str, str] = {}
    for item in given:
        path, equals, value = item.partition("=")
        if not (path and equals):
            raise ScenarioError(f"{option} {item!r} is not allowed; write PATH={form}.")
        for other, text in texts.items():
            if f"{path}.".startswith(f"{other}.") or other.startswith(f"{path}."):
                raise ScenarioError(
                    f"{option} {other}={text} and {option} {path}={value} exclude each other; "
                    f"give one of them."
                )
        texts[path] = value
    return {path: parse_value(value) for path, value in texts.items()}


def save(file: str, content: str) -> None:
    """Write a text to a file that the user named."""
    try:
        Path(file).write_text(content + "\n", encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"output = {file!r} cannot be written: {error.strerror}.") from error


def progress(line: str) -> None:
    """One line of progress, beside what the command prints."""
    typer.echo(line, err=True)


def text(value: Any) -> str:
    """A value of a scenario, for a table."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text, value))
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def percent(value: float | None) -> str:
    """A share, for a table."""
    return "–" if value is None else f"{100 * value:.1f} %"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A share with its interval, for a table."""
    if low is None or high is None:
        return percent(value)
    return f"{percent(value)} ({100 * low:.1f} to {100 * high:.1f})"


def _known(node: Any) -> Any:
    """The same document with null for numbers that are not known (NaN)."""
    if isinstance(node, dict):
        return {key: _known(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_known(value) for value in node]
    return None if isinstance(node, float) and np.isnan(node) else node


def print_json(document: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(
        json.dumps(_known(document), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    )


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; its first column is text, the others are numbers."""
    table = Table(title=escape(title), title_justify="left", header_style="bold")
    for position, name in enumerate(head):
        first = position == 0
        table.add_column(escape(name), justify="left" if first else "right", no_wrap=first)
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)
