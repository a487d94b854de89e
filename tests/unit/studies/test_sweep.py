"""`card.studies.sweep`: every point of a grid of means is its own simulation."""

import itertools
import json
from concurrent.futures import CancelledError, Future
from types import SimpleNamespace

import numpy as np
import pytest

import card
from card.base.errors import ScenarioError
from card.policies import POLICIES
from card.simulation import UNITS
from card.studies.sweep import sweep

NOMINAL = card.load_scenario("nominal")
WEIGHT, BANDWIDTH = "objective.delay_weight", "link.bandwidth_hz"


def test_every_grid_point_is_its_own_simulation():
    over = {WEIGHT: [0.2, 0.8], BANDWIDTH: [5e6, 10e6, 20e6]}
    grid = sweep(NOMINAL, over, rounds=6, seed=2)
    assert grid.cut.dims == (WEIGHT, BANDWIDTH, "policy", "state", "device")
    assert grid.cut.shape == (2, 3, 3, 3, 5)
    assert grid.policy.values.tolist() == ["card", "device_only", "server_only"]
    assert grid.state.values.tolist() == ["good", "normal", "poor"]
    assert grid.device.values.tolist() == [f"device-{i}" for i in range(1, 6)]
    assert grid.attrs["title"] == NOMINAL.title
    assert (grid.attrs["rounds"], grid.attrs["seed"]) == (6, 2)
    assert json.loads(grid.attrs["sweep"]) == over
    assert card.Scenario.model_validate_json(grid.attrs["scenario"]) == NOMINAL
    assert grid[BANDWIDTH].attrs == {"units": "Hz"}
    for weight in over[WEIGHT]:
        for width in over[BANDWIDTH]:
            scenario = NOMINAL.updated({WEIGHT: weight, BANDWIDTH: width})
            alone = card.simulate(scenario, grid.policy.values.tolist(), 6, 2).mean("round")
            point = grid.sel({WEIGHT: weight, BANDWIDTH: width})
            for name in set(point.data_vars) & set(alone.data_vars):
                np.testing.assert_allclose(point[name].values, alone[name].values, rtol=1e-13)
                assert grid[name].attrs["units"] == UNITS[name]


def test_scenario_gives_rounds_and_seed_unless_told():
    scenario = NOMINAL.updated({"simulation": {"rounds": 3, "seed": 8}})
    ours = sweep(scenario, {WEIGHT: [0.5]}, ["card"])
    xr_equal = sweep(NOMINAL, {WEIGHT: [0.5]}, ["card"], rounds=3, seed=8)
    assert ours.equals(xr_equal)
    assert (ours.attrs["rounds"], ours.attrs["seed"]) == (3, 8)


def test_words_can_be_swept_too():
    grid = sweep(NOMINAL, {"training.topology": ["vanilla", "u-shaped"]}, ["server_only"], rounds=2)
    # the head computes on the device, so the server saves its energy
    energy = grid.energy_j.sel(policy="server_only")
    assert (
        energy.sel({"training.topology": "u-shaped"}) < energy.sel({"training.topology": "vanilla"})
    ).all()


def test_unknown_paths_and_policies_are_refused():
    with pytest.raises(ScenarioError, match=r"did you mean 'objective\.delay_weight'\?"):
        sweep(NOMINAL, {"objective.delay_wieght": [0.5]}, rounds=1)
    with pytest.raises(ScenarioError, match=r"policies = 'crad' is unknown"):
        sweep(NOMINAL, {WEIGHT: [0.5]}, ["crad"], rounds=1)


def test_sweep_scores_every_shipped_policy():
    grid = sweep(NOMINAL, {WEIGHT: [0.5]}, list(POLICIES), rounds=2)
    assert grid.sizes["policy"] == len(POLICIES)


