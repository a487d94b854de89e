"""Joules of both ends of real rounds, computing and waiting apart, beside their prediction."""

import time

import pytest
from conversation import conversation

import card
from card.training.actuation import Machine
from card.training.energy import Sensor

SERVER_W, DEVICE_W = 20.0, 3.0
BUSY = ("server_busy_j", "device_busy_j")
WAITING = ("server_waiting_j", "device_waiting_j")


def steady(power_w):
    """A machine whose counter shows the same power all the time."""
    return Machine(sensor=Sensor(lambda: power_w * time.perf_counter(), "a steady power"))


@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
def test_energy_of_every_cut_is_noted_as_it_was_counted(topology, tmp_path):
    scenario = card.load_scenario("test-bed", **{"training.topology": topology})
    log, _, _ = conversation(
        scenario, tmp_path, ["device-1"], rounds=5, cuts=(0, 1, 2, 3, 4),
        machine=steady(SERVER_W), device_machine=steady(DEVICE_W),
    )  # fmt: skip
    for found in log.named("round"):
        # what is metered lies within what is timed, and a round within its meter's time; on a busy
        # machine other processes take their turns in between
        for end, power_w in (("server", SERVER_W), ("device", DEVICE_W)):
            timed_j = power_w * found[f"{end}_compute_s"]
            assert 0.5 * timed_j <= found[f"{end}_busy_j"] <= timed_j
        whole_j = found["server_busy_j"] + found["server_waiting_j"]
        assert SERVER_W * found["delay_s"] <= whole_j < SERVER_W * (found["delay_s"] + 0.5)
        on_device_j = found["device_busy_j"] + found["device_waiting_j"]
        assert found["device_busy_j"] < on_device_j
        # the device's round begins when its task comes, and ends with its own last frame
        assert on_device_j < DEVICE_W * (found["delay_s"] + 0.5)
        assert found["predicted_device_energy_j"] > 0


def test_what_neither_end_counts_is_absent(tmp_path):
    log, _, _ = conversation(card.load_scenario("test-bed"), tmp_path, ["device-1"], rounds=1)
    (found,) = log.named("round")
    assert [found[name] for name in BUSY + WAITING] == [None] * 4
    assert found["predicted_energy_j"] > 0


def test_one_end_may_count_alone(tmp_path):
    log, _, _ = conversation(
        card.load_scenario("test-bed"), tmp_path, ["device-1"], rounds=1, cuts=(2,),
        device_machine=steady(DEVICE_W),
    )  # fmt: skip
    (found,) = log.named("round")
    assert found["server_busy_j"] is None
    assert found["device_busy_j"] > 0
