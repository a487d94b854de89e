"""Policies of one's own: in studies, simulations, sweeps and books, and their scorecard."""

import hashlib
import json

import numpy as np
import pytest

import card
from card.base.errors import ScenarioError
from card.base.yaml_files import label
from card.book.build import portable
from card.policies import POLICIES, allowed
from card.studies.benchmark import SCORES, SUITE, benchmark
from card.studies.bootstrap import reductions
from card.studies.comparison import compare
from card.studies.study_file import load_study
from card.studies.sweep_grid import Grid

OWN = '''
import numpy as np


def mine(system, draws, rng):
    """As server only."""
    return np.zeros(draws.device.shape, int), system.frequency_max_hz
'''
OVER = {"objective.delay_weight": [0.2, 0.8]}


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN, "utf-8")
    return path


@pytest.fixture
def study(own):
    path = own.with_name("study.yml")
    sweep = {"over": OVER, "policies": ["card", "own.py:mine"], "rounds": 2}
    raw = {"base": "nominal", "title": "t", "policies": ["card", "own.py:mine"], "sweep": sweep}
    path.write_text(label(raw), "utf-8")
    return path


def test_it_is_compared_beside_the_usual_ones(study):
    results = card.simulate(card.load_scenario(study), rounds=3)
    assert results.policy.values.tolist() == [*POLICIES, "mine"]
    same = results.sel(policy="mine", drop=True)
    theirs = results.sel(policy="server_only", drop=True)
    assert same[["cut", "delay_s", "energy_j"]].equals(theirs[["cut", "delay_s", "energy_j"]])


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (("a", "b"), "the policy wrong: cut = array("),
        ({"cut": 0, "clock": 1}, "the policy wrong: cut = array("),
        ((0.5, 2e9), "the policy wrong: cut = array("),
        ((0, "fast"), "the policy wrong: frequency_hz = array("),
        ((0, None), "the policy wrong: frequency_hz = array("),
    ],
)
@pytest.mark.parametrize(
    "use", [card.simulate, lambda one, wrong, **k: benchmark(wrong, [one], **k)]
)
def test_what_is_no_number_is_refused_wherever_a_policy_decides(choice, message, use):
    with pytest.raises(ScenarioError) as refusal:
        use(card.load_scenario("nominal"), {"wrong": lambda *_: choice}, rounds=2)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"policies": None}, "policies = None is not allowed; give a list of card, "),
        ({"policies": "card"}, "policies = 'card' is not allowed; give a list of card, "),
        ({"policies": {"mine": 5}}, "policies = {'mine': 5} is not allowed; give a mapping of "),
        ({"scenarios": None}, "scenarios = None is not allowed; give a list of names, files or "),
        ({"scenarios": "nominal"}, "scenarios = 'nominal' is not allowed; give a list of names"),
        ({"scenarios": []}, "scenarios = [] is not allowed; give a list of names, files or "),
    ],
)
def test_what_is_no_list_is_refused(given, message):
    with pytest.raises(ScenarioError) as refusal:
        benchmark(**{"scenarios": ["nominal"], "rounds": 2, **given})
    assert str(refusal.value).startswith(message)


def test_a_sweep_of_the_study_takes_it(study):
    asked = load_study(study)
    found = card.sweep(asked.scenario, OVER, asked.sweep.policies, rounds=2)
    assert found.policy.values.tolist() == ["card", "mine"]
    assert found.delay_s.sel(policy="mine").notnull().all()


def test_a_sweep_knows_it_by_its_text(study, own):
    def grid():
        return Grid.checked(card.load_scenario("nominal"), OVER, [f"{own}:mine"], 2)

    before = grid().content
    assert grid().content == before
    own.write_text(OWN + "\n# another\n", "utf-8")
    assert grid().content != before


def test_a_book_takes_it_along(study, own):
    values, files = portable(card.load_scenario(study))
    digest = hashlib.sha256(OWN.encode()).hexdigest()[:16]
    assert values["policies"] == ["card", f"policy-{digest}.py:mine"]
    assert files == {f"policy-{digest}.py": OWN.encode()}
    assert json.dumps(values)


