"""Looks of channel states: whoever reads a picture can tell any two states in it apart."""

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from card.figures.decisions import decision_regions
from card.figures.hardware import along_utilisation
from card.figures.policies import by_state
from card.figures.radio import rates
from card.figures.style import state_looks

STATES = [f"state {number}" for number in range(1, 14)]


def test_states_look_apart_by_mark_by_line_over_areas_and_by_coloured_line():
    looks = state_looks(f"state {number}" for number in range(20)).values()
    assert len({look.marker for look in looks}) == 20
    assert len({(look.ink, look.linestyle) for look in looks}) == 20
    assert len({(look.color, look.linestyle) for look in looks}) == 20


def marks_of_a_comparison() -> Figure:
    shape = (2, len(STATES), 3)
    value = (("policy", "state", "statistic"), np.ones(shape))
    at = {"policy": ["card", "device_only"], "state": STATES}
    return by_state(xr.Dataset({"delay_s": value, "energy_j": value}, at), 3.5)


def borders() -> Figure:
    weights, bands = np.linspace(0, 1, 21), np.geomspace(1e6, 1e8, 5)
    least = np.linspace(0.1, 0.9, len(STATES))[:, None, None, None]
    cut = np.broadcast_to(np.where(weights[:, None] > least, 0, 8), (len(STATES), 1, 21, 5))
    at = {"state": STATES, "device": ["a"], "delay_weight": weights, "bandwidth_hz": bands}
    return decision_regions(xr.DataArray(cut, at), 8, (1e7, 0.5))


def links() -> Figure:
    distance = np.linspace(20.0, 200.0, 40)
    curves = dict.fromkeys(STATES, (1e9 / distance, 2e9 / distance))
    quantiles = dict.fromkeys(STATES, np.ones((1, 3)))
    return rates(distance, curves, {"a": 100.0}, quantiles)


def decisions() -> Figure:
    one = dict.fromkeys(("cut", "frequency_hz", "delay_s", "energy_j"), np.ones(2))
    star = dict.fromkeys(one, 1.0)
    every = dict.fromkeys(STATES, one), dict.fromkeys(STATES, star)
    return along_utilisation(np.array([0.1, 1.0]), every[0], 0.5, every[1])


@pytest.mark.parametrize("draw", [marks_of_a_comparison, borders, links, decisions])
def test_no_legend_has_a_state_twice(draw):
    figure = draw()
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    (legend,) = [legend for legend in legends if legend]
    looks = {
        (str(one.get_color()), str(one.get_marker()), str(getattr(one, "_dash_pattern", "")))
        for one in legend.legend_handles
    }
    assert len(looks) == len(legend.legend_handles) >= len(STATES)


def test_borders_are_drawn_as_the_legend_says():
    figure = borders()
    (axes,) = figure.axes
    drawn = [one for one in axes.collections if hasattr(one, "levels")]
    (legend,) = figure.legends
    for border, handle in zip(drawn, legend.legend_handles, strict=False):
        assert border.get_linestyle()[0] == handle._dash_pattern
        assert to_rgba(handle.get_color()) == tuple(border.get_edgecolor()[0])


def test_marks_of_many_states_do_not_lie_on_each_other():
    figure = marks_of_a_comparison()
    figure.draw_without_rendering()
    axes = figure.axes[0]
    places = sorted(
        float(axes.transData.transform((1.0, bar[0].get_ydata()[0]))[1]) for bar in axes.containers
    )
    size_px = axes.containers[0][0].get_markersize() * figure.dpi / 72
    assert min(high - low for low, high in pairwise(places)) > 0.9 * size_px
