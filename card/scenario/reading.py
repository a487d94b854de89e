"""Reading a scenario: a file of the shape of `data/scenarios/nominal.yml`, or one with a `base`.

A file with a `base` key overrides another one, as `card.base.overrides` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from card.base.data_files import scenario_file
from card.base.errors import ScenarioError, laid_to, validated
from card.base.functions import functions, is_function
from card.base.llm_configs import is_llm_file
from card.base.overrides import canonical, merge_recorded, origins, removed
from card.base.provenance import Origins, check_origins, set_by
from card.base.schema import POLICY_NAMES, check_sweep
from card.base.yaml_files import read_yaml
from card.hardware.catalogue import is_file
from card.scenario.fleets import expanded, opened
from card.scenario.tables import is_table_file
from card.scenario.traces import is_trace_file
from card.scenario.whole import Scenario

Further = Callable[[Scenario], object]
"""What else a scenario is asked, which refuses it with a `ScenarioError`."""


def read_scenario(name_or_path: str | Path, /, *further: Further, **overrides: Any) -> Scenario:
    """Read a scenario or study with its bases; `card.load_scenario` also asks whether it works.

    Parameters
    ----------
    name_or_path, **overrides
        As `card.load_scenario` takes them.
    *further
        Each refuses what else is wrong with it, the quick ones first; what they refuse is laid to
        the file at fault, too.

    Raises
    ------
    ScenarioError
        If a file is missing or malformed, a key unknown, or a value out of range.
    """
    raw, layers = _read_merged(scenario_file(name_or_path), (), further)
    with _above(layers, further):
        if overrides:
            below = opened(raw, overrides)
            merged = merge_recorded(below, overrides, "set by the user")
            layers.append(_Layer("", overrides, below, merged))
        scenario = _made(layers)
        whole = scenario.model_dump()
        for where, given, *found in layers:
            check_origins(origins(given), *found, whole, where=where)
    for count, check in enumerate(further, 1):
        with _above(layers, further[:count]):
            check(scenario)
    return scenario


class _Layer(NamedTuple):
    """What one file, or the user, changes."""

    where: str
    """The file, if the user has not named it."""
    given: Mapping[str, Any]
    """The changes."""
    before: dict[str, Any]
    """Raw scenario below; the changes themselves where there is none."""
    after: dict[str, Any]
    """Raw scenario with them."""


def _made(layers: Sequence[_Layer]) -> Scenario:
    """The scenario that layers make, the lowest first."""
    empty = {path for layer in layers for path in removed(layer.given, layer.before)}
    scenario = validated(Scenario, expanded(layers[-1].after), removed=empty)
    functions("policies", scenario.policies, dict.fromkeys(POLICY_NAMES))
    return scenario


@contextmanager
def _above(layers: Sequence[_Layer], checks: Sequence[Further]) -> Iterator[None]:
    """Context in which a refusal gives way to that of the lowest file below that is at fault.

    Files below are looked at only then: reading is quick, and a change may mend what is below it.
    """
    try:
        yield
    except ScenarioError:
        found = [_faults(layers[:number], checks) for number in range(1, len(layers) + 1)]
        laid = [_laid(path, layers, found) for path in found[-1]]
        lowest, _ = min(laid, default=(-1, ""))
        if laid and layers[lowest].where:
            lines = dict.fromkeys(line for number, line in laid if number == lowest)
            with laid_to(layers[lowest].where):
                raise ScenarioError("\n".join(lines)) from None
        raise


def _laid(
    path: str, layers: Sequence[_Layer], found: Sequence[Mapping[str, str]]
) -> tuple[int, str]:
    """Number of the layer at fault for what is refused at a path, and the line that says so.

    It is the lowest one from which on all are refused there for the same value; or one that has
    something else than a section, of which those above give only other parts.
    """
    line, path = found[-1][path], _whole_list(path)
    section = path.partition(".")[0]
    for number in range(len(layers) - 1, 0, -1):
        below, above, own = layers[number - 1].after, layers[number].after, found[number - 1]
        none = section in own and not isinstance(below.get(section), (Mapping, list))
        parts = isinstance(above.get(section), Mapping)
        if none and parts and (path == section or _at(above, path) is None):
            path, line = section, own[section]
        elif _of_any(path) not in map(_of_any, own) or _at(below, path) != _at(above, path):
            return number, line
    return 0, line


def _faults(layers: Sequence[_Layer], checks: Sequence[Further]) -> dict[str, str]:
    """Each line that refuses what layers make, by the path that it begins with.

    What is refused may hide what else is wrong, and so gives way to what the lowest layer has. What
    is refused there then, or in a part of it, is no longer what somebody gave.
    """
    found: dict[str, str] = {}
    aside: set[str] = set()
    *below, last = layers
    try:
        while lines := _refusal([*below, last], checks):
            named = {line.split(" ", 1)[0].rstrip(":"): line for line in lines}
            fresh = {p: line for p, line in named.items() if not _within(_of_any(p), aside)}
            found |= fresh
            if not fresh:
                break
            # hardware that somebody describes is put aside as a whole
            paths = {re.sub(r"(?<=\.hardware)\..*", "", _of_any(path)) for path in fresh}
            sound = {path: _at(layers[0].after, path) for path in paths}
            aside |= sound.keys()
            last = last._replace(after=merge_recorded(last.after, sound, "put aside"))
    except ScenarioError:  # what is wrong cannot be taken out
        pass
    return found


def _refusal(layers: Sequence[_Layer], checks: Sequence[Further]) -> list[str]:
    """Lines that refuse what layers make; none where nothing does."""
    try:
        made = _made(layers)
        for check in checks:
            check(made)
    except ScenarioError as error:
        return str(error).split("\n")
    return []


def _of_any(path: str) -> str:
    """Path of a value, or of the list that it is in, with `*` for a device or a channel state."""
    return _whole_list(re.sub(r"^(devices|channel_states)\.[^.]+", r"\1.*", path))


def _whole_list(path: str) -> str:
    """Path of the list that a value is in, or of the value."""
    return re.sub(r"(\.[0-9]+)+$", "", path)


def _within(path: str, others: Iterable[str]) -> bool:
    """Whether a path leads to one of others, into it, or to what it is in."""
    return any(f"{path}.".startswith(f"{one}.") or one.startswith(f"{path}.") for one in others)


def _at(raw: Any, path: str) -> Any:
    """What a raw scenario has at a path; None where it has nothing, the first item's for `*`."""
    raw = opened(raw, {path: None})
    for key in canonical(path, raw).split("."):
        if isinstance(raw, list):
            raw = {str(item.get("name")): item for item in raw if isinstance(item, Mapping)}
        items = raw if isinstance(raw, Mapping) else {}
        raw = next(iter(items.values()), None) if key == "*" else items.get(key)
    return raw