def test_a_scenario_s_results_do_not_depend_on_who_is_compared(study):
    assert card.load_scenario(study).digest == card.load_scenario("nominal").digest


def test_two_studies_are_compared_on_the_policies_of_both(study):
    changes = compare(card.load_scenario("nominal"), card.load_scenario(study), 3).changes
    assert list(dict.fromkeys(change.policy for change in changes)) == list(POLICIES)


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        (["own.py:mime"], "there is no function 'mime' in the file; did you mean 'mine'?"),
        (["none.py:mine"], "none.py is no file"),
        (["crad"], "policies = 'crad' is unknown; did you mean 'card'?"),
        ([""], "policies.0 = '' is not allowed; give a text that is not blank."),
    ],
)
def test_what_is_no_policy_is_refused_when_the_study_is_loaded(study, policies, message):
    study.write_text(label({"base": "nominal", "policies": policies}), "utf-8")
    with pytest.raises(ScenarioError) as refusal:
        card.load_scenario(study)
    assert message in str(refusal.value)


def test_reductions_against_a_baseline_are_the_other_way_round():
    results = card.simulate(card.load_scenario("nominal"), ["card", "server_only"], rounds=20)
    (ours,) = reductions(results).values()
    found = reductions(results, baseline="server_only")
    assert found == {"card": ours}
    with pytest.raises(ScenarioError, match="baseline = 'device_only' is unknown"):
        reductions(results, baseline="device_only")


def halved(system, draws, rng):
    """Half of the decisions are not feasible: the deepest cut at a clock that is not there."""
    clocks = np.where(draws.uplink_bps > np.median(draws.uplink_bps), 9e12, 2e9)
    return np.full(draws.device.shape, system.num_blocks), clocks


class TestScorecard:
    def test_has_the_means_of_a_simulation(self, own):
        scores = benchmark([f"{own}:mine"], ["nominal"], rounds=30, seed=5).sel(scenario="nominal")
        results = card.simulate(card.load_scenario("nominal"), rounds=30, seed=5)
        for name in SCORES:
            means = results[name].mean(("state", "device", "round"))
            found = scores[name].sel(policy=list(POLICIES))
            np.testing.assert_allclose(found.values, means.values, rtol=1e-12)
            assert (scores[f"{name}_low"] <= scores[name] + 1e-12).all()
            assert (scores[f"{name}_high"] >= scores[name] - 1e-12).all()
        assert (scores.infeasible == 0).all()
        assert float(scores.delay_s.sel(policy="mine")) == scores.delay_s.sel(policy="server_only")

    def test_counts_what_may_not_be_taken_and_scores_it_not(self):
        scores = benchmark({"halved": halved}, ["nominal"], rounds=200).sel(policy="halved")
        assert scores.infeasible.item() == pytest.approx(0.5, abs=0.01)
        assert np.isnan(scores.delay_s.item())

    def test_a_policy_that_needs_what_a_scenario_lacks_has_no_score_there(self):
        apart = card.load_scenario(
            "realistic-8b", **{"training.cut_range": [1, None], "devices.device-1.distance_m": 50}
        )
        system = card.system(apart)
        scores = benchmark(scenarios=[apart], rounds=2).squeeze("scenario")
        applies = bool(system.feasible.all(axis=0).any())
        assert bool(scores.delay_s.sel(policy="static_cut").notnull()) == applies

    def test_says_of_what_it_is(self):
        scores = benchmark(scenarios=["nominal"], rounds=1)
        assert scores.attrs["scenario_hash"] == card.load_scenario("nominal").digest
        assert scores.attrs["source"] == f"card {card.__version__}"

    def test_the_suite_is_shipped(self):
        assert [card.load_scenario(name).digest for name in SUITE]


def test_whatever_is_no_decision_may_not_be_taken():
    system = card.system(card.load_scenario("nominal"))
    cuts = np.array([0, 16, -1, 17, 0.5, np.nan, 0, 0])
    clocks = np.array([2e9, 2e9, 2e9, 2e9, 2e9, 2e9, np.nan, 9e12])
    assert allowed(system, 0, cuts, clocks).tolist() == [True, True] + [False] * 6
