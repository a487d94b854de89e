"""A picture of schedules: turns, pipelined turns, and all devices at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, StrMethodFormatter

from card.base.units import FloatArray
from card.figures.style import COLOURS, WIDTH_IN, label_line

if TYPE_CHECKING:
    import xarray as xr

_LOOKS = {
    "alternate": ("in turns", COLOURS["vermillion"], "o"),
    "pipelined": ("pipelined", COLOURS["blue"], "s"),
    "parallel": ("all at once", COLOURS["green"], "^"),
}
"""Label, colour and mark of each schedule."""
_SPREAD = 0.05, 0.95
"""Quantiles of the rounds that a band shows."""


def rounds_by_schedule(
    micro_batches: Sequence[int], turns_s: Mapping[str, FloatArray], crowd: xr.Dataset
) -> Figure:
    """Time of a turn for each micro-batch, and time of a round over the number of devices.

    Parameters
    ----------
    micro_batches
        Micro-batches of a mini-batch.
    turns_s
        Mean time of a turn for each of them, by schedule [s].
    crowd
        What `card.studies.schedules.by_devices` returns.
    """
    figure = Figure(figsize=(WIDTH_IN, 3.9), layout="constrained")
    turn, whole = figure.subplots(1, 2)
    _powers(turn, micro_batches)
    for schedule, times in turns_s.items():
        _line(turn, schedule, micro_batches, times)
    turn.set_ylim(0, 1.12 * max(times.max() for times in turns_s.values()))
    turn.set(xlabel="micro-batches of a mini-batch", ylabel="turn, per micro-batch [s]")
    counts = crowd.devices.values.tolist()
    _powers(whole, counts)
    times = crowd.round_s.stack(draw=("state", "round"))
    for schedule in crowd.schedule.values.tolist():
        of = times.sel(schedule=schedule)
        low, high = (of.quantile(share, "draw").values for share in _SPREAD)
        whole.fill_between(counts, low, high, color=_LOOKS[schedule][1], alpha=0.15, linewidth=0)
        _line(whole, schedule, counts, of.mean("draw").values)
    whole.set_yscale("log")
    whole.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    whole.yaxis.set_minor_formatter(NullFormatter())
    whole.set(xlabel="devices", ylabel="round of all devices [s]")
    return figure


def _line(axes: Axes, schedule: str, x: Sequence[int], y: FloatArray) -> None:
    """A line with its marks, and its label at the right end."""
    label, colour, mark = _LOOKS[schedule]
    axes.plot(x, y, color=colour, marker=mark, markersize=5)
    label_line(axes, x[-1], float(y[-1]), label, colour)


def _powers(axes: Axes, values: Sequence[int]) -> None:
    """A logarithmic axis with a tick at each value, and room for labels behind the last."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(values)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    span = values[-1] / values[0]
    axes.set_xlim(values[0] / span**0.06, values[-1] * span**0.38)
