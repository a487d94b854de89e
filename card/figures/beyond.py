"""Pictures of what goes beyond the letter: bits decided, joules of devices priced, and budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from card.base.units import FloatArray
from card.figures.style import COLOURS, WIDTH_IN
from card.scenario.penalties import Penalised

Line = tuple[FloatArray, FloatArray]
"""Values along the horizontal axis and along the vertical one."""

_STYLES = ("-", "--", ":")


def reductions_by_bits(lines: Mapping[str, Line], published: tuple[float, float]) -> Figure:
    """Both reductions of CARD at every delay weight, a line for each list of bits.

    Parameters
    ----------
    lines
        Reductions of delay and of server energy [1] along the weight, by the bits to decide from.
    published
        Both reductions that are published [1], drawn as a star.
    """
    figure = Figure(figsize=(WIDTH_IN, 4.0), layout="constrained")
    axes = figure.subplots()
    colours = (COLOURS["grey"], COLOURS["blue"], COLOURS["vermillion"])
    for (label, (delay, energy)), colour, style in zip(
        lines.items(), colours, _STYLES, strict=False
    ):
        axes.plot(delay, energy, style, color=colour, label=label)
    axes.plot(*published, "*", color="black", markersize=13, linestyle="", label="published")
    axes.set(
        xlabel="reduction of delay against device only",
        ylabel="reduction of server energy\nagainst server only",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(loc="lower left")
    return figure


def loss_by_bits(penalties: Sequence[Penalised]) -> Figure:
    """Excess loss of each pair of bits over 16 bits both ways, with intervals, by cut.

    Parameters
    ----------
    penalties
        Rows of a table of loss penalties.
    """
    figure = Figure(figsize=(WIDTH_IN, 3.2), layout="constrained")
    axes = figure.subplots()
    pairs = list(dict.fromkeys((one.uplink_bits, one.downlink_bits) for one in penalties))
    cuts = sorted({one.cut for one in penalties})
    colours = (COLOURS["blue"], COLOURS["vermillion"], COLOURS["sky"], COLOURS["grey"])
    for place, cut in enumerate(cuts):
        rows = {(one.uplink_bits, one.downlink_bits): one for one in penalties if one.cut == cut}
        found = [rows[pair] for pair in pairs]
        reach = [[one.mean - one.low for one in found], [one.high - one.mean for one in found]]
        axes.errorbar(
            np.arange(len(pairs)) + 0.16 * (place - (len(cuts) - 1) / 2),
            [one.mean for one in found],
            reach,
            fmt="osD^"[place % 4],
            color=colours[place % len(colours)],
            capsize=3,
            label=f"cut {cut}",
        )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(np.arange(len(pairs)), [f"{up}/{down}" for up, down in pairs])
    axes.set(xlabel="bits per number, up/down", ylabel="excess loss over 16 bits [nat]")
    # above the panel, which intervals fill
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(cuts))
    return figure


def priced(ratio: FloatArray, means: Mapping[str, FloatArray]) -> Figure:
    """What a round takes on the average, over what a joule of a device costs.

    Parameters
    ----------
    ratio
        Price of a joule of a device over that of one of the server [1], above 0.
    means
        Mean `delay_s`, `energy_j` and `device_energy_j` of a round along it.
    """
    figure = Figure(figsize=(WIDTH_IN, 3.0), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True)
    labels = {
        "delay_s": ("delay [s]", "blue"),
        "energy_j": ("server energy [J]", "green"),
        "device_energy_j": ("device energy [J]", "vermillion"),
    }
    for axes, (name, (title, colour)) in zip(panels, labels.items(), strict=True):
        axes.plot(ratio, means[name], "o-", color=COLOURS[colour], markersize=4)
        axes.set_xscale("log")
        axes.set_ylim(0, 1.1 * float(np.nan_to_num(means[name]).max()) or 1.0)
        axes.set_title(title)
    panels[1].set_xlabel("price of device energy ÷ price of server energy")
    return figure


def fronts(lines: Mapping[str, Line], online: Line, spared: Line) -> Figure:
    """Mean delay against mean server energy: CARD at every weight, and budgets of energy.

    Parameters
    ----------
    lines
        Mean server energy [J] and mean delay [s] along each way to trade them, by its name.
    online
        The same of rounds that are decided without knowing those to come, drawn as points.
    spared
        Mean delay of CARD [s], and the share of its energy that a budget saves at that delay [1].
    """
    figure = Figure(figsize=(WIDTH_IN, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    colours = (COLOURS["blue"], COLOURS["vermillion"])
    for (label, line), colour, style in zip(lines.items(), colours, _STYLES, strict=False):
        left.plot(*line, style, color=colour, label=label)
    left.plot(*online, "o", color=COLOURS["black"], markersize=5, label="budget, online")
    left.set(
        xlabel="mean server energy per round [J]",
        ylabel="mean delay per round [s]",
        xscale="log",
    )
    left.legend()
    right.plot(*spared, color=COLOURS["vermillion"])
    right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    right.set_ylim(bottom=min(0.0, *spared[1].tolist()))
    right.set(xlabel="mean delay per round [s]", title="energy saved at CARD’s delay")
    return figure


def saved(
    reached: Mapping[str, Mapping[str, Any]],
    published: tuple[float, float],
    width_in: float = WIDTH_IN,
) -> Figure:
    """What CARD and each extension save of delay and of server energy, with intervals.

    Parameters
    ----------
    reached
        By name reductions of `delay` and `energy`, as `card.studies.extensions.reached` finds them.
    published
        Both reductions that are published [1], drawn as dotted lines.
    width_in
        Width of the figure [inch].
    """
    names = list(reached)
    figure = Figure(figsize=(width_in, 1.1 + 0.36 * len(names)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    quantities = {"delay": "delay saved", "energy": "server energy saved"}
    for axes, (quantity, title), level in zip(panels, quantities.items(), published, strict=True):
        axes.axvline(level, color="#666666", linestyle=":", linewidth=1.2, zorder=1)
        for row, name in enumerate(names):
            one = reached[name][quantity]
            if one["value"] is None:
                continue
            colour = COLOURS["blue" if name == "CARD" else "vermillion"]
            if one["low"] is not None:
                axes.plot([one["low"], one["high"]], [row, row], color=colour, linewidth=2)
            axes.plot(one["value"], row, "o" if name == "CARD" else "D", color=colour, markersize=6)
        axes.text(
            level, len(names), f"{100 * level:.1f} %", ha="center", va="center", fontsize=9,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
        axes.set_xlim(min(0.0, axes.get_xlim()[0]), 1.03)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_title(title)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) + 0.5, -0.6)
    panels[0].set_xlabel("against device only")
    panels[1].set_xlabel("against server only")
    return figure
