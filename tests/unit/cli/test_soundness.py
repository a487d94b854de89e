"""Checking what is shipped, and studies of one's own."""

import shutil
import sys
from functools import _lru_cache_wrapper

import pytest
import yaml

from card.base.data_files import DATA
from card.cli.soundness import check
from card.hardware import catalogue

READ = [
    path.relative_to(DATA)
    for path in DATA.rglob("*")
    if path.suffix in (".yml", ".json", ".txt", ".safetensors")
]
"""Every data file that the package reads."""


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A copy of the data files, which the package takes for its own."""
    folder = shutil.copytree(DATA, tmp_path / "data")
    modules = [module for name, module in sys.modules.items() if name.startswith("card.")]
    caches = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, _lru_cache_wrapper)
    }
    for module in modules:
        if getattr(module, "DATA", None) == DATA:
            monkeypatch.setattr(module, "DATA", folder)
    for cache in caches:
        cache.cache_clear()
    yield folder
    for cache in caches:
        cache.cache_clear()


def test_all_that_is_shipped_is_sound():
    count, faults = check()
    assert faults == []
    assert count >= len(catalogue()) + len(READ)


def test_every_data_file_is_read(data):
    pytest.importorskip("safetensors")  # without it no weights are read
    for file in READ:
        (data / file).write_bytes(b"\xff\xfe")
    lines = check()[1]
    unnamed = [f for f in READ if not any(str(data / f) in line for line in lines)]
    # a scenario that is shipped is called by its name
    named = [f.stem for f in unnamed if f.parts[0] == "scenarios"]
    assert len(named) == len(unnamed)
    assert [name for name in named if not any(line.startswith(f"{name}:") for line in lines)] == []


def test_a_line_for_each_fault_names_the_study(tmp_path):
    bad = tmp_path / "bad.yml"
    bad.write_text("base: nominal\nlora: {rank: 0}\nlink: {shadowing_db: -1}\n", "utf-8")
    count, faults = check([str(bad), "nominal", "nominol"])
    assert count == 3
    assert [line.split(" is ")[0] for line in faults] == [
        f"{bad}: lora.rank = 0",
        f"{bad}: link.shadowing_db = -1",
        "nominol: scenario = 'nominol'",
    ]


@pytest.mark.parametrize("name", ["rank", "lora", "lora.rank", "1", "a"])
def test_a_study_whose_name_stands_in_the_message_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("base: nominal\nlora: {rank: 0}\n", "utf-8")
    (line,) = check([name])[1]
    assert line.startswith(f"{name}: lora.rank = 0 is not allowed")


def test_a_path_is_not_said_twice(tmp_path):
    bad = tmp_path / "bad.yml"
    bad.write_text("base: [\n", "utf-8")
    (line,) = check([str(bad)])[1]
    assert line.startswith(f"{bad}, line ")


@pytest.mark.parametrize(
    ("wrong", "mended", "said"),
    [
        ("title: null", "title: t", "title has no value"),
        ("objective: {delay_weight: 7}", "objective: {delay_weight: 0.5}", "objective.delay_"),
        ("policies: [no.py:f]", "policies: []", "policies: "),
        (
            "link: {uplink_power_dbm: -300, reference_loss_db: 300}",
            "link: {uplink_power_dbm: 20, reference_loss_db: 40}",
            "devices.device-1: its link has a rate of",
        ),
    ],
)
def test_what_a_study_mends_in_its_base_is_laid_to_the_base(tmp_path, wrong, mended, said):
    low, study = tmp_path / "low.yml", tmp_path / "study.yml"
    low.write_text(f"base: nominal\n{wrong}\n", "utf-8")
    study.write_text(f"base: low\n{mended}\n", "utf-8")
    (line,) = check([str(study)])[1]
    assert line.startswith(f"{study}: {low}: {said}")


def test_a_shipped_study_is_named_by_its_file(data):
    bad = data / "scenarios/studies/zz.yml"
    bad.write_text("base: nominal\nlora: {rank: 0}\n", "utf-8")
    assert [line.partition(" is ")[0] for line in check()[1]] == [f"{bad}: lora.rank = 0"]


def test_a_bad_entry_that_no_scenario_uses_is_found(data):
    entries = yaml.safe_load((data / "hardware.yml").read_text("utf-8"))
    entries["a100-sxm-80gb"]["cores"] = 0
    (data / "hardware.yml").write_text(yaml.safe_dump(entries), "utf-8")
    assert [line.partition(" is ")[0] for line in check()[1]] == [
        f"{data}/hardware.yml, entry a100-sxm-80gb: cores = 0"
    ]


def test_a_bad_profile_is_found_though_an_entry_has_its_name(data):
    (data / "profiles" / "rtx-4090.json").write_text("{}", "utf-8")
    (line,) = check()[1]
    assert line.startswith(f"{data}/profiles/rtx-4090.json has format null")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("quantity: delay", "quantity: dellay", "claims.C1.quantity = 'dellay' is not allowed"),
        ("tolerance: 0.0005", "tolerance: some", "claims.C1.tolerance = 'some' is not allowed"),
        ("benchmark: device_only", "bench: device_only", "claims.C1.bench is not a key"),
        ("rounds: 50000", "rounds: 0", "simulation.rounds = 0 is not allowed"),
    ],
)
def test_the_record_of_the_claims_is_checked(data, old, new, said):
    path = data / "claims.yml"
    path.write_text(path.read_text("utf-8").replace(old, new, 1), "utf-8")
    assert any(line.startswith(f"{path}: {said}") for line in check()[1])


@pytest.mark.parametrize("sweep", ["{over: {lora.rank: [0]}}", "{over: {}}", "3"])
def test_the_sweep_of_a_study_is_checked(tmp_path, sweep):
    bad = tmp_path / "bad.yml"
    bad.write_text(f"base: nominal\nsweep: {sweep}\n", "utf-8")
    (line,) = check([str(bad)])[1]
    assert line.startswith(f"{bad}: sweep")
