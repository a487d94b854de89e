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
    usable_snr,
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


@pytest.mark.parametrize("efficiency_max", [0.01, 2.0, 7.4, 99.0])
@pytest.mark.parametrize("ratio", [1e-3, 0.1, 1.0, 50.0, 1e4])
def test_ergodic_with_a_limit_is_the_mean_of_what_the_limit_leaves(ratio, efficiency_max):
    """E[min(C, log2(1 + s g))], integrated up to where the limit binds; beyond it is C."""
    edge = min((2**efficiency_max - 1) / ratio, 700.0)  # exp(-700) is nothing
    below, _ = integrate.quad(
        lambda g: np.log2(1 + ratio * g) * np.exp(-g),
        0, edge, epsabs=0, epsrel=1e-11, limit=200, points=[min(edge, 1.0), min(edge, 40.0)],
    )  # fmt: skip
    expected = below + efficiency_max * np.exp(-edge)
    assert ergodic_rate_bps(1.0, ratio, efficiency_max) == pytest.approx(expected, rel=1e-8)


def test_a_limit_without_fading_by_hand():
    assert awgn_rate_bps(1e7, [1, 3, 1023], 2.0) == pytest.approx([1e7, 2e7, 2e7])


def test_noise_figure_and_gap_take_decibels_from_the_signal():
    """27 dB, as above, less 5 dB and 3 dB."""
    real = link(noise_figure_db=5, gap_db=3)
    assert usable_snr(1e-10, real, 23) == pytest.approx(10**1.9, rel=1e-12)
    weaker = link(noise_dbm_per_hz=-166)
    gains = np.geomspace(1e-14, 1e-6, 9)[:, None]
    for fading in ({"fading": "none"}, {"fading": "ergodic"}, {"fading": "block"}):
        ours, theirs = (one.model_copy(update=fading) for one in (real, weaker))
        assert rate_bps(gains, ours, 23) == pytest.approx(rate_bps(gains, theirs, 23), rel=1e-12)


def test_overhead_takes_its_share_of_the_rate():
    gains = np.geomspace(1e-14, 1e-6, 9)[:, None]
    assert rate_bps(gains, link(overhead_share=0.25), 23) == pytest.approx(
        0.75 * rate_bps(gains, link(), 23), rel=1e-14
    )


@pytest.mark.parametrize("fading", ["none", "ergodic", "block"])
def test_a_link_reaches_no_more_than_its_limit(fading):
    gains = np.geomspace(1e-14, 1, 15)[:, None]
    limited = link(fading=fading, spectral_efficiency_max=7.4)
    rates = rate_bps(gains, limited, 23)
    assert rates[-1] == pytest.approx(7.4e7, rel=1e-6)
    assert (
        rates <= np.minimum(rate_bps(gains, link(fading=fading), 23), 7.4e7) * (1 + 1e-12)
    ).all()


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
