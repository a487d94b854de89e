"""Sweeps on disk: each finished block is kept, a killed sweep resumes, and nothing is mixed up."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from house import FILES, IMPORTS
from machines import machine, study

import card
from card.base.errors import ScenarioError
from card.studies.study_file import load_study
from card.studies.sweep_grid import Grid
from card.studies.sweep_store import MODEL, Store

pytest.importorskip("zarr")
pytest.importorskip("netCDF4")

NOMINAL = card.load_scenario("nominal")
OVER = {
    "objective.delay_weight": [0.2, 0.5, 0.8],
    "lora.targets": [["q_proj"], ["q_proj", "v_proj"]],
    "server.clocks_hz": [None, [1.0e9, 2.0e9]],
}
ROUNDS = 3


def swept(**more):
    return card.sweep(NOMINAL, OVER, ["card", "server_only"], rounds=ROUNDS, **more)


def same(found: xr.Dataset, expected: xr.Dataset) -> bool:
    """Equal to the last bit in values, coordinates, units and provenance."""
    loaded = found.load()
    loaded.attrs.pop("fingerprint")
    loaded.attrs.pop("digest", None)  # a finished file says what it holds
    xr.testing.assert_identical(loaded, expected)
    return True


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_an_output_holds_what_memory_would(tmp_path, suffix):
    output = tmp_path / f"sweep{suffix}"
    with swept(output=output) as found:
        assert same(found, swept())
    assert list(tmp_path.iterdir()) == [output], "nothing half done is left beside it"


def test_values_that_are_lists_are_coordinates_as_a_study_writes_them():
    found = swept()
    assert found["lora.targets"].values.tolist() == ["[q_proj]", "[q_proj, v_proj]"]
    assert found["server.clocks_hz"].values.tolist() == ["null", "[1000000000.0, 2000000000.0]"]
    alone = NOMINAL.updated({"server.clocks_hz": [1.0e9, 2.0e9], "lora.targets": ["q_proj"]})
    expected = card.simulate(alone, ["card", "server_only"], ROUNDS).frequency_hz.mean("round")
    point = found.frequency_hz.isel({"objective.delay_weight": 1, "lora.targets": 0}).sel(
        {"server.clocks_hz": "[1000000000.0, 2000000000.0]"}
    )
    np.testing.assert_array_equal(point.values, expected.values)


def test_a_finished_output_is_opened_and_not_computed_again(tmp_path, monkeypatch):
    output = tmp_path / "sweep.nc"
    swept(output=output).close()
    monkeypatch.setattr(Grid, "compute", lambda *_: pytest.fail("computed again"))
    with swept(output=output) as found:
        assert found.sizes["lora.targets"] == 2


def test_an_output_of_another_sweep_is_neither_used_nor_overwritten(tmp_path):
    output = tmp_path / "sweep.nc"
    swept(output=output).close()
    before = output.read_bytes()
    with pytest.raises(ScenarioError, match=r"sweep\.nc is of another sweep"):
        card.sweep(NOMINAL, OVER, ["card", "server_only"], rounds=ROUNDS + 1, output=output)
    assert output.read_bytes() == before


def test_a_half_done_sweep_of_other_values_is_not_resumed(tmp_path):
    output = tmp_path / "sweep.zarr"
    Store(output, Grid.checked(NOMINAL, OVER, ["card"], ROUNDS)).close()
    with pytest.raises(ScenarioError, match=r"sweep\.zarr\.partial is of another sweep"):
        swept(output=output)


def test_only_missing_blocks_are_computed(tmp_path, monkeypatch):
    output = tmp_path / "sweep.zarr"
    grid = Grid.checked(NOMINAL, OVER, ["card", "server_only"], ROUNDS)
    expected = swept()
    with Store(output, grid) as store:
        for number, block in list(store.missing())[:5]:
            store.write(number, block, grid.compute(block))
    done = []
    compute = Grid.compute
    monkeypatch.setattr(Grid, "compute", lambda g, block: done.append(block) or compute(g, block))
    assert same(swept(output=output), expected)
    assert len(done) == len(list(grid.blocks())) - 5


def test_a_block_without_its_mark_is_computed_again(tmp_path):
    """A sweep that dies between a block's numbers and its mark has not finished that block."""
    grid = Grid.checked(NOMINAL, OVER, ["card", "server_only"], ROUNDS)
    with Store(tmp_path / "sweep.zarr", grid) as store:
        (number, block), *_ = store.missing()
        store.write(number, block, {k: v - 1.0 for k, v in grid.compute(block).items()})
    (mark,) = store.marks.iterdir()
    mark.unlink()
    assert same(swept(output=tmp_path / "sweep.zarr"), swept())


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("", r"is a folder; name a file in it, such as .*sweep\.nc'"),
        ("sweep.csv", r"sweep\.csv' is not allowed; end it in \.nc \(netCDF\) or \.zarr"),
        ("sweep", r"end it in \.nc"),
        (".nc", r"\.nc' is not allowed; put a name before the ending\.$"),
        ("nowhere/sweep.nc", r"there is no folder for it"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_anything_runs(
    tmp_path, monkeypatch, output, message
):
    monkeypatch.setattr(Grid, "compute", lambda *_: pytest.fail("something ran"))
    with pytest.raises(ScenarioError, match=message):
        swept(output=tmp_path / output)


def test_an_output_without_a_name_is_refused_in_one_line():
    with pytest.raises(ScenarioError, match=r"^output = 5 is not allowed; give the name of a .nc "):
        swept(output=5)


@pytest.mark.parametrize("name", ["sweep.nc", "sweep.zarr"])
def test_a_pipe_as_output_is_refused_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ScenarioError, match=r"is a pipe or a device; name a file\."):
        swept(output=tmp_path / name)


