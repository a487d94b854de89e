"""Two scenario values at which two targets hold together: solved for, or read off a grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from card.base.errors import ScenarioError, argument
from card.base.units import FloatArray
from card.policies import named
from card.scenario import Scenario
from card.simulation import reduction
from card.studies.sweep_grid import round_means

if TYPE_CHECKING:
    import xarray as xr


class CalibrationError(ScenarioError):
    """The targets cannot be met within the ranges given."""


@dataclass(frozen=True)
class Target:
    """A reduction of CARD against a benchmark that a calibration shall reach."""

    quantity: str
    """`delay_s` or `energy_j`."""
    benchmark: str
    """Name of the benchmark policy."""
    value: float
    """Reduction of the mean [1]."""

    def reached(self, means: Mapping[str, FloatArray]) -> float:
        """Reduction in a table of means per quantity, CARD's row first, the benchmark's second."""
        value = reduction(means[self.quantity][0], means[self.quantity][1])
        return float("nan") if value is None else value


@dataclass(frozen=True)
class Calibration:
    """Two scenario values at which two targets hold."""

    values: dict[str, float]
    """Solved value per scenario path."""
    reached: tuple[float, float]
    """Reductions at the solution, on the draws used for solving."""
    evaluations: int
    """Simulations run."""


def calibrate(
    scenario: Scenario,
    targets: tuple[Target, Target],
    over: Mapping[str, tuple[float, float]],
    rounds: int = 2000,
    seed: int = 1,
    steps: int = 9,
    tolerance: float = 5e-4,
) -> Calibration:
    """Solve for two scenario values so that two targets hold together.

    For each value of the second path a root in the first path meets the first target; along that
    curve a root in the second path meets the second target. Both are bracketed on a grid and closed
    by Brent's method; all simulations share their draws.

    Parameters
    ----------
    scenario
        The scenario to start from.
    targets
        The two reductions to meet.
    over
        Range per scenario path, exactly two of them.
    rounds
        Rounds used for solving.
    seed
        Seed of their draws.
    steps
        Grid points per range that brackets are looked for on, at least 2.
    tolerance
        Largest error accepted in either reduction [1].

    Raises
    ------
    CalibrationError
        If no pair of values within the ranges meets both targets; says how close they come.
    ScenarioError
        If targets, paths or ranges are none.
    """
    _check_asked(targets, over)
    (first, (low, high)), (second, (bottom, top)) = over.items()
    count = 0

    def reach(x: float, y: float) -> tuple[float, float]:
        nonlocal count
        count += 1
        return reached(scenario.updated({first: x, second: y}), targets, rounds, seed)

    def on_first(y: float) -> float | None:
        """Value of the first path that meets the first target at `y`."""
        return _root(lambda x: reach(x, y)[0] - targets[0].value, _ladder(low, high, steps))

    def miss(y: float) -> float | None:
        x = on_first(y)
        return None if x is None else reach(x, y)[1] - targets[1].value

    y = _root(miss, _ladder(bottom, top, steps))
    x = None if y is None else on_first(y)
    if x is None or y is None:
        met = [
            (float(v), gap)
            for v in _ladder(bottom, top, steps)
            if (gap := miss(float(v))) is not None
        ]
        ends = ", ".join(f"{targets[1].value + gap:.4f} at {second} = {v:.4g}" for v, gap in met)
        along = f"the second target then takes {ends}" if met else "the first target is never met"
        raise CalibrationError(
            f"no {first} in [{low:g}, {high:g}] and {second} in [{bottom:g}, {top:g}] meet both "
            f"{targets[0].value:g} and {targets[1].value:g}; {along}. Widen the ranges."
        )
    result = reach(x, y)
    errors = [abs(r - t.value) for r, t in zip(result, targets, strict=True)]
    if max(errors) > tolerance:
        raise CalibrationError(
            f"the reductions jump across the targets near {first} = {x:.6g}, {second} = {y:.6g} "
            f"(errors {errors[0]:.2g}, {errors[1]:.2g}); raise rounds."
        )
    return Calibration({first: x, second: y}, result, count)


def _check_asked(targets: Any, over: Any) -> None:
    """Refuse what is no pair of targets, or no range for each of two paths."""
    paths = list(over) if isinstance(over, Mapping) else over
    if not isinstance(over, Mapping) or len(over) != 2:
        raise ScenarioError(
            f"over = {argument(paths)} is not allowed; give exactly two scenario paths, each with "
            "its range, e.g. 'link.bandwidth_hz': (1e6, 1e8)."
        )
    for path, ends in over.items():
        numbers = isinstance(ends, Sequence) and [isinstance(end, Real) for end in ends]
        if numbers != [True, True] or not ends[0] < ends[1]:
            raise ScenarioError(
                f"over.{path} = {argument(ends)} is not allowed; give two numbers, the lower first."
            )
    pair = isinstance(targets, Sequence) and [isinstance(one, Target) for one in targets]
    if pair != [True, True]:
        raise ScenarioError(f"targets = {argument(targets)} is not allowed; give two card.Target.")


def reached(
    scenario: Scenario, targets: tuple[Target, Target], rounds: int, seed: int
) -> tuple[float, float]:
    """Reductions that a scenario reaches for two targets."""
    names = list(dict.fromkeys(["card", *(target.benchmark for target in targets)]))
    table = round_means(scenario, named(names), rounds, seed)

    def pair(target: Target) -> float:
        row = names.index(target.benchmark)
        return target.reached({name: values[[0, row]] for name, values in table.items()})

    return pair(targets[0]), pair(targets[1])


def reduction_map(sweep: xr.Dataset, quantity: str, benchmark: str) -> xr.DataArray:
    """Reduction of CARD's mean against a benchmark's over the grid of a sweep [1].

    Parameters
    ----------
    sweep
        Result of `card.sweep` with policy `card` and the benchmark.
    quantity
        `delay_s` or `energy_j`.
    benchmark
        Name of the benchmark policy.
    """
    means = sweep[quantity].mean(("state", "device"))
    spent = means.sel(policy=benchmark, drop=True)
    return 1.0 - means.sel(policy="card", drop=True) / spent.where(spent > 0)


def crossing(
    x: ArrayLike, y: ArrayLike, maps: tuple[ArrayLike, ArrayLike], levels: tuple[float, float]
) -> tuple[float, float] | None:
    """Point where one map takes its level and the other takes its own, by linear interpolation.

    Parameters
    ----------
    x
        Grid across, shape `(n,)`.
    y
        Grid upwards, shape `(m,)`.
    maps
        Two maps of shape `(m, n)`.
    levels
        Level of each map.

    Returns
    -------
    tuple[float, float] | None
        The first such point in the direction of x, or None if there is none on the grid.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    first, second = (np.asarray(values, dtype=np.float64) for values in maps)
    line = []
    for column, place in enumerate(xs.tolist()):
        height = _zero(ys, first[:, column] - levels[0])
        if height is not None:
            line.append(
                (place, height, float(np.interp(height, ys, second[:, column])) - levels[1])
            )
    if len(line) < 2:
        return None
    places, heights, gaps = np.array(line).T
    at = _zero(places, gaps)
    return None if at is None else (at, float(np.interp(at, places, heights)))


