"""The server clock that minimises a price of time and energy, the same for every cut.

For a fixed cut the objective is convex in the clock, with a stationary point that no cut moves.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from card.base.units import FloatArray, IntArray
from card.costs import System, server_power_w


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
    Equation :eq:`eq-frequency` of the book: the stationary point of `cycle_price`,
    f³ = (λ / μ + P₀) / (2 ξ) for prices λ of a second and μ of a joule, clipped to the allowed
    range; with a clock list, the better of its two neighbours.

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
    clock: FloatArray = best_clock(backend.xp, arrays, lowest, delay_price, energy_price)
    return clock


def cycle_price(arrays: System, frequency_hz: Any, delay_price: Any, energy_price: Any) -> Any:
    """What one server cycle adds to the objective at a clock, (λ + μ P(f)) / f."""
    return (delay_price + energy_price * server_power_w(arrays, frequency_hz)) / frequency_hz


def best_clock(xp: Any, arrays: System, lowest: Any, delay_price: Any, energy_price: Any) -> Any:
    """Clock that minimises `cycle_price`, not below `lowest` [Hz]."""
    top, bottom = arrays.frequency_max_hz, xp.min(arrays.frequency_min_hz)
    paid = energy_price > 0
    exchange = delay_price / xp.where(paid, energy_price, 1.0)
    cube = (exchange + arrays.static_power_w) / (2.0 * arrays.power_coefficient)
    # kept only so far beyond both limits that the root's slope is neither infinite nor lost
    within = xp.minimum(xp.maximum(cube, (bottom / 2) ** 3), (2 * top) ** 3)
    root = _cube_root(xp, xp.where(paid, within, (2 * top) ** 3))
    clock = xp.minimum(xp.maximum(root, lowest), top)
    if arrays.clocks_hz is None:
        return clock
    clocks = arrays.clocks_hz
    above = xp.searchsorted(clocks, clock)
    below = xp.searchsorted(clocks, clock, side="right") - 1
    upper = clocks[xp.clip(above, 0, clocks.shape[0] - 1)]
    lower = xp.maximum(clocks[xp.clip(below, 0, clocks.shape[0] - 1)], lowest)
    price = (cycle_price(arrays, at, delay_price, energy_price) for at in (lower, upper))
    return xp.where(next(price) <= next(price), lower, upper)


def _cube_root(xp: Any, cube: Any) -> Any:
    """Root of numbers above 0, for which the standard has no function; Newton's step rounds it."""
    root = xp.exp(xp.log(cube) / 3)
    return root - (root - cube / (root * root)) / 3
