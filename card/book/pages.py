"""Writes the pages and records of the book that are computed, so that no number is typed.

Pages are MyST Markdown; the book includes them from `_generated/`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import html
import json
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from card.claims import Application
from card.figures.style import POLICY_LABELS
from card.hardware import DATA, Hardware, Source, catalogue
from card.llm import architecture, public_config
from card.parameters import (
    Parameter,
    differences,
    joined,
    parameters,
    show,
    unit_in,
    with_unit,
)
from card.scenario import Scenario
from card.studyfile import Study

Claim = Mapping[str, Any]
_CHANCE = (
    "A study's number that comes close to a published one, or does not, says nothing about the "
    "letter's own scenario, which is not public."
)
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_LONG = 8
"""Different items of a list up to which a note names them all."""
_NUMBER = re.compile(r"[-+\u2212]?\d[\d.,]*(?:e[-+]\d+)?(?:\s?%)?|\u2013")


def claims_page(claims: Sequence[Claim], study: Sequence[Application] | None = None) -> str:
    """Table of the letter's claims, a column each, and what the artifact finds for them.

    Parameters
    ----------
    claims
        The claims, as `card.claims.claims` finds them.
    study
        The same claims read off a study, if the book has one; those that do not apply are grey.
    """
    rows = [
        ("Abstract", [claim["text"] for claim in claims]),
        ("Published", [percent(claim["published"]) for claim in claims]),
        ("Read against", [POLICY_LABELS[claim["benchmark"]] for claim in claims]),
        ("Nominal", [percent(claim["nominal"]) for claim in claims]),
        ("Calibrated", [percent(claim["calibrated"]) for claim in claims]),
        ("its 95 % interval", [interval(claim["low"], claim["high"]) for claim in claims]),
        ("Status", [claim["status"] for claim in claims]),
    ]
    grey = [False] * len(claims)
    if study is not None:
        grey = [bool(found.reason) for found in study]
        rows += [
            ("**This study**", ["does not apply" if f.reason else percent(f.value) for f in study]),
            ("its 95 % interval", [f.reason or interval(f.low, f.high) for f in study]),
        ]

    def cell(text: str, greyed: bool) -> str:
        return f'<span class="greyed">{text}</span>' if greyed else text

    head = ("Claim", *(claim["id"] for claim in claims))
    text = table(head, [(label, *map(cell, cells, grey)) for label, cells in rows])
    if study is None:
        return text
    return f"{text}\n\n{_CHANCE}"


def study_note(study: Study) -> str:
    """Box that says on every page of a study's book what differs from its base."""
    changed = differences(study.base, study.scenario)
    rows = [
        (_path(d.path), with_unit(_brief(d.first), d.unit), with_unit(_brief(d.second), d.unit))
        for d in changed
    ]
    text = f"This book is built for the study *{study.scenario.title}*."
    if not rows:
        text += f" It has the same values as `{study.base_name}`."
    else:
        text += f" What it changes, against `{study.base_name}`:"
    parts = [text, table(("Parameter", f"`{study.base_name}`", "this study"), rows) if rows else ""]
    return "\n\n".join([f":::{{admonition}} Study `{study.name}`\n:class: study", *parts, ":::"])


def _brief(value: Any) -> Any:
    """A value, or what a long list begins and ends with."""
    if not isinstance(value, list) or len(set(value)) <= _LONG:
        return value
    return f"{len(value)} values: {show(value[:3])}, …, {show(value[-1])}"


def note_on_every_page(source: Path, note: str) -> None:
    """Put a note behind the title of every staged page and executed notebook."""
    for page in (*source.glob("*.md"), *source.glob("api/*.md")):
        text = page.read_text(encoding="utf-8")
        title = re.compile(r"^# .*$", re.MULTILINE)
        write(page, title.sub(lambda found: f"{found[0]}\n\n{note}", text, count=1))
    for notebook in (source / "notebooks").glob("*.ipynb"):
        content = json.loads(notebook.read_text(encoding="utf-8"))
        cell = {"cell_type": "markdown", "id": "study", "metadata": {}, "source": note}
        content["cells"].insert(1, cell)
        write(notebook, to_json(content))


def provenance_page(scenarios: Mapping[str, Scenario]) -> str:
    """Tables of every number: the first scenario whole, the others where they differ from it."""
    reference, *others = scenarios
    base = list(parameters(scenarios[reference]))
    known = {item.path: item.value for item in base}
    parts = [f"## Scenario `{reference}`", scenarios[reference].title + ".", _table(joined(base))]
    for name in others:
        changed = [i for i in parameters(scenarios[name]) if known.get(i.path, i) != i.value]
        parts += [f"## Scenario `{name}`", scenarios[name].title + "."]
        parts += [f"Only these values differ from `{reference}`.", _table(changed)]
    for name in dict.fromkeys(s.llm for s in scenarios.values()):
        parts += [f"## {architecture(name).title}", _table(_dimensions(name))]
    parts += ["## Hardware"]
    used = [s.server.hardware for s in scenarios.values()]
    used += [device.hardware for s in scenarios.values() for device in s.devices]
    for name in dict.fromkeys(used):
        parts += [f"### {catalogue()[name].title}", _table(_facts(catalogue()[name]))]
    return "\n\n".join(parts) + "\n"


