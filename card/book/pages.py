"""Writes the pages and records of the book that are computed, so that no number is typed.

Pages are MyST Markdown; the book includes them from `_generated/`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any

from card.base.errors import ScenarioError
from card.book.markdown import interval, percent, plain, reproduced, settled, table, to_json, write
from card.book.provenance import code_path
from card.figures.style import POLICY_LABELS
from card.scenario import Scenario
from card.studies.claims import Application
from card.studies.scenario_values import (
    differences,
    show,
    with_unit,
)
from card.studies.study_file import Study

Claim = Mapping[str, Any]
_CHANCE = (
    "Whether a study's number is close to a published one says nothing about the letter's own "
    "scenario, which is not public."
)
_TITLE = re.compile(r"^# .*$", re.MULTILINE)
_NUMBER = re.compile(r"\{\{ (\w+) \}\}")
_TAKEN = re.compile(r"^`{3,}\{(?:figure|include)\} (\S+)$", re.MULTILINE)
_NO_PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" width="400" height="60">
<text x="200" y="36" text-anchor="middle" font-family="sans-serif" fill="#808080">
This picture is missing.
</text>
</svg>
"""
_LONG = 8
"""Different items of a list up to which a note names them all."""
CHAPTERS_FAILED = "card_chapters_failed"
"""Sphinx setting, whether chapters of the book failed, so that references may lead nowhere."""


def claims_page(claims: Sequence[Claim], study: Sequence[Application] | None = None) -> str:
    """Table of the letter's claims, a column each, and what the artifact finds for them.

    Parameters
    ----------
    claims
        The claims, as `card.studies.claims.claims` finds them.
    study
        The same claims read off a study, if the book has one; those that do not apply are grey.
    """
    rows = [
        ("Abstract", [claim["text"] for claim in claims]),
        ("Published", [percent(claim["published"]) for claim in claims]),
        ("Read against", [POLICY_LABELS[claim["benchmark"]] for claim in claims]),
        ("Nominal", [reproduced(claim, "nominal") for claim in claims]),
        ("Calibrated", [reproduced(claim, "calibrated") for claim in claims]),
        ("Realistic", [reproduced(claim, "realistic") for claim in claims]),
        ("Status", [claim["status"] for claim in claims]),
    ]
    grey = [False] * len(claims)
    if study is not None:
        grey = [bool(found.reason) for found in study]
        rows += [
            ("**This study**", ["does not apply" if f.reason else settled(vars(f)) for f in study]),
            ("its 95 % interval", [plain(f.reason) or interval(f.low, f.high) for f in study]),
        ]

    def cell(text: str, greyed: bool) -> str:
        return f'<span class="greyed">{text}</span>' if greyed else text

    head = ("Claim", *(claim["id"] for claim in claims))
    text = table(head, [(label, *map(cell, cells, grey)) for label, cells in rows])
    if study is None:
        return text
    return f"{text}\n\n{_CHANCE}"


def study_note(study: Study) -> str:
    """Box that says on every page of a study's book what differs from its base.

    One that is refused by itself, which the study mends, is not compared.
    """
    try:
        found = differences(study.base, study.scenario)
    except ScenarioError:
        found = None
    rows = [
        (code_path(d.path), *(plain(with_unit(brief(v), d.unit)) for v in (d.first, d.second)))
        for d in found or ()
    ]
    base, name = (f"<code>{plain(name)}</code>" for name in (study.base_name, study.name))
    text = f"This book is built for the study *{plain(study.scenario.title)}*."
    if found is None:
        text += f" It mends {base}, which is refused by itself, so the two are not compared."
    elif not rows:
        text += f" It has the same values as {base}."
    else:
        text += f" What it changes, against {base}:"
    parts = [text, table(("Parameter", base, "this study"), rows) if rows else ""]
    return "\n\n".join([f":::{{admonition}} Study {name}\n:class: study", *parts, ":::"])


def brief(value: Any) -> Any:
    """A value, or what a long list begins and ends with."""
    if not isinstance(value, list) or len(set(value)) <= _LONG:
        return value
    return f"{len(value)} values: {show(value[:3])}, …, {show(value[-1])}"


def note_on_every_page(source: Path, note: str) -> None:
    """Put a note behind the title of every staged page and executed notebook."""
    for page in (*source.glob("*.md"), *source.glob("api/*.md")):
        write(page, _noted(page.read_text(encoding="utf-8"), note))
    for notebook in (source / "notebooks").glob("*.ipynb"):
        content = json.loads(notebook.read_text(encoding="utf-8"))
        cell = {"cell_type": "markdown", "id": "study", "metadata": {}, "source": note}
        content["cells"].insert(1, cell)
        write(notebook, to_json(content))


def _noted(page: str, note: str) -> str:
    """A page with a note behind its title."""
    return _TITLE.sub(lambda found: f"{found[0]}\n\n{note}", page, count=1)


def tell_missing(source: Path, numbers: Mapping[str, Any], failed: Sequence[str]) -> None:
    """Put a note and stopgaps on the staged pages that take what failed chapters did not compute.

    Parameters
    ----------
    source
        The staged book, with its results. A table that was not computed is an empty file.
    numbers
        The numbers that pages quote; a dash stands for each other one.
    failed
        Names of the chapters that failed.
    """
    chapters = ", ".join(f"{{doc}}`/notebooks/{name}`" for name in failed)
    note = (
        ":::{admonition} Parts of this page are missing\n:class: danger\n\n"
        f"The book was built without what these chapters compute, for they failed: {chapters}.\n:::"
    )
    for page in source.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        filled = _NUMBER.sub(lambda found: found[0] if found[1] in numbers else "–", text)
        taken = [source / name for name in _TAKEN.findall(text)]
        missing = [file for file in taken if not (file.is_file() and file.read_bytes().strip())]
        for file in missing:
            if file.suffix == ".svg":
                write(file, _NO_PICTURE)
        if missing or filled != text:
            write(page, _noted(filled, note))


def _window_title(title: str) -> str:
    """A title that HTML shows alike escaped and not, for themes escape it at one place only."""
    shown = re.sub(r"<(?=[^\s\d])", "‹", " ".join(title.split())).replace('"', "”")
    return shown if unescape(shown) == shown else shown.replace("&", "＆")


def settings(
    scenario: Scenario,
    claims: Sequence[Claim],
    kept: Sequence[Application],
    *,
    quick: bool,
    study: bool,
) -> dict[str, Any]:
    """What a book's configuration adds: numbers that pages quote; a study's title and banner.

    Of the claims they quote what is published, what two scenarios give, and where labels are kept.
    """
    numbers = {claim["id"]: percent(claim["published"]) for claim in claims}
    for name in ("nominal", "realistic"):
        numbers |= {f"{claim['id']}_{name}": reproduced(claim, name) for claim in claims}
    numbers |= {f"{one.id}_labels_kept": settled(vars(one)) for one in kept}
    numbers |= {"rounds": show(scenario.simulation.rounds), "title": plain(scenario.title)}
    text = f"Study: {plain(scenario.title)}." if study else ""
    text += " Quick build with few Monte Carlo rounds: to look at, not to report." if quick else ""
    # MathJax reads the whole page but for what it is told to leave alone
    banner = f'<span class="tex2jax_ignore mathjax_ignore">{text.strip()}</span>' if text else ""
    added = {"parse": {"myst_substitutions": numbers}, "html": {"announcement": banner}}
    return added | ({"title": f"CARD study: {_window_title(scenario.title)}"} if study else {})
