"""Pictures of the optimisation: the common clock, the cuts that can win, lists of clocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.text import Annotation
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from card.base.units import BITS_PER_BYTE, FloatArray, IntArray
from card.figures.labels import moved_apart
from card.figures.style import COLOURS, WIDTH_IN
from card.llm import CutProfile

_INK, _QUIET = "#222222", "#666666"
_LINE_COLOURS = ("blue", "vermillion", "green", "purple", "orange", "grey")
_LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
GAP_FLOOR = 1e-17
"""Gaps below this are drawn at it, since they are zero in double precision."""


def objective_curves(
    frequency_hz: FloatArray,
    curves: Mapping[int, FloatArray],
    best_hz: float,
    winner: tuple[int, float, float],
) -> Figure:
    """Objective over the server clock for several cuts, with the clock that is best for all.

    Parameters
    ----------
    frequency_hz
        Clocks [Hz], from the lowest to the highest allowed.
    curves
        Objective over the clocks per cut.
    best_hz
        The closed form's clock [Hz].
    winner
        Cut, clock [Hz] and objective that the package returns.
    """
    figure = Figure(figsize=(WIDTH_IN, 4.4), layout="constrained")
    axes = figure.subplots()
    ghz = frequency_hz / 1e9
    for place, values in enumerate(curves.values()):
        colour = COLOURS[_LINE_COLOURS[place % 6]]
        axes.plot(ghz, values, color=colour, linestyle=_LINE_STYLES[place % 6])
        low = np.interp(best_hz, frequency_hz, values)
        axes.plot([best_hz / 1e9], [low], "o", color=colour, markersize=6)
    ends = np.array([values[-1] for values in curves.values()])
    for cut, place, end, at in zip(
        curves, range(len(curves)), ends, moved_apart(ends, 0.05 * _span(axes)), strict=True
    ):
        axes.annotate(
            f"cut {cut}",
            (ghz[-1], end),
            xytext=(ghz[-1] + 0.045 * (ghz[-1] - ghz[0]), at),
            color=(colour := COLOURS[_LINE_COLOURS[place % 6]]),
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.8,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 0,
            },
            va="center",
            fontsize=9.5,
            fontweight="bold",
            annotation_clip=False,
        )
    axes.axvline(best_hz / 1e9, color=_INK, linewidth=1.0, linestyle=":")
    axes.plot([winner[1] / 1e9], [winner[2]], "*", color=_INK, markersize=15, zorder=5)
    _title_line(axes, best_hz / 1e9, f"f* = {best_hz / 1e9:.2f} GHz for every cut")
    axes.set_xlim(ghz[0], ghz[-1])
    axes.set_xlabel("server clock [GHz]")
    axes.set_ylabel("objective U")
    return figure


def _span(axes: Axes) -> float:
    low, high = axes.get_ylim()
    return high - low


def _title_line(axes: Axes, x: float, text: str) -> None:
    """Name a vertical line above the axes, leaning away from the nearer edge."""
    low, high = axes.get_xlim()
    right = x > (low + high) / 2
    axes.annotate(
        text,
        (x, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 5),
        textcoords="offset points",
        ha="right" if right else "left",
        fontsize=9.5,
        color=_INK,
    )


def cost_vectors(
    profiles: Mapping[str, CutProfile],
    kept: Mapping[str, Sequence[int]],
    delay_s: FloatArray,
    energy_j: FloatArray,
    slopes: tuple[float, float],
) -> Figure:
    """The cuts as points: cost vectors projected to a plane, and the delays and energies they give.

    Parameters
    ----------
    profiles
        Costs per option, per topology; drawn at the first listed bits.
    kept
        Cuts that can win, per topology.
    delay_s
        Delay of every cut of the first topology at one clock [s].
    energy_j
        Its server energy [J].
    slopes
        Price of a second and of a joule: lines of equal objective are drawn from them.
    """
    figure = Figure(figsize=(WIDTH_IN, 6.4), layout="constrained")
    plane, image = figure.subplots(2, 1, gridspec_kw={"hspace": 0.08})
    for axes in (plane, image):
        axes.margins(0.08, 0.16)
    for place, (topology, options) in enumerate(profiles.items()):
        profile = options.at_first_bits
        colour = COLOURS[("blue", "purple")[place % 2]]
        marker = ("o", "s")[place % 2]
        x = profile.device_flop / 1e12
        y = (profile.uplink_bit + profile.downlink_bit) / BITS_PER_BYTE / 1e6
        _points(plane, x, y, kept[topology], colour, marker)
        middle = len(x) // 2
        plane.annotate(
            topology,
            (x[middle], y[middle]),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            color=colour,
            fontsize=9.5,
            fontweight="bold",
        )
    plane.set_xlabel("device work per mini-batch [TFLOP]")
    plane.set_ylabel("smashed data both ways\nper mini-batch [MB]")
    plane.set_title("Cost vectors, projected to work and traffic")
    topology = next(iter(profiles))
    _points(image, delay_s, energy_j, kept[topology], COLOURS["blue"], "o")
    values = slopes[0] * delay_s + slopes[1] * energy_j
    best = int(np.argmin(values))
    image.plot([delay_s[best]], [energy_j[best]], "*", color=_INK, markersize=15, zorder=5)
    _levels(image, values, slopes)
    image.set_xlabel("delay [s]")
    image.set_ylabel("server energy [J]")
    image.set_title("The same cuts as delay and energy (grey: equal objective, star: best)")
    return figure


def _points(
    axes: Axes,
    x: FloatArray | IntArray,
    y: FloatArray | IntArray,
    kept: Sequence[int],
    colour: str,
    marker: str,
) -> None:
    """All cuts as small marks, those that can win as large ones with their number, and the hull."""
    points = np.column_stack([x, y]).astype(float)
    scaled = (points - points[0]) / np.maximum(np.ptp(points, axis=0), np.finfo(float).tiny)
    if np.linalg.matrix_rank(scaled, tol=1e-9) == 2:
        corners = points[ConvexHull(scaled).vertices]
        axes.add_patch(Polygon(corners, facecolor=colour, alpha=0.10, edgecolor="none"))
    axes.plot(x, y, linestyle="", marker=marker, markersize=4, color=colour, alpha=0.6)
    chosen = list(kept)
    axes.plot(x[chosen], y[chosen], linestyle="", marker=marker, markersize=9, color=colour)
    named = {text.xy for text in axes.texts if isinstance(text, Annotation)}
    for cut in chosen:
        at = (float(x[cut]), float(y[cut]))
        if at in named:
            continue  # both topologies end in one point
        axes.annotate(
            f"{cut}",
            at,
            xytext=(7, 6),
            textcoords="offset points",
            fontsize=9.5,
            color=_INK,
        )


def _levels(axes: Axes, values: FloatArray, slopes: tuple[float, float]) -> None:
    """Lines of equal objective through every fourth of the range, if both prices are positive."""
    if min(slopes) <= 0:
        return
    low, high = axes.get_xlim(), axes.get_ylim()
    x = np.array(low)
    for place, level in enumerate(np.linspace(values.min(), values.max(), 5)):
        style = "-" if place == 0 else ":"
        y = (level - slopes[0] * x) / slopes[1]
        axes.plot(x, y, color=COLOURS["grey"], linewidth=1.1, linestyle=style, zorder=0)
    axes.set_xlim(low)
    axes.set_ylim(high)


def gaps(found: Mapping[str, FloatArray]) -> Figure:
    """How much worse a numerical optimiser is than the closed form, one mark per instance.

    Parameters
    ----------
    found
        Numerical objective minus CARD's objective, per method.
    """
    figure = Figure(figsize=(WIDTH_IN, 1.3 + 1.15 * len(found)), layout="constrained")
    axes = figure.subplots()
    jitter = np.random.default_rng(0)
    for row, (method, values) in enumerate(found.items()):
        size = np.maximum(np.abs(values), GAP_FLOOR)
        height = row + jitter.uniform(-0.2, 0.2, len(values))
        worse = values >= 0
        colour = COLOURS[_LINE_COLOURS[row % 6]]
        axes.plot(size[worse], height[worse], "o", color=colour, markersize=4, alpha=0.5)
        axes.plot(size[~worse], height[~worse], "x", color=_INK, markersize=5)
        axes.text(
            GAP_FLOOR,
            row - 0.32,
            method,
            color=colour,
            fontsize=9.5,
            fontweight="bold",
            va="center",
        )
    axes.set_xscale("log")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(found) - 0.5, -0.55)
    axes.set_xlabel("|numerical objective − closed form|   (cross: numerical is lower)")
    return figure


def clock_lists(
    curve: tuple[FloatArray, FloatArray],
    clocks: tuple[FloatArray, FloatArray],
    neighbours: NDArray[np.bool_],
    counts: IntArray,
    losses: tuple[FloatArray, FloatArray],
) -> Figure:
    """A list of clocks: the two neighbours of the best one, and what a coarse list costs.

    Parameters
    ----------
    curve
        Clocks [Hz] and objective of the winning cut on a continuous clock.
    clocks
        Clocks of a list [Hz] and their objectives.
    neighbours
        Which clocks of the list are next to the continuous best.
    counts
        Number of clocks of regular lists.
    losses
        Mean and largest objective lost by each list, against a continuous clock.
    """
    figure = Figure(figsize=(WIDTH_IN, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(curve[0] / 1e9, curve[1], color=COLOURS["blue"])
    left.plot(clocks[0] / 1e9, clocks[1], "o", color=_QUIET, markerfacecolor="white", markersize=6)
    left.plot(clocks[0][neighbours] / 1e9, clocks[1][neighbours], "o", color=COLOURS["vermillion"])
    left.set_xlabel("server clock [GHz]")
    left.set_ylabel("objective U")
    left.set_title("Filled: the two to compare")
    mean, worst = (np.maximum(values, GAP_FLOOR) for values in losses)
    right.plot(counts, worst, "s--", color=COLOURS["purple"], markersize=5)
    right.plot(counts, mean, "o-", color=COLOURS["green"], markersize=5)
    for at, value, text, colour, shift, side in (
        (counts[0], worst[0], "largest", "purple", (0, 8), "left"),
        (counts[-1], mean[-1], "mean", "green", (-8, -5), "right"),
    ):
        right.annotate(
            text,
            (at, value),
            xytext=shift,
            textcoords="offset points",
            color=COLOURS[colour],
            ha=side,
            fontsize=9.5,
            fontweight="bold",
        )
    right.set_xscale("log", base=2)
    right.xaxis.set_major_formatter("{x:g}")
    right.set_yscale("log")
    right.set_xlabel("clocks on the list")
    right.set_ylabel("objective lost")
    right.set_title("Cost of a coarse list")
    right.margins(0.08, 0.14)
    right.grid(which="minor", visible=False)
    return figure
