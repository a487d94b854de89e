"""The Explorer's picture draws the decision that it is given."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import card
from card.costs import Costs
from card.figures.one_decision import explorer as picture
from card.figures.one_decision import round_until
from card.studies.explorer import DELAY_WEIGHTS, explore
from card.studies.timeline import LANES, Step, busy, costs_of, spent


@cache
def found(distance_m: float, topology: str = "vanilla") -> xr.Dataset:
    scenario = card.load_scenario("nominal", **{"training.topology": topology})
    at = ["device-3"], ["normal"], [10e6], [distance_m]
    return explore(scenario, *at, DELAY_WEIGHTS).isel(link=0)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_says_where_the_cut_is_and_how_fast_the_server_runs() -> None:
    near, far = texts(picture(found(140.0), 0.5)), texts(picture(found(500.0), 0.5))
    assert {"device: embedding", "server: 16 blocks + head", "server clock 0.867 GHz"} <= {*near}
    assert {"device: the whole LLM", "server idle"} <= {*far}


def test_the_head_stands_where_the_topology_has_it() -> None:
    assert "server: 16 blocks" in texts(picture(found(100.0, "u-shaped"), 0.75))


def test_bars_are_the_parts_of_the_delay_and_both_energies() -> None:
    figure = picture(found(140.0), 0.5)
    _, _, delay, energy = figure.axes
    one = found(140.0).sel(delay_weight=0.5)
    ends = [max(bar.get_x() + bar.get_width() for bar in row) for row in rows(delay.patches)]
    # six parts, summed in another order
    np.testing.assert_allclose(ends, one.delay_s, rtol=1e-12)
    widths = [bar.get_width() for bar in energy.patches]
    assert widths == [*one.energy_j.values, *one.device_energy_j.values]


def rows(patches: list) -> list[list]:
    """Bars of each policy, from the top."""
    places = sorted({bar.get_y() for bar in patches})
    return [[bar for bar in patches if bar.get_y() == place] for place in places]


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_the_star_is_the_chosen_weight_among_all(weight: float) -> None:
    _, front, *_ = picture(found(140.0), weight).axes
    every, star, *rivals = front.lines
    mine = found(140.0).sel(policy="card")
    np.testing.assert_array_equal(every.get_xdata(), mine.delay_s)
    chosen = mine.sel(delay_weight=weight)
    assert star.get_xydata().tolist() == [[float(chosen.delay_s), float(chosen.energy_j)]]
    assert [line.get_label() for line in rivals] == ["device only", "server only"]


def test_a_round_is_drawn_where_its_steps_are() -> None:
    steps = [Step("downlink", "adapters", 0.0, 0.5), Step("server", "forward", 0.5, 2.0)]
    *_, lanes = picture(found(140.0), 0.5, steps).axes
    drawn = [path.get_extents() for bars in lanes.collections for path in bars.get_paths()]
    assert sorted((box.x0, box.x1) for box in drawn) == [(0.0, 0.5), (0.5, 2.5)]
    assert [label.get_text() for label in lanes.get_yticklabels()] == list(LANES)


def test_an_unknown_power_leaves_the_device_out() -> None:
    unknown = found(140.0).copy()
    unknown["device_energy_j"] = unknown.device_energy_j * np.nan
    said = texts(picture(unknown, 0.5))
    assert "CARD: server 44.63 J" in said


def played(distance_m: float = 140.0) -> tuple[Costs, list[Step]]:
    one = card.load_scenario("nominal"), found(distance_m), 0.5
    return costs_of(*one), busy(*one)


def test_a_moment_names_who_is_busy_and_what_is_spent() -> None:
    one, steps = played()
    middle = steps[len(steps) // 2]
    lanes, energy = round_until(one, steps, middle.start_s).axes
    assert lanes.get_title().endswith(f"{middle.lane}: {middle.label}")
    by_then = spent(one, steps, middle.start_s)
    server, device = float(by_then.energy_j), float(by_then.device_energy_j)
    assert [text.get_text() for text in energy.get_legend().get_texts()] == [
        f"server: {server:.4g} J of {float(one.energy_j):.4g} J",
        f"device: {device:.4g} J of {float(one.device_energy_j):.4g} J",
    ]


def test_the_last_moment_has_spent_everything() -> None:
    one, steps = played()
    _, energy = round_until(one, steps, steps[-1].start_s + steps[-1].duration_s).axes
    whole = f"{float(one.energy_j):.4g} J"
    assert energy.get_legend().get_texts()[0].get_text() == f"server: {whole} of {whole}"
