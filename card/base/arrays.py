"""Which library computes: NumPy, or the one that the arguments' arrays belong to.

The formulas of the model are written once, against the array API standard. What goes in decides
what comes out: numbers and NumPy arrays give NumPy arrays, tensors of torch give tensors on the
same device, with gradients, and Dask arrays give lazy ones.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from card.base.errors import ScenarioError, extra, unknown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")

_CHUNK = 1 << 15
_THREADS = 16
_KEPT_BYTES = 1 << 24
_LOCAL = threading.local()
_PLAIN = (np.ndarray, np.generic, int, float, str, list, tuple, type(None))


@dataclass(frozen=True)
class Backend:
    """An array library, and the device that its arrays live on."""

    xp: Any
    """Namespace of the array API standard."""
    device: Any = None
    """Device of the arrays, in the library's own terms."""

    def __repr__(self) -> str:
        """Name of the library; its files' place is nobody's matter."""
        return f"Backend({self.xp.__name__})"

    @property
    def is_lazy(self) -> bool:
        """Whether arrays are Dask's, whose values are not known yet."""
        return bool(self.xp.__name__.endswith("dask.array"))

    def array(self, value: Any) -> Any:
        """The value as an array of this library; one of it moves to this device at most."""
        if self.xp is np:
            return np.asarray(value)
        if is_foreign(value):
            from array_api_compat import to_device

            return value if self.is_lazy else to_device(value, self.device)
        # copied, for torch warns about arrays that it must not write to
        return self.xp.asarray(np.array(value), device=self.device)

    def floats(self, value: Any) -> Any:
        """The value as an array of doubles."""
        return self.xp.astype(self.array(value), self.xp.float64, copy=False)

    def numpy(self, value: Any) -> np.ndarray[Any, Any]:
        """An array of this library as NumPy's, in the processor's memory."""
        if self.xp is np:
            return np.asarray(value)
        from array_api_compat import to_device

        return np.asarray(to_device(value.detach() if hasattr(value, "detach") else value, "cpu"))


NUMPY = Backend(np)
"""What numbers, lists and NumPy arrays are computed with."""


def is_foreign(value: Any) -> bool:
    """Whether a value is an array of another library than NumPy."""
    if isinstance(value, _PLAIN):
        return False
    from array_api_compat import is_array_api_obj  # its import would double that of card

    return bool(is_array_api_obj(value))


def backend_of(*values: Any) -> Backend:
    """The library of the values: NumPy, unless an array of another one is among them.

    Raises
    ------
    TypeError
        If arrays of two libraries other than NumPy are mixed.
    """
    foreign = [value for value in values if is_foreign(value)]
    if not foreign:
        return NUMPY
    from array_api_compat import array_namespace, device

    shaped = max(foreign, key=lambda array: array.ndim)  # lone numbers may stay on the host
    return Backend(array_namespace(*foreign), device(shaped))


def locked(record: Record) -> Record:
    """A dataclass with its NumPy arrays as `sealed` gives them."""
    return replace(record, **{name: sealed(value) for name, value in vars(record).items()})


def sealed(value: Any) -> Any:
    """A NumPy array in memory that nobody can write to, whatever its flags; others as they are."""
    if not isinstance(value, np.ndarray):
        return value
    return np.ndarray(value.shape, value.dtype, value.tobytes())


def copied(array: Any) -> Any:
    """A copy of an array of NumPy or torch, gradients kept."""
    return array.copy() if isinstance(array, np.ndarray) else array.clone()


def stacked(values: Sequence[Any]) -> Any:
    """Lone numbers, or arrays without axes of one library, as one array of doubles."""
    backend = backend_of(*values)
    return backend.xp.stack([backend.floats(value) for value in values])


def by_blocks(
    function: Callable[..., tuple[Any, ...]], dtypes: list[type], *values: Any
) -> tuple[Any, ...]:
    """Lazy results of a function of broadcasting arrays, block by block of Dask arrays.

    Parameters
    ----------
    function
        Called with NumPy blocks; returns as many arrays of their broadcast shape as `dtypes`.
    dtypes
        Type of each result.
    values
        Dask arrays, NumPy arrays and numbers.

    Notes
    -----
    Processes of a Dask cluster are told to return memory to the system at once, which makes the
    decisions several times slower; a higher ``MALLOC_TRIM_THRESHOLD_`` and
    ``MALLOC_MMAP_THRESHOLD_`` in ``distributed.nanny.pre-spawn-environ`` avoid it.
    """
    da = import_module("dask.array")  # whose types would not pass mypy
    blocks = da.broadcast_arrays(*(da.asarray(value) for value in values))
    signature = f"{','.join(['()'] * len(values))}->{','.join(['()'] * len(dtypes))}"
    results: tuple[Any, ...] = da.apply_gufunc(function, signature, *blocks, output_dtypes=dtypes)
    return results


