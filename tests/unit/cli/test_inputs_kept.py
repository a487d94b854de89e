"""No command writes over a file that it reads, whatever name or link leads to it."""

import shutil

import pytest
from typer.testing import CliRunner

from card.base.data_files import DATA
from card.cli import app

POLICY = """
import numpy as np


def mine(system, draws, rng):
    return np.full(draws.device.shape, 7), system.frequency_max_hz
"""
STUDY = "base: nominal\ntitle: mine\npolicies: [mine.py:mine]\nlink: {trace: tr.csv}\n"
OVER = ["--over", "objective.delay_weight=[0.3]", "--rounds", "2"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(POLICY, "utf-8")
    (tmp_path / "st.yml").write_text(STUDY, "utf-8")
    shutil.copy(DATA / "traces/shaped-tcp.csv", "tr.csv")
    shutil.copy(DATA / "profiles/cpu-epyc-2-cores.json", "p.json")
    shutil.copy(DATA / "llms/tiny-llama-0.5m.json", "llm.json")
    CliRunner().invoke(app, ["simulate", "nominal", "--rounds", "2", "--output", "res.nc"])
    links = {"policy": "mine.py", "study": "st.yml", "trace": "tr.csv", "result": "res.nc"}
    links |= {"llm": "llm.json"}
    for name, target in links.items():
        for ending in ("nc", "csv", "svg", "pdf", "html", "tex"):
            (tmp_path / f"{name}.{ending}").symlink_to(target)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        (["simulate", "nominal", "--set", "link.trace=tr.csv", "--output", "tr.csv"], "tr.csv"),
        (["simulate", "st", "--rounds", "2", "--output", "study.nc"], "st.yml"),
        (["simulate", "nominal", "--policies", "mine.py:mine", "--output", "policy.nc"], "mine.py"),
        (["sweep", "st", *OVER, "--figure", "policy.svg"], "mine.py"),
        (["sweep", "st", *OVER, "--figure", "trace.pdf"], "tr.csv"),
        (["sweep", "st", *OVER, "--output", "study.nc"], "st.yml"),
        (["sweep", "st", *OVER, "--output", "trace.csv"], "tr.csv"),
        (["sweep", "nominal", *OVER, "--set", "llm=llm.json", "--output", "llm.nc"], "llm.json"),
        (["compare", "st", "nominal", "--rounds", "2", "--html", "study.html"], "st.yml"),
        (["figure", "cuts", "st", "--output", "trace.pdf"], "tr.csv"),
        (["benchmark", "mine.py", "--scenarios", "nominal", "--output", "policy.nc"], "mine.py"),
        (["export", "res.nc", "--to", "result.tex"], "res.nc"),
        (["profile", "--compare", "p.json", "--output", "p.json"], "p.json"),
        (["profile", "test-bed", "--set", "llm=llm.json", "--output", "llm.json"], "llm.json"),
    ],
)
def test_what_is_read_is_not_replaced(arguments, read, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.stdout
    (line,) = result.stderr.splitlines()
    assert f"{read} is read and would be lost to {' '.join(arguments[-2:])}; name another" in line
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_nothing_is_written_into_a_store_of_a_sweep(folder):
    made = ["sweep", "st", *OVER, "--output", "sw.zarr"]
    assert CliRunner().invoke(app, made).exit_code == 0
    assert CliRunner().invoke(app, [*made[:-1], "in.zarr"]).exit_code == 0
    (folder / "in.zarr").rename(folder / "renamed")
    (folder / "sub").mkdir()
    (folder / "sub/up").symlink_to("../sw.zarr")
    (folder / "sub/deep").symlink_to("up/delay_s")
    (folder / "sub/f.csv").symlink_to("up/f.csv")
    before = sorted(path for path in (folder / "sw.zarr").rglob("*"))
    compare, simulate = ["compare", "st", "nominal", "--rounds", "2"], ["simulate", "nominal"]
    for store, arguments in (
        ("sw.zarr", [*made, "--figure", "sw.zarr/f.svg"]),
        ("sw.zarr", ["export", "sw.zarr", "--to", "sw.zarr/delay_s/table.csv"]),
        ("sw.zarr", [*made, "--figure", "sub/up/f.svg"]),
        ("sw.zarr", [*made[:-1], "sub/up/inner.csv"]),
        ("sw.zarr", [*made[:-1], "sub/up/inner.zarr"]),
        ("sw.zarr", [*made[:-1], "sub/f.csv"]),
        ("sw.zarr", ["export", "sw.zarr", "--to", "sub/deep/t.csv"]),
        ("sw.zarr", [*compare, "--html", "sub/up/c.html"]),
        ("sw.zarr", [*simulate, "--output", "sub/up/r.nc"]),
        ("renamed", [*simulate, "--output", "renamed/delay_s/r.nc"]),
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2, result.stdout
        said = f"lies in {folder.resolve() / store}, a Zarr store; name a file elsewhere."
        assert said in result.stderr
    assert sorted(path for path in (folder / "sw.zarr").rglob("*")) == before


@pytest.mark.parametrize("mark", [".zgroup", ".zarray", ".zmetadata", "zarr.json"])
def test_a_store_is_told_by_any_of_its_files(folder, mark):
    (folder / "old.zarr").mkdir()
    (folder / "old.zarr" / mark).write_text("{}")
    for arguments in (
        ["simulate", "st", "--rounds", "2", "--output", "old.zarr/r.nc"],
        ["sweep", "st", *OVER, "--output", "old.zarr/in.zarr"],
        ["sweep", "st", *OVER, "--output", "old.zarr"],
    ):
        result = CliRunner().invoke(app, arguments)
        assert (result.exit_code, result.stdout) == (2, "")
    assert [path.name for path in (folder / "old.zarr").iterdir()] == [mark]


def test_a_folder_that_is_only_called_as_a_store_is_written_into(folder):
    (folder / "plain.zarr").mkdir()
    for output in ("plain.zarr/r.nc", "plain.zarr/../r.nc"):
        arguments = ["simulate", "nominal", "--rounds", "2", "--output", output]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.stderr
        assert (folder / output).is_file()


def test_an_output_that_is_no_input_is_replaced_time_and_again(folder):
    for _ in range(2):
        for arguments in (
            ["simulate", "st", "--rounds", "2", "--output", "new.nc"],
            ["export", "new.nc", "--to", "new.csv"],
        ):
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, result.stderr
