"""What fading drawn anew in each round does to a mean delay: the time per bit, drawn and expected.

Times are relative to that of the ergodic rate, and without shadowing.
"""

from __future__ import annotations

import warnings

import numpy as np

from card.base.units import FloatArray, IntArray
from card.channel.gains import draw_gains
from card.channel.rates import rate_bps, usable_snr
from card.scenario import Link


def running_means(
    rng: np.random.Generator, gain: float, link: Link, draws: int, rounds: IntArray
) -> FloatArray:
    """Mean time per bit on the uplink over the first n rounds, relative to the ergodic one [1].

    Parameters
    ----------
    rng
        Source of randomness.
    gain
        Gain without shadowing [1].
    link
        The link, whatever its fading.
    draws
        Rayleigh draws per round [1] (K).
    rounds
        Numbers of rounds n to average, ascending, shape `(means,)`.
    """
    ergodic_bps, still = _ergodic(gain, link)
    block = still.model_copy(update={"fading": "block", "fading_draws": draws})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one draw has no mean is what is to be seen
        gains = draw_gains(rng, gain, block, int(rounds[-1]))
    times = ergodic_bps / rate_bps(gains, block, link.uplink_power_dbm)
    means: FloatArray = (np.cumsum(times) / np.arange(1, rounds[-1] + 1))[rounds - 1]
    return means


def expected_growth(gain: float, link: Link, rounds: IntArray) -> FloatArray:
    """What `running_means` with one draw per round grows like [1].

    Parameters
    ----------
    gain, link, rounds
        As for `running_means`.

    Notes
    -----
    The growth is :eq:`eq-growth` of the book.
    """
    from scipy.integrate import quad  # slow to load, and used in one chapter

    ergodic_bps, _ = _ergodic(gain, link)
    ratio = float(usable_snr(gain, link, link.uplink_power_dbm))
    usable_hz = link.bandwidth_hz * (1.0 - link.overhead_share)
    most = link.spectral_efficiency_max or np.inf

    def time_density(x: float) -> float:
        efficiency = np.minimum(np.log2(1 + ratio * x), most)
        return float(np.exp(-x) * ergodic_bps / (usable_hz * efficiency))

    def of_logarithm(t: float) -> float:
        return float(np.exp(t)) * time_density(float(np.exp(t)))

    tail = quad(time_density, 1, np.inf)[0]
    # over the logarithm, since the integrand grows without bound towards zero
    return np.array([tail + quad(of_logarithm, -np.log(n), 0)[0] for n in rounds])


def _ergodic(gain: float, link: Link) -> tuple[float, Link]:
    """Ergodic uplink rate [bit/s], and the link that has it."""
    still = link.model_copy(update={"fading": "ergodic", "shadowing_db": 0.0})
    return float(rate_bps(np.array([gain]), still, link.uplink_power_dbm)), still
