"""Figures of decisions draw the decisions they are given."""

from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from card.figures import decisions
from card.figures.style import COLOURS, device_rows, representatives, use_style


@pytest.fixture
def results() -> xr.Dataset:
    """One policy, one state, two devices, four rounds; the server idles at cut 8."""
    cut = np.array([[[0, 0, 8, 8], [0, 0, 0, 0]]])
    dims = ("state", "device", "round")
    return xr.Dataset(
        {
            "cut": (dims, cut),
            "frequency_hz": (dims, np.array([[[1e9, 2e9, 3e9, 3e9], [4e8, 5e8, 6e8, 7e8]]])),
            "server_compute_s": (dims, np.where(cut < 8, 1.0, 0.0)),
        },
        coords={"state": ["good"], "device": ["a", "b"], "round": np.arange(4)},
    )


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def title(axes: Axes) -> str:
    """Title wherever the style puts it."""
    return axes.get_title() or axes.get_title(loc="left")


def test_runs_are_value_start_and_length() -> None:
    assert list(decisions.runs([0, 0, 8, 0])) == [(0, 0, 2), (8, 2, 1), (0, 3, 1)]


def test_cut_colours_run_from_the_servers_to_the_devices() -> None:
    assert decisions.cut_colour(0, 8) == to_hex(COLOURS["green"])
    assert decisions.cut_colour(8, 8) == to_hex(COLOURS["vermillion"])


def test_strips_are_the_runs_of_each_device(results: xr.Dataset) -> None:
    figure = decisions.decisions_over_rounds(results, 8)
    strips, clocks = figure.axes
    bars = [(bar.get_x(), bar.get_width(), to_hex(bar.get_facecolor())) for bar in strips.patches]
    green, vermillion = to_hex(COLOURS["green"]), to_hex(COLOURS["vermillion"])
    assert bars == [(0, 2, green), (2, 2, vermillion), (0, 4, green)]
    assert title(strips) == "good: cut layer"
    assert clocks.get_ylabel() == "GHz"


def test_clocks_have_a_gap_where_the_server_idles(results: xr.Dataset) -> None:
    clocks = decisions.decisions_over_rounds(results, 8).axes[1]
    first, second = (line.get_ydata() for line in clocks.get_lines())
    np.testing.assert_allclose(first, [1.0, 2.0, np.nan, np.nan])
    np.testing.assert_allclose(second, [0.4, 0.5, 0.6, 0.7])


def test_only_the_first_rounds_are_shown(results: xr.Dataset) -> None:
    strips = decisions.decisions_over_rounds(results, 8, rounds=2).axes[0]
    assert [bar.get_width() for bar in strips.patches] == [2, 2]


def test_shares_add_up_and_are_named(results: xr.Dataset) -> None:
    figure = decisions.decision_shares(results, 8)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [50.0, 50.0, 100.0]
    assert texts(figure) == ["cut 0", "cut 8", "cut 0"]
    assert axes.get_xlabel() == "rounds [%]"


def test_regions_mark_cuts_and_scenario() -> None:
    weight = np.linspace(0, 1, 11)
    bands = np.geomspace(1e6, 1e8, 9)
    above = weight[None, :] > np.linspace(0.2, 0.8, 9)[:, None]
    cut = xr.DataArray(
        np.where(above, 0, 8)[None, None],
        dims=("state", "device", "bandwidth_hz", "delay_weight"),
        coords={
            "state": ["good"],
            "device": ["a"],
            "bandwidth_hz": bands,
            "delay_weight": weight,
        },
    )
    figure = decisions.decision_regions(cut, 8, (1e7, 0.5))
    (axes,) = figure.axes
    assert sorted(texts(figure)) == ["cut 0", "cut 8"]
    assert axes.get_xlabel() == "bandwidth [MHz]"
    assert axes.get_ylabel() == "delay weight w"
    (ring,) = axes.get_lines()
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (10.0, 0.5)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["border, good", "this scenario"]


