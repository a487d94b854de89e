"""The rate that a link reaches at a channel gain, in a round and on average."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from card.base.arrays import NUMPY, Backend, backend_of, by_rows
from card.base.errors import ScenarioError
from card.base.units import FloatArray, db_to_linear, dbm_to_w
from card.channel.gains import draw_gains, over_cells, scenario_gain, shadowing_db
from card.scenario import Link, Scenario
from card.scenario.fleets import fleet_of

_SERIES_TERMS = 20
_FRACTION_TERMS = 80

SLOWEST_BPS, FASTEST_BPS = 1e-12, 1e30
"""Rates of a channel state at least and at most [bit/s]; shadowing leaves them in range."""


def snr(
    gain: ArrayLike, power_dbm: float, noise_dbm_per_hz: float, bandwidth_hz: float
) -> FloatArray:
    """Signal-to-noise ratio s = p g / (N₀ W) [1] of a transmit power [dBm] over a bandwidth [Hz].

    Notes
    -----
    Equation :eq:`eq-snr` of the book.

    Examples
    --------
    >>> print(f"{snr(1e-10, 23.0, -174.0, 10e6):.0f}")  # 23 dBm over -104 dBm of noise, 100 dB away
    501
    """
    backend = backend_of(gain, power_dbm, noise_dbm_per_hz, bandwidth_hz)
    noise_w = dbm_to_w(noise_dbm_per_hz) * bandwidth_hz
    ratio: FloatArray = dbm_to_w(power_dbm) * backend.floats(gain) / noise_w
    return ratio


def awgn_rate_bps(
    bandwidth_hz: float, snr_ratio: ArrayLike, efficiency_max: float | None = None
) -> FloatArray:
    r"""Rate without fading [bit/s], :math:`W \min(C, \log_2(1 + s))`.

    Parameters
    ----------
    bandwidth_hz
        Bandwidth W [Hz].
    snr_ratio
        Signal-to-noise ratio s [1], any shape.
    efficiency_max
        Most bits per second and hertz C; None for no limit.

    Examples
    --------
    >>> print(awgn_rate_bps(10e6, 3.0))  # two bits per hertz
    20000000.0
    """
    backend = backend_of(bandwidth_hz, snr_ratio, efficiency_max)
    nats = backend.xp.log1p(backend.floats(snr_ratio))
    if efficiency_max is not None:
        nats = backend.xp.minimum(nats, backend.floats(efficiency_max) * math.log(2.0))
    rate: FloatArray = bandwidth_hz * nats / math.log(2.0)
    return rate


def ergodic_rate_bps(
    bandwidth_hz: float, snr_ratio: ArrayLike, efficiency_max: float | None = None
) -> FloatArray:
    """Rate averaged over Rayleigh fading [bit/s], W e^(1/s) (E₁(1/s) - E₁(2^C/s)) / ln 2.

    Parameters
    ----------
    bandwidth_hz, snr_ratio, efficiency_max
        As for `awgn_rate_bps`, s being the mean; without a limit C the second term is 0.

    Notes
    -----
    Equations :eq:`eq-ergodic` and :eq:`eq-practical-rate` of the book: the expectation over an
    exponential power gain, by parts; see Alouini and Goldsmith, IEEE Trans. Veh. Technol. 48(4),
    1999.

    Examples
    --------
    >>> print(f"{ergodic_rate_bps(10e6, 3.0):.4g}")  # fading costs a sixth of the 20 Mbit/s
    1.669e+07
    >>> print(f"{ergodic_rate_bps(10e6, 3.0, efficiency_max=2.0):.4g}")  # at most 2 bits
    1.41e+07
    """
    backend = backend_of(bandwidth_hz, snr_ratio, efficiency_max)
    inverse = 1.0 / backend.floats(snr_ratio)
    function = partial(_scaled_exponential_integral, backend.xp)
    (mean_nats,) = by_rows(function, [np.float64], backend, (inverse,))
    if efficiency_max is not None:
        beyond = inverse * backend.xp.expm1(backend.floats(efficiency_max) * math.log(2.0))
        (rest,) = by_rows(function, [np.float64], backend, (inverse + beyond,))
        mean_nats = mean_nats - backend.xp.exp(-beyond) * rest
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
    """Rate of a round [bit/s] from gains `(..., K)` at a transmit power [dBm]; shape `(...)`.

    Notes
    -----
    Equation :eq:`eq-practical-rate` of the book.
    """
    law = ergodic_rate_bps if link.fading == "ergodic" else awgn_rate_bps
    rates = law(link.bandwidth_hz, usable_snr(gains, link, power_dbm), link.spectral_efficiency_max)
    mean: FloatArray = backend_of(rates).xp.mean(rates, axis=-1)
    return mean * (1.0 - link.overhead_share)


def usable_snr(gain: ArrayLike, link: Link, power_dbm: float) -> FloatArray:
    """Signal-to-noise ratio [1] that a real receiver and code leave of `snr`: s / (N_F Γ).

    Parameters
    ----------
    gain
        Power gain [1], any shape.
    link
        Noise, bandwidth, noise figure and gap.
    power_dbm
        Transmit power [dBm].
    """
    ratio = snr(gain, power_dbm, link.noise_dbm_per_hz, link.bandwidth_hz)
    return ratio / db_to_linear(link.noise_figure_db + link.gap_db)


def link_rates(gains: ArrayLike, link: Link) -> tuple[FloatArray, FloatArray]:
    """Uplink and downlink rate [bit/s] of gains `(..., K)`."""
    return (
        rate_bps(gains, link, link.uplink_power_dbm),
        rate_bps(gains, link, link.downlink_power_dbm),
    )


def expected_rates(gain: ArrayLike, link: Link) -> tuple[FloatArray, FloatArray]:
    """Uplink and downlink rate [bit/s] that fast fading leaves on average at a gain.

    What a channel state offers when no shadowing is drawn. Block fading has the ergodic rate for
    its mean, however many draws a round averages.

    Parameters
    ----------
    gain
        Gain without fast fading [1], any shape.
    link
        Powers, noise, bandwidth, and whether there is fading.
    """
    mean = link.model_copy(update={"fading": "ergodic"}) if link.fading == "block" else link
    return link_rates(backend_of(gain).floats(gain)[..., None], mean)


def state_rates(scenario: Scenario) -> tuple[FloatArray, FloatArray]:
    """Uplink and downlink rate [bit/s] of every channel state and device without shadowing.

    Of a trace, the rate at which a bit takes as long as on average over its rounds.

    Returns
    -------
    tuple[FloatArray, FloatArray]
        Arrays of shape `(states, devices)`.

    Examples
    --------
    >>> import card
    >>> uplink_bps, _ = state_rates(card.load_scenario("nominal"))
    >>> (uplink_bps[:, 0] / 1e6).round(1).tolist()  # the first device, good to poor
    [84.7, 47.8, 17.1]
    """
    if scenario.traces:
        up, down = (1.0 / np.stack([np.mean(1.0 / rates, axis=-1) for rates in way])
                    for way in traced_rates(scenario))  # fmt: skip
        return up, down
    gain = scenario_gain(scenario)
    up, down = over_cells(scenario, lambda cell, at: expected_rates(gain[:, at], cell.link))
    return up, down


def traced_rates(scenario: Scenario) -> tuple[list[FloatArray], list[FloatArray]]:
    """Uplink and downlink rate [bit/s] of every trace; arrays `(devices, rounds of the trace)`."""
    names = [device.name for device in scenario.devices]
    both = [
        np.array([trace.of(name, fleet_of(name)) for name in names]) for trace in scenario.traces
    ]
    return [rates[..., 0] for rates in both], [rates[..., 1] for rates in both]


def drawn_rates(
    scenario: Scenario, rounds: int, rng: np.random.Generator, backend: Backend = NUMPY
) -> tuple[FloatArray, FloatArray]:
    """Uplink and downlink rate [bit/s] of every channel state, device and round.

    Those of a trace are taken from its first round on, and again where the run is longer.

    Parameters
    ----------
    scenario
        Its channel states, devices and links.
    rounds
        Rounds to draw.
    rng
        Source of randomness.
    backend
        What computes the rates of the gains, which NumPy draws.

    Returns
    -------
    tuple[FloatArray, FloatArray]
        Arrays of shape `(states, devices, rounds)`.
    """
    if scenario.traces:
        up, down = (
            np.stack([rates[:, np.arange(rounds) % rates.shape[1]] for rates in way])
            for way in traced_rates(scenario)
        )
        return backend.array(up), backend.array(down)
    shadowed = scenario.link.model_copy(update={"shadowing_db": shadowing_db(scenario)})
    gains = backend.array(draw_gains(rng, scenario_gain(scenario), shadowed, rounds))
    up, down = over_cells(scenario, lambda cell, at: link_rates(gains[:, at], cell.link))
    return up, down


def check_state_rates(scenario: Scenario) -> None:
    """Refuse links without a rate that can be computed with.

    Raises
    ------
    ScenarioError
        If a device's rate in a channel state is not within `SLOWEST_BPS` and `FASTEST_BPS`.
    """
    with np.errstate(all="ignore"):  # what overflows is refused
        both_ways = state_rates(scenario)
    for rates in both_ways:
        bad = np.argwhere(~((rates >= SLOWEST_BPS) & (rates <= FASTEST_BPS)))
        for state, device in bad[:1]:
            raise ScenarioError(
                f"devices.{scenario.devices[device].name}: its link has a rate of "
                f"{rates[state, device]:g} bit/s in the channel state "
                f"{scenario.states[state]}, which is not allowed; give distance, "
                f"power, bandwidth and path loss that leave a rate from "
                f"{SLOWEST_BPS:g} to {FASTEST_BPS:g}."
            )
