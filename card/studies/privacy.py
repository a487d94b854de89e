"""What it costs to keep a text from the server: settings of a scenario, and limits of leakage.

What each is worth is another question, which `card.scenario.leakage` answers for an LLM that was
measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from card.base.errors import ScenarioError
from card.costs import checked, system
from card.scenario import Scenario
from card.scenario.leakage import Attack
from card.simulation import simulate
from card.studies.bootstrap import mean_intervals, reductions

SETTINGS: dict[str, tuple[str, int]] = {
    "labels sent": ("vanilla", 0),
    "cut 1 or deeper": ("vanilla", 1),
    "labels kept": ("u-shaped", 0),
    "both": ("u-shaped", 1),
}
"""Topology and first cut of each setting, by what the device then keeps to itself."""

THREATS: dict[str, tuple[Attack, ...] | None] = {
    "decoder, later rounds": ("late-inversion",),
    "decoder, first round": ("inversion",),
    "every attack": None,
}
"""Attacks that are feared, the weakest first; None for all in the scenario's table."""


class Mean(NamedTuple):
    """A mean over states, devices and rounds, with its bootstrap 95 % interval."""

    value: float
    """The mean."""
    low: float
    """Lower end; NaN for a single round, as the upper one."""
    high: float
    """Upper end."""


@dataclass(frozen=True)
class Setting:
    """What CARD takes in one setting, and what it saves there."""

    name: str
    """One of `SETTINGS`."""
    delay_s: Mean | None
    """Mean delay of a round [s]; None, as all else, where the setting is impossible."""
    energy_j: Mean | None
    """Mean server energy of a round [J]."""
    device_energy_j: Mean | None
    """Mean energy of a device in its round [J]."""
    reductions: Mapping[str, Any] | None
    """CARD's reductions in this setting, as `card.studies.bootstrap.reductions` gives them."""
    reason: str = ""
    """Why it is impossible; empty where it is not."""


def settings(
    scenario: Scenario, rounds: int | None = None, seed: int | None = None
) -> list[Setting]:
    """CARD and its two benchmarks with each of `SETTINGS`, on the same draws.

    Parameters
    ----------
    scenario
        The scenario; its topology is replaced, and its range of cuts begins no earlier than the
        setting's.
    rounds
        Rounds of the simulations; the scenario's when None.
    seed
        Their seed; likewise.
    """
    first, last = scenario.training.cut_range
    found = []
    for name, (topology, floor) in SETTINGS.items():
        chosen = {"topology": topology, "cut_range": [max(first, floor), last]}
        try:
            changed = checked(scenario.updated({"training": chosen}))
        except ScenarioError as error:
            found.append(Setting(name, None, None, None, None, str(error)))
            continue
        results = simulate(changed, ["card", "device_only", "server_only"], rounds, seed)
        found.append(Setting(name, *_means(results), reductions(results)))
    return found


@dataclass(frozen=True)
class Limited:
    """What CARD takes where options leak no more than a limit."""

    threat: str
    """What is feared, by name."""
    leakage_max: float
    """The limit [1], which is the leakage of one or more options."""
    delay_s: Mean
    """Mean delay of a round [s]."""
    energy_j: Mean
    """Mean server energy of a round [J]."""
    device_energy_j: Mean
    """Mean energy of a device in its round [J]."""
    offloaded: float
    """Share of device-rounds in which any block is the server's [1]."""


def limits(
    scenario: Scenario,
    threats: Mapping[str, Iterable[Attack] | None] = THREATS,
    rounds: int | None = None,
    seed: int | None = None,
) -> list[Limited]:
    """CARD under every limit of leakage that changes which options there are, from the lowest on.

    Parameters
    ----------
    scenario
        A scenario with a table of leakage.
    threats
        Attacks that are feared, by name; None for all in the table.
    rounds
        Rounds of the simulations, which share their draws; the scenario's when None.
    seed
        Their seed; likewise.

    Raises
    ------
    ScenarioError
        If the scenario has no table of leakage, or an attack is not in it.
    """
    if scenario.leakage is None:
        raise ScenarioError(
            "privacy.leakage = null has no limits to compare; name a table for the scenario's LLM."
        )
    found = []
    for threat, attacks in threats.items():
        feared = {"attacks": None if attacks is None else list(attacks), "leakage_max": None}
        free = system(scenario.updated({"privacy": feared}))
        taken = set() if free.leakage is None else {*free.leakage[free.feasible.any(axis=0)]}
        for limit in sorted(map(float, taken)):
            try:
                limited = checked(scenario.updated({"privacy": {**feared, "leakage_max": limit}}))
            except ScenarioError:  # some device has no option that leaks so little
                continue
            results = simulate(limited, ["card"], rounds, seed)
            offloaded = float((results.cut < free.num_blocks).mean())
            found.append(Limited(threat, limit, *_means(results), offloaded))
    return found


def _means(results: Any) -> tuple[Mean, Mean, Mean]:
    table = mean_intervals(results.sel(policy=["card"])).isel(policy=0)
    delay, energy, device_energy = (
        Mean(*map(float, table[name].values)) for name in ("delay_s", "energy_j", "device_energy_j")
    )
    return delay, energy, device_energy
