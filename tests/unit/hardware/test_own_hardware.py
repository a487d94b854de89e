"""A processor of one's own: a file beside the study, checked as the catalogue is."""

import json

import numpy as np
import pytest

import card
from card.base.data_files import scenario_names, study_names
from card.base.errors import ScenarioError
from card.base.yaml_files import label
from card.book.build import portable
from card.book.provenance import provenance_page
from card.costs import notes
from card.hardware import catalogue
from card.studies.scenario_values import differences, parameters, show
from card.studies.study_file import new_study

ENTRY = {"title": "My NPU", "cores": 100, "clock_hz": 1e9, "memory_gb": 16, "max_power_w": 12}


@pytest.fixture
def study(tmp_path):
    (tmp_path / "npu.yml").write_text(label(ENTRY | {"formats": {"fp16": 40}}), "utf-8")
    file = tmp_path / "mine.yml"
    file.write_text(
        "base: nominal\n"
        "devices: {device-2: {hardware: npu.yml, number_format: fp16}}\n"
        "server: {hardware: npu.yml}\n",
        "utf-8",
    )
    return file


def test_it_lies_beside_the_study_and_computes_with_what_it_says(study):
    system = card.system(card.load_scenario(study))
    assert system.throughput_flops[1] == 100 * 40 * 1e9
    assert system.flops_per_hz == 100 * 2
    assert system.power_coefficient * 1e27 == pytest.approx(12)
    assert system.device_power_w[1] == 12


def test_an_entry_of_the_catalogue_in_a_file_is_that_entry(tmp_path):
    whole = catalogue()["jetson-nano"].model_dump(mode="json")
    (tmp_path / "nano.yml").write_text(label(whole), "utf-8")
    path = "devices.device-1.hardware"
    listed = card.load_scenario("nominal", **{path: "jetson-nano"})
    own = card.load_scenario("nominal", **{path: str(tmp_path / "nano.yml")})
    assert own.content == listed.content
    assert own.devices[0].board.sources == listed.devices[0].board.sources


def test_what_has_no_source_is_recorded_as_the_file_s(study):
    sources = card.load_scenario(study).server.board.sources
    assert {key: source.source for key, source in sources.items()} == dict.fromkeys(
        ["cores", "clock_hz", "memory_gb", "max_power_w", "formats"], "set by npu.yml"
    )


def test_it_is_known_by_its_content(study):
    before = card.load_scenario(study).content
    (study.parent / "npu.yml").write_text(label(ENTRY | {"cores": 101}), "utf-8")
    with pytest.raises(ScenarioError, match=r"number_format = 'fp16' .* My NPU has"):
        card.load_scenario(study)
    (study.parent / "npu.yml").write_text(
        label(ENTRY | {"formats": {"fp16": 40}, "max_power_w": 13}), "utf-8"
    )
    assert card.load_scenario(study).content != before


def test_a_book_takes_it_along(study):
    values, files = portable(card.load_scenario(study))
    (name,) = files
    assert values["server"]["hardware"] == values["devices"][1]["hardware"] == name
    assert name.endswith(".yml")
    assert json.dumps(values)


@pytest.mark.parametrize("name", ["NPU.YML", "npu.Yaml"])
def test_endings_may_be_written_in_capitals(study, name):
    (study.parent / "npu.yml").rename(study.parent / name)
    study.write_text(study.read_text("utf-8").replace("npu.yml", name), "utf-8")
    assert card.load_scenario(study).server.board.title == "My NPU"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("none.yml", "does not exist"),
        ("none.json", "does not exist"),
        ("NONE.YAML", "does not exist"),
        ("folder", "is a folder"),
        ("folder.yml", "is a folder"),
        ("notes.txt", "has another ending"),
    ],
)
def test_what_is_no_such_file_is_told_by_key_and_with_what_may_be_given(tmp_path, name, wrong):
    for folder in ("folder", "folder.yml"):
        (tmp_path / folder).mkdir()
    (tmp_path / "notes.txt").touch()
    file = str(tmp_path / name)
    with pytest.raises(ScenarioError) as refusal:
        card.load_scenario("nominal", **{"devices.device-1.hardware": file})
    kinds = "a .yml file that describes it, a .json file that `card profile --output` wrote, or one"
    said = str(refusal.value)
    assert said.startswith("devices.device-1.hardware = ")
    assert f"{name}' {wrong}; give {kinds} of jetson" in said


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({**ENTRY, "cores": 0}, "cores = 0 is not allowed; give a whole number from 1 to"),
        ({**ENTRY, "colour": 1}, "colour is not a key of"),
        ({"title": "x"}, "cores, clock_hz, memory_gb are missing; add them."),
        (
            {**ENTRY, "sources": {"core": {"kind": "assumed", "source": "x"}}},
            "sources.core is the origin of no value; did you mean 'cores'?",
        ),
    ],
)
def test_what_is_wrong_names_the_file(study, entry, message):
    (study.parent / "npu.yml").write_text(label(entry), "utf-8")
    with pytest.raises(ScenarioError) as refusal:
        card.load_scenario(study)
    assert str(refusal.value).startswith(f"{study.parent / 'npu.yml'}: {message}")


