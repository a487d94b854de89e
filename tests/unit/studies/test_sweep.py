"""`card.studies.sweep`: every point of a grid of means is its own simulation."""

import json

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
