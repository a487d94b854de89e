"""`card.hardware.power`: the power law by hand."""

import numpy as np
import pytest

from card.hardware.power import coefficient_at, power_w, thriftiest_clock


@pytest.mark.parametrize("static_w", [0.0, 20.0])
def test_highest_clock_draws_the_highest_power_and_rest_the_static(static_w):
    """RTX 4060 Ti: 160 W at 2.535 GHz."""
    coefficient = coefficient_at(160.0, static_w, 2.535e9)
    drawn = power_w(np.array([0.0, 2.535e9]), static_w, coefficient)
    np.testing.assert_allclose(drawn, [static_w, 160.0], rtol=1e-15)


def test_power_above_the_static_grows_with_the_cube_of_the_clock():
    """1 + 2³/4 and 1 + 4³/4."""
    np.testing.assert_array_equal(power_w(np.array([2.0, 4.0]), 1.0, 0.25), [3.0, 17.0])


@pytest.mark.parametrize(("static_w", "linear"), [(5.0, 0.0), (27.4, 0.0), (27.4, 2e-8)])
def test_no_clock_spends_less_per_cycle_than_the_thriftiest(static_w, linear):
    law = static_w, coefficient_at(160.0, static_w, 2.535e9, linear), linear
    best = thriftiest_clock(*law[:2])
    clocks = np.union1d(np.geomspace(1e8, 2.535e9, 2001), best)
    per_cycle = power_w(clocks, *law) / clocks
    assert clocks[np.argmin(per_cycle)] == best


def test_without_power_at_rest_slower_is_always_thriftier():
    assert thriftiest_clock(0.0, 1e-26) == 0.0
