"""What every command takes, and how it is read: one line for whatever is refused."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any
from unicodedata import category

import typer
from pydantic import AfterValidator, Field, TypeAdapter
from typer.core import TyperGroup

from card.base import schema
from card.base.arguments import LARGEST, SMALLEST
from card.base.data_files import scenario_names, study_names
from card.base.errors import NUMBER, ScenarioError, allowed, shortened, unknown
from card.base.letters import no_letter
from card.base.terminals import tell
from card.llm.families import MOST_BLOCKS
from card.policies import SHIPPED

Text = schema.Name
"""A text that is not blank."""
Place = Annotated[Text, AfterValidator(lambda text: Path(text))]
"""Path of a file or a folder."""
Seconds = schema.Duration
"""A time that a system can wait [s]."""
UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for a command line that it refuses; it has no other name for it."""
_PIPE_CLOSED = 128 + 13
"""Exit code after SIGPIPE, which Windows does not know."""
_FEWEST_COLUMNS = 80
"""Letters of a line at least, off a terminal."""
_LONGEST, _SHOWN = 400, 40
"""Letters of a number at most, and those of one that is shown whole."""


@cache  # typer asks for each option several times
def _adapted(kind: Any) -> tuple[TypeAdapter[Any], dict[str, Any]]:
    """What checks values of a kind, and its JSON Schema."""
    adapter = TypeAdapter(kind)
    return adapter, adapter.json_schema()


def reader(kind: Any) -> Callable[[Any], Any]:
    """Reads the text of an option as a value that a kind of `card.base.schema` allows.

    A number is written as everywhere else: `1_000` and `0x10` are words.
    """
    adapter, shape = _adapted(kind)
    number: Any = {"integer": int, "number": float}.get(shape.get("type", ""))
    within = allowed(shape, shape).replace("a number", "a finite number")

    def read(text: Any) -> Any:
        if not isinstance(text, str):  # a default
            return text
        odd = no_letter(text)
        digits = number and len(text) < _LONGEST and NUMBER.fullmatch(text)
        try:
            if odd is None:
                return adapter.validate_python(number(text) if digits else text)
        except ValueError:  # pydantic's are such, too
            pass
        said = text if digits and len(text) <= _SHOWN else shortened(text)
        wanted = within
        if odd is not None:  # bytes that the encoding does not have become halves of letters
            of = (
                "that can be printed" if category(odd) != "Cs" else "that the locale's encoding has"
            )
            wanted = f"letters {of}"
        raise typer.BadParameter(f"{said} is not allowed; give {wanted}.")

    return read


def option(kind: Any, *names: str, **more: Any) -> Any:
    """An option of which every value, or each where it may be repeated, is of a kind."""
    _, shape = _adapted(kind)
    limits: dict[str, Any] = {"min": shape.get("minimum"), "max": shape.get("maximum")}
    return typer.Option(*names, parser=reader(kind), **limits | more)


def argument(metavar: str, text: str, **more: Any) -> Any:
    """An argument that is a text."""
    return typer.Argument(metavar=metavar, help=text, parser=reader(Text), **more)


