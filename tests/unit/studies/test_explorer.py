"""`card.studies.explorer`: what a page shows at a node is what the solver says there."""

from __future__ import annotations

import json
from functools import cache
from itertools import product

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import card
from card.base.data_files import scenario_names, study_names
from card.base.errors import ScenarioError
from card.channel import state_rates
from card.cli import app
from card.costs import overlapped_s
from card.scenario import Scenario
from card.studies import explorer

SHIPPED = (*scenario_names(), *study_names())


WEIGHTS = explorer.DELAY_WEIGHTS


@cache
def grid_of(name: str) -> tuple[Scenario, xr.Dataset]:
    """Decisions for every kind of board, near and far, on bands narrow and wide."""
    scenario = card.load_scenario(name)
    own = scenario.link.bandwidth_hz
    points = [
        (board.devices[0], state, band, distance)
        for board in explorer.boards(scenario)
        for state, band, distance in product(
            scenario.channel_states, (1e6, own, 1e8), (20.0, 150.0, explorer.FARTHEST_M)
        )
    ]
    columns = (list(column) for column in zip(*points, strict=True))
    weights = explorer.ladder(WEIGHTS, [scenario.objective.delay_weight])
    return scenario, explorer.explore(scenario, *columns, weights)


@pytest.fixture(params=SHIPPED)
def shipped(request: pytest.FixtureRequest) -> tuple[Scenario, xr.Dataset]:
    return grid_of(request.param)


def test_decisions_are_the_solvers_to_the_last_bit(shipped: tuple[Scenario, xr.Dataset]) -> None:
    scenario, found = shipped
    names = [device.name for device in scenario.devices]
    device = np.array([names.index(name) for name in found.device.values])[:, None]
    up, down = found.uplink_bps.values[:, None], found.downlink_bps.values[:, None]
    solved = card.solve(scenario, device, up, down, found.delay_weight.values)
    mine = found.sel(policy="card")
    np.testing.assert_array_equal(mine.cut, solved.cut)
    np.testing.assert_array_equal(mine.frequency_hz, solved.frequency_hz)
    # delay and energy are summed in another order in the cost function than in the solver
    np.testing.assert_allclose(mine.delay_s, solved.delay_s, rtol=1e-14)
    np.testing.assert_allclose(mine.energy_j, solved.energy_j, rtol=1e-14)


def test_block_fading_has_the_ergodic_rates_wherever_they_are_read() -> None:
    """Averages of eight draws vary from round to round; their mean does not."""
    nominal = card.load_scenario("nominal")
    block = nominal.updated(
        {"link.fading": "block", "link.fading_draws": 8, "link.shadowing_db": 8.0}
    )
    rates = state_rates(block)
    np.testing.assert_array_equal(rates, state_rates(nominal))
    words = ["--set", "link.fading=block", "--set", "link.fading_draws=8", "--json"]
    for index, device in enumerate(block.devices):
        states = list(block.channel_states)
        band = np.full(len(states), block.link.bandwidth_hz)
        explored = explorer.rates(block, states, band, np.full(len(states), device.distance_m))
        np.testing.assert_allclose(explored, np.array(rates)[:, :, index], rtol=1e-14)
        said = CliRunner().invoke(app, ["solve", "nominal", "--device", device.name, *words])
        printed = json.loads(said.stdout)
        middle = [rate[1, index] for rate in rates]
        assert [printed["uplink_bps"], printed["downlink_bps"]] == middle


