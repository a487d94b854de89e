"""`card.policies.searches`: general optimisers reach CARD's optimum at best, and never pass it."""

import sys

import numpy as np
import pytest
from handmade import handmade
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import rounds, systems

import card
from card.base.errors import ScenarioError
from card.policies import SEARCHES, Draws, check_decision
from card.policies.benchmarks import scores

CLOCKS = np.array([6.0, 12.0, 18.0])


def decide(name, system, draws, seed=0):
    return SEARCHES[name](system, draws, np.random.default_rng(seed))


def needed(name):
    """pymoo comes with an extra."""
    if name == "genetic":
        pytest.importorskip("pymoo")


@st.composite
def drawn(draw):
    system = draw(systems())
    return system, Draws.of(system, *draw(rounds(system, size=2)))


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("clocks", [None, CLOCKS], ids=["any clock", "listed"])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_finds_the_optimum_of_two_blocks(name, clocks, library):
    needed(name)
    module = pytest.importorskip(library)
    lowest = np.array([12.0, 6.0]) if clocks is not None else np.array([10.0, 5.0])
    system = handmade(clocks_hz=clocks, frequency_min_hz=lowest)
    rates = (module.asarray([[80.0, 300.0]], dtype=module.float64) for _ in range(2))
    draws = Draws.of(system, np.array([[0, 1]]), *rates)
    option, clock = decide(name, system, draws)
    assert option.shape == clock.shape == (1, 2)
    check_decision(system, draws.device, option, clock)
    best = card.solve(system, draws.device, draws.uplink_bps, draws.downlink_bps)
    # pymoo ends after a fixed number of generations, near a flat optimum
    found = scores(system, draws, option, clock)
    assert found == pytest.approx(np.asarray(best.objective), abs=1e-6)


@settings(max_examples=15, deadline=None)  # thousands of scores for each
@given(drawn())
def test_evolution_is_feasible_and_beats_card_nowhere(case):
    system, draws = case
    found = decide("evolution", system, draws)
    check_decision(system, draws.device, *found)
    best = card.solve(system, draws.device, draws.uplink_bps, draws.downlink_bps)
    ours = scores(system, draws, best.option, best.frequency_hz)
    assert (ours <= scores(system, draws, *found) + 1e-9).all()


def test_the_same_seed_decides_the_same():
    system = handmade()
    draws = Draws.of(system, np.array([0, 1]), np.full(2, 80.0), np.full(2, 40.0))
    first, again = (decide("evolution", system, draws, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_a_search_is_scored_where_it_is_named():
    scores = card.benchmark(["evolution"], ["nominal"], rounds=1).squeeze("scenario")
    assert "genetic" not in scores.policy
    gap = scores.objective.sel(policy="evolution") - scores.objective.sel(policy="card")
    assert 0 <= float(gap) + 1e-12 < 1e-6


def test_without_pymoo_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymoo.core.mixed", None)
    with pytest.raises(ScenarioError, match=r"genetic needs pymoo.*card-split-learning\[search\]"):
        card.simulate(card.load_scenario("nominal"), ["genetic"], rounds=1)