def _dimensions(llm: str) -> Iterator[Parameter]:
    card, model = public_config(llm)["_card"], architecture(llm)
    source = Source(kind="config", source=f"config.json of {card['title']}", url=card["source"])
    for key in (
        "num_blocks",
        "hidden",
        "heads",
        "kv_heads",
        "head_dim",
        "ffn",
        "vocabulary",
        "tied",
    ):
        yield Parameter(key, key, getattr(model, key), "", source)


def _facts(hardware: Hardware) -> Iterator[Parameter]:
    for key, source in hardware.sources.items():
        unit = unit_in(Hardware.model_fields[key].description)
        yield Parameter(key, key, getattr(hardware, key), unit, source)


def _table(items: Iterable[Parameter]) -> str:
    rows = [(_path(i.path), with_unit(i.value, i.unit), *_origin(i.source)) for i in items]
    return table(("Parameter", "Value", "Kind", "Source"), rows)


def _path(path: str) -> str:
    """Path as code that may break after its dots and underscores, yet is copied whole."""
    return "<code>" + re.sub("([._])", r"\1<wbr>", path) + "</code>"


def _origin(source: Source | None) -> tuple[str, str]:
    if source is None:
        return "–", "–"
    text = f"[{source.source}]({source.url})" if source.url else source.source
    doubt = " (not confirmed)" if source.confirmed is False else ""
    note = f". {source.note}" if source.note else ""
    return f"`{source.kind}`", text + doubt + note


def percent(value: float | None, digits: int = 1) -> str:
    """Fraction in per cent; a dash if it is undefined."""
    return "–" if value is None else f"{100 * value:.{digits}f} %".replace("-", "−")


def scientific(value: float, digits: int = 1) -> str:
    """Number as a power of ten with some significant digits, such as 2 × 10⁻¹⁵."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}\u00a0×\u00a010{str(int(exponent)).translate(_RAISED)}".replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """Interval of fractions in per cent; a dash if it is undefined."""
    if low is None or high is None:
        return "–"
    return f"{percent(low, 2)} to {percent(high, 2)}".replace(" %", "\u00a0%")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers_right: bool = True) -> str:
    """Markdown table; columns of numbers alone stand right, unless told not to.

    So their digits line up. Units, of which some are 1, have none to line up.
    """
    body = list(rows)
    columns = zip(head, *body, strict=True)
    rule = [
        "---:" if numbers_right and cells and all(map(_NUMBER.fullmatch, cells)) else "---"
        for _, *cells in columns
    ]
    lines = [head, rule, *body]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def settings(
    scenario: Scenario, claims: Sequence[Claim], *, quick: bool, study: bool
) -> dict[str, Any]:
    """What a book's configuration adds: numbers that pages quote; a study's title and banner."""
    numbers = {claim["id"]: percent(claim["published"]) for claim in claims}
    numbers |= {"rounds": show(scenario.simulation.rounds), "title": scenario.title}
    text = f"Study: {html.escape(scenario.title)}." if study else ""
    text += " Quick build with few Monte Carlo rounds: to look at, not to report." if quick else ""
    added = {"parse": {"myst_substitutions": numbers}, "html": {"announcement": text.strip()}}
    return added | ({"title": f"CARD study: {scenario.title}"} if study else {})


def provenance(values: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Record of what made a book: code, versions, scenario, data. No dates, so it is repeatable.

    Parameters
    ----------
    values
        The whole resolved scenario.
    root
        Root of the repository.
    """
    commit = git(root, "rev-parse", "HEAD")
    return {
        "commit": commit,
        "dirty": None if commit is None else bool(git(root, "status", "--porcelain")),
        "python": platform.python_version(),
        "packages": dict(sorted(_versions("card", "book"))),
        "scenario": values,
        "data_sha256": {
            path.relative_to(DATA).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(DATA.rglob("*"))
            if path.is_file()
        },
    }


def git(root: Path, *arguments: str) -> str | None:
    """What git answers about a repository; None without git, a repository or an answer."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _versions(package: str, extra: str) -> Iterator[tuple[str, str]]:
    """The package and what it directly requires, with the installed versions."""
    yield package, metadata.version(package)
    for requirement in metadata.requires(package) or ():
        marker = requirement.partition(";")[2]
        if not marker or f"'{extra}'" in marker.replace('"', "'"):
            name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            yield name, metadata.version(name)


def to_json(obj: Any) -> str:
    """JSON text with a fixed order and layout; numbers keep all their digits."""
    return json.dumps(
        obj, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False, default=_plain
    )


def _plain(obj: Any) -> Any:
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return dataclasses.asdict(obj)
    if hasattr(obj, "tolist"):
        return obj.tolist()
    raise TypeError(f"{type(obj).__name__} cannot be saved as JSON; give plain values.")


def write(path: Path, text: str) -> None:
    """Write a text file, with its folder and a last newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
