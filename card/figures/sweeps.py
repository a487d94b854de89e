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
from card.figures.decisions import LineStyle
from card.figures.policies import POLICY_MARKERS, label_of
from card.figures.style import COLOURS, POLICY_COLOURS, WIDTH_IN
from card.studies.sweep_axes import Axis, axes

if TYPE_CHECKING:
    import xarray as xr

_STYLES: tuple[LineStyle, ...] = ("-", "--", ":", "-.")
_TICKS = 12
"""Values that are named along an axis at most."""
_LETTERS = 32
"""Letters of a value in a picture at most."""


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
    figure = Figure(figsize=(WIDTH_IN, 3.9), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, (name, label) in zip(
        panels,
        (("delay_s", "mean delay per round [s]"), ("energy_j", "mean server energy per round [J]")),
        strict=True,
    ):
        x = _horizontal(panel, found[path])
        for policy in sweep.policy.values.tolist():
            _lines(panel, x, means[name].sel(policy=policy), policy, path, style)
        lowest, highest = float(means[name].min()), float(means[name].max())
        panel.set(xlabel=found[path].title, ylabel=label)
        if 0 < 20 * lowest < highest:
            panel.set_yscale("log")
            panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        else:
            panel.set_ylim(0, 1.06 * highest or 1.0)
    handles, columns = _key(sweep, style)
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=columns,
        handlelength=2.6,
        title="\n".join(_short(found[name].at(0), 3 * _LETTERS) for name in single) or None,
    )
    return figure


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


def _horizontal(axes: Axes, along: Axis) -> Any:
    """Places of the values on the horizontal axis, which is laid out for them."""
    values: Any = np.array(along.values) if along.numeric else np.arange(len(along.values))
    spread = along.numeric and values.min() > 0 and values.max() > 10 * values.min()
    if spread:
        axes.set_xscale("log")
    if along.numeric and not spread and len(values) > 1:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        return values
    named = slice(None, None, -(-len(values) // _TICKS))
    labels = [_short(label, _LETTERS) for label in along.labels]
    long = not along.numeric and len("".join(labels[named])) > _LETTERS
    axes.set_xticks(values[named], labels=labels[named])
    for label in axes.get_xticklabels() if long else ():
        label.set(rotation=25, ha="right", rotation_mode="anchor")
    axes.minorticks_off()
    return values


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _lines(
    axes: Axes, x: Any, means: xr.DataArray, policy: str, path: str, by: Axis | None
) -> None:
    rows = means.transpose(by.path, path).values if by else means.values[None]
    same, order = bool(np.allclose(rows, rows[:1])), np.argsort(x)  # given in whatever order
    for row, style in zip(rows[:1] if same else rows, _STYLES, strict=False):
        axes.plot(
            x[order], row[order], linestyle=style, marker=POLICY_MARKERS.get(policy, "h"),
            color=POLICY_COLOURS.get(policy, COLOURS["black"]), markersize=5.5,
        )  # fmt: skip


def _key(sweep: xr.Dataset, by: Axis | None) -> tuple[list[Line2D], int]:
    """Handles and columns of a legend with policies first and line styles in a row of their own."""
    policies = [
        Line2D([], [], color=POLICY_COLOURS.get(policy, COLOURS["black"]), label=label_of(policy),
               marker=POLICY_MARKERS.get(policy, "h"))
        for policy in sweep.policy.values.tolist()
    ]  # fmt: skip
    styles = [
        Line2D([], [], color="#444444", linestyle=style, label=_short(by.at(place), 2 * _LETTERS))
        for place, style in zip(range(len(by.values)), _STYLES, strict=False)
    ] if by else []  # fmt: skip
    longest = max((len(str(style.get_label())) for style in styles), default=0)
    columns = min(4 if longest <= _LETTERS else 2, max(len(policies), len(styles)))
    blank = Line2D([], [], linestyle="", label="")
    rows = [*policies, *[blank] * (-len(policies) % columns)]
    rows += [*styles, *[blank] * (-len(styles) % columns)]
    # Matplotlib fills a legend column by column
    return [handle for column in range(columns) for handle in rows[column::columns]], columns
