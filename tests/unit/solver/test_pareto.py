"""`card.solver.pareto`: the front by hand, and what no decision may do to it."""

from dataclasses import replace

import numpy as np
import pytest
from handmade import DOWN, UP, handmade

import card
from card.base.errors import ScenarioError
from card.channel import link_rates, scenario_gain
from card.solver import pareto_front

SLOW = 1
# Slow device, f in [5, 20] Hz, 80 bit/s up, 40 bit/s down:
#   cut 0: D = 2 + 60/f          E = 60/f (1 + f³/1000)
#   cut 1: D = 8.225 + 40/f      E = 40/f (1 + f³/1000)
#   cut 2: D = 12.45             E = 0


@pytest.fixture(scope="module")
def nominal():
    scenario = card.load_scenario("nominal")
    up, down = link_rates(scenario_gain(scenario)[..., None], scenario.link)
    return card.system(scenario), 2, float(up[1, 2]), float(down[1, 2])


def test_by_hand():
    """From full clock on cut 0 to no server at all; cut 1 comes in where cut 0 is thriftiest."""
    front = pareto_front(handmade(), SLOW, UP, DOWN)
    assert (front.delay_s[0], front.energy_j[0], front.cut[0]) == pytest.approx((5, 27, 0))
    assert (front.delay_s[-1], front.energy_j[-1], front.cut[-1]) == pytest.approx((12.45, 0, 2))
    for cut, fixed, cycles in ((0, 2, 60), (1, 8.225, 40)):
        at = front.cut == cut
        clock = cycles / (front.delay_s[at] - fixed)
        assert front.energy_j[at] == pytest.approx(cycles / clock * (1 + clock**3 / 1000))
    assert np.unique(front.cut).tolist() == [0, 1, 2]
    # least of cut 0: 7.94 Hz takes 60 / 7.94 x 1.5 = 11.34 J, which cut 1 needs at 10.9 s or later
    assert front.energy_j[front.cut == 1].max() < 11.34


def test_never_runs_below_the_clock_of_least_energy():
    """cbrt(1 / 0.002) = 7.94 Hz takes 2 + 60/7.94 = 9.56 s; cut 0 is not seen later."""
    front = pareto_front(handmade(), SLOW, UP, DOWN)
    assert front.delay_s[front.cut == 0].max() == pytest.approx(2 + 60 / 500 ** (1 / 3))


def test_grows_in_delay_and_falls_in_energy(nominal):
    front = pareto_front(*nominal)
    assert (np.diff(front.delay_s) > 0).all()
    assert (np.diff(front.energy_j) < 0).all()


@pytest.mark.parametrize("in_flight", [1, 4])
@pytest.mark.parametrize("waiting_power_w", [0.0, 20.0])
def test_no_decision_on_a_grid_beats_it(nominal, in_flight, waiting_power_w):
    system, device, up, down = nominal
    system = replace(system, in_flight=in_flight, waiting_power_w=waiting_power_w)
    front = pareto_front(system, device, up, down)
    clocks = np.linspace(system.frequency_min_hz[device], system.frequency_max_hz, 301)
    costs = card.evaluate(system, device, system.profile.cut[:, None], clocks, up, down)
    delay, energy = costs.delay_s.ravel(), costs.energy_j.ravel()
    # the front is stored at deadlines: a decision may only beat the next later one of them
    after = np.searchsorted(front.delay_s, delay * (1 + 1e-12))
    least = np.append(front.energy_j, front.energy_j[-1])[after]
    assert (energy >= least * (1 - 1e-12)).all()
    own = card.solve(system, device, up, down)
    assert front.delay_s[0] == pytest.approx(own.extremes.delay_min_s, rel=1e-12)
    assert front.energy_j[-1] == pytest.approx(own.extremes.energy_min_j, rel=1e-4, abs=1e-9)


def test_holds_what_a_weighted_sum_reaches(nominal):
    """Each weighted optimum lies between two neighbours of the front, up to their distance."""
    front = pareto_front(*nominal)
    found = card.solve(*nominal, np.linspace(0.01, 0.99, 25))
    at = np.searchsorted(front.delay_s, found.delay_s * (1 - 1e-12))
    below, above = front.energy_j[at], front.energy_j[np.maximum(at - 1, 0)]
    assert (found.energy_j >= below * (1 - 1e-9) - 1e-9).all()
    assert (found.energy_j <= above * (1 + 1e-9) + 1e-9).all()


def test_a_list_of_clocks_is_refused():
    listed = replace(handmade(), clocks_hz=np.array([10.0, 20.0]))
    with pytest.raises(ScenarioError, match=r"list of 2 clocks.*set both to null"):
        pareto_front(listed, SLOW, UP, DOWN)


def test_a_device_that_does_not_exist_is_refused():
    with pytest.raises(ScenarioError, match=r"device = 2 is out of range; give 0 to 1"):
        pareto_front(handmade(), 2, UP, DOWN)
