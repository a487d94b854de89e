"""CARD: the jointly optimal cut layer, bits sent and server frequency of every device-round.

For a fixed cut the objective is convex in the frequency, with a stationary point that does not
depend on the cut. One cube root and a search over the few options that can win, each a cut and bits
up and down, give the joint optimum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from card.base.arguments import (
    check_index,
    check_positive,
    check_price,
    check_shapes,
    check_share,
)
from card.base.arrays import NUMPY, Backend, backend_of, by_blocks, by_rows, check_library
from card.base.errors import ScenarioError, unknown
from card.base.units import FloatArray, IntArray
from card.costs import System
from card.scenario import Scenario
from card.solver import optimum, pipelined
from card.solver.optimum import Extremes, Lines, unit_prices, weighted_sum
from card.solver.pruning import every_option, pruned_options

Candidates = Callable[[System], IntArray]
"""What gives the options of each device to search, `(devices, candidates)`."""

_PRICES = ("delay_price", "energy_price", "device_energy_price")
_DTYPES: list[type] = [np.int64] * 4 + [np.float64] * 9


@dataclass(frozen=True, eq=False)
class Decision:
    """CARD's decision; every field is an array of the broadcast shape of the request."""

    option: IntArray
    """Row of the system's profile, which says cut and bits; the cut where there are no others."""
    cut: IntArray
    """Blocks on the device."""
    uplink_bits: IntArray
    """Bits per number that goes up."""
    downlink_bits: IntArray
    """Bits per number that comes down."""
    frequency_hz: FloatArray
    """Server clock [Hz] (f)."""
    delay_s: FloatArray
    """Delay of the round [s]."""
    energy_j: FloatArray
    """Server energy of the round [J]."""
    objective: FloatArray
    """Weighted sum of normalised delay and energy (U), or what the round costs at given prices."""
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


def extremes(
    system: System, device: IntArray, uplink_bps: FloatArray, downlink_bps: FloatArray
) -> Extremes:
    """Smallest and largest delay and energy over each device-round's feasible options and clocks.

    Notes
    -----
    Equation :eq:`eq-extremes` of the book.
    """
    backend = system.backend(device, uplink_bps, downlink_bps)
    values = [backend.array(value) for value in (device, uplink_bps, downlink_bps)]
    function = partial(_rule(system).extremes_of, _lines(system, pruned_options, backend))
    return Extremes(*by_rows(function, _DTYPES[-4:], backend, values))


