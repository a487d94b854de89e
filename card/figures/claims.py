"""Figures of the published claims: where they hold together, how firmly, and what moves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.patheffects as outline
import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import NDArray

from card.figures.style import COLOURS, WIDTH_IN, LineStyle
from card.studies.sensitivity import Effect

if TYPE_CHECKING:
    import xarray as xr

_LINES: tuple[tuple[str, LineStyle], ...] = (("#000000", "-"), (COLOURS["vermillion"], "--"))
_POINT_MARKERS = "oDPX"
_DIAMOND: Mapping[str, Any] = {
    "marker": "D",
    "color": "white",
    "markeredgecolor": "black",
    "markeredgewidth": 0.9,
    "markersize": 4.5,
}


def claims_map(
    maps: Mapping[str, xr.DataArray],
    published: Mapping[str, float],
    points: Mapping[str, tuple[float, float]],
    meeting: tuple[float, float] | None,
) -> Figure:
    """Two reductions over bandwidth and delay weight, with the published level of each in both.

    Parameters
    ----------
    maps
        Reduction [1] per claim, dims `(objective.delay_weight, link.bandwidth_hz)`.
    published
        Published reduction [1] per claim.
    points
        Bandwidth [Hz] and weight of named scenarios.
    meeting
        Bandwidth [Hz] and weight where both published levels hold, if anywhere.
    """
    figure = Figure(figsize=(WIDTH_IN, 4.3), layout="constrained")
    panels = figure.subplots(1, len(maps), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, values) in zip(panels, maps.items(), strict=True):
        band = values["link.bandwidth_hz"].values / 1e6
        weight = values["objective.delay_weight"].values
        percent = 100.0 * values.transpose("objective.delay_weight", "link.bandwidth_hz").values
        levels = np.arange(-40, 101, 10)
        axes.contourf(band, weight, percent, levels, cmap="Blues", extend="min", vmin=-10, vmax=130)
        thin = axes.contour(band, weight, percent, levels, colors="white", linewidths=0.7)
        bold = []
        for index, (other, level) in enumerate(published.items()):
            colour, style = _LINES[index]
            lines = maps[other].transpose("objective.delay_weight", "link.bandwidth_hz").values
            drawn = axes.contour(band, weight, lines, [level], colors=colour, linestyles=style,
                                 linewidths=2.4 if other == name else 1.5)  # fmt: skip
            bold += drawn.allsegs[0]
        for marker, (x, y) in zip(_POINT_MARKERS, points.values(), strict=False):
            axes.plot(x / 1e6, y, marker, color="white", markeredgecolor="black", markersize=8,
                      zorder=5)  # fmt: skip
        if meeting:
            axes.plot(meeting[0] / 1e6, meeting[1], "x", color="black", markersize=9,
                      markeredgewidth=2, zorder=6)  # fmt: skip
        axes.set(title=f"{name} [%]", xscale="log", xlabel="bandwidth [MHz]")
        ticks = [
            tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200) if band[0] <= tick <= band[-1]
        ]
        axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.grid(visible=False)
        marks = [line.get_xydata() for line in axes.get_lines()]
        _name_levels(axes, thin, np.concatenate([*bold, *marks, np.empty((0, 2))]))
    panels[0].set_ylabel("delay weight w")
    handles = [
        Line2D([], [], color=_LINES[index][0], linestyle=_LINES[index][1], linewidth=2.2,
               label=f"{name} = {100 * level:.1f} %")
        for index, (name, level) in enumerate(published.items())
    ]  # fmt: skip
    handles += [
        Line2D([], [], color="white", markeredgecolor="black", marker=marker, linestyle="",
               markersize=8, label=name)
        for marker, name in zip(_POINT_MARKERS, points, strict=False)
    ]  # fmt: skip
    if meeting:
        handles.append(Line2D([], [], color="black", marker="x", linestyle="", markersize=9,
                              markeredgewidth=2, label="both hold on this grid"))  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=2.4)
    return figure


def _name_levels(axes: Axes, thin: QuadContourSet, taken: NDArray[Any]) -> None:
    """Name every other level line where its name is farthest from what else is drawn."""
    axes.autoscale_view()
    share = axes.transScale + axes.transLimits
    size = np.array([0.16, 0.06])  # of a name, about, as shares of the panel
    others = share.transform(taken) / size
    for level, pieces in list(zip(thin.levels, thin.allsegs, strict=True))[::2]:
        line = np.concatenate([*pieces, np.empty((0, 2))])
        places = share.transform(line) / size
        inside = (np.minimum(places, 1 / size - places) > 0.6).all(axis=1)
        line, places = line[inside], places[inside]
        if not len(line):
            continue
        apart = np.abs(places[:, None] - others[None]).max(axis=-1).min(axis=1, initial=9.0)
        best = int(np.argmax(apart))
        others = np.vstack([others, places[best]])
        for text in axes.clabel(thin, [level], fmt="%d %%", fontsize=8, colors="#333333",
                                manual=[tuple(line[best])]):  # fmt: skip
            text.set_path_effects([outline.withStroke(linewidth=2, foreground="white")])


def claims_over_seeds(
    reductions: Mapping[str, NDArray[Any]], published: Mapping[str, float], seeds: Sequence[int]
) -> Figure:
    """Reductions on fresh draws against the published ones.

    Parameters
    ----------
    reductions
        Per claim value, low and high [1], shape `(seeds, 3)`.
    published
        Published reduction [1] per claim.
    seeds
        Seeds of the draws.
    """
    figure = Figure(figsize=(WIDTH_IN, 2.7), layout="constrained")
    panels = figure.subplots(1, len(reductions), squeeze=False)[0]
    for axes, (name, rows) in zip(panels, reductions.items(), strict=True):
        value, low, high = 100.0 * np.asarray(rows).T
        level = 100.0 * published[name]
        axes.axhline(level, color=COLOURS["vermillion"], linestyle="--", linewidth=1.6)
        axes.annotate("published", (len(seeds) - 0.6, level), (0, 3), textcoords="offset points",
                      fontsize=9, color=COLOURS["vermillion"])  # fmt: skip
        axes.errorbar(range(len(seeds)), value, yerr=[value - low, high - value], fmt="o",
                      color=COLOURS["blue"], capsize=3, linewidth=1.2)  # fmt: skip
        half = 1.15 * max(float(np.max(np.abs([low - level, high - level]))), 0.1)
        axes.set(title=f"{name} [%]", xlabel="seed", ylim=(level - half, level + half),
                 xlim=(-0.6, 1.25 * len(seeds)))  # fmt: skip
        axes.set_xticks(range(len(seeds)), labels=[str(seed) for seed in seeds])
        axes.grid(visible=False, axis="x")
    return figure


def tornado(
    effects: Sequence[Effect],
    base: tuple[float, float],
    published: Mapping[str, float],
    tangents: Sequence[Effect] = (),
    top: int = 20,
) -> Figure:
    """How far each variation moves two reductions, the strongest first.

    Parameters
    ----------
    effects
        Effects of variations; those of one parameter in opposite directions share a row.
    base
        Both reductions [1] without a variation.
    published
        Published reduction [1] per claim, in the same order.
    tangents
        Effects of the same variations by slopes alone, marked on their bars.
    top
        Rows shown.
    """
    rows: dict[str, list[Effect]] = {}
    for effect in effects:
        label = f"{effect.parameter}: {effect.change}"
        rows.setdefault(effect.parameter if effect.side else label, []).append(effect)

    def strength(members: Sequence[Effect]) -> float:
        return max(abs(r - b) for e in members for r, b in zip(e.reached, base, strict=True))

    chosen = sorted(rows.items(), key=lambda item: -strength(item[1]))[:top]
    straight = {(tangent.parameter, tangent.change): tangent.reached for tangent in tangents}
    figure = Figure(figsize=(WIDTH_IN, 1.1 + 0.29 * len(chosen)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for index, (axes, (name, level)) in enumerate(zip(panels, published.items(), strict=True)):
        for row, (_, members) in enumerate(chosen):
            _bars(axes, row, members, base[index], index, straight)
        axes.axvline(100 * base[index], color="black", linewidth=1)
        axes.axvline(100 * level, color=COLOURS["vermillion"], linestyle="--", linewidth=1.6)
        axes.set(title=f"{name} [%]", ylim=(len(chosen) - 0.4, -0.6))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.grid(visible=False, axis="y")
    labels = [_row_label(name, members) for name, members in chosen]
    panels[0].set_yticks(range(len(chosen)), labels=labels)
    panels[0].tick_params(axis="y", labelsize=8.5)
    handles = [
        Patch(facecolor=COLOURS["sky"], hatch="///", edgecolor="white", label="lower value"),
        Patch(facecolor=COLOURS["blue"], edgecolor="white", label="higher value"),
        Patch(facecolor=COLOURS["grey"], edgecolor="white", label="another choice"),
        Line2D([], [], color="black", linewidth=1, label="unchanged"),
        Line2D([], [], color=COLOURS["vermillion"], linestyle="--", label="published"),
    ]
    if tangents:
        handles.append(Line2D([], [], linestyle="", label="by slope", **_DIAMOND))
    figure.legend(handles=handles, loc="outside lower center", ncols=6 if tangents else 5,
                  columnspacing=1.2, handlelength=1.6)  # fmt: skip
    return figure


def _bars(
    axes: Axes,
    row: int,
    members: Sequence[Effect],
    base: float,
    index: int,
    straight: Mapping[tuple[str, str], tuple[float, float]],
) -> None:
    """Bars from the base; where both directions lead the same way, each keeps half the height."""
    looks = {-1: (COLOURS["sky"], "///"), 1: (COLOURS["blue"], ""), 0: (COLOURS["grey"], "")}
    moves = [member.reached[index] - base for member in members]
    same_way = len(moves) == 2 and moves[0] * moves[1] > 0
    for position, (member, move) in enumerate(zip(members, moves, strict=True)):
        colour, hatch = looks[member.side]
        offset, height = ((0.36 * position - 0.18), 0.36) if same_way else (0.0, 0.72)
        axes.barh(row + offset, 100 * move, height, 100 * base, color=colour, hatch=hatch,
                  edgecolor="white", linewidth=0.5)  # fmt: skip
        reached = straight.get((member.parameter, member.change))
        if reached:
            axes.plot(100 * reached[index], row + offset, **_DIAMOND)


def _row_label(name: str, members: Sequence[Effect]) -> str:
    if members[0].side == 0:
        return name
    if len(members) == 1:
        return f"{name}: {members[0].change}"
    change = members[-1].change
    return f"{name}: {'halved, doubled' if change == 'doubled' else '±' + change[1:]}"
