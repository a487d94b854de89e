"""Pictures of a real run: what crosses the link, what is learned, how long it takes, whose turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from card.base.units import FloatArray
from card.figures.labels import NAME_LETTERS, apart
from card.figures.style import COLOURS, PART_COLOURS, WIDTH_IN
from card.studies.timeline import Frame

Event = Mapping[str, Any]
"""A line of a run's `metrics.jsonl`."""

_INK, _QUIET = "#222222", "#666666"
_DEVICE, _SERVER = COLOURS["vermillion"], COLOURS["green"]
_LINE_COLOURS = ("blue", "vermillion", "green", "purple", "orange", "black")
_MARKERS = "os^Dv"
_LINE_STYLES = ("-", "--", ":", "-.")


def ladders(frames: Mapping[str, Sequence[Frame]]) -> Figure:
    """Frames of one mini-batch between device and server, time from top to bottom.

    Parameters
    ----------
    frames
        Frames in order, by title of the panel.
    """
    longest = max(map(len, frames.values()))
    figure = Figure(figsize=(WIDTH_IN, 1.1 + 0.5 * longest), layout="constrained")
    panels = figure.subplots(1, len(frames), squeeze=False)[0]
    for axes, (title, messages) in zip(panels, frames.items(), strict=True):
        axes.set(title=title, xlim=(-0.14, 1.14), ylim=(longest, -0.9))
        axes.axis("off")
        for x, who, colour in ((0.0, "device", _DEVICE), (1.0, "server", _SERVER)):
            axes.plot([x, x], [-0.3, len(messages)], color=colour, linewidth=3)
            axes.text(x, -0.4, who, ha="center", va="bottom", color=colour, fontweight="bold")
        for place, frame in enumerate(messages):
            y, ends = place + 0.35, (0.02, 0.98) if frame.up else (0.98, 0.02)
            colour = PART_COLOURS["uplink_s" if frame.up else "downlink_s"]
            axes.add_patch(
                FancyArrowPatch(
                    (ends[0], y), (ends[1], y + 0.15), arrowstyle="-|>", mutation_scale=13,
                    linewidth=2.2 if frame.bit else 1.2, color=colour, shrinkA=0, shrinkB=0,
                )
            )  # fmt: skip
            size = f", {frame.bit / 8e3:.1f} kB" if frame.bit else ""
            axes.text(0.5, y - 0.03, f"{frame.text}{size}", ha="center", va="bottom", fontsize=9)
    return figure


def loss_by_round(rounds: Sequence[Event]) -> Figure:
    """Loss on held-out text after every round, a line per device; digits are the cuts.

    Parameters
    ----------
    rounds
        Events `round` of a run, in order; where a device left before it told the loss on its
        held-out text, there is no point.
    """
    figure = Figure(figsize=(WIDTH_IN, 3.9), layout="constrained")
    axes = figure.subplots()
    told = [event for event in rounds if event["validation_loss"] is not None]
    names = dict.fromkeys(event["device"] for event in told)
    turns_of = {name: [event for event in told if event["device"] == name] for name in names}
    curves = {
        name: ([event["round"] for event in own], [event["validation_loss"] for event in own])
        for name, own in turns_of.items()
    }
    for place, (name, own) in enumerate(turns_of.items()):
        colour = COLOURS[_LINE_COLOURS[place % len(_LINE_COLOURS)]]
        marker = _MARKERS[place % len(_MARKERS)]
        axes.plot(*curves[name], color=colour, marker=marker, markersize=5, label=name)
        others = [curve for other, curve in curves.items() if other != name]
        for event in own:
            at = event["round"], event["validation_loss"]
            below = _nearest_is_above(*at, others)
            axes.annotate(
                str(event["cut"]), at, (0, -6 if below else 5),
                textcoords="offset points", ha="center", va="top" if below else "bottom",
                fontsize=8.5, color=colour,
            )  # fmt: skip
    axes.set(xlabel="round", ylabel="loss on held-out text")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(y=0.1)
    axes.legend(title="digits are cuts", title_fontsize=9)
    return figure


def _nearest_is_above(
    x: float, y: float, curves: Sequence[tuple[list[float], list[float]]]
) -> bool:
    """Whether the curve that passes closest to a point passes above it."""
    gaps = [float(np.interp(x, *curve)) - y for curve in curves if curve[0][0] <= x <= curve[0][-1]]
    return min(gaps, key=abs, default=-1.0) > 0


