"""Merges overrides into raw values, before any validation.

Mappings merge key by key (null removes a key, as in RFC 7396), a list may be patched by position or
by the names of its items (null removes a named one), anything else is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from card.base.errors import ScenarioError


def merge_recorded(base: dict[str, Any], changes: Mapping[str, Any], reason: str) -> dict[str, Any]:
    """Merge changes into a raw scenario, noting an origin for each value that brings none."""
    nested = _nested(changes)
    merged = dict(_merge(base, nested, ""))
    given, sources = nested.get("sources", {}), merged.get("sources", {})
    if not isinstance(given, Mapping) or not isinstance(sources, Mapping):
        return merged
    sources = dict(sources)
    for path in _leaves({key: nested[key] for key in nested if key not in ("sources", "title")}):
        if path not in given:
            sources[path] = {"kind": "assumed", "source": reason}
        # a list that is replaced whole takes the origins of the old one's items with it
        stale = [key for key in sources if key.startswith(f"{path}.") and key not in given]
        for key in stale:
            del sources[key]
    return {**merged, "sources": sources}


def words(node: Any) -> Iterator[str]:
    """All words among values."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, (Mapping, list, tuple)):
        for item in node.values() if isinstance(node, Mapping) else node:
            yield from words(item)


def _nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted paths as nested mappings."""
    result: dict[str, Any] = {}
    for path, value in changes.items():
        if path == "sources":
            result = _merge(result, {path: value}, "")
            continue
        node = _nested(value) if isinstance(value, Mapping) else value
        for key in reversed(str(path).split(".")):
            node = {key: node}
        result = _merge(result, node, "")
    return result


def _leaves(node: Any, prefix: str = "") -> list[str]:
    if not isinstance(node, Mapping):
        return [prefix]
    return [
        leaf for k, v in node.items() for leaf in _leaves(v, f"{prefix}.{k}" if prefix else str(k))
    ]


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
    items = list(base)
    changed: dict[int, Any] = {}
    for key, value in change.items():
        if key in names:
            index = names.index(key)
        elif str(key).isdigit() and int(key) < len(items):
            index = int(key)
        else:
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
