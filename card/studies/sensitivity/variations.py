"""What if an assumed value were another: variations of a scenario, one at a time, and effects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from card.base.errors import ScenarioError
from card.scenario import Scenario
from card.studies.calibration import Target, reached
from card.studies.scenario_values import parameters

if TYPE_CHECKING:
    import pandas as pd

VARIED_KINDS = ("assumed", "calibrated")
"""Provenance kinds of the values that are varied; facts stay."""

ALTERNATIVES: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("training.topology", "u-shaped", {"training.topology": "u-shaped"}),
    ("training.topology", "vanilla", {"training.topology": "vanilla"}),
    ("link.fading", "none", {"link.fading": "none"}),
    ("link.fading", "block, 8 draws", {"link.fading": "block", "link.fading_draws": 8}),
    ("server.static_power_w", "20 W", {"server.static_power_w": 20.0}),
    ("server.minimum_frequency_hz", "1.5 GHz", {"server.minimum_frequency_hz": 1.5e9}),
    ("server.hardware", "RTX 4090", {"server.hardware": "rtx-4090"}),
    ("server.hardware", "A100", {"server.hardware": "a100-sxm-80gb"}),
    ("lora.targets", "q only", {"lora.targets": ["q_proj"]}),
    ("lora.targets", "q, k, v, o", {"lora.targets": ["q_proj", "k_proj", "v_proj", "o_proj"]}),
    ("llm", "Qwen2.5-0.5B", {"llm": "qwen2.5-0.5b"}),
    ("llm", "Gemma-2-2B", {"llm": "gemma-2-2b"}),
    ("llm", "Llama-3.2-3B", {"llm": "llama-3.2-3b"}),
)
"""Choices that are no matter of degree, as parameter, short name and overrides.

:meta hide-value:
"""

LEVELS = ("_db", "_dbm", "_dbm_per_hz")
"""How the names of levels end, which are varied by decibels."""

_NOT_VARIED = (
    "simulation.",
    "link.fading_draws",
    "lora.alpha",
    "training.accumulation",
    "wire.group",
    "objective.queue_weight",
)
_SHARES = ("utilisation", "memory_share", "delay_weight", "leakage_max")


@dataclass(frozen=True)
class Variation:
    """One way to bend a scenario."""

    parameter: str
    """Scenario path; `devices.distance_m` is every device's at once."""
    change: str
    """What happens to it, for people."""
    side: int
    """-1 a lower value, 1 a higher one, 0 another choice."""
    overrides: Mapping[str, Any]
    """Values per scenario path."""


@dataclass(frozen=True)
class Effect:
    """Reductions that a variation leads to."""

    parameter: str
    """Path of what was varied."""
    change: str
    """The variation in words."""
    side: int
    """-1 for the lower variation, 1 for the higher one, 0 for a choice."""
    reached: tuple[float, float]
    """Both targets' reductions [1]."""


def variations(scenario: Scenario) -> list[Variation]:
    """A lower and a higher variation of every assumed or calibrated number of a scenario.

    Levels move by 3 dB, shares and weights by 0.1 (but not beyond 1), path-loss exponents by 0.2,
    bit widths by a factor of two, all else by 20 % (whole numbers by at least 1). A value of 0, and
    one that cannot move that way, has no such variation; `ALTERNATIVES` has choices for some. Nor
    do draws, what changes no cost or only the count of scales, and micro-batches, which must divide
    a mini-batch.
    """
    items: dict[str, dict[str, float]] = {}
    for generic, path, value in numbers(scenario):
        source = scenario.source_of(path)
        if source and source.kind in VARIED_KINDS and not generic.startswith(_NOT_VARIED):
            items.setdefault(generic, {})[path] = value
    found = []
    for generic, values in items.items():
        for side in (-1, 1):
            moved = {path: _moved(generic, value, side) for path, value in values.items()}
            if moved != values:
                step = _step(generic, next(iter(values.values())), side)
                found.append(Variation(generic, step, side, moved))
    return found


def alternatives(scenario: Scenario) -> list[Variation]:
    """`ALTERNATIVES` that differ from the scenario."""
    return [
        Variation(parameter, change, 0, overrides)
        for parameter, change, overrides in ALTERNATIVES
        if scenario.updated(overrides).model_dump(exclude={"sources"})
        != scenario.model_dump(exclude={"sources"})
    ]


def effects(
    scenario: Scenario,
    changes: Sequence[Variation],
    targets: tuple[Target, Target],
    rounds: int,
    seed: int,
) -> list[Effect]:
    """Reductions under each variation, all on common draws; what no device can hold is left out."""
    found = []
    for change in changes:
        try:
            pair = reached(scenario.updated(change.overrides), targets, rounds, seed)
        except ScenarioError:
            continue
        found.append(Effect(change.parameter, change.change, change.side, pair))
    return found


def side_by_side(
    moved: Sequence[Effect],
    straight: Sequence[Effect],
    base: tuple[float, float],
    names: Sequence[str],
) -> pd.DataFrame:
    """What each variation leads to, how far that is from the base, and where slopes alone lead.

    Parameters
    ----------
    moved
        Effects of variations, a row each.
    straight
        Effects of the same variations by slopes alone, of those that have any.
    base
        Both reductions [1] without a variation.
    names
        What the two reductions are called.

    Returns
    -------
    pandas.DataFrame
        Columns `parameter`, `change`, and per name `name`, `name_shift` and `name_by_slope` [1].
    """
    import pandas as pd  # which `import card` must not load

    by_slope = {(effect.parameter, effect.change): effect.reached for effect in straight}
    rows = []
    for effect in moved:
        key = (effect.parameter, effect.change)
        shifts = (reached - now for reached, now in zip(effect.reached, base, strict=True))
        rows.append((*key, *effect.reached, *shifts, *by_slope.get(key, (None, None))))
    columns = [f"{name}{end}" for end in ("", "_shift", "_by_slope") for name in names]
    return pd.DataFrame(rows, columns=["parameter", "change", *columns])


def numbers(scenario: Scenario) -> Iterator[tuple[str, str, float]]:
    """Path without names of devices and states, full path, and value of a scenario's numbers."""
    for item in parameters(scenario):
        if isinstance(item.value, (int, float)) and not isinstance(item.value, bool):
            # what has a unit is no count, even where it is written as a whole number
            yield item.shared, item.path, float(item.value) if item.unit else item.value


def _moved(generic: str, value: float, side: int) -> float:
    if generic.endswith(LEVELS):
        return value + 3.0 * side if value or "dbm" in generic else value
    if generic.endswith("path_loss_exponent"):
        return value + 0.2 * side
    if generic.endswith(_SHARES):
        return min(1.0, max(0.0, round(value + 0.1 * side, 9)))
    if generic.endswith("_bits"):
        return int(value * 2.0**side)
    if isinstance(value, int):
        return max(1, value + side * max(1, round(0.2 * value)))
    return value * (1.0 + 0.2 * side)


def _step(generic: str, value: float, side: int) -> str:
    sign = "+" if side > 0 else "−"
    if generic.endswith(LEVELS):
        return f"{sign}3 dB"
    if generic.endswith("path_loss_exponent"):
        return f"{sign}0.2"
    if generic.endswith(_SHARES):
        return f"{sign}0.1"
    if generic.endswith("_bits"):
        return "doubled" if side > 0 else "halved"
    if isinstance(value, int) and round(0.2 * value) < 1:
        return f"{sign}1"
    return f"{sign}20 %"
