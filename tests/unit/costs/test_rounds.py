"""`card.costs`: every part of delay and energy by hand, and the arrays behind a scenario."""

from dataclasses import replace

import numpy as np
import pytest
from handmade import DOWN, UP, handmade

import card
from card.costs import rounds as definition
from card.costs import server_power_w
from card.hardware import catalogue

NOMINAL = card.load_scenario("nominal")


def test_parts_of_one_round_by_hand():
    """T = 2 mini-batches; cut 1 on the fast device, 10 Hz, 8 bit/s up, 4 bit/s down."""
    costs = card.evaluate(handmade(), 0, 1, 10.0, 8.0, 4.0)
    assert costs.device_compute_s == pytest.approx(2 * 100 / 100)
    assert costs.uplink_s == pytest.approx(2 * 80 / 8)
    assert costs.downlink_s == pytest.approx(2 * 40 / 4)
    assert costs.server_compute_s == pytest.approx(2 * 200 / (10 * 10))
    assert costs.adapter_down_s == pytest.approx(6 / 4)
    assert costs.adapter_up_s == pytest.approx(6 / 8)
    assert costs.adapter_s == pytest.approx(1.5 + 0.75)
    assert costs.delay_s == pytest.approx(2 + 20 + 20 + 4 + 2.25)
    assert costs.server_power_w == pytest.approx(1 + 10**3 / 1000)
    assert costs.energy_j == pytest.approx(4 * 2)
    assert costs.device_power_w == 30
    assert costs.uplink_power_w == 0.5
    # 2 s of computing at 30 W, 20 s of activations and 0.75 s of adapters at 0.5 W
    assert costs.device_energy_j == pytest.approx(2 * 30 + 20.75 * 0.5)


def test_no_block_on_the_device_moves_no_adapter_and_no_gradient():
    costs = card.evaluate(handmade(), 1, 0, 20.0, 8.0, 4.0)
    assert (costs.device_compute_s, costs.downlink_s, costs.adapter_s) == (0, 0, 0)
    assert costs.delay_s == pytest.approx(20 + 2 * 300 / (10 * 20))
    assert costs.energy_j == pytest.approx(3 * (1 + 8))


def test_all_blocks_on_the_device_cost_the_server_nothing():
    costs = card.evaluate(handmade(), 1, 2, 5.0, 8.0, 4.0)
    assert (costs.energy_j, costs.uplink_s, costs.downlink_s) == (0, 0, 0)
    assert costs.delay_s == pytest.approx(2 * 300 / 50 + 12 / 4 + 12 / 8)
    assert costs.device_energy_j == pytest.approx(12 * 7 + 1.5 * 0.5)


def test_every_argument_broadcasts():
    shape = card.evaluate(
        handmade(), [[0], [1]], [0, 1, 2], 10.0, np.full((4, 1, 1), 8.0), 4.0
    ).delay_s.shape
    assert shape == (4, 2, 3)


def test_an_option_costs_what_its_cut_does_where_nothing_else_may_be_sent():
    wire = {"wire.uplink_bits": [16, 4], "wire.downlink_bits": [8, 16]}
    several = card.system(NOMINAL.updated(wire | {"server.block_overhead_s": 1e-3}))
    every = card.evaluate(several, 1, np.arange(several.num_options), 1e9, 2e7, 5e7)
    for first, (up, down) in enumerate([(16, 8), (16, 16), (4, 8), (4, 16)]):
        alone = {"wire.uplink_bits": [up], "wire.downlink_bits": [down]}
        one = card.system(NOMINAL.updated(alone | {"server.block_overhead_s": 1e-3}))
        costs = card.evaluate(one, 1, np.arange(17), 1e9, 2e7, 5e7)
        rows = slice(17 * first, 17 * first + 17)
        for name in ("delay_s", "energy_j", "device_energy_j", "uplink_s", "downlink_s"):
            values = getattr(every, name)[rows], getattr(costs, name)
            np.testing.assert_array_equal(*values, err_msg=name)


def test_huge_rounds_do_not_overflow():
    """10^12 mini-batches of 10^9 FLOP are more than a whole number of 64 bit holds."""
    system = handmade(local_iterations=10**12)
    profile = replace(system.profile, device_flop=np.array([0, 10**9, 3 * 10**9]))
    costs = card.evaluate(replace(system, profile=profile), 0, 1, 10.0, 8.0, 4.0)
    assert costs.device_compute_s == pytest.approx(1e19)


def test_scenario_serves_where_its_arrays_do():
    by_scenario = card.evaluate(NOMINAL, 0, 3, 1e9, 1e7, 1e7)
    by_system = card.evaluate(card.system(NOMINAL), 0, 3, 1e9, 1e7, 1e7)
    assert by_scenario.delay_s == by_system.delay_s
    assert card.system(card.system(NOMINAL)).num_blocks == 16


def test_arrays_of_the_nominal_scenario():
    """RTX 4060 Ti: 4352 cores, 2 FLOP per core and cycle, 2.535 GHz, 160 W."""
    system = card.system(NOMINAL)
    board = catalogue()["jetson-agx-orin-64gb"]
    assert (system.num_devices, system.num_blocks) == (5, 16)
    assert system.device_names == tuple(f"device-{i}" for i in range(1, 6))
    assert system.flops_per_hz == 4352 * 2
    assert system.frequency_max_hz == 2.535e9
    assert system.static_power_w == 0
    assert server_power_w(system, 2.535e9) == pytest.approx(160)
    assert system.throughput_flops[0] == board.cores * 2 * board.clock_hz
    assert system.device_power_w[0] == board.max_power_w
    assert system.uplink_power_w == pytest.approx(10**2.3 * 1e-3)
    assert system.frequency_min_hz[0] == pytest.approx(system.throughput_flops[0] / (4352 * 2))
    assert system.feasible.all()
    assert (system.local_iterations, system.delay_weight, system.clocks_hz) == (20, 0.5, None)


