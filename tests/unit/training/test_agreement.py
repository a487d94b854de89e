"""What both ends of a training hold alike."""

import pytest
from machines import study

import card

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
