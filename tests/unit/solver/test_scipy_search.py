"""`card.solver.scipy_search`: an objective written anew, and optimisers that minimise it."""

from dataclasses import replace

import numpy as np
import pytest
from handmade import DOWN, UP, handmade

import card
from card.solver import objective
from card.solver.scipy_search import Space, by_clock, by_evolution, plain_objective

SLOW = 1


@pytest.fixture
def value():
    bounds = card.solve(handmade(), SLOW, UP, DOWN).extremes
    return plain_objective(handmade(), SLOW, UP, DOWN, bounds)


@pytest.mark.parametrize("cut", [0, 1, 2])
@pytest.mark.parametrize("in_flight", [1, 3])
def test_objective_is_the_packages(cut, in_flight):
    system = handmade(in_flight=in_flight, waiting_power_w=0.5, round_trip_s=0.2)
    clocks = np.linspace(5, 20, 7)
    bounds = card.solve(system, SLOW, UP, DOWN).extremes
    value = plain_objective(system, SLOW, UP, DOWN, bounds)
    costs = card.evaluate(system, SLOW, cut, clocks, UP, DOWN)
    expected = objective(bounds, 0.5, costs.delay_s, costs.energy_j)
    assert [value(cut, hz) for hz in clocks] == pytest.approx(expected.tolist(), abs=1e-14)


def test_a_term_that_nothing_can_change_is_left_out():
    alone = replace(handmade(), feasible=np.array([[False, False, True]] * 2))
    bounds = card.solve(alone, SLOW, UP, DOWN).extremes
    assert plain_objective(alone, SLOW, UP, DOWN, bounds)(2, 10.0) == 0.0


def test_search_over_the_clock_finds_the_minimum_of_every_cut():
    # a parabola per cut: the bounded search is exact to its tolerance of 1 Hz
    found = by_clock(lambda cut, hz: cut + (hz / 1e3 - 7) ** 2, [1, 2], 1e3, 2e4)
    assert found == pytest.approx(1.0, abs=1e-6)


def test_search_over_the_clock_knows_the_ends():
    assert by_clock(lambda cut, hz: hz, [0], 5.0, 20.0) == 5.0


def test_evolution_finds_cut_and_clock_together(value):
    found = by_evolution(Space(value, [0, 1, 2], 5.0, 20.0), seed=0)
    best = card.solve(handmade(), SLOW, UP, DOWN)
    assert found.value == pytest.approx(float(best.objective), abs=1e-9)
    assert found.option == best.cut
    assert found.value == value(found.option, found.frequency_hz)


def test_of_listed_clocks_the_nearest_is_taken(value):
    space = Space(value, [0, 2], 5.0, 20.0, [5.0, 12.0, 20.0])
    assert space.at(1.0, 16.5) == (value(2, 20.0), 2, 20.0)
    best = min(value(cut, hz) for cut in (0, 2) for hz in (5.0, 12.0, 20.0))
    assert by_evolution(space, seed=0).value == best
