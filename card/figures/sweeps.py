"""A picture of any sweep: mean delay and server energy along one of its paths."""

from __future__ import annotations

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

if TYPE_CHECKING:
    import xarray as xr

_STYLES: tuple[LineStyle, ...] = ("-", "--", ":", "-.")
_WORDS = {
    "link.bandwidth_hz": ("bandwidth [MHz]", 1e6),
    "objective.delay_weight": ("weight of delay w", 1.0),
}
_OWN = ("policy", "state", "device")


def along(sweep: xr.Dataset, path: str, by: str | None = None) -> Figure:
    """Mean delay and mean server energy of every policy along a path, averaged over the devices.

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
    _check(sweep, path, by)
    means = sweep[["delay_s", "energy_j"]].mean(("state", "device"))
    figure = Figure(figsize=(WIDTH_IN, 3.9), layout="constrained")
    panels = figure.subplots(1, 2)
    text, scale = _WORDS.get(path, (_words(sweep, path), 1.0))
    values = sweep[path].values
    numbers = np.issubdtype(values.dtype, np.number)
    x = values / scale if numbers else np.arange(len(values))
    for axes, (name, label) in zip(
        panels,
        (("delay_s", "mean delay per round [s]"), ("energy_j", "mean server energy per round [J]")),
        strict=True,
    ):
        for policy in sweep.policy.values.tolist():
            _lines(axes, x, means[name].sel(policy=policy), policy, path, by)
        lowest, highest = float(means[name].min()), float(means[name].max())
        axes.set(xlabel=text, ylabel=label)
        if 0 < 20 * lowest < highest:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        else:
            axes.set_ylim(0, 1.06 * highest or 1.0)
        if numbers and values.min() > 0 and values.max() > 10 * values.min():
            axes.set_xscale("log")
            axes.set_xticks(x, labels=[f"{value:g}" for value in x])
            axes.minorticks_off()
        elif not numbers:
            axes.set_xticks(x, labels=values.tolist(), rotation=20, ha="right")
    handles, columns = _key(sweep, by)
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, handlelength=2.6)
    return figure


def _check(sweep: xr.Dataset, path: str, by: str | None) -> None:
    paths = [str(dim) for dim in sweep.delay_s.dims if dim not in _OWN]
    for name in (path, by):
        if name is not None and name not in paths:
            raise ScenarioError(f"the sweep has no path {name!r}; {nearest(name, paths)}")
    rest = [name for name in paths if name not in (path, by)]
    if rest:
        raise ScenarioError(
            f"a picture shows two paths; choose one value of {', '.join(rest)} first, as in "
            f"sweep.isel({{{rest[0]!r}: 0}})."
        )
    if by is not None and sweep.sizes[by] > len(_STYLES):
        raise ScenarioError(
            f"{by} has {sweep.sizes[by]} values, and a picture can tell {len(_STYLES)} apart; "
            f"choose some with sweep.isel."
        )


def _lines(axes: Axes, x: Any, means: xr.DataArray, policy: str, path: str, by: str | None) -> None:
    rows = means.transpose(by, path).values if by else means.values[None]
    same = bool(np.allclose(rows, rows[:1]))
    for row, style in zip(rows[:1] if same else rows, _STYLES, strict=False):
        axes.plot(x, row, linestyle=style, color=POLICY_COLOURS.get(policy, COLOURS["black"]),
                  marker=POLICY_MARKERS.get(policy, "h"), markersize=5.5)  # fmt: skip


def _key(sweep: xr.Dataset, by: str | None) -> tuple[list[Line2D], int]:
    """Handles and columns of a legend with policies first and line styles in a row of their own."""
    policies = [
        Line2D([], [], color=POLICY_COLOURS.get(policy, COLOURS["black"]), label=label_of(policy),
               marker=POLICY_MARKERS.get(policy, "h"))
        for policy in sweep.policy.values.tolist()
    ]  # fmt: skip
    styles: list[Line2D] = []
    if by is not None:
        word = _WORDS.get(by, (by.rpartition(".")[2].replace("_", " "), 1.0))[0]
        styles = [
            Line2D([], [], color="#444444", linestyle=style, label=f"{word} = {value}")
            for value, style in zip(sweep[by].values.tolist(), _STYLES, strict=False)
        ]
    columns = min(4, max(len(policies), len(styles)))
    blank = Line2D([], [], linestyle="", label="")
    rows = [*policies, *[blank] * (-len(policies) % columns)]
    rows += [*styles, *[blank] * (-len(styles) % columns)]
    # Matplotlib fills a legend column by column
    return [handle for column in range(columns) for handle in rows[column::columns]], columns


def _words(sweep: xr.Dataset, path: str) -> str:
    unit = sweep[path].attrs.get("units", "")
    return path + (f" [{unit}]" if unit else "")
