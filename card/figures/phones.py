"""A figure as a phone shows it: panels one below the other, as wide as the screen."""

from __future__ import annotations

import operator
import pickle
import textwrap
from collections.abc import Callable
from itertools import combinations
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.text import Text

WIDTH_IN = 3.75
"""Width of a phone's page, 390 pixels less its margins [inch]."""
_LEAST_IN = 1.9
"""Height below which a panel of its own is too flat to read [inch]."""
_LEAST_PT = 6.5
"""Size below which letters are hard to read [point]."""
_LINE = 46
"""Characters of a line of text across the page."""
_ENTRY = 34
"""Characters of a line of a legend."""
_LETTER = 0.6
"""Mean width of a letter, as a share of its size."""
_NAME = 22
"""Characters of a line of a name beside a panel."""
_NARROW: WeakKeyDictionary[Figure, Callable[[], Figure]] = WeakKeyDictionary()
_TRIES = 5
_SIDES: tuple[Literal["left", "center", "right"], ...] = ("left", "center", "right")


def draw_narrow(figure: Figure, narrow: Callable[[], Figure]) -> None:
    """Let a phone show a drawing of its own in place of a figure with its panels stacked.

    Parameters
    ----------
    figure
        The figure that wide pages show.
    narrow
        Draws the same as wide as a phone's page; must not hold the figure.
    """
    _NARROW[figure] = narrow


def for_phone(figure: Figure) -> Figure:
    """A copy of a figure, its panels in one column as wide as a phone's page.

    Parameters
    ----------
    figure
        A figure whose panels lie on a grid.
    """
    if figure in _NARROW:
        copy = _NARROW[figure]()
    else:
        copy = pickle.loads(pickle.dumps(figure))
        _stack(copy)
    for axes in copy.axes:
        _break_names(axes)
    copy.draw_without_rendering()
    for axes in copy.axes:
        _break_lines(copy, axes)
    for text in copy.texts:
        text.set_text(textwrap.fill(text.get_text(), _LINE))
    for figure_legend in copy.legends:
        before = figure_legend.get_window_extent().height
        _fit(copy, figure_legend)
        grown = figure_legend.get_window_extent().height - before
        copy.set_figheight(copy.get_figheight() + grown / copy.dpi)  # panels keep their height
    for axes in copy.axes:
        if axes.get_legend():
            _fit(copy, axes.get_legend())
            _lift_title(copy, axes)
            _lower_legend(copy, axes)
    copy.draw_without_rendering()
    for axes in copy.axes:
        _keep_apart(copy, axes)
    return copy


def _stack(figure: Figure) -> None:
    """Put the panels into one column, in the order of reading, and make it as wide as a phone."""
    spec = {axes: place for axes in figure.axes if (place := axes.get_subplotspec())}
    panels = sorted(spec, key=lambda axes: (spec[axes].rowspan.start, spec[axes].colspan.start))
    rows = max(place.rowspan.stop for place in spec.values())
    tall = [float(figure.get_figheight()) * _share(spec[axes], rows) for axes in panels]
    if len(panels) > rows:
        tall = [max(inch, _LEAST_IN) for inch in tall]
        for axes in panels:
            _write_own_names(axes, panels)
        grid = figure.add_gridspec(len(panels), 1, height_ratios=tall)
        for row, axes in enumerate(panels):
            axes.set_subplotspec(grid[row])
    figure.set_size_inches(WIDTH_IN, sum(tall))


def _share(place: SubplotSpec, rows: int) -> float:
    """Share of the figure's height that the rows of a panel take."""
    ratios = np.ravel(place.get_gridspec().get_height_ratios() or np.ones(rows)).astype(float)
    return float(ratios[place.rowspan.start : place.rowspan.stop].sum() / ratios.sum())


def _write_own_names(axes: Axes, panels: list[Axes]) -> None:
    """Write on a panel what it left to its neighbours: labels of axes, and of their ticks."""
    for side, shared in (("x", axes.get_shared_x_axes()), ("y", axes.get_shared_y_axes())):
        read, write = operator.methodcaller(f"get_{side}label"), getattr(axes, f"set_{side}label")
        siblings = [read(other) for other in panels if shared.joined(axes, other)]
        write(read(axes) or next(filter(None, siblings), ""))
    axes.tick_params(labelleft=True, labelbottom=True)


