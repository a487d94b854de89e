"""`card.studies.privacy`: what settings and limits cost, each against its own simulation."""

import numpy as np
import pytest
from leaking import leakage_file

import card
from card import simulation
from card.base.errors import ScenarioError
from card.studies.bootstrap import reductions
from card.studies.claims import applied
from card.studies.privacy import SETTINGS, THREATS, limits, settings

ROUNDS, SEED = 30, 4
NOMINAL = card.load_scenario("nominal")


@pytest.fixture(scope="module")
def priced():
    return {one.name: one for one in settings(NOMINAL, ROUNDS, SEED)}


def test_settings_are_those_of_simulations_of_their_own(priced):
    both = NOMINAL.updated({"training": {"topology": "u-shaped", "cut_range": [1, None]}})
    for scenario, found in ((NOMINAL, priced["labels sent"]), (both, priced["both"])):
        results = card.simulate(scenario, ["card", "device_only", "server_only"], ROUNDS, SEED)
        mean = simulation.means(results)["card"]
        for quantity, value in mean.items():
            assert getattr(found, quantity).value == pytest.approx(value, rel=1e-12)
            assert getattr(found, quantity).low < value < getattr(found, quantity).high
        assert found.reductions == reductions(results)


def test_the_study_labels_kept_is_the_last_setting(priced):
    study = applied(card.load_scenario("labels-kept"), ROUNDS, SEED)
    assert study[0].value == priced["both"].reductions["device_only"]["delay"]["value"]


def test_every_setting_costs_delay(priced):
    delays = {name: one.delay_s.value for name, one in priced.items()}
    assert list(delays) == list(SETTINGS)
    assert delays["labels sent"] < delays["cut 1 or deeper"] < delays["both"]
    assert delays["labels sent"] < delays["labels kept"] < delays["both"]


def test_the_scenarios_own_range_of_cuts_is_kept():
    narrow = NOMINAL.updated({"training.cut_range": [2, 9]})
    sent, deeper, *_ = settings(narrow, 2, SEED)
    assert (sent.delay_s, sent.energy_j) == (deeper.delay_s, deeper.energy_j)


def test_what_is_impossible_says_why_and_stops_nothing():
    offloading = NOMINAL.updated({"training.cut_range": [0, 0]})
    found = {one.name: one for one in settings(offloading, 2, SEED)}
    assert found["labels kept"].delay_s.value > 0
    assert found["both"].delay_s is None
    assert found["both"].reason.startswith("training.cut_range = [1, 0] is not allowed")


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """Leakage falls with depth; the search finds all. Cut 2 leaks as much as cut 3."""
    path = tmp_path_factory.mktemp("leakage") / "t.json"
    falling = {0: 0.9, 1: 0.6, 2: 0.3, 3: 0.3}
    table = leakage_file(path, lambda attack, cut, _: 1.0 if attack == "search" else falling[cut])
    scenario = card.load_scenario("limited-leakage").updated(
        {"privacy": {"leakage": table, "attacks": None, "leakage_max": None}}
    )
    return scenario, limits(scenario, rounds=ROUNDS, seed=SEED)


def test_limits_are_the_leakages_of_options(limited):
    _, found = limited
    assert list(dict.fromkeys(one.threat for one in found)) == list(THREATS)
    at = {threat: [one.leakage_max for one in found if one.threat == threat] for threat in THREATS}
    assert at["decoder, first round"] == [0.0, 0.3, 0.6, 0.9]
    assert at["every attack"] == [0.0, 1.0]


def test_each_limit_is_a_simulation_of_its_own(limited):
    scenario, found = limited
    for one in found:
        attacks = THREATS[one.threat]
        feared = {"attacks": attacks and list(attacks), "leakage_max": one.leakage_max}
        results = card.simulate(scenario.updated({"privacy": feared}), ["card"], ROUNDS, SEED)
        assert one.delay_s.value == pytest.approx(float(results.delay_s.mean()), rel=1e-12)
        assert one.offloaded == float((results.cut < 4).mean())


def test_more_options_never_cost_more_at_given_prices(limited):
    """CARD's normalised objective has no such law, since its extremes move with the options."""
    scenario, _ = limited
    costs = []
    for limit in (0.0, 0.3, 0.6, 0.9):
        feared = {"attacks": ["inversion"], "leakage_max": limit}
        system = card.system(scenario.updated({"privacy": feared}))
        solved = card.solve(system, 0, 2e8, 6e8, delay_price=1.0, energy_price=0.01)
        costs.append(float(solved.delay_s + 0.01 * solved.energy_j))
    assert (np.diff(costs) <= 0).all()
    assert costs[-1] < costs[0]


def test_a_limit_that_some_device_cannot_keep_is_left_out(limited):
    scenario, _ = limited
    bound = scenario.updated({"training.cut_range": [0, 3]})
    found = limits(bound, {"decoder": ("inversion",)}, rounds=2, seed=SEED)
    assert [one.leakage_max for one in found] == [0.3, 0.6, 0.9]


def test_without_a_table_there_is_nothing_to_compare():
    with pytest.raises(ScenarioError, match=r"privacy\.leakage = null has no limits to compare"):
        limits(NOMINAL, rounds=2)
