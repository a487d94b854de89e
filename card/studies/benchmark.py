"""A scorecard: policies, shipped and your own, on the same scenarios with the same draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from card.base import DISTRIBUTION
from card.base.errors import ScenarioError, argument
from card.base.units import FloatArray
from card.costs import System, evaluate, load_scenario
from card.policies import SCORED, Draws, Policy, allowed
from card.scenario import Scenario
from card.simulation import UNITS, choice_of, chosen_policies, draw
from card.solver import objective
from card.studies.bootstrap import interval_of_means, run_of

if TYPE_CHECKING:
    import xarray as xr

SUITE = (
    "nominal",
    "calibrated",
    "realistic",
    "realistic-8b",
    "measured-server",
    "bigger-llm",
    "congested-campus",
    "datacentre-server",
)
"""The scenarios of the suite, all shipped."""
ROUNDS = 2000
"""Rounds per device and channel state where nobody says how many."""
SEED = 1
"""Seed of the draws where nobody says which."""
SCORES = ("delay_s", "energy_j", "device_energy_j", "objective")


def benchmark(
    policies: Sequence[str] | Mapping[str, Policy] = (),
    scenarios: Sequence[str | Scenario] = SUITE,
    rounds: int = ROUNDS,
    seed: int = SEED,
) -> xr.Dataset:
    """Score policies beside the shipped ones on a suite of scenarios, with common draws.

    A decision that is not feasible is counted, not refused: a policy with one has no score in that
    scenario, for what it saves it could not save.

    Parameters
    ----------
    policies
        Policies beside those of `card.policies.suite.SCORED`: names of general optimisers, which
        want few rounds; FILE.py:FUNCTION; or a mapping of names to functions.
    scenarios
        Names, files or scenarios; shipped ones when none are given.
    rounds
        Rounds per device and channel state of every scenario.
    seed
        Seed of the draws.

    Returns
    -------
    xarray.Dataset
        Means over states, devices and rounds with dims `(scenario, policy)`: delay [s], server and
        devices' energy [J] and objective [1], each with the ends `_low` and `_high` of its
        bootstrap 95 % interval over rounds; and `infeasible`, the share of decisions that may not
        be taken [1]. NaN where a policy does not apply or has no score.

    Raises
    ------
    ScenarioError
        If a policy or a scenario is refused, or a policy returns no decisions.

    Examples
    --------
    >>> import card
    >>> scores = card.benchmark(scenarios=["nominal"], rounds=20).sel(scenario="nominal")
    >>> bool(scores.objective.sel(policy="card") <= scores.objective.min())
    True
    """
    import xarray as xr  # xarray brings pandas, which `import card` must not load

    if isinstance(scenarios, str) or not isinstance(scenarios, Sequence) or not scenarios:
        raise ScenarioError(
            f"scenarios = {argument(scenarios)} is not allowed; give a list of names, files or "
            "scenarios, e.g. ['nominal']."
        )
    none = isinstance(policies, (Sequence, Mapping)) and len(policies) == 0
    chosen = SCORED if none else SCORED | chosen_policies(policies)
    loaded = [one if isinstance(one, Scenario) else load_scenario(one) for one in scenarios]
    names = [one.title if isinstance(one, Scenario) else one for one in scenarios]
    tables = [_scores(scenario, chosen, rounds, seed) for scenario in loaded]
    values = {
        f"{name}{end}": (
            ("scenario", "policy"),
            np.array([table[place, :, column] for table, _ in tables]),
            {"units": UNITS[name]},
        )
        for column, name in enumerate(SCORES)
        for place, end in enumerate(("", "_low", "_high"))
    }
    shares = np.array([share for _, share in tables])
    return xr.Dataset(
        {**values, "infeasible": (("scenario", "policy"), shares, {"units": "1"})},
        coords={"scenario": names, "policy": list(chosen)},
        attrs={
            "rounds": rounds,
            "seed": seed,
            "source": f"card {metadata.version(DISTRIBUTION)}",
            "scenario_hash": ", ".join(scenario.digest for scenario in loaded),
        },
    )


def _scores(
    scenario: Scenario, chosen: Mapping[str, Policy], rounds: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Means with their ends, dims `(3, policy, score)`, and shares of infeasible decisions."""
    system = System.of(scenario)
    draws = draw(system, scenario, rounds, seed)
    found = [_per_round(system, draws, *entry, seed) for entry in chosen.items()]
    table = np.stack([scores for scores, _ in found])
    run = run_of(scenario.link.shadowing_coherence_rounds, rounds)
    ends = interval_of_means(seed, table, run=run)
    return np.concatenate([table.mean(axis=-1)[None], ends]), np.array([one for _, one in found])


def _per_round(
    system: System, draws: Draws, name: str, policy: Policy, seed: int
) -> tuple[FloatArray, float]:
    """Means over states and devices, dims `(score, round)`, and the share that is infeasible."""
    unknown = np.full((len(SCORES), draws.device.shape[-1]), np.nan)
    try:
        cut, clock = choice_of(system, draws, name, policy, seed)
    except ScenarioError:
        if name in SCORED:  # one that needs what the scenario lacks
            return unknown, np.nan
        raise
    feasible = allowed(system, draws.device, cut, clock)
    if not feasible.all():
        return unknown, float(1 - feasible.mean())
    costs = evaluate(system, draws.device, cut, clock, draws.uplink_bps, draws.downlink_bps)
    value = objective(draws.extremes, system.delay_weight, costs.delay_s, costs.energy_j)
    scores = (costs.delay_s, costs.energy_j, costs.device_energy_j, value)
    return np.stack([score.mean(axis=(0, 1)) for score in scores]), 0.0
