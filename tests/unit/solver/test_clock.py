"""`card.solver.clock`: the best clock at given prices, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from handmade import handmade

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