def prices(extremes: Extremes, delay_weight: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Price of a second w / ΔD and of a joule (1 - w) / ΔE; 0 where nothing can be gained.

    Notes
    -----
    Equation :eq:`eq-prices` of the book.
    """
    backend = backend_of(*extremes, delay_weight)
    return unit_prices(backend.xp, extremes, backend.floats(delay_weight))


def objective(
    extremes: Extremes, delay_weight: ArrayLike, delay_s: FloatArray, energy_j: FloatArray
) -> FloatArray:
    """Weighted sum of normalised delay and energy (U) [1].

    Notes
    -----
    Equation :eq:`eq-problem` of the book.
    """
    value: FloatArray = weighted_sum(extremes, *prices(extremes, delay_weight), delay_s, energy_j)
    return value


def solve(
    system: System | Scenario,
    device: ArrayLike | str,
    uplink_bps: ArrayLike,
    downlink_bps: ArrayLike,
    delay_weight: ArrayLike | None = None,
    *,
    delay_price: ArrayLike | None = None,
    energy_price: ArrayLike | None = None,
    device_energy_price: ArrayLike | None = None,
) -> Decision:
    """Optimal cut, bits and server clock of each device-round; every argument broadcasts.

    A weight normalises delay and energy by each device-round's own extremes; prices are the same
    for all of them. To forbid options, give arrays with fewer of them:
    ``replace(system, feasible=system.feasible & mask)`` of `dataclasses`.

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
    delay_price
        What a second of the round costs [1/s]. Prices that are left out are 0; with any, there is
        no weight.
    energy_price
        What a joule of the server costs [1/J].
    device_energy_price
        What a joule of the device costs, for computing, sending and waiting [1/J].

    Raises
    ------
    ScenarioError
        If a value is out of its range or not finite, a weight comes with prices, or a device whose
        power is unknown is to pay for energy.

    Notes
    -----
    Equation :eq:`eq-joint` of the book.

    Examples
    --------
    >>> import card
    >>> nominal = card.load_scenario("nominal")
    >>> found = solve(nominal, "device-4", 80e6, 200e6)
    >>> print(found.cut, f"{found.frequency_hz / 1e9:.2f} GHz, {found.delay_s:.1f} s")
    0 0.78 GHz, 11.9 s
    >>> found = solve(nominal, "device-4", 80e6, 200e6, delay_price=1, energy_price=0.02)
    >>> print(found.cut, f"{found.frequency_hz / 1e9:.2f} GHz, {found.delay_s:.1f} s")
    0 1.37 GHz, 8.6 s
    """
    given = delay_price, energy_price, device_energy_price
    return _solve(
        System.of(system), pruned_options, device, uplink_bps, downlink_bps, delay_weight, *given
    )


def solve_exhaustive(
    system: System | Scenario,
    device: ArrayLike | str,
    uplink_bps: ArrayLike,
    downlink_bps: ArrayLike,
    delay_weight: ArrayLike | None = None,
    *,
    delay_price: ArrayLike | None = None,
    energy_price: ArrayLike | None = None,
    device_energy_price: ArrayLike | None = None,
) -> Decision:
    """`solve` with a search over all feasible options, to check the pruning against."""
    given = delay_price, energy_price, device_energy_price
    return _solve(
        System.of(system), every_option, device, uplink_bps, downlink_bps, delay_weight, *given
    )


def round_by_round(
    system: System, device: IntArray, uplink_bps: FloatArray, downlink_bps: FloatArray
) -> Callable[..., Decision]:
    """`solve` of one round after the other, at prices that depend on the rounds before.

    All values are checked at once, which takes longer than the decisions of a round.

    Parameters
    ----------
    system
        A scenario's arrays.
    device, uplink_bps, downlink_bps
        Positions and link rates [bit/s] of one shape, rounds along the last axis.

    Returns
    -------
    Callable[..., Decision]
        Function of a round's index and the three prices of `solve`, which broadcast to the round's
        device-rounds. It does not check the prices.
    """
    backend = system.backend(device, uplink_bps, downlink_bps)
    values = (
        check_index("device", device, system.num_devices, backend),
        check_positive("uplink_bps", uplink_bps, backend),
        check_positive("downlink_bps", downlink_bps, backend),
    )
    decide = partial(_rule(system).decide_at_prices, _lines(system, pruned_options, backend))
    shape, xp = values[0].shape[:-1], backend.xp

    def row(value: Any) -> Any:
        return xp.reshape(xp.broadcast_to(value, shape), (-1,))

    def decided(now: int, *prices: ArrayLike) -> Decision:
        priced = map(backend.floats, prices)
        rows = decide(*(row(value[..., now]) for value in values), *map(row, priced))
        return _decision(system, [xp.reshape(part, shape) for part in rows])

    return decided


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
        rates [bit/s], and delay weights. It does not check their values.

    Raises
    ------
    ScenarioError
        If torch is not installed or has no such device.
    """
    backend = check_library(library)
    if backend is NUMPY:
        raise ScenarioError("library = 'numpy' is not allowed; give torch or torch:cuda.")
    import torch  # part of the `lab` extra

    arrays = System.of(system)
    lines = Lines.of(arrays, pruned_options(arrays), backend)
    kernel = torch.compile(partial(_rule(arrays).decide, lines))
    return lambda *rows: _decision(arrays, kernel(*rows))


def _solve(
    arrays: System,
    candidates: Candidates,
    device: ArrayLike | str,
    uplink_bps: ArrayLike,
    downlink_bps: ArrayLike,
    delay_weight: ArrayLike | None,
    *given: ArrayLike | None,
) -> Decision:
    paid: tuple[ArrayLike, ...] = (arrays.delay_weight if delay_weight is None else delay_weight,)
    if any(price is not None for price in given):
        if delay_weight is not None:
            raise ScenarioError(f"delay_weight = {delay_weight} comes with prices; leave one out.")
        paid = tuple(0.0 if price is None else price for price in given)
    values = (_position(arrays, device), uplink_bps, downlink_bps, *paid)
    backend = arrays.backend(*values)
    if backend.is_lazy:
        # the library's workers share out the processors
        blocks = partial(_rows, _lines(arrays, candidates, NUMPY), NUMPY, threads=1)
        rows = by_blocks(blocks, _DTYPES, *values)
    else:
        rows = _rows(_lines(arrays, candidates, backend), backend, *values)
    return _decision(arrays, rows)


def _decision(arrays: System, rows: Sequence[Any]) -> Decision:
    """What `decide` returns, with names."""
    option, cut, up, down, frequency, delay, energy, score, lowest, *extremes = rows
    top, bounds = arrays.frequency_max_hz, Extremes(*extremes)
    found = frequency, delay, energy, score, lowest
    return Decision(option, cut, up, down, *found, top, bounds)


def _rows(
    lines: Lines,
    backend: Backend,
    device: Any,
    uplink_bps: Any,
    downlink_bps: Any,
    *paid: Any,
    threads: int | None = None,
) -> tuple[Any, ...]:
    """What `decide` returns at a weight, or `decide_at_prices` at three; values not yet checked."""
    index = check_index("device", device, lines.arrays.num_devices, backend)
    rates = {
        "uplink_bps": check_positive("uplink_bps", uplink_bps, backend),
        "downlink_bps": check_positive("downlink_bps", downlink_bps, backend),
    }
    rule = _rule(lines.arrays)
    if len(paid) == 1:
        kernel: Callable[..., tuple[Any, ...]] = rule.decide
        weights = {"delay_weight": check_share("delay_weight", *paid, backend)}
    else:
        kernel, named = rule.decide_at_prices, zip(_PRICES, paid, strict=True)
        weights = {name: check_price(name, price, backend) for name, price in named}
    check_shapes(device=index, **rates, **weights)
    if len(paid) > 1:
        _check_power_known(lines.arrays, index, weights[_PRICES[-1]])
    values = (index, *rates.values(), *weights.values())
    return by_rows(partial(kernel, lines), _DTYPES, backend, values, threads, lines.option.shape[0])


def _check_power_known(arrays: System, device: Any, device_energy_price: Any) -> None:
    power_w = backend_of(arrays.device_power_w).numpy(arrays.device_power_w)
    backend = backend_of(device, device_energy_price)
    index, price = map(backend.numpy, (device, device_energy_price))
    index, price = np.broadcast_arrays(index, price)
    wrong = index[np.isnan(power_w[index]) & (price > 0)]
    if wrong.size:
        raise ScenarioError(
            f"device_energy_price needs the power of {arrays.device_names[wrong[0]]}; give its "
            "hardware max_power_w."
        )


def _rule(arrays: System) -> ModuleType:
    """What finds the optimum, by how many micro-batches are in flight."""
    return pipelined if arrays.in_flight > 1 else optimum


def _lines(arrays: System, candidates: Candidates, backend: Backend) -> Lines:
    if backend.xp is np:
        return _numpy_lines(arrays, candidates)
    return Lines.of(
        arrays, candidates(arrays), backend
    )  # not kept, for a gradient's graph is used up


@lru_cache(maxsize=16)
def _numpy_lines(arrays: System, candidates: Candidates) -> Lines:
    return Lines.of(arrays, candidates(arrays), NUMPY)


def _position(arrays: System, device: ArrayLike | str) -> ArrayLike:
    if not isinstance(device, str):
        return device
    if device not in arrays.device_names:
        raise unknown("device", device, arrays.device_names)
    return arrays.device_names.index(device)