@pytest.mark.parametrize("name", ["nominal", "congested-campus"])
def test_rates_and_decisions_are_those_of_the_command_line(name: str) -> None:
    _, found = grid_of(name)
    links = found.sizes["link"]
    for link, weight in ((0, 0), (links // 3, 20), (links // 2, 10), (links - 1, 7)):
        point = found.isel(link=link, delay_weight=weight)
        overrides = {
            "objective.delay_weight": float(point.delay_weight),
            "link.bandwidth_hz": float(point.bandwidth_hz),
            f"devices.{point.device.item()}.distance_m": float(point.distance_m),
        }
        words = ["--device", point.device.item(), "--state", point.state.item(), "--json"]
        words += [word for key, v in overrides.items() for word in ("--set", f"{key}={v!r}")]
        said = json.loads(CliRunner().invoke(app, ["solve", name, *words]).stdout)
        mine = point.sel(policy="card")
        assert said["cut"] == int(mine.cut)
        assert said["uplink_bps"] == float(point.uplink_bps)
        assert said["frequency_hz"] == float(mine.frequency_hz)
        assert said["delay_s"] == pytest.approx(float(mine.delay_s), rel=1e-14)
        assert said["device_energy_j"] == float(mine.device_energy_j)


def test_more_weight_on_delay_never_slows_a_round(shipped: tuple[Scenario, xr.Dataset]) -> None:
    mine = shipped[1].sel(policy="card")
    assert mine.delay_weight.values.tolist() == sorted(mine.delay_weight.values)
    # rounding of sums of six terms
    slack_s, slack_j = 1e-12 * mine.delay_s.max(), 1e-12 * mine.energy_j.max()
    assert (mine.delay_s.diff("delay_weight") <= slack_s).all()
    assert (mine.energy_j.diff("delay_weight") >= -slack_j).all()


def test_no_benchmark_beats_card_at_both_ends(shipped: tuple[Scenario, xr.Dataset]) -> None:
    _, found = shipped
    fast, thrifty = found.sel(delay_weight=1.0), found.sel(delay_weight=0.0)
    # rounding, as above
    assert (fast.delay_s.sel(policy="card") <= (1 + 1e-12) * fast.delay_s.min("policy")).all()
    least_j = thrifty.energy_j.min("policy")
    assert (thrifty.energy_j.sel(policy="card") <= (1 + 1e-12) * least_j).all()


def test_parts_add_up(shipped: tuple[Scenario, xr.Dataset]) -> None:
    scenario, found = shipped
    parts = ("device_compute_s", "uplink_s", "server_compute_s", "downlink_s")
    stages = [found[name].values for name in parts]
    total = sum((*stages, found.adapter_down_s.values, found.adapter_up_s.values))
    total = total - overlapped_s(scenario.training.in_flight, *stages)
    # six terms, in another order
    np.testing.assert_allclose(total, found.delay_s, rtol=1e-14)
    assert not (found.sending_j > found.device_energy_j).any()


def test_boards_of_a_kind_are_there_once() -> None:
    scenario = card.load_scenario("congested-campus")
    kinds = explorer.boards(scenario)
    assert len(kinds) == 6
    assert [n for kind in kinds for n in kind.devices] == [d.name for d in scenario.devices]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("memory_share", 0.5),
        ("utilisation", 0.5),
        ("waiting_power_w", 1.0),
        ("block_overhead_s", 1e-3),
        ("number_format", "fp16"),
        ("link", {"gap_db": 3.0}),
    ],
)
def test_devices_that_differ_in_anything_are_kinds_of_their_own(key: str, value: object) -> None:
    alike = card.load_scenario("congested-campus")
    other = alike.updated({f"devices.agx-orin-2.{key}": value})
    assert len(explorer.boards(other)) == len(explorer.boards(alike)) + 1


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ((["device-9"], ["good"], [1e7], [50.0], [0.5]), "device-9"),
        ((["device-1"], ["godo"], [1e7], [50.0], [0.5]), "godo"),
        ((["device-1"], ["good"], [0.0], [50.0], [0.5]), "bandwidth_hz"),
        ((["device-1"], ["good"], [1e7], [0.5], [0.5]), "distance_m"),
        ((["device-1"], ["good"], [1e7], [50.0], [1.5]), "delay_weight"),
        ((["device-1"], ["good"], [1e7, 2e7], [50.0], [0.5]), "1, 1, 2, 1"),
    ],
)
def test_what_cannot_be_explored_is_refused(at: tuple[list, ...], told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        explorer.explore(card.load_scenario("nominal"), *at)