def test_no_name_of_a_cut_stands_on_a_border_of_another_state() -> None:
    weight, bands = np.linspace(0, 1, 21), np.geomspace(1e6, 1e8, 21)
    # the middle state's border halves the plane; the first state's halves the lower part again
    cuts = [np.where(weight > border, 0, 8) for border in (0.25, 0.5, 0.5)]
    cut = xr.DataArray(
        np.broadcast_to(np.array(cuts)[:, None, None], (3, 1, 21, 21)),
        dims=("state", "device", "bandwidth_hz", "delay_weight"),
        coords={"state": ["good", "normal", "poor"], "device": ["a"], "bandwidth_hz": bands,
                "delay_weight": weight},
    )  # fmt: skip
    (axes,) = decisions.decision_regions(cut, 8, (1e7, 0.9)).axes
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert set(heights) == {"cut 0", "cut 8"}
    assert all(abs(heights["cut 8"] - border) > 0.07 for border in (0.0, 0.25, 0.5))


def test_thresholds_and_clocks_are_drawn_as_given() -> None:
    least = np.array([[0.1, 0.2, 0.3], [0.5, np.nan, np.nan]])
    clocks = np.array([[np.nan, 1e9, 2e9], [np.nan, 5e8, 2e9]])
    figure = decisions.thresholds_and_clocks(
        [10, 20, 30], least, [0.0, 0.5, 1.0], clocks, ["a", "b"], 2e9
    )
    left, right = figure.axes
    np.testing.assert_array_equal([line.get_ydata() for line in left.get_lines()], least)
    drawn = [line.get_ydata() for line in right.get_lines()[:2]]
    np.testing.assert_allclose(drawn, clocks / 1e9)
    assert left.get_xlabel() == "distance [m]"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_each_line_that_reaches_the_largest_distance_is_named_there() -> None:
    least = np.array([[0.4, 0.9, np.nan], [0.1, 0.2, 0.3], [0.02, 0.03, 0.05], [0.01, 0.02, 0.04]])
    clocks = np.full((4, 2), 1e9)
    figure = decisions.thresholds_and_clocks([10, 20, 30], least, [0, 1], clocks, [*"abcd"], 2e9)
    figure.draw_without_rendering()
    names = {text.get_text(): text for text in figure.axes[0].texts}
    assert set(names) == set("abcd")
    assert {name for name, text in names.items() if text.xy[0] == 30} == set("bcd")
    boxes = [names[name].get_window_extent() for name in "bcd"]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


LONG = [f"{what}-in-the-{where}" for what in ("camera", "sensor") for where in ("pantry", "hall")]


@pytest.mark.parametrize("names", [[*"abcde"], LONG], ids=["short names", "long names"])
def test_names_lie_on_no_line_of_clocks_and_no_axis(names: list[str]) -> None:
    distance, weight = np.linspace(10, 400, 40), np.linspace(0, 1, 21)
    least = np.array([np.linspace(0.1 * k, 0.2 * k, 40) for k in range(1, len(names) + 1)])
    least[:3, 8:] = np.nan  # labels of these stand on their lines, near the axis
    clocks = 1e9 * np.array([weight + 0.1 * k for k in range(len(names))])
    figure = decisions.thresholds_and_clocks(distance, least, weight, clocks, names, 2.5e9)
    figure.draw_without_rendering()
    left, right = figure.axes
    (legend,) = figure.legends
    words = [text.get_window_extent() for text in legend.get_texts()]
    assert [text.get_text() for text in legend.get_texts()] == names[::-1]
    for box in (axes.get_tightbbox() for axes in figure.axes):
        assert not any(box.overlaps(word) for word in words)
    labels = [text.get_window_extent() for text in left.texts]
    assert bool(labels) == (names is not LONG)
    for label in labels:
        assert label.x0 > left.bbox.x0
        assert not label.overlaps(right.yaxis.label.get_window_extent())


