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


def rounds_of_every_cut(topology, folder):
    """What is noted of a round for each cut, with a counter at both ends."""
    log, _, _ = conversation(
        card.load_scenario("test-bed", **{"training.topology": topology}), folder, ["device-1"],
        rounds=5, cuts=(0, 1, 2, 3, 4),
        machine=steady(SERVER_W), device_machine=steady(DEVICE_W),
    )  # fmt: skip
    return log.named("round")


@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
def test_joules_of_computing_are_those_of_its_seconds(topology, tmp_path, monkeypatch):
    """On clocks that stand still while another thread or process has the processor."""
    monkeypatch.setattr(time, "perf_counter", time.thread_time)
    for found in rounds_of_every_cut(topology, tmp_path):
        # dozens of spans, each metered within what is timed, a tenth of a millisecond apart
        near = {"rel": 0.15}
        assert found["server_busy_j"] == pytest.approx(SERVER_W * found["server_compute_s"], **near)
        assert found["device_busy_j"] == pytest.approx(DEVICE_W * found["device_compute_s"], **near)
        assert found["predicted_device_energy_j"] > 0


@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
def test_joules_of_a_round_are_those_of_its_seconds(topology, tmp_path):
    for found in rounds_of_every_cut(topology, tmp_path):
        whole_j = found["server_busy_j"] + found["server_waiting_j"]
        # the round lies within its meter's time
        assert SERVER_W * found["delay_s"] <= whole_j < SERVER_W * (found["delay_s"] + 0.5)
        on_device_j = found["device_busy_j"] + found["device_waiting_j"]
        assert found["device_busy_j"] < on_device_j
        # the device's round begins when its task comes, and ends with its own last frame
        assert on_device_j < DEVICE_W * (found["delay_s"] + 0.5)


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
