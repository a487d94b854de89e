"""`card.studies.study_file`: what a study is made of, and the commented file to begin with."""

import re

import pytest
import yaml
from typer.testing import CliRunner

import card
from card.base.data_files import scenario_file, scenario_names, study_names
from card.base.errors import ScenarioError
from card.cli import app
from card.studies.scenario_values import parameters
from card.studies.study_file import load_study, new_study

STUDIES = [
    "battery-server",
    "bigger-llm",
    "congested-campus",
    "datacentre-server",
    "labels-kept",
    "limited-leakage",
    "pipelined-turns",
    "priced-devices",
    "quantised-wire",
    "uneven-bed",
]
BASES = {
    "limited-leakage": "test-bed",
    "priced-devices": "realistic",
    "quantised-wire": "calibrated",
    "uneven-bed": "test-bed",
}
"""Bases other than `nominal`."""


def test_studies_ship_beside_the_scenarios():
    assert list(study_names()) == STUDIES
    assert not set(study_names()) & set(scenario_names())


@pytest.mark.parametrize("name", [*STUDIES, *scenario_names()])
def test_no_value_has_its_file_alone_for_an_origin(name):
    items = [item for item in parameters(card.load_scenario(name)) if item.source]
    assert [item.path for item in items if "set by" in item.source.source] == []


@pytest.mark.parametrize("name", STUDIES)
class TestShippedStudies:
    def test_loads_by_name_like_a_scenario(self, name):
        assert card.load_scenario(name) == card.load_scenario(scenario_file(name))

    def test_knows_its_base_and_its_sweep(self, name):
        study, base = load_study(name), BASES.get(name, "nominal")
        assert (study.name, study.base_name, study.shipped) == (name, base, True)
        assert study.base == card.load_scenario(base)
        assert study.scenario == card.load_scenario(name)
        assert len(study.sweep.over) == 2, "a picture shows two paths"

    def test_says_where_every_value_comes_from(self, name):
        items = list(parameters(card.load_scenario(name)))
        assert [item.path for item in items if item.source is None] == []

    def test_what_it_changes_has_a_reason_of_its_own(self, name):
        raw = yaml.safe_load(scenario_file(name).read_text())
        assert {source["kind"] for source in raw["sources"].values()} == {"assumed"}


def test_memory_rules_out_most_cuts_of_the_bigger_llm():
    """16 GB of weights: 48 and 24 GB boards hold all 32 blocks, 12 and 6 GB of use do not."""
    system = card.system(card.load_scenario("bigger-llm"))
    assert system.num_blocks == 32
    fits_all = system.feasible[:, -1]
    assert fits_all.tolist() == [True, True, False, False, False]
    assert system.feasible[:, 0].all(), "each can still hand everything over"


def test_the_campus_has_twenty_boards_of_six_kinds_far_out_and_its_own_states():
    scenario = card.load_scenario("congested-campus")
    assert len(scenario.devices) == 20
    assert len({device.hardware for device in scenario.devices}) == 6
    assert min(device.distance_m for device in scenario.devices) >= 250
    assert not {"good", "normal", "poor"} & set(scenario.channel_states)


@pytest.mark.parametrize("rate_bps", [1e8, 1e10])
def test_the_uneven_bed_is_cut_in_two_places_over_any_fast_link(rate_bps):
    system = card.system(card.load_scenario("uneven-bed"))
    cuts = [card.solve(system, device, rate_bps, rate_bps).cut for device in range(3)]
    assert cuts == [0, 4, 0]


def test_unknown_names_list_scenarios_and_studies():
    with pytest.raises(ScenarioError) as refusal:
        card.load_scenario("xyz")
    for name in (*scenario_names(), *study_names()):
        assert name in str(refusal.value)
    with pytest.raises(ScenarioError, match="did you mean 'bigger-llm'"):
        card.load_scenario("biger-llm")


def test_a_study_may_build_on_another(tmp_path):
    (tmp_path / "mine.yml").write_text("base: bigger-llm\nobjective: {delay_weight: 0.9}\n")
    study = load_study(tmp_path / "mine.yml")
    assert study.base_name == "bigger-llm"
    assert study.scenario.llm == "llama-3.1-8b"
    assert study.base.objective.delay_weight == 0.5
    assert study.sweep is None, "a sweep is asked for where it is written"


def test_a_whole_scenario_is_compared_with_nominal(tmp_path):
    values = card.load_scenario("bigger-llm").model_dump(mode="json")
    (tmp_path / "whole.yml").write_text(yaml.safe_dump(values))
    assert load_study(tmp_path / "whole.yml").base_name == "nominal"


@pytest.mark.parametrize("base", ["nominal", *STUDIES])
class TestNewStudy:
    def test_changes_nothing_as_it_is(self, tmp_path, base):
        path = tmp_path / "mine.yml"
        path.write_text(new_study("mine", base))
        study = load_study(path)
        ours, theirs = (
            s.model_dump(exclude={"title", "sources"}) for s in (study.scenario, study.base)
        )
        assert ours == theirs
        assert study.base_name == base

    def test_every_commented_key_is_a_key_and_has_the_value_of_the_base(self, tmp_path, base):
        text = new_study("mine", base)
        # prose stands one blank behind its `#`, keys at none or at their depth
        uncommented = re.sub(r"^#(?=\S|  )", "", text, flags=re.MULTILINE)
        path = tmp_path / "mine.yml"
        path.write_text(uncommented)
        study = load_study(path)
        raw = yaml.safe_load(uncommented)
        assert set(card.Scenario.model_fields) | {"base", "sweep"} == set(raw)
        ours, theirs = (
            s.model_dump(exclude={"title", "sources"}) for s in (study.scenario, study.base)
        )
        assert ours == theirs
        assert study.sweep.over == {"objective.delay_weight": (0.2, 0.5, 0.8)}

    def test_explains_every_value_once(self, tmp_path, base):
        lines = new_study("mine", base).splitlines()
        meanings = [line.partition("  # ")[2] for line in lines if line.lstrip("# ").find(":") > 0]
        told = [meaning for meaning in meanings if meaning.startswith("Share of the memory")]
        assert len(told) == 1
        assert any("[Hz]" in meaning for meaning in meanings)


def test_a_study_may_mend_its_base_which_is_told_where_it_is_asked_for(tmp_path):
    low, study = tmp_path / "low.yml", tmp_path / "study.yml"
    low.write_text("base: nominal\nlink: {bandwidth_hz: 5}\n", "utf-8")
    study.write_text("base: low\nlink: {bandwidth_hz: 1e7}\n", "utf-8")
    for command in (
        ["sweep", str(study), "--rounds", "1", "--over", "objective.delay_weight=[0.2]"],
        ["compare", str(study), "nominal", "--rounds", "1"],
        ["simulate", str(study), "--rounds", "1"],
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.stderr
    with pytest.raises(card.ScenarioError, match=r"low.yml: link.bandwidth_hz = 5 is not allowed"):
        _ = load_study(study).base