def completing(names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """Completes the last of names between commas."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in names() if name.startswith(last)]

    return complete


scenario_files = completing(
    lambda: (*scenario_names(), *study_names(), *map(str, sorted(Path().glob("*.yml"))))
)
"""Completes the name of a scenario, or a file here."""


def scenario_argument(metavar: str, text: str) -> Any:
    """An argument that is a scenario or study."""
    return typer.Argument(metavar=metavar, help=text, autocompletion=scenario_files)


Name = Annotated[
    str,
    scenario_argument(
        "SCENARIO", "Name of a scenario or study, or its file; .yml may be left out."
    ),
]
Policies = Annotated[
    str | None,
    option(
        Text,
        metavar="NAME,…",
        help="Policies to score in place of the usual ones; your own as FILE.py:FUNCTION.",
        autocompletion=completing(lambda: SHIPPED),
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Replace a value; may be given repeatedly."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Rounds = Annotated[int | None, option(schema.Count, help="Rounds per device and state.")]
Seed = Annotated[int | None, option(schema.Natural, help="Seed of the draws.")]
Cut = Annotated[schema.Natural, Field(le=MOST_BLOCKS)]
_Bps = Annotated[schema.Number, Field(ge=SMALLEST, le=LARGEST)]
Rate = Annotated[float | None, option(_Bps, help="Link rate in bit/s; the state's when not given.")]


class Commands(TyperGroup):
    """The commands: what is wrong with a command line is one line, whoever finds it."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run a command; what a stream's encoding lacks is replaced."""
        # a stream that was closed takes all and keeps nothing
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")
        _fit_help(sys.stdout.isatty())
        with _output_may_end():
            return super().main(*arguments, **options)

    def make_context(self, info_name: Any, args: list[str], *more: Any, **options: Any) -> Any:
        """Read what comes before the command's name; without anything, help is asked for."""
        given = list(args)
        with _output_may_end(), _one_line("card", given):
            context = super().make_context(info_name, args or ["--help"], *more, **options)
        context.obj = given
        return context

    def invoke(self, ctx: Any) -> Any:
        """Read the rest, and run the command."""
        with _output_may_end(), _one_line(f"card {next(iter(ctx.obj), '')}", ctx.obj):
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of a name, and the rest; no option stands there twice that counts once."""
        if ctx.resilient_parsing:  # a shell completes what may still be wrong
            return super().resolve_command(ctx, args)
        command = self.commands.get(args[0])
        if command is None:
            raise unknown("command", args[0], self.commands)
        before = args[: args.index("--")] if "--" in args else args
        written = [item.partition("=")[0] for item in before]
        for one in _options(command):
            if not (one.multiple or one.is_flag) and sum(map(written.count, one.opts)) > 1:
                raise ScenarioError(f"{_called(one)} is given twice; give it once.")
        return super().resolve_command(ctx, args)


def _fit_help(on_terminal: bool) -> None:
    """Drop what would cut help, colour it off a terminal, or stop what prints it."""
    fewest = 1 if on_terminal else _FEWEST_COLUMNS
    for name in ("COLUMNS", "TERMINAL_WIDTH"):
        width = os.environ.pop(name, "")
        if re.fullmatch("[0-9]{1,6}", width) and int(width) >= fewest:
            os.environ[name] = width
    if not on_terminal:
        os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"


@contextmanager
def _output_may_end() -> Iterator[None]:
    """End silently, as on SIGPIPE, when who reads the output has left; if it is full, say so."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        # rich and click exit with 1 then
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        _drop(sys.stdout, sys.stderr)
        raise SystemExit(_PIPE_CLOSED) from None
    except OSError as error:
        _drop(sys.stdout)
        tell(f"Error: the standard output: {error.strerror}; free it, or redirect.", err=True)
        raise SystemExit(2) from None


def _drop(*streams: Any) -> None:
    """Send what is left in streams nowhere, or else Python complains at its end."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        for stream in streams:
            os.dup2(nowhere.fileno(), stream.fileno())


@contextmanager
def _one_line(path: str, given: Sequence[str]) -> Iterator[None]:
    """Context of reading a command line; a refusal ends with one line and exit code 2."""
    try:
        yield
    except (ScenarioError, UsageError) as error:
        said = _said(error, path, given) if isinstance(error, UsageError) else str(error)
        tell(*f"Error: {said}".split("\n"), err=True)
        raise typer.Exit(2) from None


def _said(error: Any, path: str, given: Sequence[str]) -> str:
    """What is wrong with a command line: what was given, and what to give."""
    if hasattr(error, "possibilities"):  # an unknown option, of which only a letter may be told
        word = next((item for item in given if item.startswith(error.option_name)), "")
        known = [name for one in _options(error.ctx.command) for name in one.opts]
        known = known or error.ctx.help_option_names
        said = str(unknown("option", word.partition("=")[0] or error.option_name, known))
        before = " Before a name that starts with a dash, put --."
        return said if said.endswith("?") else said + before
    parameter = getattr(error, "param", None)
    if parameter is None:
        return f"{' '.join(error.format_message().split()).rstrip('.')}; see {path} --help."
    if error.message:
        return f"{_called(parameter)} = {error.message}"
    return f"{_called(parameter)} is missing; give it. {parameter.help or ''}".rstrip()


def _options(command: Any) -> list[Any]:
    return [one for one in command.params if one.param_type_name == "option"]


def _called(parameter: Any) -> str:
    """A parameter as it is written, or as its values are spoken of."""
    long: str = max(parameter.opts, key=len)
    return long
