"""Fleets: one entry that stands for many devices, and values that are drawn for each."""

import json

import pytest
from typer.testing import CliRunner

import card
from card.base.errors import ScenarioError
from card.base.yaml_files import label
from card.cli import app, study_schema
from card.scenario.fleets import MOST_DEVICES, fleet_of
from card.studies.scenario_values import show, with_unit

PHONES = {
    "name": "phone",
    "count": 100,
    "hardware": {"choice": ["jetson-nano", "jetson-orin-nano-8gb"]},
    "distance_m": {"uniform": [20, 200]},
}
HUB = {"name": "hub", "hardware": "jetson-agx-orin-64gb", "distance_m": 10, "utilisation": 0.5}


def fleet(*entries, **changes):
    small = {"llm": "tiny-llama-8m", "training.sequence_length": 64}
    return card.load_scenario("nominal", devices=list(entries), **small, **changes)


def refusal(*entries, **changes):
    with pytest.raises(ScenarioError) as refused:
        fleet(*entries, **changes)
    return str(refused.value)


def drawn(scenario):
    return {one.name: (one.hardware, one.distance_m) for one in scenario.devices}


class TestCount:
    def test_an_entry_stands_for_devices_whose_names_sort(self):
        names = [device.name for device in fleet(PHONES, HUB).devices]
        assert names == [f"phone-{number:03}" for number in range(1, 101)] + ["hub"]
        assert sorted(names[:-1]) == names[:-1]
        assert [one.name for one in fleet({**PHONES, "count": 1}).devices] == ["phone-1"]
        assert {fleet_of(name) for name in names} == {"phone", "hub"}

    @pytest.mark.parametrize("count", [0, -1, MOST_DEVICES + 1, 10**30, 2.0, True, "ten", None])
    def test_a_count_that_is_none_is_refused(self, count):
        assert refusal({**PHONES, "count": count}) == (
            f"devices.phone.count = {json.dumps(count) if count is None else repr(count)} is not "
            f"allowed; give a whole number from 1 to 1000. Devices that this entry stands for."
        )

    def test_a_name_that_is_taken_is_refused(self):
        taken = {**HUB, "name": "phone-007"}
        assert refusal(PHONES, taken) == (
            "devices.phone.count = 100 makes a device phone-007, a name that is taken; rename one "
            "of them."
        )

    def test_what_is_wrong_of_all_is_one_line(self):
        assert refusal({**PHONES, "distanc": 3}) == (
            "devices.phone.distanc is not a key of a scenario; did you mean "
            "'devices.phone.distance_m'?"
        )
        assert refusal({**PHONES, "hardware": "jetson-nanoo"}) == (
            "devices.phone.hardware = 'jetson-nanoo' is unknown; did you mean 'jetson-nano'?"
        )

    def test_a_name_is_needed(self):
        nameless = {key: value for key, value in PHONES.items() if key != "name"}
        assert refusal(nameless).startswith("devices.0.name is missing; give a text")


class TestRanges:
    def test_values_are_in_range_and_of_the_list(self):
        scenario = fleet(PHONES)
        found = [device.distance_m for device in scenario.devices]
        assert 20 <= min(found) < 40
        assert 180 < max(found) <= 200
        assert len(set(found)) == 100
        assert {device.hardware for device in scenario.devices} == {*PHONES["hardware"]["choice"]}

    def test_a_draw_follows_from_the_seed_the_name_and_the_key_alone(self):
        whole = drawn(fleet(PHONES, HUB))
        other_order = drawn(fleet(HUB, {**PHONES, "count": 100}))
        assert {name: other_order[name] for name in whole} == whole
        few = drawn(fleet({**PHONES, "name": "phone-00", "count": 9}))
        alone = drawn(fleet({**PHONES, "hardware": "jetson-nano"}))
        assert [at for _, at in alone.values()] == [at for name, (_, at) in whole.items()
                                                    if name != "hub"]  # fmt: skip
        assert few["phone-00-1"] != whole["phone-001"]
        assert drawn(fleet(PHONES, **{"simulation.seed": 1})) != drawn(fleet(PHONES))

    def test_the_fleet_is_the_same_everywhere(self):
        """Regression: what this seed, these names and these keys gave when fleets were made."""
        found = fleet({**PHONES, "count": 3}).devices
        assert [round(one.distance_m, 6) for one in found] == [185.657717, 62.950705, 37.989394]

    def test_a_range_needs_no_count_and_a_choice_may_be_described(self):
        board = {"title": "Mine", "cores": 100, "clock_hz": 1e9, "memory_gb": 8}
        one = {**HUB, "hardware": {"choice": [board]}, "utilisation": {"choice": [0.25]}}
        (device,) = fleet(one).devices
        assert (device.board.title, device.utilisation) == ("Mine", 0.25)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"distance_m": {"uniform": [200, 20]}},
                "devices.phone.distance_m.uniform = [200, 20] is not allowed; give a list of two "
                "numbers, the lower first.",
            ),
            (
                {"distance_m": {"uniform": 5}},
                "devices.phone.distance_m.uniform = 5 is not allowed; give a list of two numbers, "
                "the lower first.",
            ),
            (
                {"hardware": {"choice": []}},
                "devices.phone.hardware.choice = [] is not allowed; give a list of at least one "
                "value.",
            ),
            (
                {"distance_m": {"uniform": [1, 2], "choice": [1]}},
                "devices.phone.distance_m = {'choice': [1], 'uniform': [1, 2]} is not allowed; "
                "give one value, or one of uniform and choice alone.",
            ),
            (
                {"distance_m": {"uniform": [0, 1e5]}},
                "devices.phone.distance_m = 0 is not allowed; give a number from 1 to 1e+06. "
                "Distance to the base station [m]; the path-loss law starts at 1 m.",
            ),
            (
                {"distance_m": {"choice": [10] * 50 + [-1]}},
                "devices.phone.distance_m = -1 is not allowed; give a number from 1 to 1e+06. "
                "Distance to the base station [m]; the path-loss law starts at 1 m.",
            ),
            (
                {"distance_m": {"normal": [1, 2]}},
                "devices.phone.distance_m = {'normal': [1, 2]} is not allowed; give a number "
                "from 1 to 1e+06. Distance to the base station [m]; the path-loss law starts at "
                "1 m.",
            ),
            (
                {"hardware": {"choice": ["jetson-nano", "jetson-nanoo"]}},
                "devices.phone.hardware = 'jetson-nanoo' is unknown; did you mean 'jetson-nano'?",
            ),
        ],
    )
    def test_what_may_not_be_drawn_is_refused_whether_it_is_drawn_or_not(self, changes, message):
        assert refusal({**PHONES, **changes}) == message


