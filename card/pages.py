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
from typing import Any, NamedTuple

from pydantic import BaseModel

from card.hardware import DATA, Hardware, Source, catalogue
from card.llm import architecture, public_config
from card.scenario import Scenario

Claim = Mapping[str, Any]


class Parameter(NamedTuple):
    """One value of a scenario and where it comes from."""

    path: str
    shared: str
    """The path without the name of a list item: `devices.distance_m`."""
    value: Any
    unit: str
    source: Source | None


def claims_page(claims: Sequence[Claim]) -> str:
    """Table of the letter's claims, a column each, and what the artifact finds for them."""
    rows = [
        ("Abstract", [claim["text"] for claim in claims]),
        ("Published", [percent(claim["published"]) for claim in claims]),
        ("Read against", [f"`{claim['benchmark']}`" for claim in claims]),
        ("Nominal", [percent(claim["nominal"]) for claim in claims]),
        ("Calibrated", [percent(claim["calibrated"]) for claim in claims]),
        ("95 % interval", [interval(claim["low"], claim["high"]) for claim in claims]),
        ("Status", [claim["status"] for claim in claims]),
    ]
    head = ("", *(claim["id"] for claim in claims))
    return table(head, [(label, *cells) for label, cells in rows])


def provenance_page(scenarios: Mapping[str, Scenario]) -> str:
    """Tables of every number: the first scenario whole, the others where they differ from it."""
    reference, *others = scenarios
    base = list(parameters(scenarios[reference]))
    known = {item.path: item.value for item in base}
    parts = [f"## Scenario `{reference}`", scenarios[reference].title + ".", _table(_joined(base))]
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


def parameters(scenario: Scenario) -> Iterator[Parameter]:
    """Every value of a scenario, under the path that addresses it."""
    for path, shared, value, unit in _leaves(scenario, "", ""):
        yield Parameter(path, shared, value, unit, scenario.source_of(path))


def _leaves(part: BaseModel, prefix: str, shared: str) -> Iterator[tuple[str, str, Any, str]]:
    for key, field in type(part).model_fields.items():
        value, path, common = getattr(part, key), f"{prefix}{key}", f"{shared}{key}"
        if key in ("title", "name", "sources"):
            continue
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{path}.", f"{common}.")
        elif isinstance(value, Mapping):
            for name, item in value.items():
                yield from _leaves(item, f"{path}.{name}.", f"{common}.")
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for item in value:
                yield from _leaves(item, f"{path}.{item.name}.", f"{common}.")
        else:
            yield path, common, value, _unit(field.description)


def _joined(items: Iterable[Parameter]) -> Iterator[Parameter]:
    """One entry for the values of all list items, where they have one source."""
    groups: dict[str, list[Parameter]] = {}
    for item in items:
        groups.setdefault(item.shared, []).append(item)
    for shared, group in groups.items():
        if len(group) > 1 and all(item.source == group[0].source for item in group):
            yield group[0]._replace(path=shared, value=[item.value for item in group])
        else:
            yield from group


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
        unit = _unit(Hardware.model_fields[key].description)
        yield Parameter(key, key, getattr(hardware, key), unit, source)


def _with_unit(item: Parameter) -> str:
    return show(item.value) if item.value is None else f"{show(item.value)} {item.unit}".strip()


def _unit(description: str | None) -> str:
    """Unit that a field's description carries in brackets."""
    found = re.search(r"\[(.+?)\]", description or "")
    return found[1] if found else ""


def _table(items: Iterable[Parameter]) -> str:
    rows = [(_path(i.path), _with_unit(i), *_origin(i.source)) for i in items]
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


def show(value: Any) -> str:
    """Value as a reader writes it: 10,000,000 rather than 1e+07."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(show, value))
    if isinstance(value, (int, float)):
        return f"{value:,.10g}".replace("-", "−")
    return str(value)


def percent(value: float | None, digits: int = 1) -> str:
    """Fraction in per cent; a dash if it is undefined."""
    return "–" if value is None else f"{100 * value:.{digits}f} %".replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """Interval of fractions in per cent; a dash if it is undefined."""
    return "–" if low is None or high is None else f"{percent(low, 2)} to {percent(high, 2)}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def settings(
    scenario: Scenario, claims: Sequence[Claim], *, quick: bool, banner: bool
) -> dict[str, dict[str, Any]]:
    """What the book's configuration adds for a study: the numbers pages quote, and a banner."""
    numbers = {claim["id"]: percent(claim["published"]) for claim in claims}
    numbers |= {"rounds": show(scenario.simulation.rounds), "title": scenario.title}
    text = f"Study: {html.escape(scenario.title)}." if banner else ""
    text += " Quick build with few Monte Carlo rounds: to look at, not to report." if quick else ""
    return {"parse": {"myst_substitutions": numbers}, "html": {"announcement": text.strip()}}


def provenance(values: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Record of what made a book: code, versions, scenario, data. No dates, so it is repeatable.

    Parameters
    ----------
    values
        The whole resolved scenario.
    root
        Root of the repository.
    """
    commit = _git(root, "rev-parse", "HEAD")
    return {
        "commit": commit,
        "dirty": None if commit is None else bool(_git(root, "status", "--porcelain")),
        "python": platform.python_version(),
        "packages": dict(sorted(_versions("card", "book"))),
        "scenario": values,
        "data_sha256": {
            path.relative_to(DATA).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(DATA.rglob("*"))
            if path.is_file()
        },
    }


def _git(root: Path, *arguments: str) -> str | None:
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
