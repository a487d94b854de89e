"""Commands that take results home: tables, figures for a paper, and how to cite them."""

from __future__ import annotations

from typing import Annotated

import typer

import card
from card.base.errors import extra, unknown
from card.base.terminals import tell
from card.cli.options import Name, Rounds, Seed, Settings, Text, argument, option, scenario_argument
from card.cli.terminal import check_place, load, refusals, save
from card.studies.export import WRITERS, as_frame, read_results, write_table

app = typer.Typer()

_LETTER = """\
@article{li2025energy,
  author  = {Li, Zuguang and Wu, Shaohua and Li, Liang and Zhang, Songge},
  title   = {Energy-Efficient Split Learning for Fine-Tuning
             Large Language Models in Edge Networks},
  journal = {IEEE Networking Letters},
  volume  = {7},
  number  = {3},
  pages   = {176--180},
  year    = {2025},
  doi     = {10.1109/LNET.2025.3530430}
}"""
_ARTIFACT = """\
@software{{card_artifact,
  author  = {{{{The CARD artifact contributors}}}},
  title   = {{CARD: a reproducible artifact for energy-efficient split learning
             of large language models}},
  version = {{{version}}}{note}
}}"""


@app.command()
def export(
    result: Annotated[
        str, argument("RESULT", "A .nc or .zarr of card simulate, sweep or benchmark.")
    ],
    to: Annotated[
        str, option(Text, metavar="FILE", help="Table to write: .tex, .csv, .xlsx or .parquet.")
    ],
) -> None:
    """Write the means of a result as a table for a paper, a spreadsheet or another program."""
    with refusals():
        check_place("--to", to, list(WRITERS))
        with extra("export", "card export"), read_results(result) as results:
            content = write_table(as_frame(results), next(s for s in WRITERS if to.endswith(s)))
        save("--to", to, content)
    tell(to)


@app.command()
def figure(
    name: Annotated[str, argument("NAME", "comparison, states or cuts.")],
    scenario: Name = "nominal",
    width: Annotated[
        str, option(Text, metavar="WIDTH", help="Width, in in, cm, mm or TeX's pt.")
    ] = "3.5in",
    file_format: Annotated[
        str, option(Text, "--format", metavar="FORMAT", help="pdf, svg, eps or png.")
    ] = "pdf",
    output: Annotated[
        str | None, option(Text, help="File to write; NAME.FORMAT here when not given.")
    ] = None,
    rounds: Rounds = None,
    seed: Seed = None,
    settings: Settings = None,
) -> None:
    """Draw a figure for a paper, as wide as its column, with fonts that can be embedded."""
    with refusals():
        with extra("book", "card figure"):
            from card.figures.papers import FIGURES, FORMATS, inches, picture
        if name not in FIGURES:
            raise unknown("figure", name, FIGURES)
        if file_format not in FORMATS:
            raise unknown("format", file_format, FORMATS)
        file, width_in = output or f"{name}.{file_format}", inches(width)
        check_place("--output", file, [f".{file_format}"])
        drawn = picture(name, load(scenario, settings), file_format, width_in, rounds, seed)
        save("--output", file, drawn)
    tell(file)


@app.command()
def cite(
    scenario: Annotated[
        str | None, scenario_argument("SCENARIO", "Scenario or study whose results are cited.")
    ] = None,
    settings: Settings = None,
) -> None:
    """Print BibTeX of the letter and of this version, with a scenario's hash if one is named."""
    note = ""
    with refusals():
        if scenario is not None:
            chosen = load(scenario, settings)
            of = f"Scenario {_escaped(chosen.title)}, SHA-256 {chosen.digest[:16]}"
            note = f",\n  note    = {{{of}}}"
    own = _ARTIFACT.format(version=card.__version__, note=note)
    tell(*f"{_LETTER}\n\n{own}".split("\n"))


def _escaped(title: str) -> str:
    """A title as BibTeX takes it."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
    special |= {"{": r"\textbraceleft{}", "}": r"\textbraceright{}"}  # BibTeX counts braces
    special |= {letter: f"\\{letter}" for letter in "&%$#_"} | {"^": r"\textasciicircum{}"}
    return "".join(special.get(letter, letter) for letter in title)
