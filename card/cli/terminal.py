"""What every command shares: its refusals, and how it prints."""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from card.base.errors import ScenarioError, ScenarioWarning, repeated
from card.base.letters import no_letter, printable
from card.base.one_file import is_installed
from card.base.overrides import canonical, overlap
from card.base.terminals import tell
from card.base.text_files import OUTPUTS, identity, known
from card.base.units import engineering
from card.base.whole_files import check_writable, remedy_of, write_whole
from card.base.yaml_files import parse_value
from card.costs import checked, notes
from card.llm.families import check_runs
from card.scenario import Scenario, read_scenario
from card.studies.export import with_digest
from card.studies.scenario_values import show, with_unit

if TYPE_CHECKING:
    import xarray as xr


@contextmanager
def refusals() -> Iterator[None]:
    """Bad input ends with one readable message and exit code 2; a warning is one line.

    What a user's own function prints goes to stderr, for results have stdout to themselves. Of
    warnings, those of the model and of a user's own files are told, not those among libraries.
    """
    with warnings.catch_warnings(record=True) as caught, redirect_stdout(sys.stderr):
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        except BrokenPipeError:
            raise
        except (ScenarioError, OSError, MemoryError) as error:
            tell(*f"Error: {_said(error)}".split("\n"), err=True)
            raise typer.Exit(2) from None
        finally:
            OUTPUTS.clear()
    told = (one for one in caught if _is_told(one))
    for text in dict.fromkeys(str(one.message) for one in told):
        tell(f"Warning: {' '.join(text.split())}", err=True)


def _is_told(warning: warnings.WarningMessage) -> bool:
    return issubclass(warning.category, ScenarioWarning) or not is_installed(warning.filename)


def load(
    name: str,
    settings: Sequence[str] | None,
    also: Mapping[str, Any] | None = None,
    *,
    runs: bool = False,
) -> Scenario:
    """Scenario of a name or file, with the values that `--set` replaces.

    `also` has what other options say, by the path of the value that they stand for. Where the LLM
    `runs`, one that cannot is refused before anything is counted.
    """
    values = set_values(settings)
    check_apart(settings or (), {path: said for path, said in (also or {}).items() if said})
    chosen = read_scenario(name, *([_check_runs] if runs else []), checked, **values)
    note(notes(chosen))
    return chosen


def set_values(settings: Sequence[str] | None) -> dict[str, Any]:
    """What `--set` gives, by path."""
    return by_path("--set", settings or (), "VALUE, e.g. link.bandwidth_hz=2e7")


def _check_runs(scenario: Scenario) -> None:
    check_runs(scenario.llm, scenario.llm_config)


def note(lines: Iterable[str]) -> None:
    """Say beside the results what to know of them."""
    for line in lines:
        tell(f"Note: {line}", err=True)


def by_path(option: str, given: Sequence[str], form: str) -> dict[str, Any]:
    """Values of an option that may be repeated, by path; none is given twice, whole or in part."""
    texts: dict[str, str] = {}
    for item in given:
        path, equals, value = item.partition("=")
        if not equals or not all(path.split(".")) or no_letter(path):
            raise ScenarioError(f"{option} {item!r} is not allowed; write PATH={form}.")
        for other, text in texts.items():
            if overlap(path, other):
                raise _excluded(f"{option} {other}={text}", f"{option} {item}")
        texts[path] = value
    return {path: parse_value(value) for path, value in texts.items()}


def check_apart(settings: Sequence[str], said: Mapping[str, str], base: Any = None) -> None:
    """Refuse settings of a value that something else gives, whole or in part.

    Parameters
    ----------
    settings
        What `--set` is given.
    said
        Words for what else gives a value, by its path.
    base
        Raw scenario that the paths lead through.
    """
    for item in settings:
        for path, words in said.items():
            if overlap(*(canonical(one, base) for one in (item.partition("=")[0], path))):
                raise _excluded(f"--set {item}", words)


def given(option: str, value: Any) -> str:
    """An option as it was given; empty where it was not."""
    return "" if value is None else f"{option} {value}"


def _excluded(one: str, other: str) -> ScenarioError:
    both = f"{printable(one)} and {printable(other)}"
    return ScenarioError(f"{both} exclude each other; give one of them.")


def _said(error: Exception) -> str:
    """What a refusal prints: the model's own words, or those of the system with a remedy."""
    if isinstance(error, MemoryError):
        return "there is not enough memory; ask for fewer rounds, points or devices."
    if isinstance(error, OSError):
        place = f"{error.filename} cannot be used: " if error.filename else ""
        return f"{place}{error.strerror or error}; free it, or name another."
    return str(error)


def save(option: str, file: str, content: str | bytes) -> None:
    """Write what an option names, whole or not at all."""
    with writing(option, file):
        write_whole(file, content)


def check_place(option: str, file: str | None, suffixes: Sequence[str]) -> None:
    """Refuse what an option names if it could not be written there, before anything is computed.

    From then on the command reads no file that it would so replace.
    """
    if file is not None:
        with writing(option, file):
            check_writable(file)
        keep_inputs(option, file)
        if Path(file).suffix not in suffixes:
            ends = file.endswith(tuple(suffixes))
            remedy = (
                "put a name before the ending" if ends else f"end it in {' or '.join(suffixes)}"
            )
            raise ScenarioError(f"{option} = {file!r} cannot be written; {remedy}.")


