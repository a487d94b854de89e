"""`card.book.explorer_controls`: each move in Jupyter runs the solver, and its round plays."""

from __future__ import annotations

from typing import Any

import pytest
import xarray as xr

import card
from card.book import explorer_controls as controls
from card.studies import explorer
from card.studies.timeline import Step, busy


class Drawn:
    """What was given to be drawn, in place of pictures."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.decisions: list[tuple[xr.Dataset, float]] = []
        self.moments: list[tuple[xr.Dataset, list[Step], float]] = []
        patch.setattr(controls, "picture", lambda *given: self.decisions.append(given) or "one")
        patch.setattr(controls, "round_until", lambda *given: self.moments.append(given) or "two")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    return Drawn(monkeypatch)


def shown(scenario: card.Scenario) -> tuple[Any, ...]:
    return controls.controls(scenario).children


def test_each_move_runs_the_solver(drawn: Drawn) -> None:
    scenario = card.load_scenario("nominal")
    device, state, weight, band, distance, *_ = shown(scenario)
    state.value, weight.value, band.value, distance.value = "poor", 0.83, 25.0, 77.0
    found, chosen = drawn.decisions[-1]
    assert chosen == 0.83
    up, down = explorer.rates(scenario, ["poor"], [25e6], [77.0])
    solved = card.solve(scenario, device.value, up[0], down[0], 0.83)
    mine = found.sel(policy="card", delay_weight=0.83)
    assert (int(mine.cut), float(mine.frequency_hz)) == (solved.cut, solved.frequency_hz)
    _, steps, _ = drawn.moments[-1]
    # a hundred and more terms
    assert steps[-1].start_s + steps[-1].duration_s == pytest.approx(solved.delay_s, rel=1e-12)


def test_a_device_brings_its_place(drawn: Drawn) -> None:
    device, _, _, _, distance, *_ = shown(card.load_scenario("nominal"))
    device.value = "device-5"
    assert distance.value == 180
    assert drawn.decisions[-1][0].device.item() == "device-5"
    assert float(drawn.decisions[-1][0].distance_m) == 180


def test_a_round_plays_from_its_start_to_its_end(drawn: Drawn) -> None:
    *_, player = shown(card.load_scenario("nominal"))
    play, moment = player.children[0].children
    for play.value in (10, controls.MOMENTS):
        assert moment.value == play.value
    first, quarter, last = (now_s for _, _, now_s in drawn.moments)
    (end,) = (step.start_s + step.duration_s for step in drawn.moments[-1][1][-1:])
    assert (first, quarter, last) == pytest.approx((0.0, end * 10 / controls.MOMENTS, end))


def test_a_round_without_the_server_has_nothing_to_play(drawn: Drawn) -> None:
    scenario = card.load_scenario("nominal")
    at = ["device-1"], ["poor"], [1e6], [500.0]
    assert busy(scenario, explorer.explore(scenario, *at, [0.5]).isel(link=0), 0.5) == []
    device, state, _, band, distance, _, player = shown(scenario)
    device.value, state.value, band.value = "device-1", "poor", 1.0
    distance.value = 500.0
    assert player.layout.display == "none"
    before = len(drawn.moments)
    player.children[0].children[1].value = 5
    assert len(drawn.moments) == before
    band.value, distance.value = 100.0, 1.0
    assert player.layout.display is None
