"""The server clock that minimises a price of time and energy for a cut.

For a fixed cut the objective is convex in the clock, with one stationary point. A cut moves it only
by its share of overhead, so that without overhead it is the same for every cut. With several
micro-batches in flight the objective has a kink where the server stops being the slowest stage.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from card.base.arrays import is_foreign
from card.base.errors import ScenarioError
from card.base.units import FloatArray, IntArray
from card.costs import (
    Costs,
    System,
    busy_overhead_s,
    busy_s,
    evaluate,
    server_cycles,
    server_power_w,
)

_TINY = 1e-30
"""Keeps the slope of a root finite where it is 0."""
_NEWTON_STEPS = 4
"""Steps that bring a guess within 10 % of the root to within rounding of it."""


def best_frequency(
    system: System,
    device: IntArray,
    delay_price: ArrayLike,
    energy_price: ArrayLike,
    cut: ArrayLike | None = None,
    uplink_bps: ArrayLike | None = None,
    downlink_bps: ArrayLike | None = None,
) -> FloatArray:
    """Server clock that minimises `delay_price * delay + energy_price * energy` of a cut [Hz].

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
    cut
        Options, or cuts 0..I, which are the first of them; bits move no clock. May be left out
        where the server has no overhead, since the clock is then the same for any cut.
    uplink_bps, downlink_bps
        Link rates [bit/s], which matter where several micro-batches are in flight.

    Raises
    ------
    ScenarioError
        If the clock depends on the cut or the rates and none are given.

    Notes
    -----
    Equation :eq:`eq-frequency` of the book: the stationary point of `cycle_price`, clipped to the
    allowed range; with a clock list, the better of its two neighbours.

    Examples
    --------
    >>> import card
    >>> system = card.system(card.load_scenario("nominal"))
    >>> clock = best_frequency(system, 3, delay_price=1.0, energy_price=0.1)
    >>> print(f"{clock / 1e9:.2f} GHz, {server_power_w(system, clock):.1f} W")  # 1 / (2 x 0.1) W
    0.80 GHz, 5.0 W
    """
    backend = system.backend(device, delay_price, energy_price)
    arrays = system.on(backend)
    lowest = arrays.frequency_min_hz[backend.array(device)]
    delay_price, energy_price = backend.floats(delay_price), backend.floats(energy_price)
    if arrays.in_flight > 1:
        if cut is None or uplink_bps is None or downlink_bps is None:
            raise ScenarioError(
                "cut, uplink_bps or downlink_bps is missing; give all three, since with several "
                "micro-batches in flight the clock needs them."
            )
        spent = evaluate(system, device, cut, lowest, uplink_bps, downlink_bps)
        pipe = Pipe.of(arrays, backend.array(cut), spent)
        found: FloatArray = pipelined_clock(
            backend.xp, arrays, lowest, delay_price, energy_price, pipe
        )
        return found
    ratio = None
    if has_overhead(system):
        if cut is None:
            raise ScenarioError("cut is missing; give one, since with overhead the clock needs it.")
        at = backend.array(cut)
        ratio = overhead_ratio(backend.xp, busy_overhead_s(arrays, at), server_cycles(arrays, at))
    clock: FloatArray = best_clock(backend.xp, arrays, lowest, delay_price, energy_price, ratio)
    return clock


def has_overhead(arrays: System) -> bool:
    """Whether some cut keeps the server computing for a time that no clock changes.

    A tensor may stand for any such time: its slope is wanted also where it is 0.
    """
    times_s = arrays.server_overhead_s
    return is_foreign(times_s) or bool((times_s > arrays.server_launch_s).any())


def overhead_ratio(xp: Any, overhead_s: Any, cycles: Any) -> Any:
    """Overhead per server cycle o/Q [s]; 0 where there are no cycles, so that no clock matters."""
    some = cycles > 0
    return xp.where(some, overhead_s, 0.0) / xp.where(some, cycles, 1.0)


def cycle_price(
    arrays: System, frequency_hz: Any, delay_price: Any, energy_price: Any, ratio: Any = 0.0
) -> Any:
    """What one server cycle with its overhead adds to the objective, (α + β P(f)) (1/f + o/Q)."""
    second = delay_price + energy_price * server_power_w(arrays, frequency_hz)
    return second / frequency_hz + second * ratio


def best_clock(
    xp: Any,
    arrays: System,
    lowest: Any,
    delay_price: Any,
    energy_price: Any,
    ratio: Any | None = None,
) -> Any:
    """Clock that minimises `cycle_price`, not below `lowest` [Hz]; one for each `ratio`."""
    clock = _between(xp, arrays, lowest, delay_price, energy_price, ratio)
    share = 0.0 if ratio is None else ratio
    return _offered(
        xp,
        arrays,
        lowest,
        clock,
        lambda at: cycle_price(arrays, at, delay_price, energy_price, share),
    )


def _between(
    xp: Any, arrays: System, lowest: Any, delay_price: Any, energy_price: Any, ratio: Any | None
) -> Any:
    """The same if every clock from `lowest` to the highest is on offer [Hz]."""
    top, bottom = arrays.frequency_max_hz, xp.min(arrays.frequency_min_hz)
    paid = energy_price > 0
    exchange = delay_price / xp.where(paid, energy_price, 1.0)
    cube = (exchange + arrays.static_power_w) / (2.0 * arrays.power_coefficient)
    # kept only so far beyond both limits that the root's slope is neither infinite nor lost
    most = (2 * top) ** 3
    if ratio is not None:
        most = most + _overhead_term(arrays, xp.max(ratio), 2 * top)
    within = xp.minimum(xp.maximum(cube, (bottom / 2) ** 3), most)
    cube = xp.where(paid, within, most)
    root = _cube_root(xp, cube)
    if ratio is not None:
        root = _quartic_root(xp, root, ratio, arrays)
    return xp.minimum(xp.maximum(root, lowest), top)


def _offered(xp: Any, arrays: System, lowest: Any, clock: Any, price: Callable[[Any], Any]) -> Any:
    """The clock, or the better of its neighbours on the server's list [Hz]."""
    if arrays.clocks_hz is None:
        return clock
    lower, upper = _neighbours(xp, arrays.clocks_hz, lowest, clock)
    return xp.where(price(lower) <= price(upper), lower, upper)


