"""`card.channel.rates`: rates against hand computation, scipy and integration."""

import numpy as np
import pytest
from links import link
from scipy import integrate, special

from card.channel import (
    awgn_rate_bps,
    draw_gains,
    ergodic_rate_bps,
    link_rates,
    rate_bps,
    snr,
)


def test_snr_by_hand():
    """23 dBm - 100 dB - (-174 dBm/Hz + 70 dB of 10 MHz) = 27 dB."""
    assert snr(1e-10, 23, -174, 1e7) == pytest.approx(10**2.7, rel=1e-12)


def test_without_fading_by_hand():
    assert awgn_rate_bps(1e7, [1, 3, 1023]) == pytest.approx([1e7, 2e7, 1e8])
    # log2(1 + s) -> s / ln 2
    assert awgn_rate_bps(1.0, 1e-12) == pytest.approx(1e-12 / np.log(2), rel=1e-11)


@pytest.mark.parametrize("ratio", [0.01, 0.3, 1.0, 20.0, 1e3, 1e6, 1e9])
def test_ergodic_is_the_exponential_integral(ratio):
    expected = 1e7 * np.exp(1 / ratio) * special.exp1(1 / ratio) / np.log(2)
    assert ergodic_rate_bps(1e7, ratio) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("ratio", [1e-3, 0.1, 1.0, 50.0, 1e4])
def test_ergodic_is_the_mean_over_rayleigh_fading(ratio):
    """E[log2(1 + s g)] with g exponential of mean 1, integrated numerically."""
    mean, _ = integrate.quad(
        lambda g: np.log2(1 + ratio * g) * np.exp(-g), 0, np.inf, epsabs=0, epsrel=1e-10
    )
    assert ergodic_rate_bps(1.0, ratio) == pytest.approx(mean, rel=1e-8)


@pytest.mark.parametrize("ratio", [1e-6, 1e-5, 1e-4])
def test_ergodic_in_the_worst_channel(ratio):
    """s (1 - s + 2 s²) / ln 2, where e^(1/s) alone would overflow; next term is 6 s³."""
    expected = ratio * (1 - ratio + 2 * ratio**2) / np.log(2)
    assert ergodic_rate_bps(1.0, ratio) == pytest.approx(expected, rel=1e-11)


def test_ergodic_in_the_best_channel():
    """(ln s - Euler's constant) / ln 2; next term is of order ln(s) / s."""
    expected = (np.log(1e9) - np.euler_gamma) / np.log(2)
    assert ergodic_rate_bps(1.0, 1e9) == pytest.approx(expected, rel=1e-8)


def test_ergodic_grows_over_fifteen_decades_and_stays_below_its_bound():
    """Jensen: fading never helps the mean rate."""
    ratio = np.logspace(-6, 9, 3001)
    rate = ergodic_rate_bps(1.0, ratio)
    assert np.isfinite(rate).all()
    assert (np.diff(rate) > 0).all()
    assert (rate < awgn_rate_bps(1.0, ratio)).all()


def test_uplink_and_downlink_differ_by_their_powers():
    nominal = link()
    gains = np.array([[1e-10], [1e-12]])
    up, down = link_rates(gains, nominal)
    assert up == pytest.approx(ergodic_rate_bps(1e7, snr(gains[:, 0], 23, -174, 1e7)))
    assert down == pytest.approx(ergodic_rate_bps(1e7, snr(gains[:, 0], 30, -174, 1e7)))
    assert up.shape == (2,)


@pytest.mark.parametrize("fading", ["none", "block"])
def test_other_fading_averages_the_shannon_rate_of_its_draws(fading):
    """SNR 3 and 15 at these gains: (log2 4 + log2 16) / 2 = 3 bit/s/Hz."""
    per_gain = snr(1.0, 23, -174, 1e7)
    rate = rate_bps(np.array([3.0, 15.0]) / per_gain, link(fading=fading, fading_draws=2), 23)
    assert rate == pytest.approx(3e7)


def test_block_fading_tends_to_the_ergodic_rate():
    """One round of many draws; its standard error is given by the draws themselves."""
    block, draws = link(fading="block", fading_draws=200_000, shadowing_db=0), 200_000
    gains = draw_gains(np.random.default_rng(0), [1e-11], block, 1)
    shannon = awgn_rate_bps(1e7, snr(gains, 23, -174, 1e7))
    error = shannon.std() / np.sqrt(draws)
    ergodic = ergodic_rate_bps(1e7, snr(1e-11, 23, -174, 1e7))
    assert abs(rate_bps(gains, block, 23).item() - ergodic) < 4 * error
    assert error < 0.005 * ergodic