def _break_names(axes: Axes) -> None:
    """Break the names beside a panel that would leave it no room."""
    names = [label.get_text() for label in axes.get_yticklabels()]
    if max(map(len, names), default=0) > _NAME:
        size = 0.8 * float(axes.get_yticklabels()[0].get_fontsize())
        broken = [textwrap.fill(name, _NAME, break_long_words=False) for name in names]
        axes.set_yticks(axes.get_yticks(), broken, fontsize=size)


def _break_lines(figure: Figure, axes: Axes) -> None:
    """Break titles and labels that are longer than the page has room for to their right."""
    letter = _LETTER * float(axes.xaxis.label.get_fontsize()) * figure.dpi / 72
    room = max(20, int((figure.bbox.x1 - axes.bbox.x0) / letter))
    axes.set_xlabel(textwrap.fill(axes.get_xlabel(), room))
    for side in _SIDES:
        if len(title := axes.get_title(side)) > room:
            size, weight = _title_font(axes, side)
            axes.set_title(textwrap.fill(title, room), loc=side, fontsize=size, fontweight=weight)


def _title_font(axes: Axes, side: Literal["left", "center", "right"]) -> tuple[float, str | int]:
    """Size and weight of a title, which matplotlib forgets with its words."""
    text = next(
        text
        for text in axes.findobj(Text)
        if isinstance(text, Text) and text.get_text() == axes.get_title(side)
    )
    return float(text.get_fontsize()), text.get_fontweight()


def _fit(figure: Figure, legend: Any) -> None:
    """Give a legend as few columns as the width of the figure needs, and last break its words."""
    place, outside = legend._loc, legend._outside_loc
    title, small = legend.get_title().get_text(), legend.get_title().get_fontsize()
    words = [text.get_text() for text in legend.texts]
    broken = [textwrap.fill(word, _ENTRY) for word in words]
    for columns, shown in [*((n, words) for n in range(legend._ncols, 0, -1)), (1, broken)]:
        legend.set_ncols(columns)
        # matplotlib lays a legend out once, and has no other way to do so again
        legend._init_legend_box(legend.legend_handles, shown)
        legend.set_loc(place)
        legend._outside_loc = outside
        legend.set_title(title, prop={"size": small})
        if legend.get_window_extent().width <= figure.bbox.width:
            return


def _lift_title(figure: Figure, axes: Axes) -> None:
    """Raise a title above a legend that has grown into it."""
    legend = axes.get_legend()
    assert legend
    box = legend.get_window_extent()
    _, bottom = axes.transAxes.transform((0, 1))
    for side in _SIDES:
        if axes.get_title(side) and box.y1 > bottom + 1:
            axes.set_title(
                axes.get_title(side), loc=side, pad=72 * (box.y1 - bottom) / figure.dpi + 4
            )


def _lower_legend(figure: Figure, axes: Axes) -> None:
    """Lower a legend below a label of the axis that has grown into it."""
    legend = axes.get_legend()
    assert legend
    # a legend that is lower leaves the panel less of the height, which its place is a share of
    for _ in range(_TRIES):
        figure.draw_without_rendering()
        box, label = legend.get_window_extent(), axes.xaxis.label.get_window_extent()
        if not axes.get_xlabel() or not box.y0 < label.y0 < box.y1:
            return
        anchor = legend.get_bbox_to_anchor().transformed(axes.transAxes.inverted())
        lower = anchor.y0 - (box.y1 - label.y0 + 2) / axes.bbox.height
        legend.set_bbox_to_anchor((0.5, lower), axes.transAxes)


def _keep_apart(figure: Figure, axes: Axes) -> None:
    """Turn names along the lower edge, and shrink words on a panel, where they collide."""
    if _collide([label for label in axes.get_xticklabels() if label.get_text()]):
        axes.tick_params(axis="x", labelrotation=45)
    words = [text for text in axes.texts if text.get_text()]
    while _collide(words) and min(float(text.get_fontsize()) for text in words) > _LEAST_PT:
        for text in words:
            text.set_fontsize(0.93 * float(text.get_fontsize()))
        figure.draw_without_rendering()


def _collide(words: list[Text]) -> bool:
    # without lines that lead to them, and with half a letter's room around each
    boxes = [
        Text.get_window_extent(text).padded(0.25 * float(text.get_fontsize()), 0) for text in words
    ]
    return any(first.overlaps(second) for first, second in combinations(boxes, 2))
