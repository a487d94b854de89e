"""Fleets: entries of `devices` that stand for many, and values that are drawn for each of them.

All of it happens on raw values, before they are validated: a scenario has single devices with
single values. What is drawn for a device follows from the seed, its name and the key alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from card.base.errors import ScenarioError, shortened, validated
from card.base.overrides import named_items
from card.base.schema import Record
from card.scenario.ends import Device, Known

MOST_DEVICES = 1000
"""Devices that one entry stands for at most."""
_DEFAULT = {"kind": "assumed", "source": "The peak rate, where a device says nothing else."}
_ONE_OF = ("uniform", "choice")

Raw = dict[str, Any]
_Place = tuple[str, ...]


class _Devices(Record):
    devices: tuple[Device, ...]


def fleet_of(name: str) -> str:
    """Name of the fleet that a device's name is of: what stands before its number."""
    return re.sub(r"-[0-9]+$", "", name)


def opened(raw: Raw, changes: Mapping[str, Any]) -> Raw:
    """A raw scenario in which a fleet is its devices where changes name one of them."""
    named = named_items(changes, "devices")
    return _spread(raw, lambda names: not named.isdisjoint(names))


def expanded(raw: Raw, known: Known | None = None) -> Raw:
    """A raw scenario with single devices and single values; files that are `known` are not read.

    Raises
    ------
    ScenarioError
        If a `count` is out of range, a name taken, or a range no such thing, or if it holds a value
        that is not allowed, whether or not that one is drawn.
    """
    listed: Any = raw.get("devices")
    if not _is_list(listed):
        return raw
    for entry in listed:
        _check_count(entry)
        _check_ranges(entry, known)
    raw = _spread(raw, lambda names: True)
    seed = _mapping(raw.get("simulation")).get("seed")
    seed = seed if isinstance(seed, int) and seed >= 0 else 0  # another one is refused later
    sources = dict(_mapping(raw.get("sources")))
    devices = []
    for entry in raw["devices"]:
        name = str(entry.get("name"))
        drawn = {key: value for key, value in entry.items() if key != "count"}
        for place, choice in _ranges(entry):
            drawn = _with(drawn, place, _drawn(choice, seed, ".".join((name, *place))))
        devices.append(drawn)
        if "utilisation" not in entry and "devices.utilisation" not in sources:
            sources.setdefault(f"devices.{name}.utilisation", _DEFAULT)
    told = {"sources": sources} if isinstance(raw.get("sources"), Mapping) else {}
    return {**raw, "devices": devices, **told}


