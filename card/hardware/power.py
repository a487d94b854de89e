"""Power that a processor draws at a clock: the one place that says what P(f) is."""

from __future__ import annotations

from typing import Any

import numpy as np

from card.base.arrays import backend_of
from card.base.units import FloatArray


def power_w(
    frequency_hz: Any,
    static_power_w: Any,
    power_coefficient: Any,
    linear_power_w_per_hz: Any = 0.0,
) -> FloatArray:
    """Power at a clock while the processor works [W], P(f) = P₀ + P₁ f + ξ f³; all broadcast.

    Parameters
    ----------
    frequency_hz
        Clock (f) [Hz].
    static_power_w
        Power at any clock (P_0) [W].
    power_coefficient
        Power per cubed clock (ξ) [W/Hz³].
    linear_power_w_per_hz
        Power per clock (P_1) [W/Hz].

    Notes
    -----
    Equation :eq:`eq-power` of the book. Its stationary clock stands in `card.solver.clock`; whoever
    changes one of the two changes both.

    Examples
    --------
    >>> round(power_w(2e9, 10.0, 5e-27))
    50
    """
    power: FloatArray = (
        static_power_w
        + power_coefficient * cubed(frequency_hz)
        + linear_power_w_per_hz * frequency_hz
    )
    return power


def coefficient_at(
    max_power_w: Any, static_power_w: Any, max_clock_hz: float, linear_power_w_per_hz: Any = 0.0
) -> Any:
    """Coefficient ξ with which P(f) reaches the highest power at the highest clock [W/Hz³]."""
    rest = max_power_w - static_power_w - linear_power_w_per_hz * max_clock_hz
    return rest / max_clock_hz**3


def clock_at(
    power_w: Any, static_power_w: Any, power_coefficient: Any, linear_power_w_per_hz: Any = 0.0
) -> Any:
    """Clock at which P(f) is a power above P₀ [Hz].

    Examples
    --------
    >>> print(f"{clock_at(50.0, 10.0, 5e-27):.3g}")
    2e+09
    """
    coefficients = (power_coefficient, linear_power_w_per_hz, static_power_w - power_w)
    cubic, linear, constant = (backend_of(one).floats(one).item() for one in coefficients)
    roots = np.roots([cubic, 0.0, linear, constant])
    near = float(roots[np.argmin(abs(roots.imag))].real)  # P grows, so only one root is real
    # the last step of Newton's method carries gradients
    value = coefficients[0] * near**3 + coefficients[1] * near + coefficients[2]
    return near - value / (3 * coefficients[0] * near**2 + coefficients[1])


def thriftiest_clock(static_power_w: Any, power_coefficient: Any) -> Any:
    """Clock of least energy per work, P(f) / f [Hz]; P₁ adds the same at each clock.

    Without power at rest that is 0, since a slower clock always spends less.

    Examples
    --------
    >>> print(f"{thriftiest_clock(10.0, 5e-27):.3g}")
    1e+09
    """
    return (static_power_w / (2.0 * power_coefficient)) ** (1 / 3)


def cubed(clock_hz: Any) -> Any:
    """Clock to the third power [Hz³], by products, which every array library rounds alike."""
    return clock_hz * clock_hz * clock_hz