class OddCluster:
    """A client of a cluster whose workers are `threads`, and whose blocks end with an error."""

    def __init__(self, threads, error=None):
        self.scheduler = SimpleNamespace(address="tcp://127.0.0.1:9")
        self.status = "running"
        self._threads, self._error = threads, error

    def nthreads(self, callback_timeout):
        if isinstance(self._threads, Exception):
            raise self._threads
        return self._threads

    def get_executor(self):
        return self

    def submit(self, *_):
        future = Future()
        if self._error:
            future.set_exception(self._error)
        return future


class FirstOnly(OddCluster):
    """A cluster that computes its first block, and then goes away."""

    def submit(self, compute, block):
        future = Future()
        if self._error:
            future.set_result(compute(block))
            self._error = None
        return future

    def nthreads(self, callback_timeout):
        if not self._error:
            raise OSError("closed")
        return super().nthreads(callback_timeout)


def test_a_cluster_that_goes_away_says_how_many_blocks_are_kept(tmp_path, monkeypatch):
    pytest.importorskip("zarr")
    monkeypatch.setattr("card.studies.sweep._LOOK_S", 0.01)
    output = tmp_path / "big.nc"
    cluster = FirstOnly({"a": 1}, OSError("later"))
    with pytest.raises(ScenarioError, match=r"went away; 1 of 2 blocks are finished") as refused:
        card.sweep(
            NOMINAL, {"lora.rank": [4, 8]}, ["card"], rounds=2, output=output, client=cluster
        )
    assert str(refused.value).endswith(f"stay in {output}.partial; the same command goes on.")
    assert len(list((tmp_path / "big.nc.partial/finished").iterdir())) == 1


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        (OddCluster({"a": 1}, CancelledError()), "at tcp://127.0.0.1:9 went away; "),
        (OddCluster({"a": 1}, OSError("ConnectionPool closing.")), "went away; "),
        (OddCluster(OSError("closed")), "went away; "),
        (OddCluster({"a": 1}, RuntimeError("a\nb")), r"failed \(RuntimeError: a b\); "),
        (OddCluster({}), "no worker at tcp://127.0.0.1:9 for 0.02 s; start one"),
        (OddCluster(TimeoutError()), "no worker at tcp://127.0.0.1:9 for 0.02 s; start one"),
    ],
)
def test_a_cluster_that_computes_no_more_is_one_line_and_what_is_kept(
    tmp_path, monkeypatch, capsys, cluster, said
):
    pytest.importorskip("zarr")
    for name, seconds in (("_LOOK_S", 0.01), ("_PATIENCE_S", 0.0), ("STANDSTILL_S", 0.02)):
        monkeypatch.setattr(f"card.studies.sweep.{name}", seconds)
    # each look is 0.01 s after the one before, however long a busy machine takes
    looks = itertools.count(1)
    clock = SimpleNamespace(monotonic=lambda: 0.01 * next(looks))
    monkeypatch.setattr("card.studies.sweep.time", clock)
    over, output = {"lora.rank": [4, 8]}, tmp_path / "big.nc"
    scenario = card.load_scenario("nominal")
    with pytest.raises(ScenarioError, match=said) as refused:
        card.sweep(scenario, over, ["card"], rounds=2, output=output, client=cluster)
    assert str(refused.value).endswith("; no block was finished.")
    assert not output.with_name("big.nc.partial").exists()
    assert "\n" not in str(refused.value)
    waited = capsys.readouterr().err.count("no worker at tcp://127.0.0.1:9; waiting\n")
    assert waited == ("no worker" in said)
    with card.sweep(scenario, over, ["card"], rounds=2, output=output) as found:
        assert found.sizes["lora.rank"] == 2


def test_a_client_that_is_none_of_dask_is_refused():
    with pytest.raises(
        ScenarioError, match=r"^client = 1 is no client of Dask; give one, or None\.$"
    ):
        sweep(card.load_scenario("nominal"), {"objective.delay_weight": [0.5]}, rounds=1, client=1)
