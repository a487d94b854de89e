"""The server clock that minimises a price of time and energy for a cut.

For a fixed cut the objective is convex in the clock, with one stationary point. A cut moves it only
by its share of overhead, so that without overhead it is the same for every cut.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from card.base.arrays import is_foreign
from card.base.errors import ScenarioError
from card.base.units import FloatArray, IntArray
from card.costs import System, busy_overhead_s, server_cycles, server_power_w

_TINY = 1e-30
"""Keeps a bound finite, and its slope, where its term is 0."""
_NEWTON_STEPS = 6
"""Steps that bring a bound at most a factor of √3 above the root to within rounding of it."""


def best_frequency(
    system: System,
    device: IntArray,
    delay_price: ArrayLike,
    energy_price: ArrayLike,
    cut: ArrayLike | None = None,
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

    Raises
    ------
    ScenarioError
        If the clock depends on the cut and none is given.

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
    clock = xp.minimum(xp.maximum(root, lowest), top)
    if arrays.clocks_hz is None:
        return clock
    clocks = arrays.clocks_hz
    above = xp.searchsorted(clocks, clock)
    below = xp.searchsorted(clocks, clock, side="right") - 1
    upper = clocks[xp.clip(above, 0, clocks.shape[0] - 1)]
    lower = xp.maximum(clocks[xp.clip(below, 0, clocks.shape[0] - 1)], lowest)
    share = 0.0 if ratio is None else ratio
    price = (cycle_price(arrays, at, delay_price, energy_price, share) for at in (lower, upper))
    return xp.where(next(price) <= next(price), lower, upper)


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

    Both grow and are convex, so that Newton's steps come down from above without crossing the
    solution. Each term alone bounds it from above, and the least bound is where they start.
    """
    quartic = 1.5 * ratio * root
    square = 0.5 * ratio * arrays.linear_power_w_per_hz / (arrays.power_coefficient * root)
    # with x = f / root: quartic x⁴ + x³ + square x² = 1
    bounds = xp.minimum(1.0 / xp.sqrt(xp.sqrt(quartic + _TINY)), 1.0 / xp.sqrt(square + _TINY))
    x = xp.minimum(bounds, 1.0)
    for _ in range(_NEWTON_STEPS):
        x2 = x * x
        value = x2 * (x * (quartic * x + 1.0) + square) - 1.0
        slope = x * (x * (4.0 * quartic * x + 3.0) + 2.0 * square)
        x = x - value / slope
    return x * root
