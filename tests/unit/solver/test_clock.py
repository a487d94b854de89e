"""`card.solver.clock`: the best clock at given prices, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from handmade import handmade

from card.base.errors import ScenarioError
from card.solver import best_frequency

SLOW = 1


def test_clock_list_takes_the_better_neighbour():
    """Stationary at 15 Hz; per cycle 10 and 19 Hz cost (a + b (1 + f³/1000)) / f."""
    clocks = np.array([5.0, 10.0, 19.0, 20.0])
    system = handmade(clocks_hz=clocks)
    delay_price, energy_price = 5.75, 1.0
    cost = {f: (delay_price + energy_price * (1 + f**3 / 1000)) / f for f in clocks}
    assert cost[10.0] > cost[19.0]
    assert best_frequency(system, np.array([SLOW]), delay_price, energy_price) == 19.0
    further = replace(system, clocks_hz=np.array([5.0, 14.0, 19.0, 20.0]))
    assert best_frequency(further, np.array([SLOW]), delay_price, energy_price) == 14.0


def test_free_energy_means_full_clock_and_free_time_the_thriftiest():
    system, device = handmade(), np.array([SLOW])
    assert best_frequency(system, device, 1.0, 0.0) == 20.0
    assert best_frequency(system, device, 0.0, 1.0) == pytest.approx(500 ** (1 / 3))
    assert best_frequency(system, device, 0.0, 0.0) == 20.0


def test_a_clock_beyond_balance_is_not_worth_its_energy():
    """Cut 1, slow device: 40 cycles, 4 s on the device, 2 s on each link; in balance at 10 Hz.

    Up to there a second costs 5.75, at least 15 Hz by the price alone; beyond it a fourth of that,
    for which cbrt((5.75 / 4 + 1) / 0.002) = 10.7 Hz is best with four in flight. With 40 in
    flight it is 8.3 Hz, so that balance is best.
    """
    slow, rates = np.array([SLOW]), (80.0, 40.0)
    found = {
        m: float(best_frequency(handmade(in_flight=m), slow, 5.75, 1.0, 1, *rates)[0])
        for m in (1, 4, 40)
    }
    assert found[1] == pytest.approx((6.75 / 0.002) ** (1 / 3))
    assert found[4] == pytest.approx((2.4375 / 0.002) ** (1 / 3))
    assert found[40] == 10.0


def test_a_clock_in_a_pipeline_needs_cut_and_rates():
    with pytest.raises(ScenarioError) as refusal:
        best_frequency(handmade(in_flight=2), np.array([SLOW]), 1.0, 1.0, 1)
    assert str(refusal.value) == (
        "cut, uplink_bps or downlink_bps is missing; give all three, since with several "
        "micro-batches in flight the clock needs them."
    )
