"""CARD: the jointly optimal cut layer and server frequency of each device and round.

For a fixed cut the objective is convex in the frequency, with a stationary point that does not
depend on the cut. One cube root and a search over the few cuts that can win give the joint optimum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from card.arrays import NUMPY, Backend, backend_of, by_blocks, by_rows
from card.checks import check_index, check_library, check_positive, check_shapes, check_share
from card.costs import System
from card.costs import system as as_system
from card.cuts import CutProfile
from card.kernel import Extremes, Lines, best_clock, bounds_of, decide, unit_prices
from card.refusal import ScenarioError, unknown
from card.scenario import Scenario
from card.units import FloatArray, IntArray

__all__ = [
    "Decision",
    "Extremes",
    "best_frequency",
    "compiled",
    "extreme_cuts",
    "extremes",
    "objective",
    "prices",
    "solve",
    "solve_exhaustive",
]

_DTYPES: list[type] = [np.int64] + [np.float64] * 9


@dataclass(frozen=True, eq=False)
class Decision:
    """CARD's decision; every field is an array of the broadcast shape of the request."""

    cut: IntArray
    """Blocks on the device."""
    frequency_hz: FloatArray
    """Server clock [Hz] (f)."""
    delay_s: FloatArray
    """Delay of the round [s]."""
    energy_j: FloatArray
    """Server energy of the round [J]."""
    objective: FloatArray
    """Weighted sum of normalised delay and energy (U)."""
    frequency_min_hz: FloatArray
    """Lowest clock allowed for the device [Hz]."""
    frequency_max_hz: float
    """Highest clock of the server [Hz]."""
    extremes: Extremes
    """What delay and energy were normalised by."""

    @property
    def bound(self) -> NDArray[np.int64]:
        """Which clock limit binds, -1 the lowest, 1 the highest, 0 neither."""
        xp = backend_of(self.frequency_hz).xp
        high = self.frequency_hz >= self.frequency_max_hz
        low = self.frequency_hz <= self.frequency_min_hz
        sides: NDArray[np.int64] = xp.astype(high, xp.int64) - xp.astype(low & ~high, xp.int64)
        return sides


def extreme_cuts(profile: CutProfile, feasible: NDArray[np.bool_]) -> list[int]:
    """Feasible cuts that can win or set an extreme: the ends of straight runs of the cost vectors.

    Delay and energy are linear in the cost vector, so a cut strictly between two others
    on a straight line is never better than both. Compared exactly, in whole numbers.

    Parameters
    ----------
    profile
        Costs per cut.
    feasible
        Cuts allowed, shape `(I + 1,)`.

    Notes
    -----
    The cost vector is :eq:`eq-vector` of the book, which proves the rule.
    """
    names = ("device_flop", "server_flop", "uplink_bit", "downlink_bit", "adapter_bit")
    columns = [getattr(profile, name).tolist() for name in names]
    points = {c: [column[c] for column in columns] for c in _listed(feasible)}

    def between(cut: int, left: int, right: int) -> bool:
        before = [b - a for a, b in zip(points[left], points[cut], strict=True)]
        after = [b - a for a, b in zip(points[cut], points[right], strict=True)]
        straight = all(
            before[i] * after[j] == before[j] * after[i] for i in range(5) for j in range(i)
        )
        return straight and sum(b * a for b, a in zip(before, after, strict=True)) > 0

    kept: list[int] = []
    order = list(points)
    for position, cut in enumerate(order):
        inner = kept and position + 1 < len(order)
        if not (inner and between(cut, kept[-1], order[position + 1])):
            kept.append(cut)
    return kept


def extremes(
    system: System, device: IntArray, uplink_bps: FloatArray, downlink_bps: FloatArray
) -> Extremes:
    """Smallest and largest delay and energy over each device-round's feasible cuts and clocks.

    Notes
    -----
    Equation :eq:`eq-extremes` of the book.
    """
    backend = system.backend(device, uplink_bps, downlink_bps)
    values = [backend.array(value) for value in (device, uplink_bps, downlink_bps)]
    function = partial(bounds_of, _lines(system, _pruned, backend))
    return Extremes(*by_rows(function, _DTYPES[-4:], backend, values))


