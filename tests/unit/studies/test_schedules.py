"""`card.studies.schedules`: rounds of all devices, by each schedule."""

import numpy as np
import pytest

import card
from card.channel import state_rates
from card.studies import schedules
from card.studies.schedules import (
    SCHEDULES,
    by_devices,
    by_micro_batches,
    in_micro_batches,
    parallel_energy_j,
    systems,
)

NOMINAL = card.load_scenario("nominal")
FOUR = in_micro_batches(NOMINAL, 4)


def test_micro_batches_stay_as_long_as_they_are():
    whole = NOMINAL.updated({"training.batch_size": 6, "training.accumulation": 3})
    run = in_micro_batches(whole, 4).training
    assert (run.batch_size, run.accumulation, run.micro_batch_size) == (8, 4, 2)


def test_a_schedule_is_compared_whatever_the_scenario_has():
    pipelined = FOUR.updated({"training.schedule": "pipelined"})
    for scenario in (FOUR, pipelined):
        found = systems(scenario)
        assert {name: one.in_flight for name, one in found.items()} == {
            "alternate": 1,
            "pipelined": 4,
            "parallel": 1,
        }


@pytest.fixture(scope="module")
def found():
    return by_devices(FOUR, [1, 5, 10], rounds=2, seed=3)


def test_rounds_of_all_devices_by_schedule(found):
    assert dict(found.sizes) == {"schedule": 3, "devices": 3, "state": 3, "round": 2}
    assert found.schedule.values.tolist() == list(SCHEDULES)
    times = found.round_s.transpose("schedule", ...).values
    alternate, pipelined, parallel = times
    assert (pipelined <= alternate * (1 + 1e-12)).all()
    assert (parallel <= alternate * (1 + 1e-9)).all()
    assert (parallel[1:] < alternate[1:]).all()


def test_one_device_alone_has_no_one_to_share_with(found):
    alone = found.sel(devices=1)
    for name in ("round_s", "energy_j"):
        alternate, parallel = (alone[name].sel(schedule=s) for s in ("alternate", "parallel"))
        np.testing.assert_allclose(parallel, alternate, rtol=1e-9)


def test_further_devices_are_more_of_the_same_with_draws_of_their_own(found):
    ten, five = (found.round_s.sel(devices=n, schedule="alternate") for n in (10, 5))
    assert (ten > five).all()
    assert not np.isclose(ten, 2 * five).any()


def test_energy_of_all_at_once_by_hand():
    """Full power while it is busy, and what it draws while it waits for the rest of the round."""
    system = card.system(NOMINAL.updated({"server.waiting_power_w": 30}))
    up, down = (rate[1] for rate in state_rates(NOMINAL))
    one = schedules.least_makespan(system, np.arange(5), up, down)
    flop = NOMINAL.training.local_iterations * system.profile.server_flop[one.option].sum()
    busy_s = flop / (system.flops_per_hz * system.frequency_max_hz)
    assert one.busy_s == pytest.approx(busy_s)
    expected = 160 * busy_s + 30 * (one.makespan_s - busy_s)
    assert parallel_energy_j(system, one) == pytest.approx(expected)


def test_time_for_each_micro_batch_falls_with_their_number():
    times = by_micro_batches(NOMINAL, [1, 2, 8])
    assert times["pipelined"][0] == times["alternate"][0]
    assert (np.diff(times["pipelined"]) < 0).all()
    assert (times["pipelined"][1:] < times["alternate"][1:]).all()
