"""Pictures of the radio link: rates over distance, and what fast fading does to their mean."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from card.base.units import FloatArray, IntArray
from card.figures.labels import (
    NAME_LETTERS,
    apart,
    columns_of,
    fit,
    in_legend,
    moved_apart,
    width_pt,
)
from card.figures.style import COLOURS, WIDTH_IN, state_looks

_INK, _QUIET = "#222222", "#666666"
_MANY = 8
"""Devices above which their names do not fit beside each other."""
_NAME_SHARE = 0.04
"""Share of the distances shown that a slanting name needs."""
_LINE_SHARE = 0.1
"""Share of the rates shown that a line of letters needs."""
_LINE_IN = 0.18
"""Height of a line of a legend [inch]."""
_AXIS_IN = 0.75
"""What stands beside both panels apart from the names of states [inch]."""


def rates(
    distance_m: FloatArray,
    curves_bps: Mapping[str, tuple[FloatArray, FloatArray]],
    positions_m: Mapping[str, float],
    quantiles_bps: Mapping[str, FloatArray],
) -> Figure:
    """Link rates over distance, and how shadowing spreads each device's uplink rate.

    Parameters
    ----------
    distance_m
        Distances of the curves [m].
    curves_bps
        Uplink and downlink rate over distance per channel state [bit/s].
    positions_m
        Distance of each device [m].
    quantiles_bps
        Per channel state the 5 %, 50 % and 95 % quantiles of each device's uplink rate over
        shadowing [bit/s], shape `(devices, 3)`.
    """
    labels = in_legend(list(quantiles_bps), WIDTH_IN)
    columns = columns_of(labels, WIDTH_IN, 4)
    height_in = 6.6 + _LINE_IN * -(-len(labels) // columns)
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    over, spread = figure.subplots(2, 1)
    styles = {state: look[:2] for state, look in state_looks(curves_bps).items()}
    for state, (up, down) in curves_bps.items():
        colour, marker = styles[state]
        over.plot(distance_m, down / 1e6, color=colour, linestyle="--")
        over.plot(
            distance_m, up / 1e6, color=colour, marker=marker, markevery=(6, 12), markersize=5
        )
    top = over.get_ylim()[1]
    gap = top * min(_LINE_SHARE, 1 / len(curves_bps))
    ends = moved_apart([up[-1] / 1e6 for up, _ in curves_bps.values()], gap)
    lift = max(0.0, -min(ends))  # names below the axis would be left out
    named = apart(list(curves_bps), NAME_LETTERS)
    for name, (colour, _), end in zip(named, styles.values(), ends, strict=True):
        over.annotate(
            name,
            (distance_m[-1], end + lift),
            xytext=(5, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            fontsize=9.5,
            fontweight="bold",
        )
    many = len(positions_m) > _MANY
    names = apart(list(positions_m), NAME_LETTERS)
    beside_pt = max(width_pt(name, 9.5, "bold") for name in named)
    room_pt = 72 * (WIDTH_IN - _AXIS_IN) - beside_pt
    level = fit([room_pt * place / (len(names) + 0.2) for place in range(len(names))], names)
    for position in positions_m.values():
        over.axvline(position, color=COLOURS["grey"], linewidth=0.9, linestyle=":")
    free = -np.inf  # where the next name does not touch the last
    for position, name in sorted(zip(positions_m.values(), names, strict=True)) * (not many):
        place = max(position, free)
        over.text(place, 1.0 * top, name, rotation=35, fontsize=8.5, color=_INK, va="bottom")
        free = place + _NAME_SHARE * (distance_m[-1] - distance_m[0])
    over.set_ylim(0, top)
    over.set_xlim(distance_m[0], distance_m[-1])
    over.set_xlabel("distance to the base station [m]")
    over.set_ylabel("rate [Mbit/s]")
    dotted = ", dotted: the devices" if many else ""
    over.text(
        0.02,
        0.05,
        f"solid: uplink, dashed: downlink{dotted}",
        transform=over.transAxes,
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )
    step = min(0.22, 0.8 / len(quantiles_bps))
    for offset, (state, low_middle_high) in enumerate(quantiles_bps.items()):
        colour, marker = styles[state]
        at = np.arange(len(positions_m)) + step * (offset - (len(quantiles_bps) - 1) / 2)
        low, middle, high = low_middle_high.T / 1e6
        spread.vlines(at, low, high, color=colour, linewidth=1.4 if many else 2.4)
        size = 3.5 if many else 6
        spread.plot(
            at,
            middle,
            linestyle="",
            marker=marker,
            color=colour,
            label=labels[offset],
            markersize=size,
        )
    spread.set_xticks(range(len(names)), names, rotation=0 if level else 90)
    spread.set_xlim(-0.6, len(positions_m) - 0.4)
    spread.grid(axis="x", visible=False)
    spread.set_ylim(bottom=0)
    spread.set_ylabel("uplink rate [Mbit/s]")
    spread.set_title("Median and central 90 % of rounds")
    figure.legend(ncols=columns, loc="outside lower center")
    return figure


def running_means(
    rounds: IntArray,
    single: FloatArray,
    averaged: Mapping[str, FloatArray],
    predicted: FloatArray,
    ergodic: float,
) -> Figure:
    """Running mean of the time per bit when fading is drawn K times per round.

    Parameters
    ----------
    rounds
        Numbers of rounds averaged.
    single
        Running means for K = 1, one row per repetition, relative to the ergodic time per bit.
    averaged
        Running mean per label for larger K, on the same scale.
    predicted
        What theory predicts for K = 1.
    ergodic
        Level of the ergodic rate; 1 on this scale.
    """
    figure = Figure(figsize=(WIDTH_IN, 4.2), layout="constrained")
    axes = figure.subplots()
    for row in single:
        axes.plot(rounds, row, color=COLOURS["vermillion"], linewidth=1.1, alpha=0.8)
    axes.plot(rounds, predicted, color=_INK, linestyle="--", linewidth=1.6)
    for place, (label, values) in enumerate(averaged.items()):
        colour = COLOURS[("blue", "green", "purple", "orange")[place % 4]]
        axes.plot(rounds, values, color=colour)
        _beside(axes, rounds[-1], values[-1], label, colour, 5 * (len(averaged) - 1 - 2 * place))
    axes.axhline(ergodic, color=COLOURS["grey"], linewidth=1.4, linestyle=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(which="minor", visible=False)
    axes.set_xlim(rounds[0], rounds[-1] * 1.02)
    axes.set_ylim(bottom=min(axes.get_ylim()[0], 0.82 * ergodic))
    _beside(axes, rounds[-1], float(predicted[-1]), "theory, K = 1", _INK)
    axes.text(
        0.03,
        0.93,
        f"K = 1: {len(single)} repetitions",
        transform=axes.transAxes,
        color=COLOURS["vermillion"],
        fontsize=10,
        fontweight="bold",
    )
    axes.text(
        rounds[0] * 1.1, 0.96 * ergodic, "ergodic", color=_QUIET, fontsize=9, va="top", ha="left"
    )
    axes.set_xlabel("rounds averaged")
    axes.set_ylabel("mean time per bit\n[multiple of the ergodic one]")
    return figure


def _beside(axes: Axes, x: float, y: float, text: str, colour: str, lift: float = 0) -> None:
    axes.annotate(
        text,
        (x, y),
        xytext=(5, lift),
        textcoords="offset points",
        color=colour,
        va="center",
        fontsize=9,
        annotation_clip=False,
    )
