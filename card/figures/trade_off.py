"""Pictures of the trade of delay against energy: the Pareto front and decisions by weight."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from card.base.units import FloatArray, IntArray
from card.figures.style import COLOURS, WIDTH_IN

_INK, _QUIET = "#222222", "#666666"


def pareto(
    front: tuple[FloatArray, FloatArray],
    cuts: IntArray,
    reached: tuple[FloatArray, FloatArray],
    chosen: tuple[float, float],
) -> Figure:
    """Pareto front of one device-round, and what a weighted sum reaches of it.

    Parameters
    ----------
    front
        Delay [s] and server energy [J] of efficient decisions, by growing delay.
    cuts
        Cut of each of them.
    reached
        Delay and energy of the weighted sum's decisions over the weight, from 1 to 0.
    chosen
        Delay and energy at the scenario's weight.
    """
    figure = Figure(figsize=(WIDTH_IN, 4.6), layout="constrained")
    axes = figure.subplots()
    delay, energy = front
    starts = np.flatnonzero(np.diff(cuts, prepend=cuts[0] - 1))
    for start, stop in pairwise([*starts, len(cuts)]):
        axes.plot(delay[start:stop], energy[start:stop], color="#A8A8A8", linewidth=5.5, zorder=1)
        if stop - start == 1:  # no band: without work for the server, no clock moves it
            _name_point(axes, delay, energy, start, f"cut {cuts[start]}: one decision")
    axes.plot(*reached, ".", color=COLOURS["blue"], markersize=6, zorder=3)
    _jumps(axes, *reached)
    axes.plot([chosen[0]], [chosen[1]], "*", color=_INK, markersize=15, zorder=5)
    lines = (
        (COLOURS["grey"], "grey band: every efficient decision"),
        (COLOURS["blue"], "blue points: reached by a weighted sum"),
        (COLOURS["vermillion"], "dashed: the jump of the weighted sum"),
        (_INK, "star: the scenario’s weight"),
    )
    for place, (colour, text) in enumerate(lines):
        axes.text(
            0.98,
            0.95 - 0.075 * place,
            text,
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=9.5,
            color=colour,
        )
    axes.set_xlabel("delay of the round [s]")
    axes.set_ylabel("server energy of the round [J]")
    return figure


def _name_point(axes: Axes, delay: FloatArray, energy: FloatArray, at: int, text: str) -> None:
    """Name a point of the front, towards the middle of the panel."""
    right = delay[at] > (delay.min() + delay.max()) / 2
    axes.annotate(
        text,
        (delay[at], energy[at]),
        (-11 if right else 11, -3),
        textcoords="offset points",
        ha="right" if right else "left",
        va="center",
        fontsize=9.5,
        color=_QUIET,
    )


def _jumps(axes: Axes, delay: FloatArray, energy: FloatArray) -> None:
    """Chords where neighbouring weights lead to decisions far apart."""
    wide, high = np.ptp(delay) or 1.0, np.ptp(energy) or 1.0
    far = np.hypot(np.diff(delay) / wide, np.diff(energy) / high) > 0.1
    for i in np.flatnonzero(far):
        ends = ([delay[i], delay[i + 1]], [energy[i], energy[i + 1]])
        axes.plot(*ends, color=COLOURS["vermillion"], linestyle="--", linewidth=1.5, zorder=2)


def along_weight(
    weight: FloatArray,
    cut: IntArray,
    frequency_hz: FloatArray,
    delay_s: FloatArray,
    energy_j: FloatArray,
    chosen: float,
) -> Figure:
    """Decision and costs of one device-round over the delay weight.

    Parameters
    ----------
    weight
        Delay weights [1], ascending.
    cut
        Cut that is decided at each weight.
    frequency_hz
        Clock that is decided [Hz].
    delay_s
        Delay of the decision [s].
    energy_j
        Its server energy [J].
    chosen
        The scenario's weight.
    """
    figure = Figure(figsize=(WIDTH_IN, 5.0), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    served = frequency_hz / 1e9
    for axes, values, label, colour in (
        (panels[0, 0], cut, "cut", "vermillion"),
        (panels[0, 1], served, "server clock [GHz]", "green"),
        (panels[1, 0], delay_s, "delay [s]", "blue"),
        (panels[1, 1], energy_j, "server energy [J]", "purple"),
    ):
        axes.plot(weight, values, color=COLOURS[colour], drawstyle="steps-mid")
        axes.axvline(chosen, color=_INK, linewidth=1.0, linestyle=":")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=min(0.0, float(np.min(values))) - 0.03 * float(np.max(values)))
    panels[0, 0].yaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0, 0].text(
        chosen, 1.01, " scenario", transform=panels[0, 0].get_xaxis_transform(), fontsize=9
    )
    for axes in panels[1]:
        axes.set_xlabel("delay weight w")
    return figure
