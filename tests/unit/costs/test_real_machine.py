"""`card.costs`: what a real machine adds to the textbook, by hand and against a measured GPU."""

import json
from dataclasses import replace

import numpy as np
import pytest
from handmade import DOWN, UP, handmade

import card
from card.base.data_files import DATA
from card.costs import server_power_w
from card.hardware import power_w

NOMINAL = card.load_scenario("nominal")


def real_machine():
    """The handmade system with every term of a real machine, in round numbers."""
    return replace(
        handmade(),
        linear_power_w_per_hz=0.2,
        waiting_power_w=3.0,
        device_waiting_power_w=np.array([2.0, 1.0]),
        server_overhead_s=np.array([5.0, 4.0, 0.0]),
        server_launch_s=np.array([2.0, 1.0, 0.0]),
        device_overhead_s=np.array([[0.0, 0.5, 1.0], [0.0, 0.25, 0.5]]),
        round_trip_s=0.125,
    )


def test_parts_of_one_round_by_hand():
    """T = 2 mini-batches; cut 1 on the fast device, 10 Hz, 8 bit/s up, 4 bit/s down."""
    costs = card.evaluate(real_machine(), 0, 1, 10.0, 8.0, 4.0)
    assert costs.device_compute_s == pytest.approx(2 * (100 / 100 + 0.5))
    assert (costs.uplink_s, costs.downlink_s) == pytest.approx((20 + 2 / 8, 20 + 2 / 8))
    assert (costs.adapter_down_s, costs.adapter_up_s) == pytest.approx((1.5 + 1 / 8, 0.75 + 1 / 8))
    assert costs.server_launch_s == pytest.approx(2 * 1.0)
    assert costs.server_compute_s == pytest.approx(2 * (4.0 + 200 / (10 * 10)))
    assert costs.busy_s == pytest.approx(10)
    assert costs.delay_s == pytest.approx(48 + 10)
    assert costs.server_power_w == pytest.approx(1 + 0.2 * 10 + 10**3 / 1000)
    assert costs.energy_j == pytest.approx(10 * 4 + 48 * 3)
    # 3 s of computing at 30 W, 20.75 s of sending at 0.5 W, 34.25 s of waiting at 2 W
    assert costs.device_energy_j == pytest.approx(3 * 30 + 20.75 * 0.5 + 34.25 * 2)


def test_each_micro_batch_has_overheads_and_launches_of_its_own():
    study = card.load_scenario("measured-server", **{"devices.device-1.block_overhead_s": 0.5})
    two, four = (study.updated({"training.batch_size": size}) for size in (2, 4))
    half, whole = card.system(two), card.system(four.updated({"training.accumulation": 2}))
    assert half.server_launch_s.max() > 0
    assert half.device_overhead_s[0].max() > 0
    for name in ("server_overhead_s", "server_launch_s", "device_overhead_s", "device_launch_s"):
        np.testing.assert_allclose(getattr(whole, name), 2 * getattr(half, name), rtol=1e-12)


def test_a_server_without_work_still_waits():
    costs = card.evaluate(real_machine(), 1, 2, 5.0, 8.0, 4.0)
    assert (costs.server_compute_s, costs.server_launch_s) == (0, 0)
    assert costs.adapter_s == pytest.approx(12 / 8 + 12 / 4 + 2 * 0.125)
    assert costs.energy_j == pytest.approx(costs.delay_s * 3)


def test_optimum_is_the_best_of_a_fine_grid():
    system = real_machine()
    found = card.solve(system, 1, UP, DOWN)
    clocks = np.linspace(5, 20, 200_001)
    spent = card.evaluate(system, 1, np.arange(3)[:, None], clocks, UP, DOWN)
    bounds = found.extremes
    value = 0.5 * (spent.delay_s - bounds.delay_min_s) / (bounds.delay_max_s - bounds.delay_min_s)
    value += (
        0.5 * (spent.energy_j - bounds.energy_min_j) / (bounds.energy_max_j - bounds.energy_min_j)
    )
    assert found.objective == pytest.approx(value.min(), abs=1e-9)
    assert spent.delay_s.min() == pytest.approx(bounds.delay_min_s)
    assert spent.delay_s.max() == pytest.approx(bounds.delay_max_s)
    assert spent.energy_j.min() == pytest.approx(bounds.energy_min_j, rel=1e-8)
    assert spent.energy_j.max() == pytest.approx(bounds.energy_max_j)