def _neighbours(xp: Any, clocks: Any, lowest: Any, clock: Any) -> tuple[Any, Any]:
    """Those of some clocks on both sides of one, not below `lowest` [Hz]."""
    above = xp.searchsorted(clocks, clock)
    below = xp.searchsorted(clocks, clock, side="right") - 1
    upper = clocks[xp.clip(above, 0, clocks.shape[0] - 1)]
    return xp.maximum(clocks[xp.clip(below, 0, clocks.shape[0] - 1)], lowest), upper


class Pipe(NamedTuple):
    """What the clock of a round with several micro-batches in flight depends on."""

    cycles: Any
    """Server clock cycles of the round (Q)."""
    overhead_s: Any
    """Time that the server computes whatever its clock [s]."""
    spare_s: Any
    """Time that the server may be busy without being the slowest stage [s]."""

    @classmethod
    def of(cls, arrays: System, option: Any, costs: Costs) -> Pipe:
        """Of options, with what they cost at any clock."""
        xp = arrays.backend(costs.delay_s).xp
        device_s, uplink_s, _, downlink_s = costs.stages_s
        slowest_s = xp.maximum(xp.maximum(device_s, uplink_s), downlink_s)
        return cls(
            server_cycles(arrays, option),
            busy_overhead_s(arrays, option),
            slowest_s - costs.server_launch_s,
        )

    def balance_hz(self, xp: Any) -> Any:
        """Clock at which the server is as slow as the slowest other stage [Hz]."""
        left_s = self.spare_s - self.overhead_s
        some = left_s > 0
        return xp.where(some, self.cycles / xp.where(some, left_s, 1.0), np.inf)

    def price(self, arrays: System, frequency_hz: Any, delay_price: Any, energy_price: Any) -> Any:
        """What a round costs at given prices and a clock, but for what no clock changes."""
        xp, waiting_w = arrays.backend(frequency_hz).xp, arrays.waiting_power_w
        busy = busy_s(self.overhead_s, self.cycles, frequency_hz)
        last_s = xp.maximum(busy, self.spare_s)
        delay = last_s + (busy - last_s) / arrays.in_flight
        above_w = server_power_w(arrays, frequency_hz) - waiting_w
        return energy_price * busy * above_w + (delay_price + energy_price * waiting_w) * delay


