"""Path loss, shadowing, fading and rates, against hand computation, scipy and integration."""

import warnings

import numpy as np
import pytest
from scipy import integrate, special, stats

import card
from card.channel import (
    awgn_rate_bps,
    draw_gains,
    ergodic_rate_bps,
    link_rates,
    mean_gain,
    rate_bps,
    scenario_gain,
    snr,
)


def link(**changes):
    nominal = card.load_scenario("nominal")
    return nominal.updated({f"link.{key}": value for key, value in changes.items()}).link


class TestPathLoss:
    def test_hand_computed(self):
        """30 dB at 1 m and 35 dB per decade: 30 + 2 x 35 = 100 dB at 100 m."""
        assert mean_gain(100, 3.5, 30) == pytest.approx(1e-10, rel=1e-12)

    def test_reference_loss_holds_at_one_metre_whatever_the_exponent(self):
        assert mean_gain(1, [2, 3, 4], 30) == pytest.approx([1e-3] * 3)

    def test_broadcasts(self):
        assert mean_gain([10, 20], [[2], [3], [4]], 30).shape == (3, 2)

    def test_scenario_has_one_row_per_state(self):
        """Device 2 is at 60 m: 10^-3 x 60^-3, 60^-3.5, 60^-4."""
        gain = scenario_gain(card.load_scenario("nominal"))
        assert gain.shape == (3, 5)
        assert gain[:, 1] == pytest.approx([1e-3 * 60**-3, 1e-3 * 60**-3.5, 1e-3 * 60**-4])


class TestRates:
    def test_snr_by_hand(self):
        """23 dBm - 100 dB - (-174 dBm/Hz + 70 dB of 10 MHz) = 27 dB."""
        assert snr(1e-10, 23, -174, 1e7) == pytest.approx(10**2.7, rel=1e-12)

    def test_without_fading_by_hand(self):
        assert awgn_rate_bps(1e7, [1, 3, 1023]) == pytest.approx([1e7, 2e7, 1e8])
        # log2(1 + s) -> s / ln 2
        assert awgn_rate_bps(1.0, 1e-12) == pytest.approx(1e-12 / np.log(2), rel=1e-11)

    @pytest.mark.parametrize("ratio", [0.01, 0.3, 1.0, 20.0, 1e3, 1e6, 1e9])
    def test_ergodic_is_the_exponential_integral(self, ratio):
        expected = 1e7 * np.exp(1 / ratio) * special.exp1(1 / ratio) / np.log(2)
        assert ergodic_rate_bps(1e7, ratio) == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("ratio", [1e-3, 0.1, 1.0, 50.0, 1e4])
    def test_ergodic_is_the_mean_over_rayleigh_fading(self, ratio):
        """E[log2(1 + s g)] with g exponential of mean 1, integrated numerically."""
        mean, _ = integrate.quad(
            lambda g: np.log2(1 + ratio * g) * np.exp(-g), 0, np.inf, epsabs=0, epsrel=1e-10
        )
        assert ergodic_rate_bps(1.0, ratio) == pytest.approx(mean, rel=1e-8)

    @pytest.mark.parametrize("ratio", [1e-6, 1e-5, 1e-4])
    def test_ergodic_in_the_worst_channel(self, ratio):
        """s (1 - s + 2 s²) / ln 2, where e^(1/s) alone would overflow; next term is 6 s³."""
        expected = ratio * (1 - ratio + 2 * ratio**2) / np.log(2)
        assert ergodic_rate_bps(1.0, ratio) == pytest.approx(expected, rel=1e-11)

    def test_ergodic_in_the_best_channel(self):
        """(ln s - Euler's constant) / ln 2; next term is of order ln(s) / s."""
        expected = (np.log(1e9) - np.euler_gamma) / np.log(2)
        assert ergodic_rate_bps(1.0, 1e9) == pytest.approx(expected, rel=1e-8)

    def test_ergodic_grows_over_fifteen_decades_and_stays_below_its_bound(self):
        """Jensen: fading never helps the mean rate."""
        ratio = np.logspace(-6, 9, 3001)
        rate = ergodic_rate_bps(1.0, ratio)
        assert np.isfinite(rate).all()
        assert (np.diff(rate) > 0).all()
        assert (rate < awgn_rate_bps(1.0, ratio)).all()

    def test_uplink_and_downlink_differ_by_their_powers(self):
        nominal = link()
        gains = np.array([[1e-10], [1e-12]])
        up, down = link_rates(gains, nominal)
        assert up == pytest.approx(ergodic_rate_bps(1e7, snr(gains[:, 0], 23, -174, 1e7)))
        assert down == pytest.approx(ergodic_rate_bps(1e7, snr(gains[:, 0], 30, -174, 1e7)))
        assert up.shape == (2,)

    @pytest.mark.parametrize("fading", ["none", "block"])
    def test_other_fading_averages_the_shannon_rate_of_its_draws(self, fading):
        """SNR 3 and 15 at these gains: (log2 4 + log2 16) / 2 = 3 bit/s/Hz."""
        per_gain = snr(1.0, 23, -174, 1e7)
        rate = rate_bps(np.array([3.0, 15.0]) / per_gain, link(fading=fading, fading_draws=2), 23)
        assert rate == pytest.approx(3e7)

    def test_block_fading_tends_to_the_ergodic_rate(self):
        """One round of many draws; its standard error is given by the draws themselves."""
        block, draws = link(fading="block", fading_draws=200_000, shadowing_db=0), 200_000
        gains = draw_gains(np.random.default_rng(0), [1e-11], block, 1)
        shannon = awgn_rate_bps(1e7, snr(gains, 23, -174, 1e7))
        error = shannon.std() / np.sqrt(draws)
        ergodic = ergodic_rate_bps(1e7, snr(1e-11, 23, -174, 1e7))
        assert abs(rate_bps(gains, block, 23).item() - ergodic) < 4 * error
        assert error < 0.005 * ergodic


