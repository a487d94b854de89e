"""Folders whose names are not UTF-8: what is done in them holds, or is refused before work."""

import os
from pathlib import Path

import pytest
from commands import refusal, run

import card

pytest.importorskip("zarr")
pytest.importorskip("netCDF4")

NAMED = r"rename 'caf\udce9', which is not UTF-8."
SWEEP = ["sweep", "nominal", "--over", "objective.delay_weight=[0.2, 0.8]", "--rounds", "2"]
OWN = """\
def mine(scenario, round_):
    return 0, 1e9
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Such a folder, in which commands run."""
    made = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        made.mkdir()
    except OSError:
        pytest.skip("this file system has UTF-8 alone")
    monkeypatch.chdir(made)
    return made


@pytest.mark.parametrize(
    "command",
    [
        [*SWEEP, "--output", "x.zarr"],
        [*SWEEP, "--output", "x.csv"],
        [*SWEEP, "--figure", "x.svg"],
        ["simulate", "nominal", "--rounds", "2", "--output", "x.nc"],
        ["compare", "nominal", "test-bed", "--rounds", "2", "--html", "x.html"],
    ],
)
def test_files_are_written_there(folder, command):
    done = run(*command)
    assert done.exit_code == 0, done.output
    assert [path.name for path in folder.iterdir()] == [command[-1]]


@pytest.mark.parametrize("result", ["x.zarr", "x.nc"])
@pytest.mark.parametrize("suffix", [".csv", ".tex", ".xlsx", ".parquet"])
def test_results_that_lie_there_are_taken_home(folder, result, suffix):
    made = SWEEP if result.endswith("zarr") else ["simulate", "nominal", "--rounds", "2"]
    assert run(*made, "--output", result).exit_code == 0
    done = run("export", result, "--to", f"y{suffix}")
    assert done.exit_code == 0, done.output
    assert Path(f"y{suffix}").stat().st_size


def test_a_sweep_that_netcdf_could_not_write_is_refused_before_work(folder, monkeypatch):
    monkeypatch.setattr(card.studies.sweep, "_computed", lambda *_: pytest.fail("it computes"))
    said = refusal(*SWEEP, "--output", "x.nc")
    assert "'caf\\udce9' in it, which is not UTF-8; rename that, or end the output in .zarr" in said
    assert not list(folder.iterdir())


def test_a_sweep_that_a_link_leads_there_is_refused_likewise(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.nc").symlink_to(folder / "x.nc")
    assert "rename that, or end the output in .zarr" in refusal(*SWEEP, "--output", "x.nc")


def test_a_sweep_that_netcdf_cannot_read_there_says_why(folder, tmp_path):
    assert run(*SWEEP, "--output", tmp_path / "x.nc").exit_code == 0
    (tmp_path / "x.nc").rename("x.nc")
    said = refusal("export", "x.nc", "--to", "y.csv")
    assert "opens no path with 'caf\\udce9' in it, which is not UTF-8; rename that." in said


@pytest.mark.parametrize(
    "study",
    [
        "policies: [mine.py:mine]",
        "devices: {device-1: {hardware: board.yml}}",
        "sweep: {over: {objective.delay_weight: [0.2]}, policies: [card, mine.py:mine]}",
        "sweep: {over: {server.hardware: [board.yml]}}",
    ],
)
def test_a_study_that_names_a_file_there_says_what_to_rename(folder, study):
    Path("mine.py").write_text(OWN, "utf-8")
    Path("board.yml").write_text("{title: B, cores: 99, clock_hz: 1e9, memory_gb: 8}", "utf-8")
    Path("study.yml").write_text(f"base: nominal\n{study}\n", "utf-8")
    assert NAMED in refusal("sweep", "study.yml")


def test_a_study_that_names_none_is_computed(folder):
    Path("study.yml").write_text("base: nominal\ntitle: Mine\n", "utf-8")
    done = run("simulate", "study.yml", "--rounds", "2", "--output", "x.nc")
    assert done.exit_code == 0, done.output