def test_solver_and_score_share_one_definition_of_delay_and_energy(monkeypatch):
    """7 s more of every delay and 3 J more of every energy reach both, and move no decision."""
    before = card.solve(handmade(), 1, UP, DOWN)
    delay_s, energy_j = definition.delay_s, definition.energy_j
    monkeypatch.setattr(definition, "delay_s", lambda *parts: delay_s(*parts) + 7.0)
    monkeypatch.setattr(definition, "energy_j", lambda *parts: energy_j(*parts) + 3.0)
    after = card.solve(handmade(), 1, UP, DOWN)
    scored = card.evaluate(handmade(), 1, before.cut, before.frequency_hz, UP, DOWN)
    for found in (after, scored):
        assert found.delay_s == pytest.approx(before.delay_s + 7.0)
        assert found.energy_j == pytest.approx(before.energy_j + 3.0)
    assert after.extremes == pytest.approx(np.add(before.extremes, [7, 7, 3, 3]))
    assert after.cut == before.cut
    assert after.objective == pytest.approx(before.objective)


def test_utilisation_static_power_and_hardware_minimum_enter():
    system = card.system(
        NOMINAL.updated(
            {
                "server.utilisation": 0.5,
                "server.static_power_w": 20.0,
                "server.minimum_frequency_hz": 1.5e9,
                "devices.device-1.utilisation": 0.25,
            }
        )
    )
    assert system.flops_per_hz == 4352
    assert system.throughput_flops[0] == card.system(NOMINAL).throughput_flops[0] / 4
    assert server_power_w(system, 2.535e9) == pytest.approx(160)
    assert server_power_w(system, 0.0) == 20
    assert system.frequency_min_hz.min() == 1.5e9


def test_device_faster_than_the_server_pins_the_clock():
    system = card.system(NOMINAL.updated({"devices.device-1.hardware": "h200-sxm"}))
    assert system.frequency_min_hz[0] == system.frequency_max_hz


def test_listed_clocks_bound_the_range():
    """The lowest clock is the first on the list that keeps up with the device."""
    system = card.system(NOMINAL.updated({"server.clocks_hz": [2.0e9, 0.2e9, 1.0e9, 1.0e9]}))
    assert system.clocks_hz.tolist() == [0.2e9, 1.0e9, 2.0e9]
    assert system.frequency_max_hz == 2.0e9
    # device-1 does 5.3 TFLOP/s, which the server does at 0.61 GHz; device-5 0.8 TFLOP/s at 0.1 GHz
    assert system.frequency_min_hz[[0, 4]].tolist() == [1.0e9, 0.2e9]
    # the power law is the board's, whatever clocks are offered
    assert server_power_w(system, 2.535e9) == pytest.approx(160)


def test_clock_step_counts_down_from_the_highest_clock():
    system = card.system(
        NOMINAL.updated({"server.clock_step_hz": 1.0e9, "server.minimum_frequency_hz": 0.5e9})
    )
    np.testing.assert_allclose(system.clocks_hz, [0.535e9, 1.535e9, 2.535e9])


RATE = "is not allowed; give numbers from 1e-100 to 1e+100."
DECISIONS = [
    ({"uplink_bps": -1}, f"uplink_bps = -1 {RATE}"),
    ({"uplink_bps": True}, f"uplink_bps = True {RATE}"),
    ({"downlink_bps": [1e6, np.nan]}, f"downlink_bps = nan {RATE}"),
    ({"frequency_hz": 0}, f"frequency_hz = 0 {RATE}"),
    ({"frequency_hz": np.inf}, f"frequency_hz = inf {RATE}"),
    ({"frequency_hz": "1e9"}, f"frequency_hz = '1e9' {RATE}"),
    ({"frequency_hz": None}, f"frequency_hz = None {RATE}"),
    ({"cut": 17}, "cut = 17 is out of range; give 0 to 16."),
    ({"cut": -1}, "cut = -1 is out of range; give 0 to 16."),
    ({"cut": 1.5}, "cut = 1.5 is not allowed; give whole numbers."),
    (
        {"cut": np.ma.masked_array([1, 2], [False, True])},
        "cut has masked values; give whole numbers in place of each.",
    ),
    ({"cut": True}, "cut = True is not allowed; give whole numbers."),
    ({"cut": [[1], [1, 2]]}, "cut = [[1], [1, 2]] is not allowed; give whole numbers."),
    ({"device": 5}, "device = 5 is out of range; give 0 to 4."),
    (
        {"device": [0, 1], "cut": [1, 2, 3]},
        "the shapes do not broadcast together: "
        "device (2,), cut (3,), frequency_hz (), uplink_bps (), downlink_bps ().",
    ),
]


@pytest.mark.parametrize(("changes", "message"), DECISIONS)
def test_arguments_out_of_range_are_refused(changes, message):
    decision = {"device": 0, "cut": 1, "frequency_hz": 1e9, "uplink_bps": 1e6, "downlink_bps": 1e6}
    with pytest.raises(card.ScenarioError) as refusal:
        card.evaluate(card.load_scenario("nominal"), **{**decision, **changes})
    assert str(refusal.value) == message


def test_lowest_clock_of_a_server_that_hardly_computes_is_its_highest():
    system = card.system(card.load_scenario("nominal", **{"server.utilisation": 1e-9}))
    assert (system.frequency_min_hz == system.frequency_max_hz).all()
