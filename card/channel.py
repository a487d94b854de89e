"""The radio channel: path loss, shadowing, fading, and the rate that a round sees."""

from __future__ import annotations

import math
import warnings
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from card.arrays import backend_of, by_rows
from card.scenario import Link, Scenario
from card.units import FloatArray, db_to_linear, dbm_to_w

_SERIES_TERMS = 20
_FRACTION_TERMS = 80


def mean_gain(distance_m: ArrayLike, path_loss_exponent: ArrayLike, loss_db: float) -> FloatArray:
    """Channel power gain without shadowing [1].

    Parameters
    ----------
    distance_m
        Distance [m], at least 1 m.
    path_loss_exponent
        Path-loss exponent γ [1].
    loss_db
        Loss at 1 m [dB].

    Notes
    -----
    Log-distance law, :eq:`eq-gain` of the book without X; see Goldsmith, Wireless Communications
    (2005).
    """
    backend = backend_of(distance_m, path_loss_exponent, loss_db)
    distance, exponent = backend.floats(distance_m), backend.floats(path_loss_exponent)
    gain: FloatArray = db_to_linear(-loss_db) * distance**-exponent
    return gain


def draw_gains(rng: np.random.Generator, gain: ArrayLike, link: Link, rounds: int) -> FloatArray:
    """Channel gains of every round, the only randomness of the model.

    Parameters
    ----------
    rng
        Source of randomness.
    gain
        Gain without shadowing [1], any shape.
    link
        Shadowing and fading of the link.
    rounds
        Rounds to draw.

    Returns
    -------
    FloatArray
        Gains [1] of shape `(*gain.shape, rounds, K)`, the same for uplink and downlink; K is
        `fading_draws` for block fading, else 1 (fast fading then enters `rate_bps`).

    Notes
    -----
    Equation :eq:`eq-gain` of the book, its shadowing X drawn once per round.
    """
    mean = np.asarray(gain, dtype=np.float64)[..., None]
    shadowing = db_to_linear(link.shadowing_db * rng.standard_normal((*mean.shape[:-1], rounds)))
    shadowed = (mean * shadowing)[..., None]
    if link.fading != "block":
        return shadowed
    if link.fading_draws == 1:
        warnings.warn(
            "one Rayleigh draw per round has no finite mean delay: averages grow with the number "
            "of rounds; raise link.fading_draws or use link.fading = ergodic",
            stacklevel=2,
        )
    rayleigh = rng.standard_exponential((*shadowed.shape[:-1], link.fading_draws))
    gains: FloatArray = shadowed * rayleigh
    return gains


def snr(
    gain: ArrayLike, power_dbm: float, noise_dbm_per_hz: float, bandwidth_hz: float
) -> FloatArray:
    """Signal-to-noise ratio [1] of a gain [1] at a transmit power [dBm] over a bandwidth [Hz].

    Notes
    -----
    Equation :eq:`eq-snr` of the book.
    """
    backend = backend_of(gain, power_dbm, noise_dbm_per_hz, bandwidth_hz)
    noise_w = dbm_to_w(noise_dbm_per_hz) * bandwidth_hz
    ratio: FloatArray = dbm_to_w(power_dbm) * backend.floats(gain) / noise_w
    return ratio


def awgn_rate_bps(bandwidth_hz: float, snr_ratio: ArrayLike) -> FloatArray:
    r"""Rate without fading [bit/s], :math:`W \log_2(1 + s)`."""
    backend = backend_of(bandwidth_hz, snr_ratio)
    nats: FloatArray = bandwidth_hz * backend.xp.log1p(backend.floats(snr_ratio))
    return nats / math.log(2.0)


def ergodic_rate_bps(bandwidth_hz: float, snr_ratio: ArrayLike) -> FloatArray:
    """Rate averaged over Rayleigh fading [bit/s].

    Notes
    -----
    Equation :eq:`eq-ergodic` of the book: the expectation over an exponential power gain, by parts;
    see Alouini and Goldsmith, IEEE Trans. Veh. Technol. 48(4), 1999.
    """
    backend = backend_of(bandwidth_hz, snr_ratio)
    inverse = 1.0 / backend.floats(snr_ratio)
    function = partial(_scaled_exponential_integral, backend.xp)
    (mean_nats,) = by_rows(function, [np.float64], backend, (inverse,))
    rate: FloatArray = bandwidth_hz * mean_nats / math.log(2.0)
    return rate


def _scaled_exponential_integral(xp: Any, x: Any) -> tuple[Any]:
    """e^x E1(x) of numbers above 0: the power series of E1 up to 1, its continued fraction above.

    As many terms as 14 digits take at 1, where each is at its worst. The product, unlike its
    factors, neither overflows nor vanishes for poor channels.
    """
    small, large = xp.minimum(x, 1.0), xp.maximum(x, 1.0)
    power, series = 1.0, 0.0
    for k in range(1, _SERIES_TERMS + 1):
        power = power * (-small / k)
        series = series + power / k
    fraction = large + (2 * _FRACTION_TERMS + 1)
    for k in reversed(range(1, _FRACTION_TERMS + 1)):
        fraction = large + (2 * k - 1) - k * k / fraction
    near = xp.exp(small) * (-np.euler_gamma - xp.log(small) - series)
    return (xp.where(x < 1, near, 1 / fraction),)


def rate_bps(gains: ArrayLike, link: Link, power_dbm: float) -> FloatArray:
    """Rate of a round [bit/s] from gains `(..., K)` at a transmit power [dBm]; shape `(...)`."""
    ratio = snr(gains, power_dbm, link.noise_dbm_per_hz, link.bandwidth_hz)
    law = ergodic_rate_bps if link.fading == "ergodic" else awgn_rate_bps
    rates = law(link.bandwidth_hz, ratio)
    mean: FloatArray = backend_of(rates).xp.mean(rates, axis=-1)
    return mean


def link_rates(gains: ArrayLike, link: Link) -> tuple[FloatArray, FloatArray]:
    """Uplink and downlink rate [bit/s] of gains `(..., K)`."""
    return (
        rate_bps(gains, link, link.uplink_power_dbm),
        rate_bps(gains, link, link.downlink_power_dbm),
    )


def scenario_gain(scenario: Scenario) -> FloatArray:
    """Gain without shadowing [1] of every channel state and device, shape `(states, devices)`."""
    distances = np.array([device.distance_m for device in scenario.devices])
    exponents = np.array([s.path_loss_exponent for s in scenario.channel_states.values()])
    return mean_gain(distances, exponents[:, None], scenario.link.reference_loss_db)
