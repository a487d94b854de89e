"""`card.studies.bootstrap`: reductions are ratios of means, with a paired interval over rounds."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from machines import NO_POWER
from outcomes import dataset
from scipy.signal import lfilter
from scipy.stats import bootstrap

import card
from card.simulation import energy_parts, means
from card.studies.bootstrap import interval_of_means, mean_intervals, reductions, run_of

NOMINAL = card.load_scenario("nominal")


@pytest.fixture(scope="module")
def results() -> xr.Dataset:
    return card.simulate(NOMINAL, rounds=12, seed=3)


def test_reductions_are_ratios_of_means():
    """Delay 1 - 2/8, energy 1 - 3/2; not means of ratios, which would be 1 - 5/12."""
    found = reductions(
        dataset(card=([1, 3], [2, 4]), slow=([2, 14], [1, 3]), free=([1, 1], [0, 0]))
    )
    assert list(found) == ["slow", "free"]
    assert found["slow"]["delay"]["value"] == pytest.approx(0.75)
    assert found["slow"]["energy"]["value"] == pytest.approx(-0.5)
    assert found["free"]["delay"]["value"] == pytest.approx(-1.0)
    assert found["free"]["energy"] == {"value": None, "low": None, "high": None}


def test_one_round_has_no_interval():
    found = reductions(dataset(card=([1], [2]), slow=([2], [8])))
    assert found["slow"]["delay"] == {"value": 0.5, "low": None, "high": None}
    assert found["slow"]["energy"] == {"value": 0.75, "low": None, "high": None}


def test_equal_rounds_have_an_interval_of_no_width():
    found = reductions(dataset(card=([1] * 5, [2] * 5), slow=([2] * 5, [8] * 5)))["slow"]
    assert found["delay"] == pytest.approx({"value": 0.5, "low": 0.5, "high": 0.5})


def test_resamples_in_which_the_benchmark_spends_nothing_are_left_out():
    found = reductions(dataset(card=([1] * 3, [0, 0, 1]), rare=([1] * 3, [0, 0, 4])))["rare"]
    assert found["energy"] == pytest.approx({"value": 0.75, "low": 0.75, "high": 0.75})


def test_interval_agrees_with_scipys_paired_bootstrap():
    rng = np.random.default_rng(12)
    theirs = rng.lognormal(0, 0.7, 150)
    ours = 0.4 * theirs + rng.lognormal(-2, 0.5, 150)
    found = reductions(dataset(card=(ours, ours), other=(theirs, theirs)), resamples=20_000)
    expected = bootstrap(
        (ours, theirs),
        lambda x, y, axis: 1 - x.mean(axis=axis) / y.mean(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    # the 2.5 % quantile of 20,000 resamples is known to about 2 % of the interval's width
    slack = 0.03 * (expected.high - expected.low)
    for quantity in ("delay", "energy"):
        assert found["other"][quantity]["low"] == pytest.approx(expected.low, abs=slack)
        assert found["other"][quantity]["high"] == pytest.approx(expected.high, abs=slack)


def test_interval_holds_the_value_and_repeats():
    results = card.simulate(NOMINAL, ["card", "server_only", "device_only"], rounds=40)
    found = reductions(results)
    assert found == reductions(results)
    for benchmark in found.values():
        for entry in benchmark.values():
            if entry["value"] is not None:
                assert entry["low"] <= entry["value"] <= entry["high"]
    assert found["device_only"]["energy"]["value"] is None


def test_reductions_pair_rounds_over_states_and_devices(results):
    """The value is that of all means, whatever the order of dimensions."""
    found = reductions(results)["server_only"]
    table = means(results)
    for quantity, name in (("delay", "delay_s"), ("energy", "energy_j")):
        expected = 1 - table["card"][name] / table["server_only"][name]
        assert found[quantity]["value"] == pytest.approx(expected, rel=1e-12)
    turned = reductions(results.transpose("round", "device", "state", "policy"))["server_only"]
    for quantity in found:
        assert turned[quantity] == pytest.approx(found[quantity])


def test_results_survive_a_file(tmp_path, results):
    results.to_netcdf(tmp_path / "results.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "results.nc", engine="scipy") as read:
        assert reductions(read) == reductions(results)


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
    parts = energy_parts(simulated, replace(system, static_power_w=5.0))
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


def test_intervals_of_correlated_rounds_hold_the_mean_as_often_as_they_say() -> None:
    """AR(1) rounds of mean 0; single rounds, resampled alone, would hold it half as often."""
    coherence, rounds, held = 8.0, 4_000, {"runs": 0, "alone": 0}
    kept = np.exp(-1 / coherence)
    for seed in range(200):
        fresh = np.random.default_rng([7, seed]).standard_normal(rounds)
        fresh[1:] *= np.sqrt(1 - kept**2)
        table = lfilter([1.0], [1.0, -kept], fresh)[None]
        for name, run in (("runs", run_of(coherence, rounds)), ("alone", 1)):
            low, high = interval_of_means(seed, table, 200, run)
            held[name] += bool(low[0] <= 0 <= high[0])
    assert held["runs"] > 0.88 * 200
    assert held["alone"] < 0.6 * 200


def test_rounds_that_are_independent_are_resampled_one_by_one() -> None:
    assert run_of(0, 100) == 1
    assert run_of(3, 100) == 30
    assert run_of(1e6, 100) == 100


def test_what_is_unknown_of_one_device_is_unknown_of_their_mean(one_unknown: xr.Dataset) -> None:
    system = card.system(card.load_scenario("nominal", **{"devices.device-3.hardware": NO_POWER}))
    whole, table = means(one_unknown)["card"], mean_intervals(one_unknown)
    parts = energy_parts(one_unknown, system)
    assert np.isnan(whole["device_energy_j"])
    assert np.isnan(table.device_energy_j).all()
    assert np.isnan(parts.computing_j).all()
    assert np.isnan(parts.sending_j).all()
    known = (whole["delay_s"], whole["energy_j"], table.energy_j, table.delay_s, parts.dynamic_j)
    assert all(np.isfinite(value).all() for value in known)
    alone = mean_intervals(one_unknown, ("policy", "device")).device_energy_j
    assert np.isnan(alone).any(("policy", "statistic")).values.tolist() == [0, 0, 1, 0, 0]