def best_frequency(
    system: System, device: IntArray, delay_price: ArrayLike, energy_price: ArrayLike
) -> FloatArray:
    """Server clock that minimises `delay_price * delay + energy_price * energy`, for any cut [Hz].

    Parameters
    ----------
    system
        The arrays of a scenario.
    device
        Device positions; their lowest clocks bound the result.
    delay_price
        What a second costs, w / ΔD [1/s].
    energy_price
        What a joule costs, (1 - w) / ΔE [1/J].

    Notes
    -----
    Equation :eq:`eq-frequency` of the book: the stationary point of
    (delay_price + energy_price P(f)) / f, clipped to the allowed range; with a clock list, the
    better of its two neighbours.
    """
    backend = system.backend(device, delay_price, energy_price)
    arrays, xp = system.on(backend), backend.xp
    lowest = arrays.frequency_min_hz[backend.array(device)]
    delay_price, energy_price = backend.floats(delay_price), backend.floats(energy_price)
    clock: FloatArray = best_clock(xp, arrays, lowest, delay_price, energy_price)
    return clock


def prices(bounds: Extremes, delay_weight: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Price of a second w / ΔD and of a joule (1 - w) / ΔE; 0 where nothing can be gained.

    Notes
    -----
    Equation :eq:`eq-prices` of the book.
    """
    backend = backend_of(*bounds, delay_weight)
    return unit_prices(backend.xp, bounds, backend.floats(delay_weight))


def objective(
    bounds: Extremes, delay_weight: ArrayLike, delay_s: FloatArray, energy_j: FloatArray
) -> FloatArray:
    """Weighted sum of normalised delay and energy (U) [1].

    Notes
    -----
    Equation :eq:`eq-problem` of the book.
    """
    delay_price, energy_price = prices(bounds, delay_weight)
    late, spent = delay_s - bounds.delay_min_s, energy_j - bounds.energy_min_j
    value: FloatArray = delay_price * late + energy_price * spent
    return value


def solve(
    system: System | Scenario,
    device: ArrayLike | str,
    uplink_bps: ArrayLike,
    downlink_bps: ArrayLike,
    delay_weight: ArrayLike | None = None,
) -> Decision:
    """Optimal cut layer and server clock of each device-round; every argument broadcasts.

    Numbers and NumPy arrays give NumPy arrays, torch tensors give tensors with gradients, and Dask
    arrays give lazy ones, whose values are checked when they are computed.

    Parameters
    ----------
    system
        A scenario, or its arrays.
    device
        Device name, position, or array of positions.
    uplink_bps, downlink_bps
        Link rates [bit/s].
    delay_weight
        Weight of delay in [0, 1]; the scenario's when None.

    Raises
    ------
    ScenarioError
        If a value is out of its range or not finite.

    Notes
    -----
    Equation :eq:`eq-joint` of the book.
    """
    return _solve(as_system(system), _pruned, device, uplink_bps, downlink_bps, delay_weight)


def solve_exhaustive(
    system: System | Scenario,
    device: ArrayLike | str,
    uplink_bps: ArrayLike,
    downlink_bps: ArrayLike,
    delay_weight: ArrayLike | None = None,
) -> Decision:
    """`solve` with a search over all feasible cuts, to check the pruning against."""
    return _solve(as_system(system), _every, device, uplink_bps, downlink_bps, delay_weight)


def compiled(system: System | Scenario, library: str = "torch") -> Callable[..., Decision]:
    """`solve` of one system for torch tensors, fused into one kernel by torch's compiler.

    For streams of equal blocks of device-rounds: the first call of a shape compiles, for which
    torch needs a C++ compiler and some seconds.

    Parameters
    ----------
    system
        A scenario, or its arrays.
    library
        `torch`, or `torch:cuda` for tensors on a GPU.

    Returns
    -------
    Callable[..., Decision]
        Function of one-dimensional tensors of one length: device positions, uplink and downlink
        rates [bit/s], and weights of delay. It does not check their values.

    Raises
    ------
    ScenarioError
        If torch is not installed or has no such device.
    """
    backend = check_library(library)
    if backend is NUMPY:
        raise ScenarioError("library = 'numpy' is not allowed; give torch or torch:cuda.")
    import torch  # part of the `lab` extra

    arrays = as_system(system)
    kernel = torch.compile(partial(decide, Lines.of(arrays, _pruned(arrays), backend)))
    return lambda *rows: _decision(arrays, kernel(*rows))


def _solve(
    arrays: System,
    search: Search,
    device: ArrayLike | str,
    uplink_bps: ArrayLike,
    downlink_bps: ArrayLike,
    delay_weight: ArrayLike | None,
) -> Decision:
    weight = arrays.delay_weight if delay_weight is None else delay_weight
    values = (_position(arrays, device), uplink_bps, downlink_bps, weight)
    backend = arrays.backend(*values)
    if backend.is_lazy:
        # the library's workers share out the processors
        blocks = partial(_rows, _lines(arrays, search, NUMPY), NUMPY, threads=1)
        rows = by_blocks(blocks, _DTYPES, *values)
    else:
        rows = _rows(_lines(arrays, search, backend), backend, *values)
    return _decision(arrays, rows)


def _decision(arrays: System, rows: Sequence[Any]) -> Decision:
    """What `decide` returns, with names."""
    cut, frequency, delay, energy, score, lowest, *bounds = rows
    top = arrays.frequency_max_hz
    return Decision(cut, frequency, delay, energy, score, lowest, top, Extremes(*bounds))


def _rows(
    lines: Lines,
    backend: Backend,
    device: Any,
    uplink_bps: Any,
    downlink_bps: Any,
    delay_weight: Any,
    threads: int | None = None,
) -> tuple[Any, ...]:
    """What `decide` returns, for values yet to be checked."""
    index = check_index("device", device, lines.arrays.num_devices, backend)
    up = check_positive("uplink_bps", uplink_bps, backend)
    down = check_positive("downlink_bps", downlink_bps, backend)
    weight = check_share("delay_weight", delay_weight, backend)
    check_shapes(device=index, uplink_bps=up, downlink_bps=down, delay_weight=weight)
    values = (index, up, down, weight)
    return by_rows(partial(decide, lines), _DTYPES, backend, values, threads)


@lru_cache(maxsize=16)
def _pruned(arrays: System) -> IntArray:
    return _padded([extreme_cuts(arrays.profile, row) for row in arrays.feasible])


def _every(arrays: System) -> IntArray:
    return _padded([_listed(row) for row in arrays.feasible])


Search = Callable[[System], IntArray]
"""Candidate cuts of each device, `(devices, cuts)`."""


def _lines(arrays: System, search: Search, backend: Backend) -> Lines:
    if backend.xp is np:
        return _numpy_lines(arrays, search)
    return Lines.of(arrays, search(arrays), backend)  # not kept, for a gradient's graph is used up


@lru_cache(maxsize=16)
def _numpy_lines(arrays: System, search: Search) -> Lines:
    return Lines.of(arrays, search(arrays), NUMPY)


def _listed(feasible: Any) -> list[int]:
    return [cut for cut, fits in enumerate(feasible.tolist()) if fits]


def _padded(rows: list[list[int]]) -> IntArray:
    """Candidate cuts as a table `(devices, candidates)`; short rows repeat their last cut."""
    width = max(map(len, rows))
    return np.array([row + [row[-1]] * (width - len(row)) for row in rows])


def _position(arrays: System, device: ArrayLike | str) -> ArrayLike:
    if not isinstance(device, str):
        return device
    if device not in arrays.device_names:
        raise unknown("device", device, arrays.device_names)
    return arrays.device_names.index(device)
