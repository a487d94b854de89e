"""`card.figures.image_files`: whole marks at the edges of panels, and letters of other fonts."""

import warnings
from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from card import load_scenario, simulate
from card.base.errors import ScenarioWarning
from card.figures.image_files import finished
from card.figures.policies import by_state
from card.figures.style import use_style
from card.studies.bootstrap import mean_intervals


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with mpl.rc_context():
        use_style()
        yield


def missing_px(axes: Axes) -> float:
    """Most that the panel cuts off a mark [px]."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    cut = []
    for line in axes.lines:
        if line.get_marker() not in ("None", None):
            places = axes.transData.transform(np.asarray(line.get_xydata()))
            half = line.get_markersize() / 2 * figure.dpi / 72
            cut.append(np.max([axes.bbox.p0 + half - places, places + half - axes.bbox.p1]))
    return float(max(cut))


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_marks_at_the_limits_are_whole(scale: str) -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 10, 100], [1, 10, 100], "o", markersize=20)
    axes.set(xscale=scale, yscale=scale, xlim=(1, 100), ylim=(100, 1))
    assert missing_px(axes) > 5
    finished(figure, drawn=True)
    assert missing_px(axes) <= 0.5
    found = axes.get_xlim(), axes.get_ylim()
    finished(figure, drawn=True)
    assert (axes.get_xlim(), axes.get_ylim()) == found


def test_limits_stay_where_no_mark_is_cut() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1])
    axes.plot([2, 0.5], [0.5, 3], "o")
    axes.plot([0, 0.3, 0.7, 1], [0.5] * 4, "s-", markevery=(1, 2))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.lines[-1].set_markevery((1, 5))
    finished(figure, drawn=True)
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 1), (0, 1))


def test_a_column_of_states_has_whole_marks_at_no_energy() -> None:
    results = simulate(load_scenario("nominal"), ["device_only", "energy_optimal"], rounds=2)
    figure = by_state(mean_intervals(results, ("policy", "state")), 3.5)
    assert missing_px(figure.axes[1]) > 1
    finished(figure, drawn=True)
    assert max(map(missing_px, figure.axes)) <= 0.5


def letters_of(name: str) -> set[int]:
    return {*get_font(findfont(FontProperties(family=name))).get_charmap()}


def test_letters_that_the_font_lacks_are_taken_from_another() -> None:
    letter = chr(min(letters_of("STIXGeneral") - letters_of("DejaVu Sans")))
    figure = Figure()
    named, other = figure.text(0, 0, f"device {letter}"), figure.text(0, 1, "device")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finished(figure, drawn=True)
    assert any(ord(letter) in letters_of(name) for name in named.get_fontfamily())
    assert other.get_fontfamily() == ["DejaVu Sans"]


def test_letters_that_no_font_has_are_told() -> None:
    figure = Figure()
    figure.text(0, 0, "\U0010fffd")
    with pytest.warns(ScenarioWarning, match="no font that is installed has \U0010fffd, drawn"):
        finished(figure, drawn=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finished(figure, drawn=False)
