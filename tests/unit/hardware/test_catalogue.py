"""A bad entry of the catalogue is refused by whoever uses it, and named with its file."""

import sys

import pytest

import card
from card.base.errors import ScenarioError
from card.base.yaml_files import label
from card.hardware import catalogue
from card.hardware.catalogue import Catalogue

SOUND = catalogue()["rtx-4090"].model_dump(mode="json")


def stored(tmp_path, **entries):
    path = tmp_path / "hardware.yml"
    path.write_text(label(entries), "utf-8")
    return Catalogue(path), path


def test_shipped_entries_are_sound():
    assert all(min(entry.peak_flops.values()) > 0 for entry in catalogue().values())


@pytest.mark.parametrize(
    ("name", "number_format", "tflops"),
    [  # as the vendor prints them, without sparsity
        ("jetson-agx-orin-64gb", "bf16", 42.5),
        ("jetson-agx-orin-64gb", "int8", 85),
        ("jetson-orin-nano-8gb", "int8", 20),
        ("jetson-agx-xavier", "fp16", 11),
        ("jetson-tx2", "fp16", 1.33),
        ("jetson-nano", "fp16", 0.47),
        ("rtx-4060-ti", "fp32", 22),
        ("rtx-4090", "bf16", 165.2),
        ("rtx-4090", "int8", 660.6),
        ("a100-sxm-80gb", "tf32", 156),
        ("a100-sxm-80gb", "bf16", 312),
    ],
)
def test_peaks_are_those_of_the_data_sheets(name, number_format, tflops):
    assert catalogue()[name].peak_flops[number_format] / 1e12 == pytest.approx(tflops, rel=0.03)


def test_no_volta_board_has_bfloat16():
    boards = {name: set(entry.formats) for name, entry in catalogue().items() if "xavier" in name}
    assert boards
    assert not any({"bf16", "tf32"} & formats for formats in boards.values())


def test_bad_entry_spoils_no_other(tmp_path):
    found, _ = stored(tmp_path, good=SOUND, bad={**SOUND, "cores": 0})
    assert found["good"] == catalogue()["rtx-4090"]
    assert list(found) == ["good", "bad"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {**SOUND, "cores": "010"},
            "cores = '010' is not allowed; give a whole number from 1 to",
        ),
        ({**SOUND, "colour": 1}, "colour is not a key of an entry; choose one of title, role"),
        (
            {**SOUND, "clock_hz": None},
            "clock_hz = null is not allowed; give a number from 1e+06 to 1e+15.",
        ),
        ({"title": "x"}, "role, cores, flop_per_core_cycle, clock_hz, memory_gb, "),
        (7, "entry bad: 7 is not allowed"),
        (None, "entry bad: null is not allowed"),
    ],
)
def test_file_and_entry_are_named(tmp_path, entry, message):
    found, path = stored(tmp_path, bad=entry)
    with pytest.raises(ScenarioError) as refusal:
        found["bad"]
    assert str(refusal.value).startswith(f"{path}, entry bad: ")
    assert message in str(refusal.value)


@pytest.mark.parametrize(("key", "name"), [("4090", "4090"), ("~", "null"), ("true", "True")])
def test_name_that_is_no_word_is_refused(tmp_path, key, name):
    path = tmp_path / "hardware.yml"
    path.write_text(f"{key}: {label(SOUND)}\n", "utf-8")
    found = Catalogue(path)
    assert list(found) == [name], "so that a check of all entries meets it"
    with pytest.raises(ScenarioError) as refusal:
        found[name]
    assert str(refusal.value) == (
        f"{path}, entry {name}: its name is not a word; put it in quotes."
    )


def test_scenario_that_uses_it_is_told_so_and_others_are_not(tmp_path, monkeypatch):
    bad = {**SOUND, "memory_gb": -1}
    entries = {name: entry.model_dump(mode="json") for name, entry in catalogue().items()}
    found, path = stored(tmp_path, **entries | {"rtx-4090": bad})
    monkeypatch.setattr(sys.modules["card.hardware.catalogue"], "catalogue", lambda: found)
    card.load_scenario("nominal")
    with pytest.raises(ScenarioError) as refusal:
        card.load_scenario("nominal", **{"server.hardware": "rtx-4090"})
    assert str(refusal.value) == (
        f"{path}, entry rtx-4090: memory_gb = -1 is not allowed; give a number from 0.001 to "
        "100000. "
        "Memory [GB], of a device (M_D) or the server (M_S); 1 GB = 10⁹ byte."
    )