def coinciding(curves: Mapping[str, Sequence[float]]) -> Figure:
    """Loss of every mini-batch under several plans, the first widest, so that all stay visible.

    Parameters
    ----------
    curves
        Losses in order by what made them; none is shifted.
    """
    figure = Figure(figsize=(WIDTH_IN, 3.8), layout="constrained")
    axes = figure.subplots()
    widths = np.linspace(13, 1.2, len(curves))
    colours = ("grey", "sky", "orange", "green", "purple", "vermillion", "black", "blue")
    for place, (width, (name, losses)) in enumerate(zip(widths, curves.items(), strict=True)):
        axes.plot(
            np.arange(1, len(losses) + 1), losses, label=name, linewidth=width,
            color=COLOURS[colours[place % len(colours)]], solid_capstyle="round",
            solid_joinstyle="round",
        )  # fmt: skip
    axes.set(xlabel="mini-batch", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    # the widest line's round ends reach beyond its handle
    axes.legend(ncols=2, handlelength=3, handletextpad=1.3)
    return figure


def relative_errors(rounds: Sequence[Event]) -> FloatArray:
    """Measured over predicted delay, less one, of each round [1]."""
    return np.array([event["delay_s"] / event["predicted_delay_s"] - 1 for event in rounds])


def delay_by_cut(record: Mapping[str, Any]) -> Figure:
    """Measured and predicted delay of rounds over the cut at several link rates, and the error.

    The predicted line takes the median where a cut has several rounds.

    Parameters
    ----------
    record
        `rates`, each with `rate_bps` [bit/s] and `rounds`; a round has `cut`, `delay_s` and
        `predicted_delay_s` [s].
    """
    figure = Figure(figsize=(WIDTH_IN, 5.2), layout="constrained")
    delays, errors = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    for place, series in enumerate(record["rates"]):
        colour = COLOURS[_LINE_COLOURS[place % len(_LINE_COLOURS)]]
        marker = _MARKERS[place % len(_MARKERS)]
        rounds = series["rounds"]
        cut = np.array([event["cut"] for event in rounds])
        measured = [event["delay_s"] for event in rounds]
        predicted = np.array([event["predicted_delay_s"] for event in rounds])
        cuts = np.unique(cut)
        line = [np.median(predicted[cut == c]) for c in cuts]
        style = _LINE_STYLES[place % len(_LINE_STYLES)]
        points = {"linestyle": "", "marker": marker, "markersize": 5, "alpha": 0.75}
        delays.plot(cuts, line, color=colour, linestyle=style)
        delays.plot(cut, measured, color=colour, **points)
        # on the left, for at the last cut only adapters cross and the lines meet
        delays.annotate(
            f"{series['rate_bps'] / 1e6:g} Mbit/s", (cuts[0], line[0]), (-9, 0), fontsize=9,
            textcoords="offset points", ha="right", va="center", color=colour,
        )  # fmt: skip
        errors.plot(cut, 100 * relative_errors(rounds), color=colour, **points)
    delays.set(ylabel="delay of a round [s]", yscale="log")
    delays.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    delays.yaxis.set_minor_locator(NullLocator())
    delays.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    low, high = delays.get_xlim()
    delays.set_xlim(low - 0.3 * (high - low), high)
    errors.axhline(0, color=_INK, linewidth=1)
    errors.set(xlabel="cut", ylabel="measured − predicted\n[% of predicted]")
    errors.set_xticks(
        sorted({event["cut"] for series in record["rates"] for event in series["rounds"]})
    )
    delays.legend(
        handles=[
            Line2D([], [], color=_QUIET, marker="o", linestyle="", label="measured"),
            Line2D([], [], color=_QUIET, label="predicted"),
        ],
        loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0,
    )  # fmt: skip
    return figure


def turns(events: Sequence[Event]) -> Figure:
    """Whose turn it was over time, which rounds were lost, and when devices joined.

    Parameters
    ----------
    events
        All events of a run, in order, with their `time` of day.
    """
    start = min(_seconds(event) for event in events if event["event"] == "joined")
    names = sorted({event["device"] for event in events if event["event"] == "joined"})
    figure = Figure(figsize=(WIDTH_IN, 1.3 + 0.55 * len(names)), layout="constrained")
    axes = figure.subplots()
    begun = 0.0
    for event in events:
        if "device" not in event:
            continue
        now, row = _seconds(event) - start, names.index(event["device"])
        if event["event"] == "planned":
            begun = now
        elif event["event"] == "joined":
            axes.plot([now], [row], marker=">", color=_INK, markersize=8, zorder=3)
        elif event["event"] in ("round", "lost"):
            _turn(axes, row, begun, now, event)
    axes.set_yticks(range(len(names)), apart(names, NAME_LETTERS))
    axes.set(xlabel="time since the first device joined [s]", ylim=(len(names) - 0.4, -0.6))
    axes.grid(axis="y", visible=False)
    axes.legend(
        handles=[
            Line2D([], [], color=_INK, marker=">", linestyle="", label="joins"),
            Patch(color=COLOURS["blue"], label="round completed"),
            Line2D([], [], color=_DEVICE, marker="X", markersize=9, linestyle="", label="lost"),
        ],
        loc="upper center", bbox_to_anchor=(0.5, -0.32), ncols=3,
    )  # fmt: skip
    return figure


def _turn(axes: Axes, row: int, begun: float, now: float, event: Event) -> None:
    if event["event"] == "lost":
        axes.plot([begun, now], [row, row], color=_DEVICE, linewidth=3)
        axes.plot([now], [row], marker="X", color=_DEVICE, markersize=11, zorder=3)
        return
    axes.barh([row], [now - begun], 0.5, begun, color=COLOURS["blue"], edgecolor="white")
    middle = (begun + now) / 2
    axes.text(middle, row, str(event["round"]), ha="center", va="center", color="white", fontsize=8)


def _seconds(event: Event) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()
