"""Sweeps on disk: a folder of finished blocks while they run, one Zarr store or netCDF file after.

Blocks land in a Zarr store in `<output>.partial`, and a block counts as finished once an empty file
says so. Each step is either done or not, so a sweep that is killed anywhere resumes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from card.base.errors import ScenarioError, nearest
from card.simulation import UNITS
from card.studies.sweep_grid import Arrays, Block, Grid

if TYPE_CHECKING:
    import xarray as xr

SUFFIXES = (".nc", ".zarr")
"""Kinds of output, netCDF-4 or a Zarr store (a folder)."""

_PACKAGE = Path(__file__).parents[1]
_MODEL = ("base/*.py", "hardware/*.py", "llm/*.py", "channel/*.py", "solver/*.py", "[!_]*.py")
"""The code that means come from: the rooms of the model, and the modules beside them."""

# What scores an averaged quantity; link rates belong to draws, not to policies
_QUANTITIES = tuple(name for name in UNITS if name not in ("uplink_bps", "downlink_bps"))


class Store:
    """Where a sweep's means are kept, finished or half done.

    Parameters
    ----------
    output
        File that the sweep shall end in, `.nc` or `.zarr`.
    grid
        The sweep.

    Raises
    ------
    ScenarioError
        If the output has another ending, or if it, or a half-done sweep beside it, is of another
        sweep or of another version of the code.
    """

    def __init__(self, output: str | Path, grid: Grid) -> None:
        self.output, self.grid = Path(output), grid
        if self.output.suffix not in SUFFIXES:
            raise ScenarioError(
                f"output = {str(output)!r} is not allowed; end it in .nc (netCDF) or .zarr; "
                f"{nearest(self.output.suffix, SUFFIXES)}"
            )
        if not self.output.parent.is_dir():
            raise ScenarioError(f"output = {str(output)!r}: there is no folder for it; make one.")
        _need_libraries()
        self.partial = self.output.with_name(self.output.name + ".partial")
        self.data, self.marks = self.partial / "data.zarr", self.partial / "finished"
        self.fingerprint = _fingerprint(grid)
        if self.complete:
            with self._kept() as found:
                self._check(found.attrs.get("fingerprint"), self.output)
            shutil.rmtree(self.partial, ignore_errors=True)
        elif (self.partial / "fingerprint").is_file():
            self._check((self.partial / "fingerprint").read_text("utf-8"), self.partial)
        else:
            self._start()

    @property
    def complete(self) -> bool:
        """Whether the output is there; it appears whole or not at all."""
        return self.output.exists()

    def missing(self) -> Iterator[tuple[int, Block]]:
        """Number and place of each block that is not finished."""
        done = {int(mark.name) for mark in self.marks.iterdir()}
        return ((n, block) for n, block in enumerate(self.grid.blocks()) if n not in done)

    def write(self, number: int, block: Block, arrays: Arrays) -> None:
        """Keep a block's means, and then note that they are kept."""
        import zarr  # part of the `sweep` extra

        group: Any = zarr.open_group(self.data, mode="r+")
        for name, values in arrays.items():
            group[name][(*block, ...)] = values
        (self.marks / str(number)).touch()

    def finish(self) -> None:
        """Turn the finished blocks into the output, a block at a time."""
        import dask
        import xarray as xr

        ready = self.data
        if self.output.suffix == ".nc":
            ready = self.partial / "whole.nc"
            ready.unlink(missing_ok=True)
            # this machine writes the file, also when others computed what is in it
            with dask.config.set(scheduler="threads"), xr.open_zarr(self.data) as blocks:
                for variable in blocks.variables.values():
                    variable.encoding.clear()
                blocks.to_netcdf(ready, engine="netcdf4")
        ready.replace(self.output)
        shutil.rmtree(self.partial)

    def open(self) -> xr.Dataset:
        """The output, read from disk as it is used, in the words of the sweep at hand."""
        found = self._kept()
        arrays = {name: found[name].data for name in _QUANTITIES}
        return self.grid.dataset(arrays).assign_attrs(fingerprint=self.fingerprint)

    def _kept(self) -> xr.Dataset:
        import xarray as xr

        engine = "zarr" if self.output.suffix == ".zarr" else "netcdf4"
        return xr.open_dataset(self.output, engine=engine, chunks={})

    def _check(self, fingerprint: str | None, place: Path) -> None:
        if fingerprint != self.fingerprint:
            raise ScenarioError(
                f"output = {str(self.output)!r}: {place} is of another sweep, or of another "
                "version of card; name another output, or remove it."
            )

    def _start(self) -> None:
        """Lay out an empty store; its fingerprint is written last, and so says that it is whole."""
        import dask.array as da

        shutil.rmtree(self.partial, ignore_errors=True)
        self.marks.mkdir(parents=True)
        scenario = self.grid.scenario
        inner = (len(self.grid.policies), len(scenario.channel_states), len(scenario.devices))
        empty = da.empty((*self.grid.shape, *inner), chunks=(*self.grid.block_shape, *inner))
        template = self.grid.dataset(dict.fromkeys(_QUANTITIES, empty))
        template.attrs["fingerprint"] = self.fingerprint
        # version 2, since version 3 has no settled form of words yet
        template.to_zarr(self.data, compute=False, zarr_format=2)
        (self.partial / "fingerprint").write_text(self.fingerprint, "utf-8")


def _fingerprint(grid: Grid) -> str:
    """Digest of all that the means depend on: what the sweep is of, and the model's code."""
    digest = hashlib.sha256(json.dumps(grid.content).encode())
    code = [path for room in _MODEL for path in sorted(_PACKAGE.glob(room))]
    for path in code:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _need_libraries() -> None:
    for name in ("dask", "netCDF4", "zarr"):
        if find_spec(name) is None:
            raise ScenarioError(
                f"output: {name} is not installed; install it with pip install 'card[sweep]'."
            )
