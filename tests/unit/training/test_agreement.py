"""What both ends of a training hold alike."""

from pathlib import Path

import pytest
from machines import study

import card
from card.base.errors import ScenarioError
from card.base.yaml_files import label

Job = pytest.importorskip("card.training.agreement").Job


def agreed(scenario):
    return Job(scenario, None, None, "").scenario_hash


def test_scenario_is_known_by_the_content_of_its_files(tmp_path):
    here, there = (card.load_scenario(study(tmp_path / name)) for name in ("a", "b"))
    other = card.load_scenario(study(tmp_path / "a", slower=2.0))
    assert agreed(here) == agreed(there) != agreed(other)


def test_titles_make_no_difference():
    nominal = card.load_scenario("nominal")
    assert agreed(nominal) == agreed(nominal.updated({"title": "t"}))


@pytest.mark.parametrize("key", ["uplink_bits", "downlink_bits"])
def test_only_numbers_as_they_are_held_are_sent_for_real(key):
    study = {f"wire.{key}": [32, 8]}
    with pytest.raises(ScenarioError) as refusal:
        Job.open(card.load_scenario("test-bed", **study), Path("no-such-folder"))
    assert str(refusal.value) == (
        f"wire.{key} = [32, 8] cannot be run for real yet, only counted; give null."
    )
    with pytest.raises(ScenarioError, match="no-such-folder"):
        Job.open(card.load_scenario("test-bed", **{f"wire.{key}": [32]}), Path("no-such-folder"))


@pytest.mark.parametrize(
    ("key", "value", "needed"),
    [
        ("base_weights", "nf4", "null"),
        ("gradient_checkpointing", True, "false"),
        ("accumulation", 2, "1"),
        ("schedule", "pipelined", "alternate"),
        ("optimiser", "sgd", "adamw"),
    ],
)
def test_what_is_only_counted_is_refused_before_anything_is_loaded(key, value, needed):
    scenario = card.load_scenario(
        "test-bed", **{f"training.{key}": value, "training.batch_size": 4}
    )
    with pytest.raises(ScenarioError) as refusal:
        Job.open(scenario, Path("no-such-folder"))
    assert str(refusal.value) == (
        f"training.{key} = {label(value)} cannot be run for real yet, only counted; give {needed}."
    )