def pipelined_clock(
    xp: Any, arrays: System, lowest: Any, delay_price: Any, energy_price: Any, pipe: Pipe
) -> Any:
    """Clock that minimises `Pipe.price`, not below `lowest` [Hz].

    Up to the clock at which another stage is the slowest, a second of the server's costs what it
    does with one micro-batch in flight; beyond it, only an m-th of it lengthens the round. Either
    price has its stationary clock, and the second is not above the first. The sum falls up to
    the best clock and rises after it, so that this is the middle one of the three.
    """
    ratio = overhead_ratio(xp, pipe.overhead_s, pipe.cycles)
    hidden = _hidden_price(arrays, delay_price, energy_price)
    high = _between(xp, arrays, lowest, delay_price, energy_price, ratio)
    low = _between(xp, arrays, lowest, delay_price - hidden, energy_price, ratio)
    clock = xp.minimum(xp.maximum(pipe.balance_hz(xp), low), high)
    return _offered(
        xp, arrays, lowest, clock, lambda at: pipe.price(arrays, at, delay_price, energy_price)
    )


def shared_clocks(
    system: System,
    device: IntArray,
    cut: int,
    uplink_bps: FloatArray,
    downlink_bps: FloatArray,
    delay_price: FloatArray,
    energy_price: FloatArray,
) -> tuple[Any, ...]:
    """The one clock that is best for an option in many rounds together [Hz], or its neighbours.

    For systems with several micro-batches in flight; all arrays are of the shape of the rounds.
    Each round in which the server is not the slowest stage lowers the price of a second. So from
    one round's clock of balance to the next the stationary clock falls, and the best clock is where
    both meet. Of a list of clocks, one of the two neighbours of that is the best.
    """
    backend = system.backend(device, uplink_bps, delay_price)
    xp, arrays = backend.xp, system.on(backend)
    lowest = xp.max(arrays.frequency_min_hz)
    pipe = Pipe.of(arrays, cut, evaluate(system, device, cut, lowest, uplink_bps, downlink_bps))
    hidden = _hidden_price(arrays, delay_price, energy_price)
    balance = xp.reshape(xp.broadcast_to(pipe.balance_hz(xp), hidden.shape), (-1,))
    order = xp.argsort(balance)
    balance, hidden = xp.take(balance, order), xp.take(xp.reshape(hidden, (-1,)), order)
    none = xp.zeros_like(balance[:1])
    prices = xp.sum(delay_price) - xp.concat([none, xp.cumsum(hidden, 0)])
    ratio = overhead_ratio(xp, pipe.overhead_s, pipe.cycles)
    clocks = _between(xp, arrays, lowest, prices, xp.sum(energy_price), ratio)
    meets = xp.concat([balance, none + np.inf]) >= clocks
    first = xp.argmax(xp.astype(meets, xp.int64))
    clock = xp.maximum(xp.concat([none, balance])[first], clocks[first])
    return (
        (clock,) if arrays.clocks_hz is None else _neighbours(xp, arrays.clocks_hz, lowest, clock)
    )


def _hidden_price(arrays: System, delay_price: Any, energy_price: Any) -> Any:
    """What a second of a stage that is not the slowest does not cost, (1 - 1/m) (α + β P_w)."""
    waiting_w = arrays.waiting_power_w
    return (1.0 - 1.0 / arrays.in_flight) * (delay_price + energy_price * waiting_w)


def _cube_root(xp: Any, cube: Any) -> Any:
    """Root of numbers above 0, for which the standard has no function; Newton's step rounds it."""
    root = xp.exp(xp.log(cube) / 3)
    return root - (root - cube / (root * root)) / 3


def _overhead_term(arrays: System, ratio: Any, clock: Any) -> Any:
    """What overhead adds to f³ where the slope is zero: 3/2 (o/Q) f⁴ + P₁/(2ξ) (o/Q) f² [Hz³]."""
    square = clock * clock
    linear = arrays.linear_power_w_per_hz / arrays.power_coefficient
    return ratio * square * (1.5 * square + 0.5 * linear)


def _quartic_root(xp: Any, root: Any, ratio: Any, arrays: System) -> Any:
    """Clock at which f³ and `_overhead_term` together are the cube of `root` [Hz].

    Both grow and are convex, so that Newton's steps come down from above, after one that may come
    from below. Each term alone bounds the solution from above; a mean of the bounds that favours
    the least is within 10 % of it.
    """
    quartic = 1.5 * ratio * root
    square = 0.5 * ratio * arrays.linear_power_w_per_hz / (arrays.power_coefficient * root)
    # with x = f / root: quartic x⁴ + x³ + square x² = 1
    x = xp.minimum(1.075 / xp.sqrt(1.0 + xp.sqrt(quartic + _TINY) + square), 1.0)
    for _ in range(_NEWTON_STEPS):
        x2 = x * x
        value = x2 * (x * (quartic * x + 1.0) + square) - 1.0
        slope = x * (x * (4.0 * quartic * x + 3.0) + 2.0 * square)
        x = x - value / slope
    return x * root
