"""Every value of a scenario under the path that addresses it, and what differs between two."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from card.base.functions import OwnFunction
from card.base.llm_configs import is_llm_file, llm_title, said
from card.base.provenance import Source
from card.hardware import Hardware
from card.hardware.catalogue import board_content, is_file
from card.policies import named
from card.scenario import Link, Scenario
from card.scenario.fleets import fleet_of

_FEW = 2
"""Changed items of a list up to which each is named; more are shown beside each other."""
_MANY = 10
"""Values of a list, or devices of a fleet, up to which each is shown."""


class Parameter(NamedTuple):
    """One value of a scenario and where it comes from."""

    path: str
    """What addresses it, as in `devices.device-1.distance_m`."""
    shared: str
    """The path without the name of a list item, as in `devices.distance_m`."""
    value: Any
    """The value itself."""
    unit: str
    """Its unit; empty where it has none."""
    source: Source | None
    """Where it comes from; None where nothing is said."""


class Difference(NamedTuple):
    """One value that two scenarios do not share, or the values of one key in all list items."""

    path: str
    """What addresses it in both."""
    first: Any
    """Value in the first scenario; a list over items where the path names none."""
    second: Any
    """Value in the second scenario; likewise."""
    unit: str
    """Its unit; empty where it has none."""


def parameters(scenario: Scenario) -> Iterator[Parameter]:
    """Every value of a scenario, under the path that addresses it."""
    for keys, shared, value, field in leaves(scenario):
        path = ".".join(keys)
        yield Parameter(path, shared, value, unit_in(field.description), scenario.source_of(path))


def leaves(
    part: BaseModel, keys: tuple[str, ...] = (), shared: str = ""
) -> Iterator[tuple[tuple[str, ...], str, Any, FieldInfo]]:
    """Keys that lead to a value, its path without names of list items, the value, and its field.

    Titles, names, policies and sources are no values of the model.
    """
    for key, field in type(part).model_fields.items():
        value, here, common = getattr(part, key), (*keys, key), f"{shared}.{key}".lstrip(".")
        if key in ("title", "name", "policies", "sources"):
            continue
        if isinstance(value, BaseModel) and not isinstance(value, Hardware):
            yield from leaves(value, here, common)
        elif key == "link":
            for name, item in value.items():
                yield (*here, name), f"{common}.{name}", item, Link.model_fields.get(name, field)
        elif isinstance(value, Mapping):
            for name, item in value.items():
                yield from leaves(item, (*here, name), common)
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for item in value:
                yield from leaves(item, (*here, item.name), common)
        else:
            yield here, common, value, field


def taken(scenario: Scenario, keys: Iterable[str]) -> dict[str, Any]:
    """Values of these keys by path, wherever the scenario has them, to update another one with."""
    wanted = set(keys)
    return {i.path: i.value for i in parameters(scenario) if i.path.split(".")[-1] in wanted}


def joined(items: Iterable[Parameter]) -> Iterator[Parameter]:
    """One entry for the values of all list items, where they have one source."""
    groups: dict[str, list[Parameter]] = {}
    for item in items:
        groups.setdefault(item.shared, []).append(item)
    for shared, group in groups.items():
        if len(group) > 1 and all(item.source == group[0].source for item in group):
            yield group[0]._replace(path=shared, value=[item.value for item in group])
        else:
            yield from group


def by_fleet(items: Iterable[Parameter]) -> Iterator[Parameter]:
    """One entry for the values of a fleet's devices that have one source, in place of their own."""
    groups: dict[Any, list[Parameter]] = {}
    for item in items:
        part, name, *rest = (*item.path.split(".", 2), "", "")[:3]
        path = f"devices.{fleet_of(name)}-*.{rest[0]}" if part == "devices" else item.path
        groups.setdefault((path, repr(item.source)), []).append(item)
    for (path, _), group in groups.items():
        if len(group) > _MANY:
            yield group[0]._replace(path=path, value=[item.value for item in group])
        else:
            yield from group


def differences(first: Scenario, second: Scenario) -> list[Difference]:
    """Values that differ between two scenarios, in the order of their keys.

    A list whose items have other names in the second scenario, or many other values, is one entry
    with the values of all its items, unless one value is that of every item in both. Where a device
    takes from the cell's link what another has for itself, its value is None.
    """
    called: dict[str, str] = {}
    before, after = _grouped(first, called), _grouped(second, called)
    found = []
    for shared in dict.fromkeys((*before, *after)):
        like = next(iter((before.get(shared) or after[shared]).values()))
        ours = _of_all(before.get(shared, {}), like, first)
        theirs = _of_all(after.get(shared, {}), like, second)
        changed = [path for path in ours if path in theirs and ours[path] != theirs[path]]
        if ours.keys() == theirs.keys() and len(changed) <= _FEW:
            found += [
                Difference(path, ours[path].value, theirs[path].value, like.unit)
                for path in changed
            ]
            continue
        old, new = ([item.value for item in side.values()] for side in (ours, theirs))
        if old != new and (not (old and new) or len({repr(one) for one in (*old, *new)}) > 1):
            found.append(Difference(shared, old, new, like.unit))
    both = (first, second)
    listed = {
        "devices": [[device.name for device in one.devices] for one in both],
        "channel_states": [list(one.channel_states) for one in both],
        "policies": [_policies(one) for one in both],
    }
    for path, (old, new) in listed.items():
        if old != new:
            at = next((i for i, d in enumerate(found) if d.path.startswith(path)), len(found))
            found.insert(at, Difference(path, old, new, ""))
    return found


