"""Means on a grid of scenario values, and two values solved for so that two targets hold."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from card.base.errors import ScenarioError
from card.base.processes import STANDSTILL_S
from card.base.terminals import beside
from card.scenario import Scenario
from card.studies.sweep_grid import Arrays, Block, Grid
from card.studies.sweep_store import Store

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client

_IN_MEMORY = "with an output, what is finished would stay."
_LOOK_S = 1.0
_PATIENCE_S = 5.0
"""How long a cluster may be without a worker before that is said [s]."""


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
        Names of the policies to score; your own as FILE.py:FUNCTION.
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
    if client is not None and not hasattr(client, "scheduler"):
        raise ScenarioError(f"client = {client!r:.80} is no client of Dask; give one, or None.")
    if output is None:
        blocks = list(enumerate(grid.blocks()))
        results = _computed(grid, blocks, client, lambda: _IN_MEMORY)
        return grid.dataset(_filled(grid, results))
    with Store(output, grid) as store:
        if not store.complete:
            missing = list(store.missing())
            for result in _computed(grid, missing, client, lambda: store.stays):
                store.write(*result)
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
    grid: Grid,
    blocks: Sequence[tuple[int, Block]],
    client: Client | None,
    stays: Callable[[], str],
) -> Iterator[tuple[int, Block, Arrays]]:
    """Blocks as they are finished, with a few in flight per worker and a bar on a terminal.

    `stays` says what does of them if a cluster fails.
    """
    console = beside()
    workers = 1 if grid.library != "numpy" else os.cpu_count() or 1  # torch has its own threads
    cluster = None if client is None else _Cluster(client, console, stays)
    if cluster:
        with cluster.told():
            workers = cluster.threads()
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
                with cluster.told() if cluster else nullcontext():
                    for number, block in islice(waiting, 2 * max(workers, 1) - len(running)):
                        running[pool.submit(grid.compute, block)] = number, block
                    if not running:
                        break
                    limit_s = _LOOK_S if cluster else None
                    done, _ = wait(running, limit_s, return_when=FIRST_COMPLETED)
                    if cluster and not done:
                        cluster.look()
                    found = [(*running.pop(future), future.result()) for future in done]
                for result in found:
                    yield result
                    progress.advance(bar)
        except _ClusterError:
            running.clear()  # nobody is there who could be asked to cancel them
            raise
        finally:
            for future in running:
                future.cancel()
            if client is None:
                pool.shutdown()


class _ClusterError(ScenarioError):
    """A Dask cluster that computes no more."""


class _Cluster:
    """The workers behind a client, of whose absence the reader is told, and not for ever."""

    def __init__(self, client: Client, console: Console, stays: Callable[[], str]) -> None:
        self._client, self._console, self._stays = client, console, stays
        scheduler: Any = client.scheduler
        self._address = scheduler.address
        self._since_s: float | None = None
        self._said = False

    def threads(self) -> int:
        """Threads of all workers; none where the scheduler does not answer."""
        try:
            found = self._client.nthreads(callback_timeout=_PATIENCE_S)
        except TimeoutError:
            return 0
        return sum(found.values())

    def look(self) -> None:
        """Say once that no worker is there, and give up after `STANDSTILL_S` without one."""
        now_s = time.monotonic()
        if self.threads():
            self._since_s = None
            return
        self._since_s = self._since_s or now_s
        if now_s - self._since_s > STANDSTILL_S:
            raise _ClusterError(
                f"no worker at {self._address} for {STANDSTILL_S:g} s; start one; {self._stays()}"
            )
        if now_s - self._since_s > _PATIENCE_S and not self._said:
            self._console.print(
                f"no worker at {self._address}; waiting",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
            self._said = True

    @contextmanager
    def told(self) -> Iterator[None]:
        """Context of work on the cluster, whose failures are told in one line."""
        try:
            yield
        except ScenarioError:
            raise
        except Exception as error:
            gone = isinstance(error, (CancelledError, OSError)) or self._client.status != "running"
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            what = "went away" if gone else f"failed ({reason:.200})"
            raise _ClusterError(
                f"the Dask cluster at {self._address} {what}; {self._stays()}"
            ) from None