@pytest.fixture
def inline(tmp_path):
    file = tmp_path / "inline.yml"
    entry = {**ENTRY, "formats": {"fp16": 40}}
    entry["sources"] = {"cores": {"kind": "datasheet", "source": "NPU manual"}}
    devices = {"device-2": {"hardware": entry, "number_format": "fp16"}}
    study = {"base": "nominal", "devices": devices, "server": {"hardware": entry}}
    file.write_text(label(study), "utf-8")
    return file


def test_what_a_study_describes_is_what_a_file_describes(study, inline):
    own, filed = card.load_scenario(inline), card.load_scenario(study)
    assert own.content == filed.content
    assert own.digest == filed.digest
    assert own.updated({"training.batch_size": 2}).updated({"training.batch_size": 1}) != filed
    again = own.updated({"training.batch_size": 2}).updated({"training.batch_size": 1})
    assert again.digest == own.digest


def test_what_a_study_describes_keeps_its_sources_and_is_assumed_elsewhere(inline):
    scenario = card.load_scenario(inline)
    for board in (scenario.server.board, scenario.updated({"lora.rank": 4}).devices[1].board):
        sources = {key: (source.kind, source.source) for key, source in board.sources.items()}
        assert sources.pop("cores") == ("datasheet", "NPU manual")
        assert sources == dict.fromkeys(
            ["clock_hz", "formats", "max_power_w", "memory_gb"], ("assumed", "given in the study")
        )
    assert scenario.source_of("devices.device-2.hardware").source == "set by inline.yml"
    assert not [key for key in scenario.sources if "hardware." in key]


def test_a_value_of_what_a_study_describes_can_be_set(inline):
    scenario = card.load_scenario(inline, **{"devices.device-2.hardware.clock_hz": 2e9})
    assert scenario.devices[1].board.clock_hz == 2e9
    assert scenario.server.board.clock_hz == 1e9
    assert scenario.source_of("devices.device-2.hardware").source == "set by the user"
    named = scenario.updated({"devices.device-2.hardware": "jetson-nano"})
    assert named.devices[1].board is catalogue()["jetson-nano"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {**ENTRY, "cores": 0},
            "devices.device-1.hardware.cores = 0 is not allowed; give a whole number from 1 to "
            "1000000000. CUDA cores (σ).",
        ),
        (
            {**ENTRY, "clock_hz": 1e103},
            "devices.device-1.hardware.clock_hz = 1e+103 is not allowed; give a number from "
            "1e+06 to 1e+15. Highest GPU clock [Hz] (f_D).",
        ),
        *(
            (
                {**ENTRY, "clock_hz": clock},
                f"devices.device-1.hardware.clock_hz = {clock} is not allowed; give a number from "
                "1e+06 to 1e+15. Highest GPU clock [Hz] (f_D).",
            )
            for clock in (1300, 1.3)
        ),
        (
            {**ENTRY, "memory_gb": 8e9},
            "devices.device-1.hardware.memory_gb = 8000000000.0 is not allowed; give a number from "
            "0.001 to 100000. Memory [GB], of a device (M_D) or the server (M_S); 1 GB = 10⁹ byte.",
        ),
        (
            {**ENTRY, "memory_gb": 1e-300},
            "devices.device-1.hardware.memory_gb = 1e-300 is not allowed; give a number from "
            "0.001 to 100000. Memory [GB], of a device (M_D) or the server (M_S); 1 GB = 10⁹ byte.",
        ),
        (
            {**ENTRY, "max_power_w": 5e-324},
            "devices.device-1.hardware.max_power_w = 5e-324 is not allowed; give null or a number "
            "from 1e-06 to 1000000000. Highest power mode, or thermal design power [W] (P_max).",
        ),
        (
            {**ENTRY, "flop_per_core_cycle": 1e300},
            "devices.device-1.hardware.flop_per_core_cycle = 1e+300 is not allowed; give a number "
            "from 1e-09 to 1e+09. Work per core and clock cycle in FP32 [FLOP] (δ); a fused "
            "multiply-add counts 2.",
        ),
        (
            {**ENTRY, "formats": {"fp16": 1e300}},
            "devices.device-1.hardware.formats.fp16 = 1e+300 is not allowed; give a number from "
            "1e-09 to 1e+09.",
        ),
        (
            {**ENTRY, "min_power_w": 20, "max_power_w": 10},
            "devices.device-1.hardware: min_power_w = 20 is not allowed; give at most 10, the "
            "max_power_w, or raise that.",
        ),
        (
            {**ENTRY, "clok_hz": 1},
            "devices.device-1.hardware.clok_hz is not a key of a scenario; did you mean "
            "'devices.device-1.hardware.clock_hz'?",
        ),
        (
            {**ENTRY, "sources": {"core": {"kind": "assumed", "source": "x"}}},
            "devices.device-1.hardware: sources.core is the origin of no value; did you mean "
            "'cores'?",
        ),
        (
            5,
            "devices.device-1.hardware = 5 is not allowed; give a text that is not blank or a "
            "mapping of keys to values. Entry of the hardware catalogue, a measured profile, a "
            "file of one, or what a file says.",
        ),
    ],
)
def test_what_a_study_describes_wrongly_is_told_in_one_line(entry, message):
    with pytest.raises(ScenarioError) as refusal:
        card.load_scenario("nominal", **{"devices.device-1": {"hardware": entry}})
    assert str(refusal.value) == message