def _of_all(
    found: dict[str, Parameter], like: Parameter, scenario: Scenario
) -> dict[str, Parameter]:
    """Values by path; of devices with own links for every device, None where it has none."""
    if not like.shared.startswith("devices.link."):
        return found
    key = like.shared.removeprefix("devices.")
    paths = [f"devices.{device.name}.{key}" for device in scenario.devices]
    return {path: found.get(path, like._replace(path=path, value=None)) for path in paths}


def _grouped(scenario: Scenario, called: dict[str, str]) -> dict[str, dict[str, Parameter]]:
    """Values by shared path and path, without sources, which are no values of the model.

    What has a file is what the file says, wherever it lies: equal contents share the first name,
    which `called` keeps.
    """

    def told(content: Any, title: str, name: str | None = None) -> str:
        key = json.dumps(content, sort_keys=True)
        return called.setdefault(key, name or _told(title, key))

    llm, config = scenario.llm, scenario.llm_config
    groups: dict[str, dict[str, Parameter]] = {}
    for item in parameters(scenario):
        value = item.value
        if item.path == "link.trace":
            value = [told(one.digest, one.path.stem) for one in scenario.traces]
        elif item.path == "privacy.leakage" and scenario.leakage:
            value = told(scenario.leakage.content, scenario.leakage.llm)
        elif item.path == "wire.loss_penalty" and scenario.penalties:
            value = told(scenario.penalties.content, scenario.penalties.llm)
        elif item.path == "llm":
            value = told(said(config), llm_title(llm, config), None if is_llm_file(llm) else llm)
        elif item.path.endswith("hardware"):
            board = value if isinstance(value, Hardware) else scenario.boards[value]
            own = isinstance(value, Hardware) or is_file(value)
            value = told(board_content(board), board.title, None if own else value)
        groups.setdefault(item.shared, {})[item.path] = item._replace(source=None, value=value)
    return groups


def _policies(scenario: Scenario) -> list[str]:
    """Policies by name, those of a user with a digest of their file."""
    return [
        _told(name, policy.source) if isinstance(policy, OwnFunction) else name
        for name, policy in named(scenario.policies).items()
    ]


def _told(title: str, content: str) -> str:
    """Title of what a file describes, and the start of a digest of all that it says."""
    return f"{title} ({hashlib.sha256(content.encode()).hexdigest()[:8]})"


def unit_in(description: str | None) -> str:
    """Unit that a field's description carries in brackets."""
    found = re.search(r"\[(.+?)\]", description or "")
    return found[1] if found else ""


def show(value: Any) -> str:
    """Value as a reader writes it: 10,000,000 rather than 1e+07; a list's repeats are counted."""
    if _is_nothing(value):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Hardware):
        return value.title
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {show(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        words = [show(item) for item in value]
        if len(words) <= 2:  # a pair, such as of bounds
            return ", ".join(words)
        runs = [(key, len(list(group))) for key, group in groupby(words)]
        if len(runs) > _MANY:
            return _summary(value)
        return ", ".join(f"{count} × {key}" if count > 1 else key for key, count in runs)
    if isinstance(value, (int, float)):  # a whole number, such as a seed, to its last digit
        return f"{value:,{'' if isinstance(value, int) else '.10g'}}".replace("-", "−")
    return str(value)


def _summary(values: Sequence[Any]) -> str:
    """Many values on a line: the range of numbers, or how often there is each word."""
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        least, most = (show(float(f"{end(values):.4g}")) for end in (min, max))
        return f"{len(values)} values from {least} to {most}"
    counted = Counter(map(show, values)).most_common()
    listed = [f"{count} × {word}" if count > 1 else word for word, count in counted[:_MANY]]
    return ", ".join((*listed, *(["…"] if len(counted) > _MANY else [])))


def with_unit(value: Any, unit: str) -> str:
    """Value as a reader writes it, with its unit."""
    return show(value) if _is_nothing(value) else f"{show(value)} {unit}".strip()


def _is_nothing(value: Any) -> bool:
    """Whether it is None, or a list of that alone, or of nothing."""
    several = isinstance(value, (list, tuple))
    return value is None or (several and all(item is None for item in value))
