"""Merges overrides into raw values, before any validation.

Mappings merge key by key (null removes a key, as in RFC 7396), a list may be patched by position or
by the names of its items (null removes a named one), anything else is replaced. A `*` in place of a
name stands for every item that is there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from card.base.errors import ScenarioError, argument, shortened
from card.base.letters import odd_text, remedy_for
from card.base.provenance import Source


def merge_recorded(base: dict[str, Any], changes: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """Merge changes into a raw scenario, noting an origin for each value that brings none.

    Raises
    ------
    ScenarioError
        If the changes are no mapping, one value is given twice, an item of a list is none, a name
        in a path is empty, or a text has what is no letter.
    """
    if not isinstance(changes, Mapping):
        raise ScenarioError(
            f"overrides = {argument(changes)} is not allowed; give values by path, e.g. "
            "{'link.bandwidth_hz': 2e7}."
        )
    changes = {path: plain(str(path), value) for path, value in changes.items()}
    _check_names(changes)
    nested = _nested(changes, base)
    merged = dict(_merge(base, nested, ""))
    given, sources = nested.get("sources", {}), merged.get("sources", {})
    if not isinstance(given, Mapping) or not isinstance(sources, Mapping):
        return merged
    sources = dict(sources)
    values = {key: nested[key] for key in nested if key not in ("sources", "title", "policies")}
    changed = dict.fromkeys(".".join(_by_name(base, _whole(keys))) for keys, _ in _entries(values))
    for path in changed:
        if _of_all(path) in given and path not in given:
            sources.pop(path, None)
        elif path not in given:
            sources[path] = {"kind": "assumed", "source": reason}
    # a list that is replaced whole takes the origins of the old one's items with it
    stale = [
        key for key in sources if key not in given and not changed.keys().isdisjoint(_above(key))
    ]
    gone = set(_items(base)) - set(_items(merged))
    stale += [key for key in sources if ".".join(key.split(".")[:2]) in gone and key not in stale]
    for key in stale:
        del sources[key]
    return {**merged, "sources": sources}


def plain(path: str, value: Any) -> Any:
    """A value of a path whose numbers and arrays of NumPy, at any depth, are Python's.

    Raises
    ------
    ScenarioError
        If a set is in it, whose items have no order.
    """
    if isinstance(value, (set, frozenset)):
        raise ScenarioError(
            f"{path} = {shortened(value)} is not allowed; give a list, whose items have an order."
        )
    if isinstance(value, Mapping):
        return {key: plain(f"{path}.{key}", item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(f"{path}.{place}", item) for place, item in enumerate(value)]
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def _check_names(changes: Mapping[str, Any]) -> None:
    """Refuse paths with empty names, and texts that would command a terminal or break a line."""
    for keys, _ in _entries(changes):
        path = ".".join(keys)
        if not all(path.split(".")):
            raise ScenarioError(
                f"{shortened(path)} is no path; write names with a dot between two, e.g. "
                f"link.bandwidth_hz."
            )
    if odd := odd_text(changes):
        raise ScenarioError(f"{shortened(odd)} is not allowed; {remedy_for(odd)}.")


def _of_all(path: str) -> str:
    """The path that gives the origin of a value of an item for all items."""
    part, *keys = path.split(".")
    return ".".join([part, *keys[1:]])


def origins(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The origins that changes give, by what they are of."""
    told = {key: changes[key] for key in changes if key.partition(".")[0] == "sources"}
    given = _nested(told, {})
    sources = given.get("sources")
    return sources if isinstance(sources, dict) else {}


def removed(changes: Mapping[str, Any], base: Any) -> set[str]:
    """Paths that changes give as null, as `canonical` spells them."""
    return {
        canonical(".".join(each), base)
        for keys, value in _entries(changes)
        for each in _each(keys, base, {})
        if value is None
    }


def named_items(changes: Mapping[str, Any], part: str) -> set[str]:
    """Names, or positions, that changes have for items of a part."""
    return {keys[1] for keys, _ in _entries(changes) if keys[0] == part and len(keys) > 1}


def canonical(path: str, base: Any) -> str:
    """The one spelling of a path in a raw scenario: items of a list by name where they have one."""
    keys = []
    for key in path.split("."):
        node, base = base, None
        if isinstance(node, (list, tuple)):
            names = [item.get("name") if isinstance(item, Mapping) else None for item in node]
            place = names.index(key) if key in names else _position(key, len(node))
            if place is not None:
                key, base = str(names[place] or place), node[place]
        elif isinstance(node, Mapping):
            base = node.get(key)
        keys.append(key)
    return ".".join(keys)


def overlap(path: str, other: str) -> bool:
    """Whether two paths address one value, whole or in part."""
    pairs = zip(path.split("."), other.split("."), strict=False)
    return all(one == two or "*" in (one, two) for one, two in pairs)


def words(node: Any) -> Iterator[str]:
    """All words among values."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, (Mapping, list, tuple)):
        for item in node.values() if isinstance(node, Mapping) else node:
            yield from words(item)


def _nested(changes: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted paths as nested mappings; none is given twice, whole or in part."""
    result: dict[str, Any] = {}
    given = list(_entries(changes))
    spelled = {canonical(".".join(keys[:2]), base): keys[1] for keys, _ in given if keys[1:]}
    written: dict[tuple[str, ...], tuple[str, ...]] = {}
    entries = ((each, keys, value) for keys, value in given for each in _each(keys, base, spelled))
    for each, keys, value in entries:
        node = result
        for depth, key in enumerate(each[:-1], 1):
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise _twice(written.get(each[:depth], each[:depth]), node, keys, value)
        known = node.setdefault(each[-1], {})
        if known != {} and not (value == {} and isinstance(known, dict)):
            raise _twice(written.get(each, each), known, keys, value)
        node[each[-1]] = known or (dict(value) if isinstance(value, Mapping) else value)
        written |= {each[:depth]: keys[:depth] for depth in range(1, len(each) + 1)}
    return result