NO_SWEEP = "no sweep; name another output|is a file, and a .zarr is|is a folder, and a .nc is"


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("damage", ["empty", "folder", "words", "truncated"])
def test_an_output_that_is_no_sweep_is_refused_in_one_line_and_kept(tmp_path, suffix, damage):
    output = tmp_path / f"sweep{suffix}"
    if damage == "folder":
        output.mkdir()
    elif damage == "truncated" and suffix == ".nc":
        small().to_netcdf(output, engine="netcdf4")
        output.write_bytes(output.read_bytes()[:-100])
    elif damage == "truncated":
        small().to_zarr(output, zarr_format=2)
        (output / ".zmetadata").write_bytes((output / ".zmetadata").read_bytes()[:-100])
    else:
        output.write_bytes(b"" if damage == "empty" else b"no sweep")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ScenarioError, match=NO_SWEEP) as refused:
        swept(output=output)
    assert "\n" not in str(refused.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda store: (store.marks / "x").touch(),
        lambda store: (store.partial / "fingerprint").write_bytes(b"\xff"),
        lambda store: (store.data / ".zmetadata").write_bytes(b"{"),
        lambda store: [p.write_bytes(b"") for p in store.data.rglob(".z*")],
    ],
)
def test_a_half_done_sweep_that_is_damaged_is_refused_in_one_line(tmp_path, damage):
    output = tmp_path / "sweep.nc"
    with Store(output, Grid.checked(NOMINAL, OVER, ["card", "server_only"], ROUNDS)) as store:
        damage(store)
    with pytest.raises(ScenarioError, match=r"output = .*sweep\.nc' cannot be") as refused:
        swept(output=output)
    assert "\n" not in str(refused.value)


def chunk(folder: Path, array: str) -> Path:
    return min(path for path in (folder / array).iterdir() if not path.name.startswith("."))


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


LOSSES = {
    "a chunk is gone": lambda store: chunk(store, "delay_s").unlink(),
    "a quantity is gone": lambda store: shutil.rmtree(store / "energy_j"),
    "an end of an interval is gone": lambda store: chunk(store, "energy_j_low").unlink(),
    "a chunk is cut off": lambda store: shorten(chunk(store, "delay_s")),
    "a chunk is empty": lambda store: chunk(store, "delay_s").write_bytes(b""),
    "a chunk is another one's": lambda store: shutil.copy(
        chunk(store, "energy_j"), chunk(store, "delay_s")
    ),
}
OF_ALL = LOSSES | {"a coordinate is gone": lambda store: shutil.rmtree(store / "policy")}


@pytest.mark.parametrize("loss", OF_ALL.values(), ids=OF_ALL)
def test_an_output_that_lost_something_is_damaged_and_not_finished(tmp_path, loss):
    output = tmp_path / "sweep.zarr"
    swept(output=output).close()
    loss(output)
    with pytest.raises(ScenarioError, match=r"it is damaged .* remove .*sweep\.zarr\.$") as refused:
        swept(output=output)
    assert "\n" not in str(refused.value)


