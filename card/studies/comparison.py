"""Two studies side by side: which values differ, and what that does to delay and energy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from card.base.text_files import known
from card.scenario import Scenario
from card.simulation import rounds_and_seed, simulate
from card.studies.bootstrap import RESAMPLES, reductions, resampled_means, run_of
from card.studies.scenario_values import Difference, differences

QUANTITIES = ("delay_s", "energy_j", "device_energy_j")
"""Quantities whose means are compared."""


@dataclass(frozen=True)
class Change:
    """Mean of one quantity under one policy in two scenarios, and how far it moves."""

    policy: str
    """Name of the policy."""
    quantity: str
    """One of `QUANTITIES`."""
    first: float | None
    """Mean in the first scenario [s or J]; None where a device's energy is not known."""
    second: float | None
    """Mean in the second scenario [s or J]; likewise."""
    change: float | None
    """Second mean less first mean [s or J]; None where one of them is."""
    low: float | None
    """Lower end of the change's bootstrap 95 % interval; None for a single round, too."""
    high: float | None
    """Upper end of that interval."""


@dataclass(frozen=True)
class Comparison:
    """What differs between two scenarios, in what they are given and in what comes out."""

    titles: tuple[str, str]
    """Titles of both."""
    rounds: int
    """Rounds simulated."""
    seed: int
    """Seed of both simulations."""
    parameters: tuple[Difference, ...]
    """Values that differ."""
    changes: tuple[Change, ...]
    """Means of every policy in both."""
    reductions: tuple[dict[str, Any], dict[str, Any]]
    """CARD's reductions in each, as `card.studies.bootstrap.reductions` gives them."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as `card compare --json` prints them."""
        return asdict(self) | {"parameters": [item._asdict() for item in self.parameters]}


def compare(
    first: Scenario, second: Scenario, rounds: int | None = None, seed: int | None = None
) -> Comparison:
    """Compare two scenarios on the same random numbers.

    Parameters
    ----------
    first
        The scenario that changes are counted from.
    second
        The scenario that they lead to.
    rounds
        Rounds of both simulations; the first scenario's when None.
    seed
        Seed of both simulations; likewise.

    Returns
    -------
    Comparison
        Its intervals come from resampling rounds, the same in both scenarios, since a round of one
        and the round of that number in the other share their random numbers.

    Raises
    ------
    ScenarioError
        If a scenario has a device that no cut fits, or rounds or seed are refused.
    """
    rounds, seed = rounds_and_seed(first, rounds, seed)
    runs = [simulate(scenario, None, rounds, seed) for scenario in (first, second)]
    theirs = set(runs[1].policy.values.tolist())
    common = [policy for policy in runs[0].policy.values.tolist() if policy in theirs]
    runs = [run.sel(policy=common) for run in runs]
    tables = [
        run[list(QUANTITIES)]
        .mean(("state", "device"), skipna=False)
        .to_dataarray()
        .transpose(..., "round")
        .values
        for run in runs
    ]
    means = np.stack([table.mean(axis=-1) for table in tables])
    coherence = max(one.link.shadowing_coherence_rounds for one in (first, second))
    together = run_of(coherence, rounds)
    drawn = resampled_means((seed, 4), np.stack(tables), RESAMPLES, together)
    ends = np.quantile(drawn[:, 1] - drawn[:, 0], [0.025, 0.975], axis=0)
    if rounds < 2:
        ends = np.full_like(ends, np.nan)
    changes = [
        Change(
            policy,
            quantity,
            *(known(float(table[row, column])) for table in (*means, means[1] - means[0], *ends)),
        )
        for column, policy in enumerate(common)
        for row, quantity in enumerate(QUANTITIES)
    ]
    return Comparison(
        titles=(first.title, second.title),
        rounds=rounds,
        seed=seed,
        parameters=tuple(differences(first, second)),
        changes=tuple(changes),
        reductions=(reductions(runs[0]), reductions(runs[1])),
    )
