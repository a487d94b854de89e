"""`card benchmark`, and policies of one's own on the command line."""

import json

import pytest
from commands import refusal, run

import card
from card.base.errors import ScenarioError
from card.policies import SCORED

OWN = """
def mine(system, draws, rng):
    return 0 * draws.device, system.frequency_max_hz


def wild(system, draws, rng):
    return 99, 1.0
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN, "utf-8")
    return "own.py"


def test_every_policy_of_a_file_is_scored(own):
    options = ["--scenarios", "nominal,realistic", "--rounds", "5", "--seed", "3"]
    document = json.loads(run("benchmark", own, *options, "--json").stdout)
    assert (document["rounds"], document["seed"]) == (5, 3)
    assert list(document["scenarios"]) == ["nominal", "realistic"]
    policies = document["scenarios"]["nominal"]["policies"]
    assert list(policies) == [*SCORED, "mine", "wild"]
    assert policies["mine"]["energy_j"]["value"] == pytest.approx(381.27, rel=1e-3)
    assert policies["wild"]["infeasible"] == 1
    assert policies["wild"]["delay_s"] == {"value": None, "low": None, "high": None}


def test_a_table_ranks_them(own):
    lines = run("benchmark", own, "--scenarios", "nominal", "--rounds", "5").stdout.splitlines()
    names = [line.split()[1] for line in lines if line.startswith("│")]
    assert names[0] == "card"
    assert names[-1] == "wild"


def test_simulate_and_sweep_take_one_by_its_file(own):
    found = run("simulate", "nominal", "--rounds", "2", "--policies", "card,own.py:mine", "--json")
    assert list(json.loads(found.stdout)["policies"]) == ["card", "mine"]
    weights = ["--over", "objective.delay_weight=[0.2]", "--rounds", "2", "--json"]
    swept = run("sweep", "nominal", *weights, "--policies", "own.py:mine")
    assert [point["policy"] for point in json.loads(swept.stdout)["points"]] == ["mine"]


def test_what_others_save_against_a_baseline(own):
    options = ["--rounds", "5", "--policies", "card,own.py:mine", "--baseline", "mine"]
    assert "delay saved against mine" in run("simulate", "nominal", *options).stdout
    assert "baseline = 'yours' is unknown" in refusal("simulate", "nominal", "--baseline", "yours")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["own.py:wild"], "cut = 99 is out of range"),
        (["none.py:f"], "none.py is no file"),
        (["own.py"], "names no function; give FILE.py:FUNCTION"),
    ],
)
def test_bad_ones_are_one_line(own, arguments, message):
    assert message in refusal("simulate", "nominal", "--rounds", "2", "--policies", *arguments)


def test_one_that_is_named_twice_is_refused(own):
    for name in ("evolution", f"{own}:mine"):
        said = refusal("benchmark", name, name, "--rounds", "1", "--scenarios", "nominal")
        assert said == f"Error: policies: {name} is given twice; give it once."
    with pytest.raises(ScenarioError, match="policies: card is given twice"):
        card.simulate(card.load_scenario("nominal"), ["card", "card"], rounds=1)