def _zero(x: FloatArray, values: FloatArray) -> float | None:
    """First place where values that are linear between points change sign."""
    flips = np.flatnonzero(np.sign(values[1:]) * np.sign(values[:-1]) <= 0)
    if not flips.size:
        return None
    left = flips[0]
    before, after = values[left], values[left + 1]
    share = 0.0 if before == after else before / (before - after)
    return float(x[left] + share * (x[left + 1] - x[left]))


def _ladder(low: float, high: float, steps: int) -> FloatArray:
    """Grid over a range, geometric where it spans more than a factor of ten."""
    wide = low > 0 and high > 10 * low
    return np.geomspace(low, high, steps) if wide else np.linspace(low, high, steps)


def _root(function: Callable[[float], float | None], grid: FloatArray) -> float | None:
    """Root of a function between the first two grid points where it is known and changes sign."""
    from scipy.optimize import brentq  # scipy.optimize would double the import time of card

    known = [(float(x), function(float(x))) for x in grid]
    points = [(x, value) for x, value in known if value is not None and np.isfinite(value)]
    for (left, before), (right, after) in pairwise(points):
        if np.sign(before) != np.sign(after):
            tolerance = 1e-6 * max(abs(left), abs(right))
            root = brentq(lambda x: function(x) or 0.0, left, right, xtol=tolerance, rtol=1e-9)
            return float(root)
    return None
