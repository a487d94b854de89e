"""Where a number comes from: the provenance kind and the source of every value."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from card.base.errors import ScenarioError
from card.base.schema import Flag, Name, Record

Kind = Literal["published", "datasheet", "config", "derived", "assumed", "measured", "calibrated"]


class Source(Record):
    """Where a number comes from."""

    kind: Kind
    """Provenance kind."""
    source: Name
    """Citation, formula or reason."""
    url: str | None = None
    """Address of the public source."""
    confirmed: Flag | None = None
    """Whether the public source was read and says so."""
    note: str | None = None
    """What differs or is missing."""


class Origins(Record):
    """The part of a scenario that says where its values come from."""

    sources: dict[str, Source]


def set_by(path: Path) -> str:
    """Source of what a file sets; its name is read as UTF-8, whatever the locale's encoding."""
    return f"set by {os.fsencode(path.name).decode(errors='replace')}"


def check_origins(given: Iterable[str], *values: Mapping[str, Any], where: str = "") -> None:
    """Refuse the origin of what is no value.

    Parameters
    ----------
    given
        What origins are of, as in `devices.distance_m` or `link`.
    *values
        Raw scenarios of which one must have each.
    where
        The file that gives them, if it is not the one that the user named.

    Raises
    ------
    ScenarioError
        If none has it, with the nearest path that one has.
    """
    parts = [{key: item for key, item in node.items() if key != "sources"} for node in values]
    known = {place for part in parts for place in _places(part) if place}
    before = f"{where}: " if where else ""
    for path in given:
        item, key = ".".join(path.split(".")[:2]), path.split(".")[2:]
        # a value that has a default is known by what the other items have
        shared = ".".join([item.partition(".")[0], *key])
        if path not in known and not (key and item in known and shared in known):
            (close,) = difflib.get_close_matches(path, sorted(known), n=1, cutoff=0)
            raise ScenarioError(
                f"{before}sources.{path} is of no value; did you mean 'sources.{close}'?"
            )


def _places(node: Any, exact: str = "", shared: str = "") -> Iterator[str]:
    """Paths of a node and of all within, with the names of items and without."""
    yield from (exact, shared)
    items = node if isinstance(node, (list, tuple)) else ()
    named = {item["name"]: item for item in items if isinstance(item, Mapping) and "name" in item}
    for key, item in (node if isinstance(node, Mapping) else named).items():
        own = key in named or exact == "channel_states"
        yield from _places(
            item, f"{exact}.{key}".lstrip("."), shared if own else f"{shared}.{key}".lstrip(".")
        )