def _read_merged(
    path: Path, seen: tuple[Path, ...], checks: Sequence[Further]
) -> tuple[dict[str, Any], list[_Layer]]:
    if path in seen:
        raise ScenarioError(f"{path}: `base` leads back to the file itself; name another base.")
    where, raw = str(path) if seen else "", read_study(path)
    with laid_to(where):
        check_sweep(raw.pop("sweep", None))  # is none of this one's values
    base = raw.pop("base", None)
    layers: list[_Layer] = []
    if base is None:
        below, merged = raw, raw
    elif isinstance(base, str):
        with laid_to(where):
            file = scenario_file(base, path.parent)
        below, layers = _read_merged(file, (*seen, path), checks)
        with _above(layers, checks), laid_to(where):
            below = opened(below, raw)
            merged = merge_recorded(below, raw, set_by(path))
    else:
        raise ScenarioError(
            f"base = {base!r} of {path} is not allowed; give the name or the file of a scenario."
        )
    if where:  # what changes it later hides what is wrong here
        validated(Origins, {"sources": merged.get("sources", {})}, where)
    return merged, [*layers, _Layer(where, raw, below, merged)]


def read_study(path: Path) -> dict[str, Any]:
    """What a scenario or study file says, with files that it names found from its folder."""
    raw: dict[str, Any] = _anchored(read_yaml(path, "base: nominal"), path.parent)
    return raw


def _anchored(node: Any, folder: Path, key: str = "") -> Any:
    if isinstance(node, dict):
        # what is drawn from a list is of the key that the list stands for
        keys = {name: key if name == "choice" else str(name) for name in node}
        return {name: _anchored(value, folder, keys[name]) for name, value in node.items()}
    if isinstance(node, list):
        return [_anchored(item, folder, key) for item in node]
    if not isinstance(node, str):
        return node
    last = key.rpartition(".")[2]
    named = (
        (last == "hardware" and is_file(node))
        or (last in ("leakage", "loss_penalty") and is_table_file(node))
        or (last == "trace" and is_trace_file(node))
        or (last == "policies" and is_function(node))
        or (key == "llm" and is_llm_file(node, folder))
    )
    return str(folder / node) if named else node
