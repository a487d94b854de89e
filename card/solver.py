"""CARD: the jointly optimal cut layer and server frequency of each device and round.

For a fixed cut the objective is convex in the frequency, with a stationary point that does not
depend on the cut. One cube root and a search over the few cuts that can win give the joint optimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from card.checks import check_index, check_positive, check_shapes, check_share
from card.costs import CutProfile, System, fixed_parts, server_cycles, server_power_w
from card.costs import system as as_system
from card.refusal import unknown
from card.scenario import Scenario
from card.units import FloatArray, IntArray

TIE = 1e-12
"""Objectives closer than this are a tie, which goes to the smaller cut."""

ROUNDING = 2e-15
"""Relative error of a computed delay or energy; what it does to the objective ties as well."""

_CHUNK = 1 << 13


class Extremes(NamedTuple):
    """True extremes of delay and server energy over a device-round's feasible set."""

    delay_min_s: FloatArray
    """Shortest delay [s]."""
    delay_max_s: FloatArray
    """Longest delay [s]."""
    energy_min_j: FloatArray
    """Least server energy [J]."""
    energy_max_j: FloatArray
    """Most server energy [J]."""


@dataclass(frozen=True, eq=False)
class Decision:
    """CARD's decision; every field is an array of the broadcast shape of the request."""

    cut: IntArray
    """Blocks on the device."""
    frequency_hz: FloatArray
    """Server clock [Hz]."""
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
        high = self.frequency_hz >= self.frequency_max_hz
        low = self.frequency_hz <= self.frequency_min_hz
        return np.where(high, 1, np.where(low, -1, 0))


def extreme_cuts(profile: CutProfile, feasible: NDArray[np.bool_]) -> list[int]:
    """Feasible cuts that can win or set an extreme: the ends of straight runs of the cost vectors.

    Delay and energy are linear in (F_D, F_S, S_up, S_dn, A), so a cut strictly between two others
    on a straight line is never better than both. Compared exactly, in whole numbers.

    Parameters
    ----------
    profile
        Costs per cut.
    feasible
        Cuts allowed, shape `(I + 1,)`.
    """
    names = ("device_flop", "server_flop", "uplink_bit", "downlink_bit", "adapter_bit")
    columns = [getattr(profile, name).tolist() for name in names]
    points = {int(c): [column[c] for column in columns] for c in np.flatnonzero(feasible)}

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
    """Smallest and largest delay and energy over each device-round's feasible cuts and clocks."""
    return _Table(system, _pruned(system), device, uplink_bps, downlink_bps).extremes()


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
    delay_price, energy_price
        What a second and a joule cost, w / ΔD [1/s] and (1 - w) / ΔE [1/J].

    Notes
    -----
    Equation (frequency) of the book: the stationary point of (delay_price + energy_price P(f)) / f,
    clipped to the allowed range; with a clock list, the better of its two neighbours.
    """
    return _best_frequency(system, system.frequency_min_hz[device], delay_price, energy_price)


def prices(bounds: Extremes, delay_weight: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Price of a second w / ΔD and of a joule (1 - w) / ΔE; 0 where nothing can be gained."""
    weight = np.asarray(delay_weight, dtype=np.float64)
    delay_span = bounds.delay_max_s - bounds.delay_min_s
    energy_span = bounds.energy_max_j - bounds.energy_min_j
    return _ratio(weight, delay_span), _ratio(1.0 - weight, energy_span)