def _entries(node: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    """Keys that lead to each value that is no mapping, or an empty one, and the value."""
    for path, value in node.items():
        keys = (*above, *str(path).split("."))
        if keys[0] == "sources":
            yield from _origins(keys, value)
        elif isinstance(value, Mapping) and value:
            yield from _entries(value, keys)
        else:
            yield keys, value


def _each(keys: tuple[str, ...], base: Any, spelled: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The same keys, once for every item that a `*` among them stands for, as it is spelled."""
    if "*" not in keys or keys[0] == "sources":
        return [keys]
    part: Any = base.get(keys[0]) if isinstance(base, Mapping) else None
    names: list[str] = []
    if _listed(part):
        names = [str(item["name"]) for item in part]
    elif isinstance(part, Mapping) and all(isinstance(item, Mapping) for item in part.values()):
        names = list(part)
    if not names or keys.index("*") != 1 or "*" in keys[2:]:
        path = ".".join(keys[: keys.index("*") + 1])
        raise ScenarioError(
            f"{path} matches nothing; put * where the name of a device or of a channel state "
            f"stands, e.g. devices.*.distance_m."
        )
    return [(keys[0], spelled.get(f"{keys[0]}.{name}", name), *keys[2:]) for name in names]


def _whole(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Keys that lead to a value, or to hardware, which has origins of its own for what it says."""
    depth = 2 if keys[0] == "server" else 3
    return keys[:depth] if keys[depth - 1 : depth] == ("hardware",) else keys


def _origins(keys: tuple[str, ...], value: Any) -> Iterator[tuple[Any, Any]]:
    """Entries of `sources`, whose keys are paths themselves."""
    mapping = isinstance(value, Mapping) and value
    if len(keys) == 1:
        yield from (
            ((("sources", str(path)), item) for path, item in value.items())
            if mapping
            else [(keys, value)]
        )
    elif len(keys) > 2 and keys[-1] in Source.model_fields and not mapping:
        yield ("sources", ".".join(keys[1:-1]), keys[-1]), value
    else:
        yield ("sources", ".".join(keys[1:])), value


def _by_name(base: Mapping[str, Any], keys: tuple[str, ...]) -> tuple[str, ...]:
    """Keys that name an item of a list where they say its position."""
    part: Any = base.get(keys[0])
    names = [item["name"] for item in part] if len(keys) > 1 and _listed(part) else []
    if not names or keys[1] in names:
        return keys
    return (keys[0], str(names[int(keys[1])]), *keys[2:])


def _listed(part: Any) -> bool:
    """Whether a part is a list of items with names."""
    return isinstance(part, list) and all(isinstance(i, Mapping) and "name" in i for i in part)


def _items(node: Mapping[str, Any]) -> Iterator[str]:
    """Paths of the named items of every part."""
    for key, part in node.items():
        if _listed(part):
            yield from (f"{key}.{item['name']}" for item in part)
        elif isinstance(part, Mapping):
            yield from (f"{key}.{name}" for name in part if isinstance(part[name], Mapping))


def _above(path: str) -> Iterator[str]:
    """Paths of the parts that a path is in."""
    while path := path.rpartition(".")[0]:
        yield path


def _twice(one: tuple[str, ...], first: Any, other: tuple[str, ...], second: Any) -> ScenarioError:
    return ScenarioError(
        f"{'.'.join(one)} = {shortened(first)} and {'.'.join(other)} = {shortened(second)} "
        f"exclude each other; give one of them."
    )


def _position(key: str, size: int) -> int | None:
    """Position in a list that a key says, or None."""
    return int(key) if re.fullmatch("[0-9]{1,9}", key) and int(key) < size else None


def _merge(base: Any, change: Any, path: str) -> Any:
    if isinstance(base, list) and isinstance(change, Mapping):
        return _patch_list(base, change, path)
    if not isinstance(change, Mapping) or not isinstance(base, Mapping):
        return change
    merged = dict(base)
    for key, value in change.items():
        if value is None and key in merged:
            del merged[key]
        else:
            below = f"{path}.{key}" if path else str(key)
            merged[key] = _merge(merged.get(key), value, below)
    return merged


def _patch_list(base: list[Any], change: Mapping[str, Any], path: str) -> list[Any]:
    """List with items replaced, or removed by null, that a mapping names by position or `name`."""
    names = [item.get("name") if isinstance(item, dict) else None for item in base]
    places = {name: index for index, name in enumerate(names) if isinstance(name, str)}
    items = list(base)
    changed: dict[int, Any] = {}
    for key, value in change.items():
        index = places[key] if key in places else _position(str(key), len(items))
        if index is None:
            known = ", ".join(str(name or i) for i, name in enumerate(names))
            raise ScenarioError(f"{path}.{key} is not in the list; choose one of {known}.")
        if index in changed:
            raise ScenarioError(
                f"{path}.{changed[index]} and {path}.{key} name one item; give one of them."
            )
        changed[index] = key
        items[index] = _merge(items[index], value, f"{path}.{key}")
    dropped = [value is None and name is not None for value, name in zip(items, names, strict=True)]
    return [item for item, gone in zip(items, dropped, strict=True) if not gone]
