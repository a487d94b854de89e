"""Means of delay and energy and CARD's reductions of them, with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from card.base.errors import unknown
from card.base.units import FloatArray, IntArray
from card.simulation import reduction

if TYPE_CHECKING:
    import xarray as xr

RESAMPLES = 2000
"""Bootstrap resamples behind an interval."""
_KEPT = 1 << 27
"""Weights of rounds up to which they are kept, 1 byte each."""
_AT_ONCE = 1 << 17
"""Weights that a product of matrices takes at once."""
_COHERENCES = 10
"""Length of the runs of rounds that are resampled together, in coherences of the shadowing."""


def mean_intervals(
    results: xr.Dataset, by: Sequence[str] = ("policy",), resamples: int = RESAMPLES
) -> xr.Dataset:
    """Means of delay and energies with bootstrap 95 % intervals over rounds.

    Parameters
    ----------
    results
        Dataset of `card.simulate`.
    by
        Dimensions kept; the others are averaged.
    resamples
        Bootstrap resamples; all means share them, as all policies share their draws.

    Returns
    -------
    xarray.Dataset
        Dataset over `(*by, statistic)` with statistics `mean`, `low` and `high`; device energy is
        NaN where that of one device is not known.
    """
    import xarray as xr  # xarray brings pandas, which `import card` must not load

    chosen = results[["delay_s", "energy_j", "device_energy_j"]]
    averaged = [dim for dim in chosen.dims if dim not in (*by, "round")]
    rounds = chosen.mean(averaged, skipna=False).to_dataarray().transpose("variable", *by, "round")
    run = _run(results)
    ends = interval_of_means(int(results.attrs["seed"]), rounds.values, resamples, run)
    parts = [rounds.mean("round"), *(rounds.isel(round=0, drop=True).copy(data=e) for e in ends)]
    joined = xr.concat(parts, dim="statistic").transpose("variable", *by, "statistic")
    table = joined.to_dataset("variable").assign_coords(statistic=["mean", "low", "high"])
    for name in table:
        table[name].attrs["units"] = results[name].attrs["units"]
    return table


def interval_of_means(
    seed: int, table: FloatArray, resamples: int = RESAMPLES, run: int = 1
) -> FloatArray:
    """Bootstrap 95 % intervals of means over rounds.

    Parameters
    ----------
    seed
        Seed of the simulation.
    table
        Values per round, rounds last.
    resamples
        Bootstrap resamples; all means share them.
    run
        Rounds that are resampled together, by `run_of`.

    Returns
    -------
    FloatArray
        Lower ends and upper ends, shape `(2, *table.shape[:-1])`.
    """
    if table.shape[-1] < 2:
        return np.full((2, *table.shape[:-1]), np.nan)
    drawn = resampled_means((seed, 3), table, resamples, run)
    ends: FloatArray = np.quantile(drawn, [0.025, 0.975], axis=0)
    return ends


def reductions(
    results: xr.Dataset, resamples: int = RESAMPLES, baseline: str | None = None
) -> dict[str, dict[str, Any]]:
    """CARD's reductions of mean delay and server energy against every other policy.

    Parameters
    ----------
    results
        Dataset of `simulate`, with the policy `card` where no baseline is named.
    resamples
        Bootstrap resamples.
    baseline
        Policy that every other one is compared with: their reductions against it, in place of
        CARD's against them.

    Returns
    -------
    dict[str, dict[str, Any]]
        Per other policy `delay` and `energy`, each with `value`, `low` and `high`, the ratio of
        means over states, devices and rounds and its paired bootstrap 95 % percentile interval over
        rounds. None where the mean compared with is 0, an interval also where there is one round.

    Raises
    ------
    ScenarioError
        If a policy that is needed was not simulated.
    """
    per_round = results[["delay_s", "energy_j"]].mean(("state", "device"))
    table = per_round.to_dataarray().transpose("variable", "policy", "round").values
    resampled = resampled_means((int(results.attrs["seed"]), 2), table, resamples, _run(results))
    policies = results.policy.values.tolist()
    named = baseline or "card"
    if named not in policies:
        raise unknown("baseline", named, policies)
    fixed = policies.index(named)

    def interval(quantity: int, policy: int) -> dict[str, float | None]:
        ours, theirs = (policy, fixed) if baseline else (fixed, policy)
        value = reduction(table[quantity, ours], table[quantity, theirs])
        if value is None or table.shape[-1] < 2:
            return {"value": value, "low": None, "high": None}
        spent = resampled[:, quantity, theirs]
        defined = spent > 0
        ratios = 1.0 - resampled[defined, quantity, ours] / spent[defined]
        low, high = np.quantile(ratios, [0.025, 0.975])
        return {"value": value, "low": float(low), "high": float(high)}

    return {
        name: {"delay": interval(0, position), "energy": interval(1, position)}
        for position, name in enumerate(policies)
        if position != fixed
    }


def resampled_means(
    key: tuple[int, int], table: FloatArray, resamples: int, run: int = 1
) -> FloatArray:
    """Means over resampled rounds (last axis), the same rounds in every row; resamples first.

    Runs of rounds that follow one another, around the end, stay together: a circular block
    bootstrap (Politis and Romano 1992), for rounds that are correlated.

    Parameters
    ----------
    key
        Seed of the simulation, and a number of the purpose, which seed the resampling.
    table
        Values per round, rounds last.
    resamples
        Bootstrap resamples.
    run
        Rounds that are resampled together, by `run_of`.
    """
    count = table.shape[-1]
    few = resamples * count <= _KEPT
    weights = iter(_kept_weights(key, count, resamples, run) if few else _weights(key, count, run))
    rows = table.reshape(-1, count).T
    sums = np.empty((resamples, rows.shape[1]))
    for some in np.array_split(sums, min(resamples, -(-resamples * count // _AT_ONCE))):
        some[...] = np.array([*islice(weights, len(some))], np.float64) @ rows
    averaged: FloatArray = sums.reshape(resamples, *table.shape[:-1]) / count
    return averaged


def _weights(key: tuple[int, int], count: int, run: int) -> Iterator[IntArray]:
    """How often each round is drawn, for one resample after the other without end."""
    rng = np.random.default_rng(key)
    runs, within = -(-count // run), np.arange(run)
    while True:
        starts = rng.integers(count, size=runs)
        rounds = ((starts[:, None] + within).ravel()[:count] % count) if run > 1 else starts
        yield np.bincount(rounds, minlength=count)


@lru_cache(maxsize=2)
def _kept_weights(key: tuple[int, int], count: int, resamples: int, run: int) -> NDArray[np.uint8]:
    """The first of them: the points of a sweep resample the same rounds, one after the other."""
    kept = np.empty((resamples, count), np.uint8)
    for row, times in zip(kept, _weights(key, count, run), strict=False):
        row[...] = times
    return kept


def run_of(coherence_rounds: float, rounds: int) -> int:
    """Rounds to resample together: one, or ten coherences, and at most all."""
    return max(1, min(rounds, math.ceil(_COHERENCES * coherence_rounds)))


def _run(results: xr.Dataset) -> int:
    return run_of(results.attrs.get("shadowing_coherence_rounds", 0), results.sizes["round"])