def objective(
    bounds: Extremes, delay_weight: ArrayLike, delay_s: FloatArray, energy_j: FloatArray
) -> FloatArray:
    """Weighted sum of normalised delay and energy (U) [1]."""
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
    """
    arrays = as_system(system)
    return _solve(arrays, _pruned(arrays), device, uplink_bps, downlink_bps, delay_weight)


def solve_exhaustive(
    system: System | Scenario,
    device: ArrayLike | str,
    uplink_bps: ArrayLike,
    downlink_bps: ArrayLike,
    delay_weight: ArrayLike | None = None,
) -> Decision:
    """`solve` with a search over all feasible cuts, to check the pruning against."""
    arrays = as_system(system)
    every = [list(map(int, np.flatnonzero(row))) for row in arrays.feasible]
    return _solve(arrays, _padded(every), device, uplink_bps, downlink_bps, delay_weight)


def _solve(
    arrays: System,
    candidates: IntArray,
    device: ArrayLike | str,
    uplink_bps: ArrayLike,
    downlink_bps: ArrayLike,
    delay_weight: ArrayLike | None,
) -> Decision:
    index = check_index("device", _position(arrays, device), arrays.num_devices)
    up = check_positive("uplink_bps", uplink_bps)
    down = check_positive("downlink_bps", downlink_bps)
    given = arrays.delay_weight if delay_weight is None else delay_weight
    weight = check_share("delay_weight", given)
    shape = check_shapes(device=index, uplink_bps=up, downlink_bps=down, delay_weight=weight)
    devices = np.broadcast_to(index, shape).reshape(-1)
    rates = [np.broadcast_to(array, shape).reshape(-1) for array in (up, down)]
    weights = np.broadcast_to(weight, shape).reshape(-1)
    cut = np.empty(devices.size, dtype=np.int64)
    found = np.empty((8, devices.size))
    for start in range(0, devices.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        table = _Table(arrays, candidates, devices[part], rates[0][part], rates[1][part])
        cut[part] = table.solve(weights[part], found[:, part])
    frequency, delay, energy, value, *bounds = (row.reshape(shape) for row in found)
    return Decision(
        cut=cut.reshape(shape),
        frequency_hz=frequency,
        delay_s=delay,
        energy_j=energy,
        objective=value,
        frequency_min_hz=arrays.frequency_min_hz[np.broadcast_to(index, shape)],
        frequency_max_hz=arrays.frequency_max_hz,
        extremes=Extremes(*bounds),
    )


class _Table:
    """Delay and energy of the candidate cuts of some device-rounds; `(cuts, device-rounds)`.

    `solve` goes through device-rounds in blocks whose tables fit a processor's cache.
    """

    def __init__(
        self,
        arrays: System,
        candidates: IntArray,
        device: IntArray,
        up: FloatArray,
        down: FloatArray,
    ) -> None:
        self.arrays, self.lowest = arrays, arrays.frequency_min_hz[device]
        self.cut = np.ascontiguousarray(candidates.T[:, device])
        parts = fixed_parts(arrays, device, self.cut, up, down)
        self.fixed_s = parts[0] + (parts[1] + parts[2] + parts[3] + parts[4])
        self.cycles = server_cycles(arrays, self.cut)

    def delay_s(self, frequency: ArrayLike) -> FloatArray:
        delay: FloatArray = self.fixed_s + self.cycles / np.asarray(frequency)
        return delay

    def energy_j(self, frequency: ArrayLike) -> FloatArray:
        clock = np.asarray(frequency)
        energy: FloatArray = self.cycles / clock * server_power_w(self.arrays, clock)
        return energy

    def solve(self, weight: FloatArray, found: FloatArray) -> IntArray:
        """The best cut of each device-round; `found` takes clock, costs, objective, extremes."""
        bounds = self.extremes()
        delay_price, energy_price = prices(bounds, weight)
        frequency = _best_frequency(self.arrays, self.lowest, delay_price, energy_price)
        delay, energy = self.delay_s(frequency), self.energy_j(frequency)
        value = objective(bounds, weight, delay, energy)
        scale = delay_price * bounds.delay_max_s + energy_price * bounds.energy_max_j
        winner = np.argmax(value <= value.min(axis=0) + TIE + ROUNDING * scale, axis=0)[None]
        best, *scores = (
            np.take_along_axis(array, winner, axis=0)[0]
            for array in (self.cut, delay, energy, value)
        )
        rows = (frequency, *scores, *bounds)
        for row, array in zip(found, rows, strict=True):
            row[:] = array
        cuts: IntArray = best
        return cuts

    def extremes(self) -> Extremes:
        slow, fast = self.lowest, self.arrays.frequency_max_hz
        thrifty = _best_frequency(self.arrays, self.lowest, 0.0, 1.0)
        most = np.maximum(self.energy_j(slow).max(axis=0), self.energy_j(fast).max(axis=0))
        return Extremes(
            delay_min_s=self.delay_s(fast).min(axis=0),
            delay_max_s=self.delay_s(slow).max(axis=0),
            energy_min_j=self.energy_j(thrifty).min(axis=0),
            energy_max_j=most,
        )


def _best_frequency(
    arrays: System, lowest: FloatArray, delay_price: ArrayLike, energy_price: ArrayLike
) -> FloatArray:
    delay_price, energy_price = np.asarray(delay_price), np.asarray(energy_price)
    with np.errstate(divide="ignore", invalid="ignore"):
        exchange = np.where(energy_price > 0, delay_price / energy_price, np.inf)
    stationary = np.cbrt((exchange + arrays.static_power_w) / (2.0 * arrays.power_coefficient))
    clipped = np.clip(stationary, lowest, arrays.frequency_max_hz)
    if arrays.clocks_hz is None:
        return clipped
    clocks = arrays.clocks_hz
    upper = clocks[np.minimum(np.searchsorted(clocks, clipped), len(clocks) - 1)]
    below = np.maximum(np.searchsorted(clocks, clipped, side="right") - 1, 0)
    lower = np.maximum(clocks[below], lowest)

    def per_work(clock: FloatArray) -> FloatArray:
        power = server_power_w(arrays, clock)
        price: FloatArray = (delay_price + energy_price * power) / clock
        return price

    return np.where(per_work(lower) <= per_work(upper), lower, upper)


@lru_cache(maxsize=16)
def _pruned(arrays: System) -> IntArray:
    return _padded([extreme_cuts(arrays.profile, row) for row in arrays.feasible])


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


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """`above / below`, and 0 where `below` is 0."""
    spread = below > 0
    return np.where(spread, above / np.where(spread, below, 1.0), 0.0)
