"""A picture of any sweep: mean delay and server energy along one of its paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from card.base.errors import ScenarioError, nearest
from card.figures.labels import LETTERS, apart, columns_of, fit, folded, short, ticks, width_pt
from card.figures.policies import labels_of
from card.figures.style import WIDTH_IN, LineStyle, Look, looks
from card.studies.scenario_values import show
from card.studies.sweep_axes import Axis, axes

if TYPE_CHECKING:
    import xarray as xr

_STYLES: tuple[LineStyle, ...] = ("-", "--", ":", "-.")
_PANEL_PT = 165.0
"""From the first value to the last, about: what labels and margins leave of half a figure [pt]."""
_LINE_PT = 14.0
"""Room that lines of words need, one beside the other [pt]."""
_TITLE = 32
"""Letters of a line below an axis at most."""
_IS = " = "
_MARKED = 25
"""Values that have a mark on a line, about."""


def along(sweep: xr.Dataset, path: str, by: str | None = None) -> Figure:
    """Mean delay and mean server energy of every policy along a path, averaged over the devices.

    A path with one value is no axis: the legend's title names it.

    Parameters
    ----------
    sweep
        Dataset of `card.sweep`.
    path
        Path along the horizontal axis.
    by
        Path whose values are different line styles, at most four of them. Lines that it does not
        move are drawn once.

    Raises
    ------
    ScenarioError
        If the sweep has no such path, or further ones, or more values than there are line styles.
    """
    found = axes(sweep)
    for name in (path, by):
        if name is not None and name not in found:
            raise ScenarioError(f"the sweep has no path {name!r}; {nearest(name, found)}")
    check_drawable({name: len(axis.values) for name, axis in found.items()}, path, by)
    single = [name for name, axis in found.items() if name != path and len(axis.values) == 1]
    means = sweep[["delay_s", "energy_j"]].mean(("state", "device")).squeeze(single)
    style = found[by] if by is not None and by not in single else None
    labels = apart(found[path].labels)
    deep_pt = 0.0 if _level(found[path], labels) else max(map(width_pt, labels))
    look = looks(sweep.policy.values.tolist())
    handles, columns = _key(look, style)
    # taller by what words need, so that they leave the panels as they are
    words_in = (deep_pt + _LINE_PT * max(0, len(handles) // columns - 2)) / 72
    figure = Figure(figsize=(WIDTH_IN, 3.9 + words_in), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, (name, label) in zip(
        panels,
        (("delay_s", "mean delay per round [s]"), ("energy_j", "mean server energy per round [J]")),
        strict=True,
    ):
        x = _horizontal(panel, found[path], labels)
        for policy, mine in look.items():
            _lines(panel, x, means[name].sel(policy=policy), mine, path, style)
        lowest, highest = float(means[name].min()), float(means[name].max())
        panel.set(xlabel=folded(found[path].title, _TITLE), ylabel=label)
        if 0 < 20 * lowest < highest:
            panel.set_yscale("log")
        else:
            panel.set_ylim(0, 1.06 * highest or 1.0)
        panel.yaxis.set_major_formatter(FuncFormatter(_written))
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=columns,
        handlelength=2.6,
        title="\n".join(_named(found[name]) for name in single) or None,
    )
    return figure


def _written(number: float, _: int | None = None) -> str:
    return show(float(number))  # Matplotlib's own numbers are NumPy's


def _named(single: Axis) -> str:
    """The one value of a path behind its name, of which both are seen."""
    whole = single.at(0)
    if len(whole) <= 3 * LETTERS:
        return whole
    value = whole.removeprefix(single.words + _IS)
    return f"{short(single.words, LETTERS)}{_IS}{short(value, 2 * LETTERS - len(_IS))}"


def check_drawable(sizes: Mapping[str, int], path: str, by: str | None = None) -> None:
    """Refuse what `along` cannot show, from the number of values of each path alone.

    Raises
    ------
    ScenarioError
        If there are further paths of several values, or more values of `by` than line styles.
    """
    rest = [name for name, size in sizes.items() if size > 1 and name not in (path, by)]
    if rest:
        raise ScenarioError(
            f"a picture shows two paths; choose one value of {', '.join(rest)} first, as in "
            f"sweep.isel({{{rest[0]!r}: [0]}}), or with --over and --set."
        )
    if by is not None and sizes[by] > len(_STYLES):
        raise ScenarioError(
            f"{by} has {sizes[by]} values, and a picture can tell {len(_STYLES)} apart; name it "
            "first, so that it stands along the axis, or choose some of its values."
        )


def _level(along: Axis, labels: list[str]) -> bool:
    """Whether what stands along an axis is written level: numbers, and words that have room."""
    return along.numeric or fit(np.linspace(0, _PANEL_PT, len(labels)), labels)


def _horizontal(axes: Axes, along: Axis, labels: list[str]) -> Any:
    """Places of the values on the horizontal axis, which is laid out for them."""
    axes.minorticks_off()
    if not along.numeric:
        places, level = np.arange(len(labels)), _level(along, labels)
        named = slice(None, None, 1 if level else -(-len(labels) * int(_LINE_PT) // int(_PANEL_PT)))
        axes.set_xticks(places[named], labels=labels[named], rotation=0 if level else 90)
        return places
    values = np.array(along.values)
    spread = bool(values.min() > 0 and values.max() > 10 * values.min())
    if spread:
        axes.set_xscale("log")
    at, words = ticks(along.values, _PANEL_PT, show, log=spread)
    axes.set_xticks(at, labels=words)
    axes.minorticks_off()
    return values


def _lines(axes: Axes, x: Any, means: xr.DataArray, look: Look, path: str, by: Axis | None) -> None:
    rows = means.transpose(by.path, path).values if by else means.values[None]
    same = bool(np.allclose(rows, rows[:1], atol=0))
    order = np.argsort(x)  # given in whatever order
    for row, style in zip(rows[:1] if same else rows, _STYLES, strict=False):
        axes.plot(
            x[order], row[order], linestyle=style, **look._asdict(), markersize=5.5,
            markevery=-(-len(x) // _MARKED),
        )  # fmt: skip


def _key(look: Mapping[str, Look], by: Axis | None) -> tuple[list[Line2D], int]:
    """Handles and columns of a legend with policies first and line styles in a row of their own."""
    policies = [
        Line2D([], [], label=label, **mine._asdict())
        for label, mine in zip(labels_of(list(look)), look.values(), strict=True)
    ]
    named = [by.at(place).removeprefix(by.words) for place in range(len(by.values))] if by else []
    head = f"{short(by.words, LETTERS - len(_IS))}{_IS}" if by else ""
    values = apart([name.removeprefix(_IS) for name in named])
    styles = [
        Line2D([], [], color="#444444", linestyle=style, label=head + value)
        for value, style in zip(values, _STYLES, strict=False)
    ]
    labels = [str(handle.get_label()) for handle in (*policies, *styles)]
    columns = columns_of(labels, WIDTH_IN, min(4, max(len(policies), len(styles))))
    blank = Line2D([], [], linestyle="", label="")
    rows = [*policies, *[blank] * (-len(policies) % columns)]
    rows += [*styles, *[blank] * (-len(styles) % columns)]
    # Matplotlib fills a legend column by column
    return [handle for column in range(columns) for handle in rows[column::columns]], columns