class TestDraws:
    @pytest.mark.parametrize(
        ("fading", "draws", "last"), [("ergodic", 7, 1), ("none", 7, 1), ("block", 7, 7)]
    )
    def test_shape(self, fading, draws, last):
        shape = link(fading=fading, fading_draws=draws)
        gains = draw_gains(np.random.default_rng(0), np.ones((3, 5)), shape, rounds=11)
        assert gains.shape == (3, 5, 11, last)
        assert (gains > 0).all()

    def test_shadowing_is_normal_in_decibel(self):
        """The mean of n draws has standard error 6 / sqrt(n) dB; Kolmogorov-Smirnov for the law."""
        count = 40_000
        gains = draw_gains(np.random.default_rng(1), 1e-9, link(), count).ravel()
        level = 10 * np.log10(gains) + 90
        assert abs(level.mean()) < 4 * 6 / np.sqrt(count)
        assert level.std() == pytest.approx(6, rel=4 / np.sqrt(2 * count))
        assert stats.kstest(level, stats.norm(0, 6).cdf).pvalue > 0.001

    def test_shadowing_differs_between_devices_and_rounds(self):
        gains = draw_gains(np.random.default_rng(2), np.ones((2, 3)), link(), 4)
        assert np.unique(gains).size == 2 * 3 * 4

    def test_no_shadowing_leaves_the_mean_gain(self):
        gains = draw_gains(np.random.default_rng(3), [1.0, 2.0], link(shadowing_db=0), 5)
        assert gains[..., 0].tolist() == [[1.0] * 5, [2.0] * 5]

    def test_rayleigh_power_is_exponential_of_mean_one(self):
        block = link(fading="block", fading_draws=50, shadowing_db=0)
        gains = draw_gains(np.random.default_rng(4), 1.0, block, 400).ravel()
        assert gains.mean() == pytest.approx(1, abs=4 / np.sqrt(gains.size))
        assert stats.kstest(gains, stats.expon.cdf).pvalue > 0.001

    def test_block_fading_shares_the_shadowing_of_the_round(self):
        block = link(fading="block", fading_draws=4000)
        gains = draw_gains(np.random.default_rng(5), 1.0, block, 6)
        spread = 10 * np.log10(gains.mean(axis=-1))
        assert spread.std() > 1  # decibel; without common shadowing it would be about 0.07

    def test_same_seed_same_draws(self):
        one, two = (draw_gains(np.random.default_rng(6), [1.0], link(), 9) for _ in range(2))
        assert (one == two).all()

    def test_single_rayleigh_draw_is_warned_of(self):
        with pytest.warns(UserWarning, match="no finite mean delay"):
            draw_gains(np.random.default_rng(0), 1.0, link(fading="block", fading_draws=1), 2)

    def test_two_draws_are_not(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            draw_gains(np.random.default_rng(0), 1.0, link(fading="block", fading_draws=2), 2)