def alternatives(value: Any) -> Iterator[Any]:
    """What each item makes of a value in which choices may stand, in place of its choice."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            for other in alternatives(item):
                yield [*value[:number], other, *value[number + 1 :]]
    for place, choice in _ranges({"value": value}):
        for item in choice.get("choice", ()):
            yield _with({"value": value}, place, item)["value"]


def allow_fleets(device: Raw) -> None:
    """Let an entry stand for many, and its values be drawn, in the JSON Schema of a device."""
    number = {"type": "number"}
    uniform = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
    for name, key in device.items():
        if name == "name":
            continue
        ranges = {"choice": {"type": "array", "minItems": 1, "items": dict(key)}}
        ranges |= {"uniform": uniform} if key.get("type") == "number" else {}
        drawn = [{"type": "object", "properties": {kind: ranges[kind]}, "required": [kind],
                  "additionalProperties": False} for kind in ranges]  # fmt: skip
        told = {"description": key.get("description", "")}
        device[name] = {"anyOf": [key, *drawn], **told}
    device["count"] = {
        "type": "integer", "minimum": 1, "maximum": MOST_DEVICES,
        "description": "Devices that this entry stands for, named after it with a number.",
    }  # fmt: skip


def _is_list(part: Any) -> bool:
    return isinstance(part, list) and all(isinstance(item, Mapping) for item in part)


def _mapping(part: Any) -> Mapping[str, Any]:
    return part if isinstance(part, Mapping) else {}


def _members(entry: Mapping[str, Any]) -> list[str]:
    """Names of the devices that an entry stands for, which sort in their order."""
    count: Any = entry.get("count")
    whole = isinstance(count, int) and not isinstance(count, bool) and 1 <= count <= MOST_DEVICES
    if not whole or not isinstance(entry.get("name"), str):
        return []
    return [f"{entry.get('name')}-{number:0{len(str(count))}}" for number in range(1, count + 1)]


def _spread(raw: Raw, chosen: Any) -> Raw:
    """The same with the devices of every fleet whose names are chosen, each with its sources."""
    listed: Any = raw.get("devices")
    if not _is_list(listed):
        return raw
    fleets = {str(entry.get("name")): _members(entry) for entry in listed}
    fleets = {name: members for name, members in fleets.items() if members and chosen(members)}
    if not fleets:
        return raw
    devices: list[Any] = []
    for entry in listed:
        single = {key: value for key, value in entry.items() if key != "count"}
        members = fleets.get(str(entry.get("name")), []) if "count" in entry else []
        devices += [{**single, "name": name} for name in members] or [entry]
    names = [str(entry.get("name")) for entry in devices]
    for fleet, members in fleets.items():
        taken = next((name for name in members if names.count(name) > 1), None)
        if taken:
            raise ScenarioError(
                f"devices.{fleet}.count = {len(members)} makes a device {taken}, a name that is "
                f"taken; rename one of them."
            )
    sources = raw.get("sources")
    if not isinstance(sources, Mapping):
        return {**raw, "devices": devices}
    told: Raw = {}
    for path, source in sources.items():
        part, fleet, *rest = (*path.split(".", 2), "", "")[:3]
        if part == "devices" and fleet in fleets and rest[0] != "count":
            told |= {".".join(filter(None, (part, name, *rest))): source for name in fleets[fleet]}
        elif not (part == "devices" and fleet in fleets):
            told[path] = source
    return {**raw, "devices": devices, "sources": told}


def _check_count(entry: Mapping[str, Any]) -> None:
    if "count" in entry and isinstance(entry.get("name"), str) and not _members(entry):
        raise ScenarioError(
            f"devices.{entry.get('name')}.count = {shortened(entry['count'])} is not allowed; give "
            f"a whole number from 1 to {MOST_DEVICES}. Devices that this entry stands for."
        )


def _ranges(node: Any, place: _Place = ()) -> Iterator[tuple[_Place, Mapping[str, Any]]]:
    """Every range of an entry and where it stands."""
    if not isinstance(node, Mapping):
        return
    if place and not {*node}.isdisjoint(_ONE_OF):
        yield place, node
        return
    for key, value in node.items():
        yield from _ranges(value, (*place, str(key)))


def _check_ranges(entry: Mapping[str, Any], known: Known | None) -> None:
    """Refuse what is no range, and what a range or a fleet holds that is not allowed."""
    found = [(place, _candidates(entry, place, choice)) for place, choice in _ranges(entry)]
    single = {key: value for key, value in entry.items() if key != "count"}
    tried = []
    for number in range(max((len(values) for _, values in found), default="count" in entry)):
        device = single
        for place, values in found:
            device = _with(device, place, values[min(number, len(values) - 1)])
        tried.append(device)
    if tried:
        validated(_Devices, {"devices": tried}, context=known)


def _candidates(entry: Mapping[str, Any], place: _Place, choice: Mapping[str, Any]) -> list[Any]:
    """Values of a range that all others lie between, or all of them."""
    path = ".".join(("devices", str(entry.get("name")), *place))
    if len(choice) > 1:
        raise ScenarioError(
            f"{path} = {shortened(dict(choice))} is not allowed; give one value, or one of uniform "
            f"and choice alone."
        )
    (kind, values), numbers = next(iter(choice.items())), (int, float)
    listed = isinstance(values, (list, tuple))
    if kind == "choice" and not (listed and values):
        raise ScenarioError(
            f"{path}.choice = {shortened(values)} is not allowed; give a list of at least one "
            f"value."
        )
    if kind == "uniform" and not (
        listed
        and len(values) == 2
        and all(isinstance(one, numbers) and not isinstance(one, bool) for one in values)
        and values[0] <= values[1]
    ):
        raise ScenarioError(
            f"{path}.uniform = {shortened(values)} is not allowed; give a list of two numbers, the "
            f"lower first."
        )
    return list(values)


def _with(entry: Mapping[str, Any], place: _Place, value: Any) -> Raw:
    """A copy in which a value stands at a place."""
    key, *rest = place
    inner = _with(entry[key], tuple(rest), value) if rest else value
    return {**entry, key: inner}


def _drawn(choice: Mapping[str, Any], seed: int, path: str) -> Any:
    """Value of a range for the device and key that a path names."""
    rng = np.random.default_rng([seed, *path.encode()])
    (kind, values) = next(iter(choice.items()))
    if kind == "choice":
        return values[int(rng.integers(len(values)))]
    low, high = map(float, values)
    return low + (high - low) * float(rng.random())
