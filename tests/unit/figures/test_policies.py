"""Figures of the comparison draw the means, parts and intervals they are given."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from machines import NO_POWER
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

import card
from card.figures import policies as figures
from card.figures.phones import WIDTH_IN, for_phone
from card.figures.style import NARROW_IN, looks, use_style
from card.simulation import PARTS, energy_parts
from card.studies.bootstrap import mean_intervals


@pytest.fixture(scope="module")
def table(simulated: xr.Dataset) -> xr.Dataset:
    return mean_intervals(simulated)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_headline_places_each_policy_at_its_means(table: xr.Dataset) -> None:
    figure = figures.headline(table)
    (axes,) = figure.axes
    marks = {
        (float(bar[0].get_xdata()[0]), float(bar[0].get_ydata()[0])) for bar in axes.containers
    }
    at = table.sel(statistic="mean")
    assert marks == set(zip(at.energy_j.values.tolist(), at.delay_s.values.tolist(), strict=True))
    assert {"CARD", "device only", "server only", "static cut"} <= set(texts(figure))
    assert axes.get_xlabel() == "mean server energy per round [J]"
    assert axes.get_ylabel() == "mean delay per round [s]"


def test_headline_names_policies_that_coincide_together(table: xr.Dataset) -> None:
    twin = table.sel(policy=["card", "card"]).assign_coords(policy=["card", "exhaustive"])
    assert "CARD, exhaustive" in texts(figures.headline(twin))


@pytest.mark.parametrize("width_in", [3.5, 7.2])
def test_policies_at_one_place_have_the_mark_that_the_key_shows(table, width_in) -> None:
    names = ["energy_optimal", "device_only", "lyapunov", "card"]
    twins = table.sel(policy=["device_only", "device_only", "card", "card"])
    figure = figures.headline(twins.assign_coords(policy=names), width_in=width_in)
    (axes,) = figure.axes
    marks = {(bar[0].get_color(), bar[0].get_marker()) for bar in axes.containers}
    look = looks(names)
    assert marks == {look["card"], look["energy_optimal"]}
    labels = ["CARD, Lyapunov", "energy-optimal, device only"]
    if width_in > NARROW_IN:
        assert {*labels} <= set(texts(figure))
        return
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == labels
    keyed = {(one.get_color(), one.get_marker()) for one in legend.legend_handles}
    assert keyed == marks


def test_headline_says_whose_mark_lies_under_card(table: xr.Dataset) -> None:
    close = table.sel(policy=["card", "card", "device_only"])
    close = close.assign_coords(policy=["card", "lyapunov", "device_only"]).copy(deep=True)
    close.delay_s[1] *= 1.01
    figure = figures.headline(close)
    assert {"CARD", "Lyapunov (under CARD)", "device only"} <= set(texts(figure))
    (legend,) = for_phone(figure).legends
    assert "Lyapunov (under CARD)" in [text.get_text() for text in legend.get_texts()]


def test_headline_draws_the_curve_as_given(table: xr.Dataset) -> None:
    curve = xr.Dataset({"delay_s": ("w", [30.0, 20.0]), "energy_j": ("w", [0.0, 100.0])})
    line = figures.headline(table, curve).axes[0].get_lines()[0]
    np.testing.assert_array_equal(line.get_xydata(), [[0.0, 30.0], [100.0, 20.0]])


IN_A_CORNER = {
    "card": (25.5, 10.0),
    "device_only": (33.0, 0.0),
    "server_only": (124.0, 381.0),
    "random_cut": (174.0, 23.0),
    "static_cut": (33.0, 0.0),
    "delay_optimal": (23.5, 144.0),
    "energy_optimal": (33.0, 0.0),
}
AROUND_CARD = {
    "card": (10.7, 308.4),
    "channel_blind": (21.2, 634.2),
    "makespan": (11.4, 412.8),
    "lyapunov": (10.8, 310.4),
    "alternating_cut_first": (11.2, 309.9),
    "alternating_clock_first": (10.7, 308.4),
    "budget_online": (10.6, 310.8),
}
"""Mean delay [s] and energy [J], as in `realistic`."""


@pytest.mark.parametrize(
    ("crowd", "count", "curve"),
    [
        (IN_A_CORNER, 7, [(33.0, 0.0), (25.5, 10.0), (24.0, 80.0), (23.5, 144.0)]),
        (AROUND_CARD, 8, [(11.0, 305.0), (10.7, 308.4), (10.4, 350.0), (10.2, 400.3)]),
    ],
    ids=["in a corner", "around CARD"],
)
def test_headline_labels_stand_apart_where_marks_crowd(crowd, count, curve) -> None:
    delay_s, energy_j = zip(*crowd.values(), strict=True)
    statistic = {"statistic": ["mean", "low", "high"]}
    crowded = xr.Dataset(
        {"delay_s": ("policy", list(delay_s)), "energy_j": ("policy", list(energy_j))},
        {"policy": list(crowd)},
    ).expand_dims(statistic, axis=-1)
    delays, energies = map(list, zip(*curve, strict=True))
    figure = figures.headline(
        crowded, xr.Dataset({"delay_s": ("w", delays), "energy_j": ("w", energies)})
    )
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    boxes = {text.get_text(): Text.get_window_extent(text) for text in axes.texts}
    assert len(boxes) == count
    for (one, first), (other, second) in itertools.combinations(boxes.items(), 2):
        assert not first.overlaps(second), (one, other)
    assert all(axes.get_window_extent().contains(*box.min) for box in boxes.values())
    for text in axes.texts:
        line = getattr(text, "arrow_patch", None)
        others = [box for name, box in boxes.items() if line and name != text.get_text()]
        path = line.get_path().transformed(line.get_transform()) if line else None
        assert not any(path.intersects_bbox(box, filled=False) for box in others), text.get_text()


def test_a_phone_names_the_policies_below_the_headline(table: xr.Dataset) -> None:
    phone = for_phone(figures.headline(table))
    phone.draw_without_rendering()
    assert phone.get_figwidth() == WIDTH_IN
    (legend,) = phone.legends
    named = ", ".join(text.get_text() for text in legend.get_texts())
    assert all(figures.label_of(policy) in named for policy in table.policy.values.tolist())
    assert legend.get_window_extent().width <= phone.bbox.width


def test_by_state_draws_every_mean(simulated: xr.Dataset) -> None:
    parted = mean_intervals(simulated, ("policy", "state"))
    figure = figures.by_state(parted)
    for axes, name in zip(figure.axes, ("delay_s", "energy_j"), strict=True):
        drawn = sorted(float(bar[0].get_xdata()[0]) for bar in axes.containers)
        expected = parted[name].sel(statistic="mean").values.ravel()
        np.testing.assert_allclose(drawn, np.sort(expected))
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "mean delay [s]",
        "mean server energy [J]",
    ]


@pytest.mark.parametrize("draw", [figures.by_state, figures.headline])
def test_a_narrow_figure_keeps_its_words(simulated: xr.Dataset, draw) -> None:
    by = ("policy", "state") if draw is figures.by_state else ("policy",)
    with mpl.rc_context():
        use_style(2.5)
        figure = draw(mean_intervals(simulated, by), width_in=2.5)
        figure.draw_without_rendering()
    words = [*figure.legends, *(axes.xaxis.label for axes in figure.axes)]
    for box in (word.get_window_extent() for word in words):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width


def test_the_handle_of_the_curve_leaves_its_words_room(table: xr.Dataset) -> None:
    curve = xr.Dataset({"delay_s": ("w", [30.0, 20.0]), "energy_j": ("w", [0.0, 100.0])})
    with mpl.rc_context():
        use_style(3.5)
        figure = figures.headline(table, curve, 3.5)
        figure.draw_without_rendering()
    (legend,) = figure.legends
    *_, handle = legend.legend_handles
    *_, words = legend.get_texts()
    cap = 0.0 if handle.get_solid_capstyle() == "butt" else handle.get_linewidth() / 2
    end = handle.get_transform().transform(handle.get_xydata())[-1, 0]
    gap_pt = (words.get_window_extent().x0 - end) * 72 / figure.dpi - cap
    assert gap_pt > 2


def test_parts_stack_up_to_the_mean_delay(simulated: xr.Dataset) -> None:
    parts = simulated[list(PARTS)].mean(("state", "device", "round"))
    system = card.system(card.load_scenario("nominal"))
    figure = figures.where_it_goes(parts, energy_parts(simulated, system))
    seconds, joules = figure.axes
    tops = [bar.get_x() + bar.get_width() for bar in seconds.containers[-1]]
    np.testing.assert_allclose(tops, simulated.delay_s.mean(("state", "device", "round")))
    labels = [text.get_text() for text in joules.get_legend().get_texts()]
    assert labels == ["server computes", "device computes", "device sends"], "no static power"


def test_device_energy_marks_every_device(simulated: xr.Dataset) -> None:
    (axes,) = figures.device_energy(simulated).axes
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    expected = simulated.device_energy_j.mean(("state", "round")).transpose("policy", "device")
    np.testing.assert_allclose([line.get_xdata() for line in dots], expected)
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "mean energy of a device per round [J]"


@pytest.mark.parametrize("draw", [Figure.draw_without_rendering, for_phone])
def test_digits_of_devices_stand_apart(simulated: xr.Dataset, draw) -> None:
    figure = figures.device_energy(simulated)
    figure = draw(figure) or figure
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert len(axes.texts) == simulated.sizes["policy"] * simulated.sizes["device"]
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert (axes.get_title("left") or axes.get_title()).startswith("digit: device")


def test_an_energy_that_is_not_known_has_no_part_and_no_mean(one_unknown: xr.Dataset) -> None:
    system = card.system(card.load_scenario("nominal", **{"devices.device-3.hardware": NO_POWER}))
    parts = one_unknown[list(PARTS)].mean(("state", "device", "round"))
    _, joules = figures.where_it_goes(parts, energy_parts(one_unknown, system)).axes
    labels = [text.get_text() for text in joules.get_legend().get_texts()]
    assert labels == ["server computes"]
    assert joules.get_xlabel() == "mean server energy [J], devices: –"
    (axes,) = figures.device_energy(one_unknown).axes
    title = axes.get_title("left") or axes.get_title()
    assert title.endswith("; no mean, as one is not known")