def test_one_bit_that_changed_in_a_file_is_noticed(tmp_path):
    output = tmp_path / "sweep.nc"
    with swept(output=output) as found:
        value = found.delay_s.values.ravel()[0]
    content = output.read_bytes()
    other = np.nextafter(value, 0.0)
    assert content.count(value.tobytes()) >= 1
    output.write_bytes(content.replace(value.tobytes(), other.tobytes(), 1))
    with pytest.raises(ScenarioError, match="it is not what was written"):
        swept(output=output)


SAID = {
    "a unit": lambda found: found.delay_s.attrs.update(units="ms"),
    "an axis' unit": lambda found: found["server.clocks_hz"].attrs.update(units="GHz"),
    "hardware": lambda found: found.attrs.update(hardware="{}"),
    "a number of rounds": lambda found: found.attrs.update(rounds=ROUNDS + 1),
    "a scenario that is gone": lambda found: found.attrs.pop("scenario"),
}


@pytest.mark.parametrize("change", SAID.values(), ids=SAID)
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_what_an_output_says_of_itself_is_part_of_it(tmp_path, suffix, change):
    output, engine = tmp_path / f"sweep{suffix}", {".nc": "netcdf4", ".zarr": "zarr"}[suffix]
    swept(output=output).close()
    with xr.open_dataset(output, engine=engine) as found:
        changed = found.load()
    change(changed)
    if suffix == ".nc":
        changed.to_netcdf(output, engine=engine)
    else:
        changed.to_zarr(output, mode="w", zarr_format=2)
    with pytest.raises(ScenarioError, match="it is not what was written"):
        swept(output=output)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_finished_block_that_lost_something_is_not_gone_on_with(tmp_path, loss):
    output = tmp_path / "sweep.zarr"
    grid = Grid.checked(NOMINAL, OVER, ["card", "server_only"], ROUNDS)
    with Store(output, grid) as store:
        for number, block in store.missing():
            store.write(number, block, grid.compute(block))
    loss(store.data)
    with pytest.raises(ScenarioError, match=r"it is damaged .* remove .*\.partial\.$") as refused:
        swept(output=output)
    assert "\n" not in str(refused.value)


def test_what_is_no_number_is_kept_and_known_again(tmp_path):
    """One round has no interval; a store leaves out chunks that hold nothing but NaN."""
    output = tmp_path / "sweep.zarr"
    for _ in range(2):
        with card.sweep(NOMINAL, {"lora.rank": [4, 8]}, ["card"], rounds=1, output=output) as found:
            assert np.isnan(found.delay_s_low).all()


def looping(link: Path) -> None:
    link.symlink_to(link.name)


def dangling(link: Path) -> None:
    link.symlink_to("/nonexistent/x.nc")


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_what_a_link_leads_to_is_written_and_the_link_stays(tmp_path, suffix):
    (tmp_path / "there").mkdir()
    link, target = tmp_path / f"link{suffix}", tmp_path / "there" / f"sweep{suffix}"
    link.symlink_to(target)
    for _ in range(2):
        with swept(output=link) as found:
            assert same(found, swept())
    assert link.is_symlink()
    assert list(target.parent.iterdir()) == [target]
    assert sorted(tmp_path.iterdir()) == [link, target.parent]


def taken(link: Path) -> None:
    link.with_name(f"{link.name}.partial").touch()


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize(
    ("odd", "remedy"),
    [
        (looping, "remove the link, which leads back to itself."),
        (dangling, "make its folder."),
        (taken, "remove that file."),
    ],
)
def test_an_output_that_cannot_be_begun_promises_nothing(
    tmp_path, monkeypatch, odd, remedy, suffix
):
    monkeypatch.setattr(Grid, "compute", lambda *_: pytest.fail("something ran"))
    output = tmp_path / f"link{suffix}"
    odd(output)
    with pytest.raises(ScenarioError, match=r"cannot be .*; name another output, or") as refused:
        swept(output=output)
    assert str(refused.value).endswith(f"name another output, or {remedy}")
    assert "stay" not in str(refused.value)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_leaves_no_output_and_a_sweep_that_goes_on(tmp_path, request):
    output = tmp_path / "sweep.nc"
    request.getfixturevalue("little_room")
    with pytest.raises(ScenarioError, match=r"cannot be written .*; name another output, or"):
        swept(output=output)
    assert list(tmp_path.iterdir()) == [], "nothing was finished"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert same(swept(output=output), swept())


