"""`card.studies.bootstrap`: means are the simulation's, and their intervals those of its rounds."""

import numpy as np
import pytest
import xarray as xr

import card
from card.simulation import energy_parts, means
from card.studies.bootstrap import mean_intervals, reductions


@pytest.fixture(scope="module")
def simulated() -> xr.Dataset:
    names = ["card", "device_only", "server_only", "static_cut"]
    return card.simulate(card.load_scenario("nominal"), names, rounds=20, seed=3)


@pytest.fixture(scope="module")
def table(simulated: xr.Dataset) -> xr.Dataset:
    return mean_intervals(simulated)


def test_means_are_those_of_the_simulation(simulated: xr.Dataset, table: xr.Dataset) -> None:
    for policy, expected in means(simulated).items():
        for name, value in expected.items():
            assert float(table[name].sel(policy=policy, statistic="mean")) == pytest.approx(value)


def test_intervals_enclose_the_mean_and_follow_the_normal_law(
    simulated: xr.Dataset, table: xr.Dataset
) -> None:
    assert (table.delay_s.sel(statistic="low") <= table.delay_s.sel(statistic="mean")).all()
    assert (table.delay_s.sel(statistic="high") >= table.delay_s.sel(statistic="mean")).all()
    per_round = simulated.delay_s.sel(policy="server_only").mean(("state", "device"))
    # The bootstrap's standard error has divisor n; 2000 resamples leave a few per cent of noise
    expected = 2 * 1.96 * float(per_round.std(ddof=0)) / np.sqrt(20)
    row = table.delay_s.sel(policy="server_only")
    width = float(row.sel(statistic="high") - row.sel(statistic="low"))
    assert width == pytest.approx(expected, rel=0.1)


def test_intervals_by_state_average_to_the_whole(simulated: xr.Dataset, table: xr.Dataset) -> None:
    parted = mean_intervals(simulated, ("policy", "state"))
    whole = parted.energy_j.sel(statistic="mean").mean("state")
    np.testing.assert_allclose(whole, table.energy_j.sel(statistic="mean"))
    assert parted.energy_j.attrs["units"] == "J"


def test_intervals_are_repeatable(simulated: xr.Dataset, table: xr.Dataset) -> None:
    xr.testing.assert_identical(mean_intervals(simulated), table)


def test_energy_parts_add_up(simulated: xr.Dataset) -> None:
    system = card.system(card.load_scenario("nominal"))
    parts = energy_parts(simulated, 5.0, system.device_power_w)
    whole = means(simulated)
    for policy in parts.policy.values.tolist():
        here = parts.sel(policy=policy)
        assert float(here.dynamic_j + here.static_j) == pytest.approx(whole[policy]["energy_j"])
        device = float(here.computing_j + here.sending_j)
        assert device == pytest.approx(whole[policy]["device_energy_j"])
    busy = simulated.server_compute_s.mean(("state", "device", "round"))
    np.testing.assert_allclose(parts.static_j, 5.0 * busy)


def test_what_the_table_of_reductions_says_is_what_the_means_say(simulated: xr.Dataset) -> None:
    whole = means(simulated)
    value = reductions(simulated)["static_cut"]["delay"]["value"]
    assert value == pytest.approx(1 - whole["card"]["delay_s"] / whole["static_cut"]["delay_s"])