def test_scenario_says_overheads_per_block_and_head():
    changes = {
        "server.block_overhead_s": 1e-3,
        "server.head_overhead_s": 5e-3,
        "devices.device-2.block_overhead_s": 2e-3,
        "devices.device-2.head_overhead_s": 7e-3,
    }
    system = card.system(NOMINAL.updated(changes))
    below = np.arange(17)
    np.testing.assert_allclose(
        system.server_overhead_s, (16 - below) * 1e-3 + (below < 16) * 5e-3, atol=1e-18
    )
    np.testing.assert_allclose(system.device_overhead_s[1], below * 2e-3 + (below == 16) * 7e-3)
    assert not system.device_overhead_s[0].any()
    ushaped = card.system(NOMINAL.updated({**changes, "training.topology": "u-shaped"}))
    np.testing.assert_allclose(ushaped.server_overhead_s, (16 - below) * 1e-3, atol=1e-18)
    assert ushaped.profile.messages.tolist() == [3, *[4] * 15, 0]
    assert system.profile.messages.tolist() == [1, *[2] * 15, 0]


def test_power_law_still_ends_at_the_boards_limit():
    system = card.system(
        NOMINAL.updated({"server.static_power_w": 20, "server.linear_power_w_per_hz": 2e-8})
    )
    assert server_power_w(system, 2.535e9) == pytest.approx(160)
    assert server_power_w(system, 0.0) == 20


@pytest.mark.parametrize("linear", [0.0, 2e-8])
def test_power_cap_lowers_the_highest_clock(linear):
    law = {"server.static_power_w": 20, "server.linear_power_w_per_hz": linear}
    capped = card.system(NOMINAL.updated({**law, "server.power_cap_w": 100}))
    assert server_power_w(capped, capped.frequency_max_hz) == pytest.approx(100)
    free = card.system(NOMINAL.updated({**law, "server.power_cap_w": 500}))
    assert free.frequency_max_hz == 2.535e9
    listed = card.system(
        NOMINAL.updated({**law, "server.power_cap_w": 100, "server.clock_step_hz": 5e8})
    )
    assert listed.clocks_hz.max() <= capped.frequency_max_hz


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"server.linear_power_w_per_hz": 7e-8}, "below 6.31164e-08 W/Hz"),
        ({"server.static_power_w": 20, "server.power_cap_w": 20}, "above 20 W"),
        ({"server.power_cap_w": 1, "server.minimum_frequency_hz": 2e9}, "at least 78.5"),
        ({"server.power_cap_w": 1, "server.clocks_hz": [2e9]}, "at least 78.5"),
        ({"server.power_cap_w": 50, "server.waiting_power_w": 70}, "at most 50 W"),
        ({"server.waiting_power_w": 1e6}, "at most 160 W"),
        ({"devices.device-1.waiting_power_w": 1e6}, "at most 60 W"),
        ({"link.round_trip_s": -1}, "link.round_trip_s = -1"),
        ({"devices.device-1.block_overhead_s": "fast"}, "devices"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(card.ScenarioError, match=message):
        card.system(NOMINAL.updated(changes))


def test_measured_server_predicts_what_the_gpu_did():
    """From its profile alone: within 8 % of the time and 10 % of the energy at every cut."""
    measured = json.loads((DATA / "runs" / "h200-server-side.json").read_text())
    system = card.system(card.load_scenario("measured-server"))
    top = system.frequency_max_hz
    for row in measured["rows"]:
        cut = row["cut"]
        cycles = system.profile.server_flop[cut] / system.flops_per_hz
        time_s = system.server_overhead_s[cut] + cycles / top
        launch_s = system.server_launch_s[cut]
        energy_j = (
            power_w(
                top,
                system.static_power_w,
                system.power_coefficient,
                system.linear_power_w_per_hz,
            )
            * (time_s - launch_s)
            + system.waiting_power_w * launch_s
        )
        assert time_s == pytest.approx(row["time_s"], rel=0.08)
        assert energy_j == pytest.approx(row["energy_j"], rel=0.10)
