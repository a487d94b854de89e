"""`card.figures.phones`: the same figure in one column, complete and legible."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from card.figures.image_files import phone_svg, svg
from card.figures.phones import WIDTH_IN, for_phone
from card.figures.style import use_style


@pytest.fixture
def figure() -> Figure:
    use_style()
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    names = [f"a parameter with a long name, number {place}" for place in range(4)]
    for axes, what in zip(panels, ("delay", "energy"), strict=True):
        axes.barh(names, np.arange(4), label="bars of one kind")
        axes.barh(names, -np.arange(4), label="bars of another kind")
        axes.set(xlabel=f"a rather long label that says what this axis has: {what}", title=what)
    panels[0].set_ylabel("parameter")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles * 2, labels * 2, loc="outside lower center", ncols=4)
    return figure


def test_panels_stand_below_each_other_as_wide_as_a_phone(figure: Figure) -> None:
    phone = for_phone(figure)
    phone.draw_without_rendering()
    above, below = (axes.get_position() for axes in phone.axes)
    assert phone.get_figwidth() == WIDTH_IN
    assert below.y1 < above.y0
    assert above.x0 == pytest.approx(below.x0, abs=0.02)
    assert phone.get_tightbbox().width <= WIDTH_IN + 0.15


def test_each_panel_has_the_names_that_it_shared(figure: Figure) -> None:
    for axes in for_phone(figure).axes:
        assert axes.get_ylabel() == "parameter"
        assert all(label.get_text() for label in axes.get_yticklabels())


def test_long_words_are_broken_and_the_legend_has_a_place_of_its_own(figure: Figure) -> None:
    phone = for_phone(figure)
    phone.draw_without_rendering()
    assert "\n" in phone.axes[0].get_xlabel()
    (legend,) = phone.legends
    assert legend.get_window_extent().width <= phone.bbox.width
    lowest = min(axes.get_tightbbox().y0 for axes in phone.axes)
    assert legend.get_window_extent().y1 <= lowest + 1


def test_the_figure_itself_stays_as_it_was(figure: Figure) -> None:
    before = svg(figure)
    assert phone_svg(figure) == phone_svg(figure)
    assert svg(figure) == before


def test_words_on_a_panel_shrink_until_they_do_not_collide() -> None:
    figure = Figure(figsize=(7.2, 3), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    for place, word in ((0.3, "a first word"), (0.62, "a second word")):
        axes.text(place, 0.5, word, fontsize=11, ha="center")
    phone = for_phone(figure)
    phone.draw_without_rendering()
    first, second = (text.get_window_extent() for text in phone.axes[0].texts)
    assert not first.overlaps(second)
