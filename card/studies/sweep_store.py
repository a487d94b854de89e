"""Sweeps on disk: a folder of finished blocks while they run, one Zarr store or netCDF file after.

Blocks land in a Zarr store in `<output>.partial`, and a block counts as finished once an empty file
says so, whose name has a digest of its means. Each step is either done or not, so a sweep that is
killed anywhere resumes; and whatever a disk lost or changed meanwhile is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from card.base.errors import ScenarioError, argument, needs
from card.base.letters import not_utf8
from card.base.whole_files import check_writable, remedy_of, write_whole
from card.simulation import UNITS
from card.studies.sweep_grid import INTERVALS, Arrays, Block, Grid, blocks

if TYPE_CHECKING:
    import xarray as xr
    from filelock import BaseFileLock

SUFFIXES = (".nc", ".zarr")
"""Kinds of output, netCDF-4 or a Zarr store (a folder)."""

_LOCK = "lock"
_PACKAGE = Path(__file__).parents[1]
_ROOMS = (
    *("base", "hardware", "scenario", "llm", "channel", "costs", "solver", "policies", "studies"),
)
MODEL = (*(f"{room}/**/*.py" for room in _ROOMS), "[!_]*.py")
"""The code that means come from, in the rooms of the model and in the modules beside them."""

# What scores an averaged quantity; link rates belong to draws, not to policies
_MEANS = tuple(name for name in UNITS if name not in ("uplink_bps", "downlink_bps"))
_QUANTITIES = (*_MEANS, *INTERVALS)


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
        If the output has another ending or cannot be written, if it, or a half-done sweep beside
        it, is damaged or of another sweep or version of the code, or if another process writes it.

    Notes
    -----
    Until it is closed, as by `with`, no other process can write the same output.
    """

    def __init__(self, output: str | Path, grid: Grid) -> None:
        if not isinstance(output, (str, os.PathLike)):
            raise ScenarioError(
                f"output = {argument(output)} is not allowed; give the name of a .nc or .zarr, or "
                "None."
            )
        self.output, self.grid = Path(output), grid
        self._check_name(str(output))
        if self.output.is_symlink():
            self.output = Path(os.path.realpath(output))  # what a link leads to is written
        self._check_path(str(output))
        _need_libraries()
        self.partial = self.output.with_name(self.output.name + ".partial")
        if self.partial.exists() and not self.partial.is_dir():
            raise ScenarioError(
                f"output = {str(output)!r} cannot be begun, for {self.partial} is a file; name "
                "another output, or remove that file."
            )
        self.marks = self.partial / "finished"
        # xarray takes a folder called ~ for the home, unless a path is whole
        self.data = self.partial.absolute() / "data.zarr"
        with self._told("written"):
            if not self.complete:
                check_writable(self.output)
        self.fingerprint = _fingerprint(grid)
        self._lock = self._locked()
        try:
            if self.complete:
                self._check(self._kept.attrs.get("fingerprint"), self.output)
                self._check_whole(self._kept)
                shutil.rmtree(self.partial, ignore_errors=True)
            elif (self.partial / "fingerprint").exists():
                with self._told("read"):
                    kept = (self.partial / "fingerprint").read_text("utf-8")
                self._check(kept, self.partial)
            else:
                with self._told("written"):
                    self._begin()
        except BaseException:
            self.close()
            raise

    def _check_name(self, name: str) -> None:
        """Refuse a name that no output can have, or that something else has."""
        before = f"output = {name!r} is not allowed; "
        if self.output.suffix not in SUFFIXES:
            inside = str(self.output / "sweep.nc")
            raise ScenarioError(
                f"output = {name!r} is a folder; name a file in it, such as {inside!r}."
                if self.output.is_dir()
                else f"{before}put a name before the ending."
                if name.endswith(SUFFIXES)
                else f"{before}end it in .nc (netCDF) or .zarr."
            )
        if "::" in name:
            raise ScenarioError(
                f"{before}name it without '::', which the library that writes it takes for a chain "
                "of addresses."
            )
        if not self.output.parent.is_dir():
            raise ScenarioError(f"output = {name!r}: there is no folder for it; make one.")
        if self.output.exists() and not (self.output.is_file() or self.output.is_dir()):
            raise ScenarioError(f"output = {name!r} is a pipe or a device; name a file.")
        netcdf = self.output.suffix == ".nc"
        if netcdf and (self.output.is_dir() or name.endswith("/")):
            raise ScenarioError(
                f"output = {name!r} is a folder, and a .nc is a file; name another output."
            )
        if not netcdf and self.output.is_file():
            raise ScenarioError(
                f"output = {name!r} is a file, and a .zarr is a folder; name another output."
            )
        if self.output.is_dir() and not (self.output / ".zgroup").exists():
            raise ScenarioError(
                f"output = {name!r} is a folder that holds no sweep; name another output."
            )

    def _check_path(self, name: str) -> None:
        """Refuse a path that the library of netCDF cannot open, however the output is named."""
        if self.output.suffix != ".nc":
            return
        path = str(self.output.absolute())
        before = f"output = {name!r} is not allowed; the library of netCDF"
        if odd := not_utf8(path):
            raise ScenarioError(
                f"{before} opens no path with {odd!a} in it, which is not UTF-8; rename that, or "
                "end the output in .zarr."
            )
        if os.sep == "/" and "\\" in path:
            raise ScenarioError(
                f"{before} takes its backslash for the end of a folder's name; rename it, or end "
                "it in .zarr."
            )

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        """Let other processes write the output; a failure before any block leaves nothing."""
        if failure and not (self.kept or self.complete):
            shutil.rmtree(self.partial, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Let other processes write the output."""
        if self._lock is not None:
            self._lock.release()

    def _locked(self) -> BaseFileLock | None:
        """What only one process holds at a time; none where nothing is to be written."""
        if self.complete:
            return None
        from filelock import FileLock, Timeout  # part of the `sweep` extra

        with self._told("written"):
            self.partial.mkdir(exist_ok=True)
            lock = FileLock(self.partial / _LOCK)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise ScenarioError(
                    f"output = {str(self.output)!r} is being written by another sweep; wait for it,"
                    " or name another output."
                ) from None
        return lock

    @contextmanager
    def _told(self, done: str) -> Iterator[None]:
        """Context of work on files, whose failures are told in one line with a remedy."""
        try:
            yield
        except ScenarioError:
            raise
        except Exception as error:
            # the libraries that read and write sweeps raise errors of many kinds
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            remedy = f"name another output, or {remedy_of(error)}."
            if done == "read":
                remedy = f"it is damaged or no sweep; name another output, or {self._removing()}."
            elif self.kept:
                remedy = self.stays
            raise ScenarioError(
                f"output = {str(self.output)!r} cannot be {done} ({reason:.200}); {remedy}"
            ) from error

    @property
    def kept(self) -> int:
        """Blocks that are finished."""
        return len(list(self.marks.iterdir())) if self.marks.is_dir() else 0

    @property
    def stays(self) -> str:
        """A sentence on what a sweep that stops now leaves for the next one."""
        if not self.kept:
            return "no block was finished."
        blocks = len(list(self.grid.blocks()))
        return (
            f"{self.kept} of {blocks} blocks are finished and stay in {self.partial}; the same "
            "command goes on."
        )

    def _removing(self) -> str:
        """Words for removing what is there of a sweep, finished or not."""
        there = (str(path) for path in (self.output, self.partial) if path.exists())
        return f"remove {' and '.join(there)}"

    @property
    def complete(self) -> bool:
        """Whether the output is there; it appears whole or not at all."""
        return self.output.exists()

    def missing(self) -> Iterator[tuple[int, Block]]:
        """Number and place of each block that is not finished; the finished ones are checked."""
        import xarray as xr

        with self._told("read"):
            marks = self._marks()
            with xr.open_dataset(self.data, **as_store(self.data)) as found:
                for number, block in enumerate(self.grid.blocks()):
                    if number in marks and marks[number] != _digest_of(found, block):
                        raise ValueError(f"block {number} is not what was written")
        return ((n, block) for n, block in enumerate(self.grid.blocks()) if n not in marks)

    def _marks(self) -> dict[int, str]:
        """Digest of each finished block, by its number."""
        words = (mark.name.partition("-") for mark in self.marks.iterdir())
        return {int(number): digest for number, _, digest in words}

    def _check_whole(self, found: xr.Dataset) -> None:
        """Refuse an output that has lost or changed something since it was finished."""
        with self._told("read"):
            if not is_whole(found):
                raise ValueError("it is not what was written")

    def write(self, number: int, block: Block, arrays: Arrays) -> None:
        """Keep a block's means, and then note that they are kept."""
        import zarr  # part of the `sweep` extra

        with self._told("written"):
            group: Any = zarr.open_group(self.data, mode="r+")
            for name, values in arrays.items():
                group[name][(*block, ...)] = values
            (self.marks / f"{number}-{_digest(arrays)}").touch()

    def finish(self) -> None:
        """Turn the finished blocks into the output, a block at a time."""
        with self._told("written"):
            self._finish()

    def _finish(self) -> None:
        import dask
        import xarray as xr
        import zarr

        marks = self._marks()
        with xr.open_dataset(self.data, **as_store(self.data)) as found:
            digest = _digest_of_all(found, [marks[number] for number in sorted(marks)])
        digest = f"{'x'.join(map(str, self.grid.block_shape))}:{digest}"
        zarr.open_group(self.data, mode="r+").attrs["digest"] = digest
        zarr.consolidate_metadata(self.data, zarr_format=2)
        ready = self.data
        if self.output.suffix == ".nc":
            ready = self.data.with_name("whole.nc")
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
        chunks = dict(zip(self.grid.over, self.grid.block_shape, strict=True))
        arrays = {name: self._kept[name].chunk(chunks).data for name in _QUANTITIES}
        told = self.grid.dataset(arrays).assign_attrs(fingerprint=self.fingerprint)
        told.set_close(self._kept.close)
        return told

    @cached_property
    def _kept(self) -> xr.Dataset:
        """The output as it is on disk, opened once: netCDF may crash when it opens a file again."""
        import xarray as xr

        how = as_store(self.output) or {"engine": "netcdf4"}
        with self._told("read"):
            return xr.open_dataset(self.output.absolute(), **how)

    def _check(self, fingerprint: str | None, place: Path) -> None:
        if fingerprint != self.fingerprint:
            raise ScenarioError(
                f"output = {str(self.output)!r}: {place} is of another sweep, or of another "
                "version of card; name another output, or remove it."
            )

    def _begin(self) -> None:
        try:
            self._start()
        except BaseException:
            shutil.rmtree(self.partial, ignore_errors=True)
            raise

    def _start(self) -> None:
        """Lay out an empty store; its fingerprint is written last, and so says that it is whole."""
        import dask.array as da

        shutil.rmtree(self.data, ignore_errors=True)
        shutil.rmtree(self.marks, ignore_errors=True)
        self.marks.mkdir()
        scenario = self.grid.scenario
        inner = (len(self.grid.policies), len(scenario.states), len(scenario.devices))
        empty = {}
        for name in _QUANTITIES:
            rest = inner[: len(self.grid.dims_of(name)) - len(self.grid.shape)]
            chunks = (*self.grid.block_shape, *rest)
            empty[name] = da.empty((*self.grid.shape, *rest), chunks=chunks)
        template = self.grid.dataset(empty)
        template.attrs["fingerprint"] = self.fingerprint
        # version 2, since version 3 has no settled form of words yet
        template.to_zarr(self.data, compute=False, zarr_format=2)
        write_whole(self.partial / "fingerprint", self.fingerprint)


def _fingerprint(grid: Grid) -> str:
    """Digest of all that the means depend on: what the sweep is of, and the model's code."""
    digest = hashlib.sha256(json.dumps(grid.content).encode())
    code = [path for room in MODEL for path in sorted(_PACKAGE.glob(room))]
    for path in code:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _digest(arrays: Mapping[str, Any]) -> str:
    """Digest of a block's means; every NaN counts the same, as a store keeps no kinds of it.

    Words that spell the same numbers are none.
    """
    digest = hashlib.sha256()
    for name in _QUANTITIES:
        values = np.asarray(arrays[name])
        if values.dtype != np.float64:
            raise ValueError(f"{name} is of type {values.dtype}, not float64")
        digest.update(np.where(np.isnan(values), np.nan, values).astype("<f8").tobytes())
    return digest.hexdigest()


def _digest_of(found: xr.Dataset, block: Block) -> str:
    """Digest of a block of what is on disk."""
    part = dict(zip(map(str, found.delay_s.dims), block, strict=False))
    return _digest({name: found[name].isel(part).values for name in _QUANTITIES})


def is_whole(found: xr.Dataset) -> bool:
    """Whether a finished sweep has neither lost nor changed anything since it was written.

    It is read a block at a time; its digest begins with the shape of a block.
    """
    shape, _, digest = str(found.attrs.get("digest")).partition(":")
    if not digest:
        return False
    block_shape = list(map(int, shape.split("x")))
    every = blocks(found.delay_s.shape[: len(block_shape)], block_shape)
    return digest == _digest_of_all(found, [_digest_of(found, block) for block in every])


def _digest_of_all(found: xr.Dataset, blocks: list[str]) -> str:
    """Digest of a whole sweep: of coordinates and attributes as they are on disk, and of blocks."""
    axes = {str(name): found[name].values.tolist() for name in sorted(map(str, found.coords))}
    said = {str(name): plain(found[name].attrs) for name in sorted(map(str, found.variables))}
    said[""] = {key: value for key, value in plain(found.attrs).items() if key != "digest"}
    whole = json.dumps([axes, said, blocks], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


def as_store(path: Path) -> dict[str, Any]:
    """How xarray opens a Zarr store, also one that lost its index; nothing for other files."""
    if path.suffix != ".zarr":
        return {}
    return {"engine": "zarr", "consolidated": (path / ".zmetadata").exists()}


def plain(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes without the kinds of numbers that a format has for them."""
    return {str(key): np.asarray(value).tolist() for key, value in attributes.items()}


def _need_libraries() -> None:
    needs("sweep", "output", "dask", "filelock", "netCDF4", "zarr")
