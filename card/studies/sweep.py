"""Means on a grid of scenario values, and two values solved for so that two targets hold."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from card.scenario import Scenario
from card.studies.sweep_grid import Arrays, Block, Grid
from card.studies.sweep_store import Store

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client


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
    with Store(output, grid) as store:
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
