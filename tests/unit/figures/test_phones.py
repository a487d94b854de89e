"""`card.figures.phones`: the same figure in one column, complete and legible."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from card.figures.image_files import phone_svg, svg
from card.figures.phones import WIDTH_IN, draw_narrow, for_phone
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


def test_names_below_a_panel_are_turned_before_they_touch() -> None:
    figure = Figure(figsize=(7.2, 3), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(-0.5, 7.5)
    axes.tick_params(labelsize=10)
    for labelled, turned in (("16/16", 45), ("8", 0)):
        axes.set_xticks(range(8), [labelled] * 8)
        (phone,) = for_phone(figure).axes
        assert {label.get_rotation() for label in phone.get_xticklabels()} == {turned}


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


def test_words_keep_their_size_where_only_the_lines_that_lead_to_them_meet() -> None:
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    for at, place, name in ((0.7, 0.2, "below"), (0.3, 0.8, "above")):
        axes.annotate(name, (0.2, at), (0.5, place), arrowprops={"arrowstyle": "-"}, fontsize=9)
    one, other = axes.texts
    figure.draw_without_rendering()
    assert one.get_window_extent().overlaps(other.get_window_extent())
    assert [text.get_fontsize() for text in for_phone(figure).axes[0].texts] == [9, 9]


def test_a_long_name_in_a_legend_is_broken() -> None:
    figure = Figure(layout="constrained")
    (line,) = figure.subplots().plot([0, 1], label="a state of the channel " * 4)
    figure.legend(handles=[line], loc="outside upper center")
    phone = for_phone(figure)
    (legend,) = phone.legends
    assert legend.get_window_extent().width <= phone.bbox.width


def test_a_legend_below_the_axis_makes_room_for_a_broken_label() -> None:
    figure = Figure(figsize=(7.2, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], label="a line")
    axes.set_xlabel("a rather long label that says what this axis has on it [s]")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
    (stacked,) = for_phone(figure).axes
    stacked.get_figure().draw_without_rendering()
    label, legend = stacked.xaxis.label, stacked.get_legend()
    assert "\n" in label.get_text()
    assert not legend.get_window_extent().overlaps(label.get_window_extent())


def test_a_broken_title_keeps_its_letters() -> None:
    figure = Figure(figsize=(7.2, 3), layout="constrained")
    title = "what each mark in this panel stands for, in a sentence that is longer than a phone"
    figure.subplots().set_title(title, fontsize=7.5, fontweight="normal", loc="left")
    (stacked,) = for_phone(figure).axes
    drawn = next(text for text in stacked.findobj(Text) if "stands for" in text.get_text())
    assert "\n" in drawn.get_text()
    assert (drawn.get_fontsize(), drawn.get_fontweight()) == (7.5, "normal")


def test_a_figure_may_have_a_drawing_of_its_own_for_phones() -> None:
    figure, narrow = Figure(), Figure(figsize=(WIDTH_IN, 2))
    draw_narrow(figure, lambda: narrow)
    assert for_phone(figure) is narrow


def test_a_legend_that_needs_more_lines_makes_the_figure_taller(figure: Figure) -> None:
    with_legend = for_phone(figure)
    with_legend.draw_without_rendering()
    (legend,) = with_legend.legends
    lines = len({round(text.get_window_extent().y0) for text in legend.get_texts()})
    legend_in = legend.get_window_extent().height / with_legend.dpi
    figure.legends.clear()
    grown_in = with_legend.get_figheight() - for_phone(figure).get_figheight()
    # one line was there before, of which the frame is a part
    assert lines > 1
    assert 0 < grown_in < legend_in
