"""CARD's reductions of delay and energy, with bootstrap intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from card.base.units import FloatArray
from card.simulation import reduction

if TYPE_CHECKING:
    import xarray as xr

RESAMPLES = 2000
"""Bootstrap resamples behind an interval."""


def reductions(results: xr.Dataset, resamples: int = RESAMPLES) -> dict[str, dict[str, Any]]:
    """CARD's reductions of mean delay and server energy against every other policy.

    Parameters
    ----------
    results
        Dataset of `simulate` with the policy `card`.
    resamples
        Bootstrap resamples.

    Returns
    -------
    dict[str, dict[str, Any]]
        Per benchmark `delay` and `energy`, each with `value`, `low` and `high`, the ratio of means
        over states, devices and rounds and its paired bootstrap 95 % percentile interval over
        rounds. None where the benchmark's mean is 0, an interval also where there is one round.
    """
    per_round = results[["delay_s", "energy_j"]].mean(("state", "device"))
    table = per_round.to_dataarray().transpose("variable", "policy", "round").values
    rng = np.random.default_rng([int(results.attrs["seed"]), 2])
    resampled = resampled_means(rng, table, resamples)
    policies = results.policy.values.tolist()
    ours = policies.index("card")

    def interval(quantity: int, policy: int) -> dict[str, float | None]:
        value = reduction(table[quantity, ours], table[quantity, policy])
        if value is None or table.shape[-1] < 2:
            return {"value": value, "low": None, "high": None}
        spent = resampled[:, quantity, policy]
        defined = spent > 0
        ratios = 1.0 - resampled[defined, quantity, ours] / spent[defined]
        low, high = np.quantile(ratios, [0.025, 0.975])
        return {"value": value, "low": float(low), "high": float(high)}

    return {
        name: {"delay": interval(0, position), "energy": interval(1, position)}
        for position, name in enumerate(policies)
        if position != ours
    }


def resampled_means(rng: np.random.Generator, table: FloatArray, resamples: int) -> FloatArray:
    """Means over resampled rounds (last axis), the same rounds in every row; resamples first."""
    count = table.shape[-1]
    means = np.empty((resamples, *table.shape[:-1]))
    for resample in means:
        resample[...] = table @ np.bincount(rng.integers(count, size=count), minlength=count)
    averaged: FloatArray = means / count
    return averaged