def test_a_note_names_what_was_probably_meant_in_another_unit():
    own = {f"devices.device-{n}.hardware": {**ENTRY, "memory_gb": 8192} for n in (1, 2)}
    own |= {"server.minimum_frequency_hz": 345, "devices.device-3.link.uplink_power_dbm": 200}
    odd = card.load_scenario("nominal", **own)
    assert notes(odd) == [
        "server.minimum_frequency_hz = 345 Hz is far below what processors run at; did you mean "
        "345e6?",
        f"memory_gb = 8192 of {ENTRY['title']} is far beyond what processors have; did you mean "
        "8.192?",
        "uplink_power_dbm = 200 dBm is 1e+17 W, far beyond what transmitters have; did you mean "
        "23?",
    ]
    for name in (*scenario_names(), *study_names()):
        assert not [line for line in notes(card.load_scenario(name)) if "did you mean" in line]


EXTREMES = [
    {"clock_hz": clock, "cores": cores, "flop_per_core_cycle": work, "max_power_w": power}
    for clock, cores, work in ((1e6, 1, 1e-9), (1e15, 10**9, 1e9))
    for power in (1e-6, 1e9)
]


@pytest.mark.parametrize("changes", EXTREMES)
@pytest.mark.parametrize("where", ["server", "devices.*"])
def test_costs_are_finite_or_refused_at_the_ends_of_what_a_processor_may_be(changes, where):
    own = {f"{where}.hardware": {**ENTRY, "memory_gb": 1000, **changes}}
    if where == "server":
        own |= {"server.static_power_w": 0.0, "server.minimum_frequency_hz": 0.0}
    try:
        found = card.simulate(card.load_scenario("nominal").updated(own), rounds=2)
    except ScenarioError as refusal:
        assert "a round takes or spends" in str(refusal)  # noqa: PT017
    else:
        assert np.isfinite(found[["delay_s", "energy_j", "objective"]].to_array()).all()


def test_a_server_needs_power_wherever_it_is_described(tmp_path):
    without = {key: value for key, value in ENTRY.items() if key != "max_power_w"}
    with pytest.raises(ScenarioError, match=r"^server.hardware.max_power_w is missing; give"):
        card.load_scenario("nominal", server={"hardware": without})
    file = tmp_path / "mine.yml"
    file.write_text(json.dumps(without), "utf-8")
    with pytest.raises(ScenarioError, match=r"^server.hardware.max_power_w is missing in .*mine"):
        card.load_scenario("nominal", **{"server.hardware": str(file)})


def test_what_a_study_describes_is_compared_shown_and_begun_with(inline):
    scenario = card.load_scenario(inline)
    changed = differences(card.load_scenario("nominal"), scenario)
    found = {item.path: str(item.second) for item in changed}
    assert found["server.hardware"].startswith("My NPU (")
    shown = {item.path: show(item.value) for item in parameters(scenario)}
    assert shown["devices.device-2.hardware"] == "My NPU"
    assert "hardware: {title: My NPU, cores: 100, " in new_study("next", str(inline))
    values, files = portable(scenario)
    assert not files
    assert values["server"]["hardware"]["cores"] == 100
    assert "NPU manual" in provenance_page({"nominal": scenario})
