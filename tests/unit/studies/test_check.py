"""Checking what is shipped, and studies of one's own."""

import pytest

from card.base.errors import ScenarioError
from card.hardware import catalogue
from card.studies import check as module
from card.studies.check import check


def test_all_that_is_shipped_is_sound():
    count, faults = check()
    assert faults == []
    assert count > len(catalogue()) + 8


def test_a_line_for_each_fault_names_the_study(tmp_path):
    bad = tmp_path / "bad.yml"
    bad.write_text("base: nominal\nlora: {rank: 0}\nlink: {shadowing_db: -1}\n", "utf-8")
    count, faults = check([str(bad), "nominal", "nominol"])
    assert count == 3
    assert [line.split(" is ")[0] for line in faults] == [
        f"{bad}: lora.rank = 0",
        f"{bad}: link.shadowing_db = -1",
        "scenario = 'nominol'",
    ]


def test_a_bad_entry_that_no_scenario_uses_is_found(monkeypatch):
    def hardware(key, name):
        if name == "a100-sxm-80gb":
            raise ScenarioError("hardware.yml, entry a100-sxm-80gb: cores = 0 is not allowed")

    monkeypatch.setattr(module, "hardware", hardware)
    assert check()[1] == ["hardware.yml, entry a100-sxm-80gb: cores = 0 is not allowed"]


def test_a_catalogue_that_cannot_be_read_is_one_fault(monkeypatch):
    def broken(*_):
        raise ScenarioError("hardware.yml, line 3 is not valid YAML")

    monkeypatch.setattr(module, "catalogue", broken)
    monkeypatch.setattr(module, "hardware", broken)
    assert check()[1] == ["hardware.yml, line 3 is not valid YAML"]


@pytest.mark.parametrize("sweep", ["{over: {lora.rank: [0]}}", "{over: {}}", "3"])
def test_the_sweep_of_a_study_is_checked(tmp_path, sweep):
    bad = tmp_path / "bad.yml"
    bad.write_text(f"base: nominal\nsweep: {sweep}\n", "utf-8")
    (line,) = check([str(bad)])[1]
    assert line.startswith(f"{bad}: sweep")