def keep_inputs(option: str, file: str) -> None:
    """Let the command read no file that what an option names would replace or spoil."""
    above: Sequence[Path] = ()
    with suppress(OSError, ValueError):  # there is nothing yet that could be lost
        above = Path(os.path.realpath(file)).parents  # of where links lead
        OUTPUTS[identity(file)] = f"{option} {file}"
    for folder in reversed(above):  # a store is in no other one, and has groups in it
        if any((folder / name).exists() for name in _OF_A_STORE):
            raise ScenarioError(
                f"{option} = {file!r} lies in {folder}, a Zarr store; name a file elsewhere."
            )


def netcdf(results: xr.Dataset) -> bytes:
    """Results as netCDF, whose third version holds no long whole numbers."""
    plain = results.assign_attrs(seed=str(results.attrs["seed"]))
    return bytes(with_digest(plain).to_netcdf(engine="scipy"))


@contextmanager
def writing(option: str, file: str) -> Iterator[None]:
    """Context in which what an option names is written; a failure names option, file and reason."""
    try:
        yield
    except (OSError, ValueError) as error:  # a name with a zero byte is a wrong value
        reason = getattr(error, "strerror", None) or error
        raise ScenarioError(
            f"{option} = {file!r} cannot be written: {reason}; name another file, or "
            f"{remedy_of(error)}."
        ) from None


def progress(line: str) -> None:
    """One line of progress, beside what the command prints."""
    tell(line, err=True)


_OF_A_STORE = (".zgroup", ".zarray", ".zmetadata", "zarr.json")
"""Files of which a Zarr store, or an array alone, has one."""

MEANS = (
    ("delay", "delay_s", "s"),
    ("server energy", "energy_j", "J"),
    ("device energy", "device_energy_j", "J"),
)
"""What a table calls each mean, its key, and its unit."""


def names(option: str | None, what: str = "--policies") -> list[str] | None:
    """Names between commas, each given once; a comma in the name of a file is a part of it."""
    found = None if option is None else list(_between_commas(option))
    if found and not all(found):
        raise ScenarioError(f"{what} {option}: a name is empty; give names between commas.")
    if found and (twice := repeated(found)):
        raise ScenarioError(f"{what}: {twice} is given twice; give it once.")
    return found


def _between_commas(option: str) -> Iterator[str]:
    parts = option.split(",")
    while parts:
        firsts = [",".join(parts[:count]).strip() for count in range(1, len(parts) + 1)]
        name = next(filter(_is_file, firsts), firsts[0])
        yield name
        del parts[: firsts.index(name) + 1]


def _is_file(name: str) -> bool:
    """Whether a name is that of a study's file, or of a function in one."""
    return any(map(os.path.isfile, (name, name.rpartition(":")[0], f"{name}.yml")))


def quantity(value: Any, unit: str) -> str:
    """A value with its unit and the prefix that suits it, such as `10 MHz`, for a table."""
    if isinstance(value, (list, tuple)):
        return with_unit(value, unit)
    if not isinstance(value, (int, float)) or not unit:
        return show(value)
    scale, prefixed = engineering([value], unit)
    return f"{digits(value / scale)} {prefixed}"


def column(
    name: str,
    unit: str,
    values: Sequence[float],
    low: Sequence[float] = (),
    high: Sequence[float] = (),
) -> list[str]:
    """Head and cells of a column of numbers in an SI unit, with the prefix that suits them.

    Behind each stands its interval where there is one.
    """
    scale, prefixed = engineering(values, unit)
    cells = [digits(value / scale) for value in values]
    ends = [
        "" if np.isnan(least) else f" ({digits(least / scale)} to {digits(most / scale)})"
        for least, most in zip(low, high, strict=True)
    ]
    return [
        f"{name} [{prefixed}]",
        *map("".join, zip(cells, ends or [""] * len(cells), strict=True)),
    ]


def digits(value: float) -> str:
    """A number with five significant digits, for a table; a dash for one that is not known."""
    return "–" if np.isnan(value) else f"{float(f'{value:.5g}'):,.10g}"


def percent(value: float | None) -> str:
    """A share, for a table."""
    return "–" if value is None else f"{100 * value:.1f} %"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A share with its interval, for a table."""
    if low is None or high is None:
        return percent(value)
    return f"{percent(value)} ({100 * low:.1f} to {100 * high:.1f})"


def print_json(document: Any) -> None:
    """Print one JSON document; an encoding without all letters gets JSON's own escapes.

    Numbers that are not known (NaN) are null.
    """
    plain = not (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(known(document), indent=2, allow_nan=False, ensure_ascii=plain)
    for line in text.split("\n"):
        sys.stdout.write(printable(line, json.dumps) + "\n")


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; columns of numbers alone stand right.

    On a terminal cells are folded to its width. Elsewhere, and where a terminal is too narrow for
    the columns, each row is one whole line.
    """
    body = [[_one_line(cell) for cell in row] for row in rows]
    table = Table(header_style="bold")
    for name, *cells in zip(head, *body, strict=True):
        numbers = all(map(_NUMBER.match, cells))
        table.add_column(Text(name), justify="right" if numbers else "left", overflow="fold")
    for row in body:
        table.add_row(*map(Text, row))
    # FORCE_COLOR would make a terminal of a file, and fold its lines
    console = Console(highlight=False, force_terminal=sys.stdout.isatty())
    if not console.is_terminal or console.width < _COLUMN * len(head):
        console.width = max(console.width, Console(width=_WIDE).measure(table).maximum)
    console.print(Text(_one_line(title), style="italic"), soft_wrap=True)
    console.print(table, crop=False)


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


_NUMBER = re.compile(r"[-−–+]?\d|–?$")
_COLUMN = 12
"""Letters that a column needs on a terminal, on the average."""
_WIDE = 10**6
"""More letters than any line of a table has."""
