"""No benchmark beats CARD on any draw, and each benchmark is what it is called."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import rounds, systems

from card.costs import evaluate
from card.policies import POLICIES, Draws
from card.solver import objective


def decide(name, system, draws):
    return POLICIES[name](system, draws, np.random.default_rng(0))


def score(system, draws, cut, frequency):
    """Objective of every draw."""
    costs = evaluate(system, draws.device, cut, frequency, draws.uplink_bps, draws.downlink_bps)
    return objective(draws.extremes, system.delay_weight, costs.delay_s, costs.energy_j)


@st.composite
def drawn(draw, common=False):
    system = draw(systems())
    if common:
        assume(system.feasible.all(axis=0).any())
    return system, Draws.of(system, *draw(rounds(system)))


def runnable(system):
    """static_cut needs a cut that all devices can hold."""
    return [name for name in POLICIES if name != "static_cut" or system.feasible.all(axis=0).any()]


@given(drawn())
def test_no_benchmark_beats_card_on_any_draw(case):
    system, draws = case
    best = score(system, draws, *decide("card", system, draws))
    for name in runnable(system):
        assert (best <= score(system, draws, *decide(name, system, draws)) + 1e-9).all(), name


@given(drawn())
def test_every_policy_decides_within_the_feasible_set(case):
    system, draws = case
    for name in runnable(system):
        cut, frequency = decide(name, system, draws)
        assert system.feasible[draws.device, cut].all(), name
        assert (frequency >= system.frequency_min_hz[draws.device]).all(), name
        assert (frequency <= system.frequency_max_hz).all(), name
        if system.clocks_hz is not None:
            assert np.isin(frequency, system.clocks_hz).all(), name
        assert cut.shape == frequency.shape == draws.device.shape


@given(drawn())
def test_single_minded_policies_are_extreme(case):
    system, draws = case

    def costs(name):
        cut, frequency = decide(name, system, draws)
        rates = draws.uplink_bps, draws.downlink_bps
        return evaluate(system, draws.device, cut, frequency, *rates)

    for name in runnable(system):
        other = costs(name)
        assert (costs("delay_optimal").delay_s <= other.delay_s * (1 + 1e-11)).all()
        spent = draws.extremes.energy_max_j
        assert (costs("energy_optimal").energy_j <= other.energy_j + 1e-11 * spent).all()


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