class TestManyDevices:
    NAMES = (*(f"phone-{number:02}" for number in range(1, 61)), *(f"car-{n}" for n in range(40)))

    @pytest.fixture
    def fleet(self) -> xr.Dataset:
        """One policy, one state, 100 devices, four rounds; cars keep all, half of the phones."""
        cut = np.zeros((1, len(self.NAMES), 4), dtype=int)
        cut[:, 30:] = 8
        dims = ("state", "device", "round")
        return xr.Dataset(
            {
                "cut": (dims, cut),
                "frequency_hz": (dims, np.full(cut.shape, 1e9)),
                "server_compute_s": (dims, np.where(cut < 8, 1.0, 0.0)),
            },
            coords={"state": ["good"], "device": list(self.NAMES), "round": np.arange(4)},
        )

    def test_shares_are_those_of_kinds(self, fleet: xr.Dataset) -> None:
        figure = decisions.decision_shares(fleet, 8)
        (axes,) = figure.axes
        assert [label.get_text() for label in axes.get_yticklabels()] == ["phone", "car"]
        bars = [(bar.get_width(), round(bar.get_y())) for bar in axes.patches]
        assert bars == [(50, 0), (50, 0), (100, 1)]
        assert figure.get_figheight() < 3

    def test_strips_are_those_of_the_first_of_each_kind(self, fleet: xr.Dataset) -> None:
        strips, _ = decisions.decisions_over_rounds(fleet, 8).axes
        assert [label.get_text() for label in strips.get_yticklabels()] == ["phone-01", "car-0"]
        assert len(strips.patches) == 2

    def test_each_device_has_a_row_up_to_twenty_and_strangers_share_one(self) -> None:
        twenty = [f"device-{number}" for number in range(20)]
        assert list(device_rows(twenty)) == twenty
        assert device_rows([*twenty, "hub"]) == {"device": [*range(20)], "hub": [20]}
        strangers = [chr(ord("a") + number) for number in range(21)]
        assert device_rows(strangers) == {"devices": [*range(21)]}
        assert representatives(strangers) == [0]


STATES = {
    "five": ["good", "normal", "poor", "excellent", "obstructed"],
    "long": ["line-of-sight-suburban", "non-line-of-sight-suburban", "behind the big old barn",
             "line-of-sight-urban-microcell", "ConcreteBasementWithoutWindows"],
    "two": ["line-of-sight-urban-microcell", "ConcreteBasementWithoutWindows"],
    "one": ["good"],
}  # fmt: skip


@pytest.mark.parametrize("width_in", [2.5, 3.5, 7.0])
@pytest.mark.parametrize("states", STATES.values(), ids=STATES)
def test_words_of_shares_keep_to_their_panels_bars_and_figure(states, width_in) -> None:
    devices = [f"device-{number}" for number in range(1, 6)]
    drawn = np.random.default_rng(1).choice(
        [0, 7, 12, 16], p=[0.35, 0.2, 0.1, 0.35], size=(len(states), len(devices), 40)
    )
    cuts = xr.Dataset(
        {"cut": (("state", "device", "round"), drawn)}, {"state": states, "device": devices}
    )
    with mpl.rc_context():
        use_style(width_in)
        figure = decisions.decision_shares(cuts, 16, width_in)
        figure.draw_without_rendering()
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    boxes = [text.get_window_extent() for text in shown]
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
    for axes in figure.axes:
        assert axes.bbox.width > 0.12 * figure.bbox.width
        bars = [bar.get_window_extent() for bar in axes.patches]
        for box in (word.get_window_extent() for word in axes.texts):
            assert any(bar.x0 <= box.x0 and box.x1 <= bar.x1 for bar in bars)
    assert len(figure.axes) == len(states)
    assert {f"cut {cut}" for cut in (0, 16)} <= set(texts(figure))
