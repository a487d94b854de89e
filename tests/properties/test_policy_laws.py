"""No policy beats CARD on any draw, and each is what it is called."""

from dataclasses import replace

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import Real, rounds, systems

from card.costs import evaluate
from card.policies import SCORED, Draws, alternating_clock_first, card
from card.solver import objective


def decide(name, system, draws):
    return SCORED[name](system, draws, np.random.default_rng(0))


def score(system, draws, cut, frequency):
    """Objective of every draw."""
    costs = evaluate(system, draws.device, cut, frequency, draws.uplink_bps, draws.downlink_bps)
    return objective(draws.extremes, system.delay_weight, costs.delay_s, costs.energy_j)


@st.composite
def drawn(draw, common=False):
    system = replace(draw(systems()), in_flight=draw(st.sampled_from([1, 2, 16])))
    if common:
        assume(system.feasible.all(axis=0).any())
    return system, Draws.of(system, *draw(rounds(system)))


def runnable(system):
    """Two need a cut that all devices can hold."""
    without = {} if system.feasible.all(axis=0).any() else {"static_cut", "makespan"}
    return [name for name in SCORED if name not in without]


@given(drawn())
def test_every_policy_decides_within_the_feasible_set_and_none_beats_card(case):
    system, draws = case
    best = score(system, draws, *decide("card", system, draws))
    for name in runnable(system):
        cut, frequency = decide(name, system, draws)
        assert system.feasible[draws.device, cut].all(), name
        assert (frequency >= system.frequency_min_hz[draws.device]).all(), name
        assert (frequency <= system.frequency_max_hz).all(), name
        if system.clocks_hz is not None:
            assert np.isin(frequency, system.clocks_hz).all(), name
        assert cut.shape == frequency.shape == draws.device.shape
        assert (best <= score(system, draws, cut, frequency) + 1e-9).all(), name


@given(drawn())
def test_single_minded_policies_are_extreme(case):
    system, draws = case

    def costs(name):
        cut, frequency = decide(name, system, draws)
        rates = draws.uplink_bps, draws.downlink_bps
        return evaluate(system, draws.device, cut, frequency, *rates)

    fastest, thriftiest = costs("delay_optimal"), costs("energy_optimal")
    for name in runnable(system):
        other = costs(name)
        assert (fastest.delay_s <= other.delay_s * (1 + 1e-11)).all()
        spent = draws.extremes.energy_max_j
        assert (thriftiest.energy_j <= other.energy_j + 1e-11 * spent).all()


@given(drawn(common=True))
def test_static_cut_is_the_best_single_decision(case):
    """Against every cut that all devices hold, at every clock that all may use."""
    system, draws = case
    cut, frequency = decide("static_cut", system, draws)
    assert np.unique(cut).size == np.unique(frequency).size == 1
    best = score(system, draws, cut, frequency).mean()
    slowest = system.frequency_min_hz.max()
    if system.clocks_hz is None:
        clocks = np.clip(
            np.geomspace(slowest, system.frequency_max_hz, 200), slowest, system.frequency_max_hz
        )
    else:
        clocks = system.clocks_hz[system.clocks_hz >= slowest]
    cuts = np.flatnonzero(system.feasible.all(axis=0))[:, None, None]
    values = score(system, draws, cuts, clocks[:, None]).mean(axis=-1)
    assert best <= values.min() + 1e-9


@st.composite
def textbook(draw):
    """Without overheads, so that one clock is best for every cut that asks the server."""
    system = draw(systems(real=Real()))
    return system, Draws.of(system, *draw(rounds(system)))


@given(textbook())
def test_alternation_that_begins_with_the_clock_is_exact_without_overheads(case):
    system, draws = case
    rng = np.random.default_rng(0)
    found = score(system, draws, *alternating_clock_first(system, draws, rng))
    best = score(system, draws, *card(system, draws, rng))
    np.testing.assert_allclose(found, best, rtol=0, atol=1e-9)