class TestStudies:
    @pytest.fixture
    def study(self, tmp_path):
        (tmp_path / "mine").mkdir()
        board = {"title": "Mine", "cores": 100, "clock_hz": 1e9, "memory_gb": 8}
        (tmp_path / "mine" / "board.yml").write_text(label(board), "utf-8")
        phones = {**PHONES, "hardware": {"choice": ["board.yml", "jetson-nano"]}}
        sources = {"devices.phone.distance_m": {"kind": "measured", "source": "A walk"}}
        base = {"base": "nominal", "llm": "tiny-llama-8m", "training": {"sequence_length": 64},
                "devices": [phones, HUB], "sources": sources}  # fmt: skip
        (tmp_path / "mine" / "fleet.yml").write_text(label(base), "utf-8")
        return tmp_path / "mine" / "fleet.yml"

    def test_files_of_a_choice_lie_beside_the_study(self, study):
        titles = {device.board.title for device in card.load_scenario(study).devices}
        assert "Mine" in titles
        assert len(titles) == 3

    def test_fleet_and_single_devices_can_be_set_and_removed(self, study):
        whole = card.load_scenario(study)
        one = card.load_scenario(study, **{"devices.phone-007.distance_m": 33.0})
        expected = {**drawn(whole), "phone-007": (drawn(whole)["phone-007"][0], 33.0)}
        assert drawn(one) == expected
        assert len(card.load_scenario(study, **{"devices.phone-007": None}).devices) == 100
        small = card.load_scenario(study, **{"devices.phone.count": 10})
        assert [device.name for device in small.devices][:2] == ["phone-01", "phone-02"]
        near = card.load_scenario(study, **{"devices.phone.distance_m": {"uniform": [5, 6]}})
        assert max(device.distance_m for device in near.devices) == 10

    def test_what_is_built_on_it_may_change_one_device(self, study):
        other = study.with_name("other.yml")
        other.write_text("base: fleet\ndevices: {phone-001: {distance_m: 44}}\n", "utf-8")
        assert card.load_scenario(other).devices[0].distance_m == 44
        own = card.load_scenario(other).source_of("devices.phone-001.distance_m")
        assert (own.kind, own.source) == ("assumed", "set by other.yml")

    def test_origins_are_those_of_the_entry_and_defaults_are_assumed(self, study):
        scenario = card.load_scenario(study)
        assert scenario.source_of("devices.phone-042.distance_m").source == "A walk"
        utilisation = scenario.source_of("devices.phone-042.utilisation")
        assert utilisation.kind == "assumed"
        assert utilisation.source.startswith("The peak rate, where a device says nothing")
        assert scenario.source_of("devices.hub.utilisation").source == "set by fleet.yml"

    def test_a_scenario_holds_single_devices_and_stays_what_it_is(self, study):
        scenario = card.load_scenario(study)
        assert "count" not in json.dumps(scenario.content["devices"])
        again = scenario.updated({"training.batch_size": 2}).updated({"training.batch_size": 1})
        assert again.digest == scenario.digest
        single = [device.model_dump(mode="json") for device in scenario.devices]
        assert scenario.updated({"devices": single}).digest == scenario.digest
        drawn_anew = scenario.updated({"devices.*.distance_m": {"uniform": [1, 5]}})
        assert max(device.distance_m for device in drawn_anew.devices) <= 5

    def test_it_is_shown_on_a_few_lines(self, study):
        shown = CliRunner().invoke(app, ["show", str(study)], env={"COLUMNS": "300"}).output
        assert "phone-001" not in shown
        assert shown.count("devices.phone-*.") == shown.count("devices.hub.") == 8
        assert "100 values from 2" in shown
        assert "devices.hub.distance_m" in shown
        whole = json.loads(CliRunner().invoke(app, ["show", str(study), "--json"]).output)
        assert len(whole["devices"]) == 101

    def test_the_schema_has_counts_and_ranges(self, study):
        jsonschema = pytest.importorskip("jsonschema")
        jsonschema.validate({"devices": [PHONES, HUB]}, study_schema())
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"devices": [{**PHONES, "count": 0}]}, study_schema())
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"devices": [{**HUB, "distance_m": {"normal": [1, 2]}}]},
                                study_schema())  # fmt: skip


def test_many_values_are_shown_as_a_range_or_counted():
    assert show([float(n) for n in range(1, 12)]) == "11 values from 1 to 11"
    assert show(["a", "b"] * 10) == "10 × a, 10 × b"
    assert show([f"phone-{n}" for n in range(40)]).endswith("phone-8, phone-9, …")
    assert with_unit([float(n) for n in range(1, 12)], "m") == "11 values from 1 to 11 m"
    assert with_unit([], "m") == "none"
    assert show([1.0, 2.0, 2.0]) == "1, 2 × 2"
    assert show(()) == "none"
