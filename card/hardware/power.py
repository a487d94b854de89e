"""Power that a processor draws at a clock: the one place that says what P(f) is."""

from __future__ import annotations

from typing import Any

from card.base.units import FloatArray


def power_w(frequency_hz: Any, static_power_w: Any, power_coefficient: Any) -> FloatArray:
    """Power at a clock while the processor works [W], P(f) = P₀ + ξ f³; arguments broadcast.

    Parameters
    ----------
    frequency_hz
        Clock (f) [Hz].
    static_power_w
        Power at any clock (P_0) [W].
    power_coefficient
        Power per cubed clock (ξ) [W/Hz³].

    Notes
    -----
    Equation :eq:`eq-power` of the book. Its stationary clock stands in `card.solver.clock`; whoever
    changes one of the two changes both.

    Examples
    --------
    >>> round(power_w(2e9, 10.0, 5e-27))
    50
    """
    power: FloatArray = static_power_w + power_coefficient * cubed(frequency_hz)
    return power


def coefficient_at(max_power_w: Any, static_power_w: Any, max_clock_hz: float) -> Any:
    """Coefficient ξ with which P(f) reaches the highest power at the highest clock [W/Hz³]."""
    return (max_power_w - static_power_w) / max_clock_hz**3


def cubed(clock_hz: Any) -> Any:
    """Clock to the third power [Hz³], by products, which every array library rounds alike."""
    return clock_hz * clock_hz * clock_hz
