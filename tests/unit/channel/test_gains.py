"""`card.channel.gains`: path loss by hand, shadowing and fading by their laws."""

import warnings

import numpy as np
import pytest
from links import link
from scipy import stats

import card
from card.base.errors import ScenarioWarning
from card.channel import draw_gains, mean_gain, scenario_gain


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
        with pytest.warns(ScenarioWarning, match="no finite mean delay"):
            draw_gains(np.random.default_rng(0), 1.0, link(fading="block", fading_draws=1), 2)

    def test_two_draws_are_not(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            draw_gains(np.random.default_rng(0), 1.0, link(fading="block", fading_draws=2), 2)


class TestDrift:
    @staticmethod
    def drawn(coherence, rounds=200_000):
        drifting = link(shadowing_db=6.0, shadowing_coherence_rounds=coherence)
        gains = draw_gains(np.random.default_rng(3), np.ones(2), drifting, rounds)
        return 10 * np.log10(gains[..., 0])

    def test_correlation_falls_to_1_by_e_and_the_spread_stays(self):
        one, other = self.drawn(20.0)
        assert one.std() == pytest.approx(6.0, rel=0.05)
        assert np.corrcoef(one[:-20], one[20:])[0, 1] == pytest.approx(np.exp(-1), abs=0.05)
        assert np.corrcoef(one[:-1], one[1:])[0, 1] == pytest.approx(np.exp(-1 / 20), abs=0.01)
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.1

    def test_the_first_round_is_drawn_as_any_other(self):
        assert self.drawn(20.0, rounds=5)[:, 0] == pytest.approx(self.drawn(0, rounds=5)[:, 0])
