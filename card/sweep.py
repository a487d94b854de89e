"""Means on a grid of scenario values, and two values solved for so that two targets hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from card.grid import Arrays, Block, Grid, round_means
from card.policies import named
from card.refusal import ScenarioError
from card.scenario import Scenario
from card.simulate import reduction
from card.store import Store
from card.units import FloatArray

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client


class CalibrationError(ScenarioError):
    """The targets cannot be met within the ranges given."""


def sweep(
    scenario: Scenario,
    over: Mapping[str, Sequence[Any]],
    policies: Sequence[str] = ("card", "device_only", "server_only"),
    rounds: int | None = None,
    seed: int | None = None,
    output: str | Path | None = None,
    client: Client | None = None,
    library: str = "numpy",
) -> xr.Dataset:
    """Means over rounds of every policy's decisions and costs, on a grid of scenario values.

    Points are computed in threads, or by the workers of a Dask cluster, with the same result to the
    last bit. With an output, every finished block of the grid is kept on disk: a sweep that is
    interrupted resumes when it is called again, and memory stays bounded whatever its size.

    Parameters
    ----------
    scenario
        The scenario that the grid varies.
    over
        Values per dotted path, e.g. `{"objective.delay_weight": [0.2, 0.8]}`. A value may be a
        list or a mapping, too; its coordinate is then what a study file says on one line.
    policies
        Names of the policies to score.
    rounds
        Rounds of every grid point; the scenario's when None.
    seed
        Seed of the draws, which points share; likewise.
    output
        File to keep the means in, `.nc` (netCDF-4) or `.zarr`; in memory when None.
    client
        Client of a Dask cluster; threads of this process when None.
    library
        What computes a point: `numpy`, `torch`, or `torch:cuda` for torch on a GPU. All give the
        same decisions, and the same means but for rounding.

    Returns
    -------
    xarray.Dataset
        Dataset over `(*paths, policy, state, device)` with units and provenance in attributes; with
        an output, read from it as it is used.

    Raises
    ------
    ScenarioError
        If a path, a value or a policy is refused; before anything runs, but for values that only
        contradict each other somewhere inside the grid.
    """
    grid = Grid.checked(scenario, over, policies, rounds, seed, library)
    if output is None:
        blocks = list(enumerate(grid.blocks()))
        return grid.dataset(_filled(grid, _computed(grid, blocks, client)))
    store = Store(output, grid)
    if not store.complete:
        for number, block, arrays in _computed(grid, list(store.missing()), client):
            store.write(number, block, arrays)
        store.finish()
    return store.open()


def _filled(grid: Grid, results: Iterable[tuple[int, Block, Arrays]]) -> Arrays:
    """Means of a whole grid from those of its blocks."""
    whole: Arrays = {}
    for _, block, arrays in results:
        for name, values in arrays.items():
            if name not in whole:
                whole[name] = np.empty((*grid.shape, *values.shape[len(grid.shape) :]))
            whole[name][block] = values
    return whole


def _computed(
    grid: Grid, blocks: Sequence[tuple[int, Block]], client: Client | None
) -> Iterator[tuple[int, Block, Arrays]]:
    """Blocks as they are finished, with a few in flight per worker and a bar on a terminal."""
    console = Console(stderr=True)
    workers = 1 if grid.library != "numpy" else os.cpu_count() or 1  # torch has its own threads
    workers = workers if client is None else sum(client.nthreads().values())
    pool = ThreadPoolExecutor(workers) if client is None else client.get_executor()
    waiting = iter(blocks)
    running: dict[Future[Arrays], tuple[int, Block]] = {}
    with Progress(
        *Progress.get_default_columns(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        bar = progress.add_task("Sweeping", total=len(blocks))
        try:
            while True:
                for number, block in islice(waiting, 2 * max(workers, 1) - len(running)):
                    running[pool.submit(grid.compute, block)] = number, block
                if not running:
                    break
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    number, block = running.pop(future)
                    yield number, block, future.result()
                    progress.advance(bar)
        finally:
            for future in running:
                future.cancel()
            pool.shutdown()


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
    """
    if len(over) != 2:
        raise ScenarioError(f"over = {list(over)} is not allowed; give exactly two scenario paths.")
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
