"""`card.channel.block_fading`: one draw per round grows as predicted, several draws settle."""

import numpy as np
import pytest
from scipy import integrate

import card
from card.channel import awgn_rate_bps, ergodic_rate_bps
from card.channel.block_fading import expected_growth, running_means

LINK = card.load_scenario("nominal").link
GAIN = 1e-10
"""27 dB on the uplink: 23 dBm - 100 dB - (-174 dBm/Hz + 70 dB of 10 MHz)."""
RATIO = 10**2.7
ROUNDS = np.array([1, 10, 1000, 100_000])


def means(draws, seed=0, gain=GAIN, rounds=ROUNDS):
    return running_means(np.random.default_rng(seed), gain, LINK, draws, rounds)


def test_first_mean_is_the_time_of_the_first_draw():
    """Shadowing is drawn before fading, and is nothing here."""
    rng = np.random.default_rng(0)
    rng.standard_normal(ROUNDS[-1])
    power = rng.standard_exponential(ROUNDS[-1])[0]
    expected = ergodic_rate_bps(1e7, RATIO) / awgn_rate_bps(1e7, RATIO * power)
    assert means(1)[0] == pytest.approx(float(expected), rel=1e-9)


def test_many_draws_come_close_to_the_ergodic_time():
    # 200 draws leave a spread of the rate of some 2 %, which its square adds to the mean of 1/R
    assert means(200, rounds=np.array([2000]))[0] == pytest.approx(1.0, abs=0.01)


def test_two_draws_settle_where_one_keeps_growing():
    grown = means(1)[-1] / means(1)[1]
    settled = means(2)[-1] / means(2)[1]
    assert abs(settled - 1) < abs(grown - 1)


def test_growth_is_the_integral_from_one_over_n():
    """The same integral without the logarithm, where it is still tame."""
    rate = float(ergodic_rate_bps(1e7, RATIO))

    def density(x):
        return np.exp(-x) * rate / (1e7 * np.log2(1 + RATIO * x))

    for n, found in zip([2, 10], expected_growth(GAIN, LINK, np.array([2, 10])), strict=True):
        plain = integrate.quad(density, 1 / n, 60)[0]  # exp(-60) is nothing
        assert found == pytest.approx(plain, rel=1e-6)


def test_growth_ends_as_a_logarithm():
    """A tenfold sample adds (ln 2 / s) ln 10 ergodic times W / R, and so without end."""
    low, high = expected_growth(GAIN, LINK, np.array([10**9, 10**10]))
    unit = float(ergodic_rate_bps(1.0, RATIO)) * np.log(2) / RATIO
    # exp(-x) and log2(1 + s x) are straight lines up to s x of some 1e-7 there
    assert high - low == pytest.approx(unit * np.log(10), rel=1e-5)


def test_median_of_many_samples_follows_the_prediction():
    """The mean of n draws is mostly below its truncated expectation, but not by far."""
    rounds = np.array([10_000])
    found = np.median([means(1, seed, rounds=rounds)[0] for seed in range(50)])
    (expected,) = expected_growth(GAIN, LINK, rounds)
    assert found == pytest.approx(expected, rel=0.1)