def test_a_failure_before_any_block_leaves_nothing_and_after_one_what_is_finished(tmp_path):
    grid = Grid.checked(NOMINAL, OVER, ["card", "server_only"], ROUNDS)
    with pytest.raises(KeyboardInterrupt), Store(tmp_path / "sweep.nc", grid):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    store = Store(tmp_path / "sweep.nc", grid)
    (number, block), *_ = store.missing()
    store.write(number, block, grid.compute(block))
    with pytest.raises(KeyboardInterrupt), store:
        raise KeyboardInterrupt
    assert store.kept


def test_an_output_belongs_to_one_sweep_at_a_time(tmp_path):
    output = tmp_path / "sweep.nc"
    with (
        Store(output, Grid.checked(NOMINAL, OVER, ["card", "server_only"], ROUNDS)),
        pytest.raises(ScenarioError, match="is being written by another sweep; wait for it"),
    ):
        swept(output=output)
    assert same(swept(output=output), swept())


def small() -> xr.Dataset:
    return card.sweep(NOMINAL, {"objective.delay_weight": [0.5]}, ["card"], rounds=1)


def count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


LONG = """
import sys, card
over = {"objective.delay_weight": [i / 100 for i in range(1, 33)]}
card.sweep(card.load_scenario("nominal"), over, ["card"], rounds=200, output=sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_sweep_killed_half_way_resumes_and_equals_an_undisturbed_one(tmp_path, suffix):
    output = tmp_path / f"killed{suffix}"
    root = Path(card.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LONG, str(output)]
    marks = tmp_path / f"killed{suffix}.partial/finished"
    process = subprocess.Popen(command, env=environment)
    patience = time.monotonic() + 120
    while not marks.is_dir() or count(marks) < 5:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < patience
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = count(marks)
    assert 5 <= kept < 32
    assert not output.exists()

    subprocess.run(command, env=environment, check=True)
    weights = {"objective.delay_weight": [i / 100 for i in range(1, 33)]}
    with xr.open_dataset(output, engine="zarr" if suffix == ".zarr" else "netcdf4") as resumed:
        assert same(resumed, card.sweep(NOMINAL, weights, ["card"], rounds=200))
    assert not marks.parent.exists()


@pytest.mark.slow
# Dask's own sockets and event loops outlive its cluster by a moment
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dask_cluster_gives_the_same_bits(tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        in_memory = swept(client=client)
        with swept(client=client, output=tmp_path / "dask.nc") as found:
            assert same(found, swept())
        with pytest.raises(ScenarioError, match=r"at server\.minimum_frequency_hz"):
            card.sweep(
                NOMINAL,
                {
                    "server.minimum_frequency_hz": [0.0, 2e9],
                    "server.hardware": ["rtx-4060-ti", "a100-sxm-80gb"],
                },
                client=client,
            )
    xr.testing.assert_identical(in_memory, swept())
    assert json.loads(in_memory.attrs["sweep"])["lora.targets"][0] == ["q_proj"]


def kept(folder: Path, output: Path, over: dict | None = None) -> xr.Dataset:
    scenario = load_study(folder / "study.yml").scenario
    over = over or {"objective.delay_weight": [0.2, 0.8]}
    return card.sweep(scenario, over, ["card"], rounds=2, output=output)


class TestFilesOfHardware:
    def test_the_same_study_elsewhere_is_the_same_sweep(self, tmp_path, monkeypatch):
        output = tmp_path / "means.nc"
        study(tmp_path / "a")
        study(tmp_path / "b")
        first = kept(tmp_path / "a", output).load()
        monkeypatch.setattr(Grid, "compute", None)
        assert first.drop_attrs().identical(kept(tmp_path / "b", output).load().drop_attrs())

    def test_a_file_that_changed_is_another_sweep(self, tmp_path):
        output = tmp_path / "means.nc"
        study(tmp_path / "a")
        kept(tmp_path / "a", output)
        study(tmp_path / "a", slower=2.0)
        with pytest.raises(ScenarioError, match="is of another sweep"):
            kept(tmp_path / "a", output)

    def test_files_along_a_path_are_known_by_content(self, tmp_path):
        output, path = tmp_path / "means.nc", "devices.device-1.hardware"
        study(tmp_path / "a")
        files = [str(machine(tmp_path / "a" / f"{n}.json", n)) for n in (1, 2)]
        found = kept(tmp_path / "a", output, {path: files})
        assert found[path].values.tolist() == ["1.json", "2.json"]
        machine(Path(files[1]), 3.0)
        with pytest.raises(ScenarioError, match="is of another sweep"):
            kept(tmp_path / "a", output, {path: files})

    def test_files_that_only_another_seed_draws_are_known_by_content(self, tmp_path):
        output = tmp_path / "means.nc"
        study(tmp_path / "a")
        files = [str(machine(tmp_path / f"a/{n}.json", n)) for n in range(1, 5)]
        choices = [{"choice": ["jetson-nano"]}, {"choice": files}]
        over = {"simulation.seed": list(range(9)), "devices.device-1.hardware": choices}
        scenario = load_study(tmp_path / "a/study.yml").scenario
        drawn = {
            point.devices[0].hardware
            for seed in over["simulation.seed"]
            for point in [scenario.updated({"simulation.seed": seed, list(over)[1]: choices[1]})]
        }
        assert drawn == set(files), "or else the seeds say nothing"
        grid = Grid.checked(scenario, over, ["card"], rounds=2)
        before = [grid.compute(block)["delay_s"] for block in grid.blocks()]
        kept(tmp_path / "a", output, over)
        for file in files:
            content = Path(file).read_text("utf-8")
            machine(Path(file), 9.0)
            with pytest.raises(ScenarioError, match="is of another sweep"):
                kept(tmp_path / "a", output, over)
            Path(file).write_text(content, "utf-8")
        for file in files:
            Path(file).unlink()
        after = [grid.compute(block)["delay_s"] for block in grid.blocks()]
        assert all(map(np.array_equal, before, after))

    def test_files_of_a_sweep_lie_beside_the_study(self, tmp_path, monkeypatch):
        path = study(tmp_path / "a")
        path.write_text(
            path.read_text("utf-8") + "sweep: {over: {devices.device-1.hardware: [mine.json]}}\n",
            "utf-8",
        )
        monkeypatch.chdir(tmp_path)
        plan = load_study(path).sweep
        assert plan.over == {"devices.device-1.hardware": (str(tmp_path / "a/mine.json"),)}

    def test_a_file_that_changes_meanwhile_is_what_it_was(self, tmp_path):
        study(tmp_path / "a")
        scenario = load_study(tmp_path / "a/study.yml").scenario
        grid = Grid.checked(scenario, {"lora.rank": [4, 8]}, ["card"], rounds=2)
        (block, *_) = grid.blocks()
        before = grid.compute(block)
        study(tmp_path / "a", slower=9.0)
        assert (grid.compute(block)["delay_s"] == before["delay_s"]).all()


def test_an_output_that_a_library_would_read_as_a_chain_of_addresses_is_refused(tmp_path):
    output = tmp_path / "a::b.zarr"
    with pytest.raises(ScenarioError, match=r"is not allowed; name it without '::'"):
        card.sweep(card.load_scenario("nominal"), {"objective.delay_weight": [0.2]}, output=output)
    assert list(tmp_path.iterdir()) == []


def test_all_code_that_a_sweep_computes_with_is_part_of_its_fingerprint():
    package = Path(card.__file__).parent
    known = {path for room in MODEL for path in package.glob(room)}
    reached, new = set(), {"card.studies.sweep"}
    while new:
        reached |= new
        new = {name for module in new for name in IMPORTS[module]} - reached
    files = {FILES[name] for name in reached if not name.endswith("__init__")}
    assert files - known == set()


@pytest.mark.skipif(os.sep == "\\", reason="there a backslash parts folders")
@pytest.mark.parametrize("name", ["c\\d.nc", "a\\b/c.nc"])
def test_a_name_that_netcdf_would_misread_is_refused_before_work(tmp_path, name):
    output = tmp_path / name
    output.parent.mkdir(exist_ok=True)
    with pytest.raises(ScenarioError, match=r"takes its backslash .* end it in \.zarr"):
        swept(output=output)
