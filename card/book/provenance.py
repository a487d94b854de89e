"""Where the numbers of a book come from: a page of all of them, and a record of what made it."""

from __future__ import annotations

import hashlib
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from card.base import DISTRIBUTION
from card.base.data_files import DATA
from card.base.llm_configs import llm_title
from card.base.provenance import Source
from card.book.markdown import plain, table
from card.hardware import Hardware
from card.llm.architectures import dimensions
from card.scenario import Scenario
from card.studies.scenario_values import Parameter, joined, parameters, unit_in, with_unit


def provenance_page(scenarios: Mapping[str, Scenario]) -> str:
    """Tables of every number: the first scenario whole, the others where they differ from it."""
    reference, *others = scenarios
    base = list(parameters(scenarios[reference]))
    known = {item.path: item.value for item in base}
    parts = [
        f"## Scenario `{reference}`",
        plain(scenarios[reference].title) + ".",
        _table(joined(base)),
    ]
    for name in others:
        changed = [i for i in parameters(scenarios[name]) if known.get(i.path, i) != i.value]
        parts += [f"## Scenario <code>{plain(name)}</code>", plain(scenarios[name].title) + "."]
        parts += [f"Only these values differ from `{reference}`.", _table(changed)]
    for scenario in {s.llm: s for s in scenarios.values()}.values():
        title = llm_title(scenario.llm, scenario.llm_config)
        parts += [f"## {plain(title)}", _table(_dimensions(scenario, title))]
    parts += ["## Hardware"]
    ends = [end for s in scenarios.values() for end in (s.server, *s.devices)]
    for board in {end.board.model_dump_json(): end.board for end in ends}.values():
        parts += [f"### {plain(board.title)}", _table(_facts(board))]
    return "\n\n".join(parts) + "\n"


def _dimensions(scenario: Scenario, title: str) -> Iterator[Parameter]:
    page = (scenario.llm_config.get("_card") or {}).get("source")
    source = Source(kind="config", source=f"config.json of {title}", url=page)
    for key, value in dimensions(scenario).items():
        yield Parameter(key, key, value, "", source)


def _facts(hardware: Hardware) -> Iterator[Parameter]:
    for key, source in hardware.sources.items():
        unit = unit_in(type(hardware).model_fields[key].description)
        yield Parameter(key, key, getattr(hardware, key), unit, source)


def _table(items: Iterable[Parameter]) -> str:
    rows = [
        (code_path(i.path), plain(with_unit(i.value, i.unit)), *_origin(i.source)) for i in items
    ]
    return table(("Parameter", "Value", "Kind", "Source"), rows)


def code_path(path: str) -> str:
    """Path as code that may break after its dots and underscores, yet is copied whole."""
    return "<code>" + re.sub(r"([._]|&#95;)", r"\1<wbr>", plain(path)) + "</code>"


def _origin(source: Source | None) -> tuple[str, str]:
    if source is None:
        return "–", "–"
    text = plain(source.source)
    if source.url and urlsplit(source.url).scheme in ("http", "https"):
        text = f'<a class="reference external" href="{plain(source.url)}">{text}</a>'
    doubt = " (not confirmed)" if source.confirmed is False else ""
    note = f". {plain(source.note)}" if source.note else ""
    return f"`{source.kind}`", text + doubt + note


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
        "packages": dict(sorted(versions("book"))),
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


def versions(extra: str) -> Iterator[tuple[str, str]]:
    """The package and what it directly requires, with the installed versions."""
    yield DISTRIBUTION, metadata.version(DISTRIBUTION)
    for requirement in metadata.requires(DISTRIBUTION) or ():
        marker = requirement.partition(";")[2]
        if not marker or f"'{extra}'" in marker.replace('"', "'"):
            name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            yield name, metadata.version(name)