def by_rows(
    kernel: Callable[..., Sequence[Any]],
    dtypes: list[type],
    backend: Backend,
    values: Sequence[Any],
    threads: int | None = None,
    tables: int = 4,
) -> tuple[Any, ...]:
    """Results of a function of one-dimensional arrays of one length, for arrays that broadcast.

    NumPy's go in chunks, whose intermediate results fit a processor's cache, to threads, which
    NumPy runs at the same time. No result depends on the chunks or the threads.

    Parameters
    ----------
    kernel
        Returns as many arrays as `dtypes`.
    dtypes
        Type of each result, of 64 bits.
    backend
        Library of the values.
    values
        Arrays that broadcast together.
    threads
        Threads to use. None: one within `one_thread`, else `OMP_NUM_THREADS`, else one per
        processor.
    tables
        Rows of what the function works with in between; chunks are the shorter, the more there are.
    """
    xp = backend.xp
    shape = np.broadcast_shapes(*(tuple(value.shape) for value in values))
    rows = [xp.reshape(xp.broadcast_to(value, shape), (-1,)) for value in values]
    size = rows[0].shape[0]
    if xp is not np:
        found = kernel(*rows)
        return tuple(xp.reshape(xp.broadcast_to(row, (size,)), shape) for row in found)
    _keep_memory()
    # one block takes a third less time to allocate than an array per result
    block = np.empty((len(dtypes), size))
    results = [row.view(dtype) for row, dtype in zip(block, dtypes, strict=True)]

    chunk = max(1, 4 * _CHUNK // max(4, tables))

    def fill(start: int) -> None:
        part = slice(start, start + chunk)
        for result, row in zip(results, kernel(*(row[part] for row in rows)), strict=True):
            result[part] = row

    starts = range(0, size, chunk)
    workers = (threads or _threads()) if len(starts) > 1 else 1
    if workers > 1:
        with ThreadPoolExecutor(min(workers, len(starts))) as pool:
            list(pool.map(fill, starts))
    else:
        for start in starts:
            fill(start)
    return tuple(result.reshape(shape) for result in results)


@contextmanager
def one_thread() -> Iterator[None]:
    """Context in which `by_rows` stays on one thread, as its caller shares out the processors."""
    before, _LOCAL.alone = getattr(_LOCAL, "alone", False), True
    try:
        yield
    finally:
        _LOCAL.alone = before


def _keep_memory() -> None:
    """Let the allocator keep what a chunk's intermediate results give back, for the next chunk.

    glibc returns freed memory to the system beyond twice the largest block that it ever took from
    there and freed. In a process that has freed none, every chunk's pages would be given back and
    asked for anew, which takes longer than the decisions.
    """
    np.empty(_KEPT_BYTES, np.uint8)


def _threads() -> int:
    """What the variable of other numeric libraries says, else every processor up to `_THREADS`.

    One within `one_thread`.

    Some 5 % of a chunk's time hold the interpreter's lock, so that more would wait for it.
    """
    if getattr(_LOCAL, "alone", False):
        return 1
    stated = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    asked = int(stated) if stated.isdecimal() else 0
    return asked or min(os.cpu_count() or 1, _THREADS)


def check_library(name: str) -> Backend:
    """The array library of a name: `numpy`, `torch`, or `torch:cuda` for torch on a GPU.

    Raises
    ------
    ScenarioError
        If there is no such library, it is not installed, or it has no such device here.
    """
    if not isinstance(name, str):
        raise unknown("library", name, LIBRARIES)
    library, _, device = name.partition(":")
    if name == "numpy":
        return NUMPY
    if library != "torch":
        raise unknown("library", name, LIBRARIES)
    with extra("lab", f"library = {name!r}"):
        import torch
    from array_api_compat import torch as xp

    try:
        return Backend(xp, torch.empty(0, device=device or "cpu").device)
    except (RuntimeError, AssertionError) as error:
        offered = LIBRARIES if torch.cuda.is_available() else LIBRARIES[:-1]
        raise ScenarioError(
            f"library = {name!r} is not allowed; torch finds no device {device!r} here. Give one "
            f"of {', '.join(offered)}."
        ) from error


LIBRARIES = ("numpy", "torch", "torch:cuda")
"""What can compute a simulation or a sweep."""
