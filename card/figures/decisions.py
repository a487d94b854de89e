"""Figures of what CARD decides: cuts and clocks over rounds, weights, bandwidths and distances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt

from card.figures.labels import (
    NAME_LETTERS,
    apart,
    columns_of,
    folded,
    in_legend,
    moved_apart,
    width_pt,
)
from card.figures.style import (
    COLOURS,
    DEVICE_COLOURS,
    WIDTH_IN,
    device_groups,
    device_rows,
    label_line,
    representatives,
    state_looks,
)

if TYPE_CHECKING:
    import xarray as xr

_LABEL_WIDTH, _LABEL_HEIGHT = 0.1, 0.03
"""Half the size of a device's label, as shares of a panel."""
_LABEL_PT, _WIDEST = 54.0, 0.15
"""Widest label of a device on or beside its line [pt], and half of it as a share of a panel."""

_BESIDE_LETTERS = 12
"""Letters of a state's name up to which a panel's title has room for it on one line."""
_ROUNDS = "rounds [%]"
_BESIDE_PT = 32.0
"""What stands beside panels in a row, apart from the names before the first one [pt]."""
_BETWEEN_PT = 20.0
"""Between two panels: halves of the numbers below their ends, and air [pt]."""
_AIR_PT = 4.0
"""Between a word and the ends of its bar, both together [pt]."""
_LINE_IN, _AXIS_IN = 0.18, 0.45
"""Height of a further line of a title, and of an axis with what it is of [inch]."""
_CUTS = LinearSegmentedColormap.from_list(
    "cuts", [COLOURS["green"], COLOURS["sky"], COLOURS["orange"], COLOURS["vermillion"]]
)


def cut_colour(cut: int, num_blocks: int) -> str:
    """Colour of a cut: green where the server trains all, vermillion where the device does."""
    return to_hex(_CUTS(cut / num_blocks))


def _group_of(names: Sequence[str]) -> list[int]:
    """Number of each device's group."""
    numbers = {i: n for n, group in enumerate(device_groups(names).values()) for i in group}
    return [numbers[index] for index in range(len(names))]


def runs(values: ArrayLike) -> Iterator[tuple[Any, int, int]]:
    """Value, start and length of every run of equal values."""
    array = np.asarray(values)
    edges = [0, *(np.flatnonzero(array[1:] != array[:-1]) + 1).tolist(), len(array)]
    for start, stop in pairwise(edges):
        yield array[start].item(), start, stop - start


def decisions_over_rounds(results: xr.Dataset, num_blocks: int, rounds: int = 60) -> Figure:
    """Cut layers as strips and server clocks as lines, device by device, in every channel state.

    Of many devices, the first of each group is shown.

    Parameters
    ----------
    results
        Dataset of `card.simulate` for one policy, dims `(state, device, round)`.
    num_blocks
        Transformer blocks of the LLM.
    rounds
        Rounds shown, from the first.
    """
    places = representatives(results.device.values.tolist())
    shown = results.isel(round=slice(0, rounds), device=places)
    states, devices = shown.state.values.tolist(), shown.device.values.tolist()
    words = dict(zip(states, apart(states, NAME_LETTERS), strict=True))
    after = ":\n" if max(map(len, words.values())) > _BESIDE_LETTERS else ": "
    height = 0.9 + len(states) * (0.6 + 0.24 * len(devices))
    figure = Figure(figsize=(WIDTH_IN, height), layout="constrained")
    grid = figure.subplots(len(states), 2, sharex=True, squeeze=False, width_ratios=(1.25, 1))
    for row, state in zip(grid, states, strict=True):
        here = shown.sel(state=state)
        for position, device in enumerate(devices):
            _strip(row[0], position, here.cut.sel(device=device).values, num_blocks)
        row[0].set(
            title=f"{words[state]}{after}cut layer", yticks=range(len(devices)),
            yticklabels=apart(devices, NAME_LETTERS),
            ylim=(len(devices) - 0.5, -0.5), xlim=(0, shown.sizes["round"]),
        )  # fmt: skip
        row[0].grid(visible=False)
        _clocks(row[1], here)
        row[1].set(title=f"{words[state]}{after}server clock", ylabel="GHz")
    for axes in grid[-1]:
        axes.set_xlabel("round")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    lowest, highest = zip(*(axes.get_ylim() for axes in grid[:, 1]), strict=True)
    for axes in grid[:, 1]:
        axes.set_ylim(min(lowest), max(highest))
    return figure


def _strip(axes: Axes, position: int, cuts: NDArray[Any], num_blocks: int) -> None:
    for cut, start, length in runs(cuts):
        colour = cut_colour(cut, num_blocks)
        axes.barh(position, length, 0.8, start, color=colour, edgecolor=colour, linewidth=0.3)
        if length >= min(max(4, len(cuts) // 12), len(cuts)):
            axes.text(
                start + length / 2, position, str(cut), color="white", weight="bold", fontsize=9,
                ha="center", va="center_baseline",
            )  # fmt: skip


def _clocks(axes: Axes, results: xr.Dataset) -> None:
    """Clock per device; a gap where the server has nothing to compute, so that no clock matters."""
    busy = results.server_compute_s > 0
    clocks = results.frequency_hz.where(busy).transpose("device", "round").values / 1e9
    rounds = results.sizes["round"]
    names = results.device.values.tolist()
    groups = {
        name: (colour, clocks[members])
        for (name, members), colour in zip(
            device_groups(names).items(), DEVICE_COLOURS, strict=False
        )
        if np.isfinite(clocks[members]).any()
    }
    alone = len(device_groups(names)) == len(names)
    for colour, lines in groups.values():
        axes.plot(np.arange(rounds) + 0.5, lines.T, color=colour, linewidth=1.2 if alone else 0.7,
                  marker=".", markersize=2.5, alpha=1.0 if alone else 0.7)  # fmt: skip
    levels = [float(np.nanmedian(lines)) for _, lines in groups.values()]
    extent = float(np.nanmax(clocks) - np.nanmin(clocks)) if groups else 0.0
    gap = extent * min(0.16, 1.0 / max(len(levels), 1)) if alone else 0.05 * extent
    for (name, (colour, _)), level in zip(groups.items(), moved_apart(levels, gap), strict=True):
        label_line(axes, rounds, level, name, colour)


def decision_shares(results: xr.Dataset, num_blocks: int, width_in: float = WIDTH_IN) -> Figure:
    """Share of rounds that each device spends at each cut, in every channel state.

    Many devices are shown in groups.

    Parameters
    ----------
    results
        Dataset of `card.simulate` for one policy, dims `(state, device, round)`.
    num_blocks
        Transformer blocks of the LLM.
    width_in
        Width of the figure [inch].
    """
    states, rows = results.state.values.tolist(), device_rows(results.device.values.tolist())
    names_pt = max(width_pt(name, mpl.rcParams["ytick.labelsize"]) for name in rows)
    columns, panel_pt, titles = _row_of_panels(states, 72 * width_in - names_pt - _BESIDE_PT)
    above = [titles[at : at + columns] for at in range(0, len(titles), columns)]
    folds = sum(max(title.count("\n") for title in row) for row in above)
    height = 0.6 + len(above) * (0.5 + 0.36 * len(rows)) + _LINE_IN * folds
    if len(above) > 1 and len(states) % columns:  # an axis in the last row but one, too
        height += _AXIS_IN
    figure = Figure(figsize=(width_in, height), layout="constrained")
    grid = figure.subplots(len(above), columns, sharex=True, sharey=True, squeeze=False).ravel()
    panels = grid[: len(states)]
    for axes, state, title in zip(panels, states, titles, strict=True):
        for position, members in enumerate(rows.values()):
            cuts = results.cut.sel(state=state).isel(device=members).values
            _shares(axes, position, cuts, num_blocks, panel_pt)
        axes.set(title=title, xlim=(0, 100), xticks=(0, 50, 100))
        axes.grid(visible=False)
    for axes in panels[-columns:]:  # there is none below these
        axes.set_xlabel(_ROUNDS)
        axes.tick_params(labelbottom=True)
    for axes in grid[len(states) :]:
        axes.remove()
    panels[0].set_yticks(range(len(rows)), list(rows))
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def _row_of_panels(states: Sequence[str], room_pt: float) -> tuple[int, float, list[str]]:
    """Panels that fit side by side, the width of each [pt], and titles folded to that width."""
    names, sizes = apart(states), mpl.rcParams

    def widest(letters: int) -> float:
        lines = [line for name in names for line in folded(name, letters).split("\n")]
        return max(
            width_pt(line, sizes["axes.titlesize"], sizes["axes.titleweight"]) for line in lines
        )

    least_pt = max(widest(_BESIDE_LETTERS), width_pt(_ROUNDS, sizes["axes.labelsize"]))
    fitting = int((room_pt + _BETWEEN_PT) // (least_pt + _BETWEEN_PT))
    columns = max(1, min(len(names), fitting))
    panel_pt = (room_pt + _BETWEEN_PT) / columns - _BETWEEN_PT
    letters = next((n for n in range(max(map(len, names)), 1, -1) if widest(n) <= panel_pt), 1)
    return columns, panel_pt, [folded(name, letters) for name in names]


def _shares(
    axes: Axes, position: int, cuts: NDArray[Any], num_blocks: int, panel_pt: float
) -> None:
    """Shares of rounds at each cut as a bar, each part named where it has room."""
    values, counts = np.unique(cuts, return_counts=True)
    left = 0.0
    for cut, share in zip(values.tolist(), 100.0 * counts / cuts.size, strict=True):
        axes.barh(position, share, 0.78, left, color=cut_colour(cut, num_blocks),
                  edgecolor="white", linewidth=0.8)  # fmt: skip
        room_pt = share / 100 * panel_pt - _AIR_PT
        for words in (f"cut {cut}", str(cut)):
            if width_pt(words, "smaller", "bold") <= room_pt:
                axes.text(left + share / 2, position, words, color="white", weight="bold",
                          fontsize="smaller", ha="center", va="center_baseline")  # fmt: skip
                break
        left += share


def decision_regions(cut: xr.DataArray, num_blocks: int, point: tuple[float, float]) -> Figure:
    """Cut that CARD picks over bandwidth and delay weight, one panel per device.

    Parameters
    ----------
    cut
        Cuts [1], dims `(state, device, bandwidth_hz, delay_weight)`.
    num_blocks
        Transformer blocks of the LLM.
    point
        Bandwidth [Hz] and weight of the scenario, marked by a ring.
    """
    states, devices = cut.state.values.tolist(), cut.device.values.tolist()
    columns = min(3, len(devices))
    rows = -(-len(devices) // columns)
    figure = Figure(figsize=(WIDTH_IN, 0.8 + 2.1 * rows), dpi=150, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    band, weight = cut.bandwidth_hz.values / 1e6, cut.delay_weight.values
    ring = (point[0] / 1e6, point[1])
    titles, looks = apart(devices, NAME_LETTERS), state_looks(states).values()
    for axes, device, title in zip(grid.flat, devices, titles, strict=False):
        here = cut.sel(device=device).transpose("state", "delay_weight", "bandwidth_hz").values
        _region(axes, band, weight, here, num_blocks, ring)
        for moved, look in zip(here < num_blocks, looks, strict=True):
            if moved.any() and not moved.all():
                axes.contour(band, weight, moved.astype(float), [0.5], colors=look.ink,
                             linestyles=[look.linestyle], linewidths=1.6)  # fmt: skip
        axes.plot(*ring, "o", markersize=8, markerfacecolor="none",
                  markeredgecolor="black", markeredgewidth=1.6)  # fmt: skip
        axes.set(title=title, xscale="log", xlim=(band[0], band[-1]), ylim=(0, 1))
        axes.set_xticks(_decades(band), labels=[f"{tick:g}" for tick in _decades(band)])
        axes.minorticks_off()
    for axes in list(grid.flat)[len(devices) :]:
        axes.remove()
    for index, axes in enumerate(list(grid.flat)[: len(devices)]):
        if index + columns >= len(devices):
            axes.set_xlabel("bandwidth [MHz]")
            axes.tick_params(labelbottom=True)
        if index % columns == 0:
            axes.set_ylabel("delay weight w")
    entries = in_legend(states, WIDTH_IN, "border, {}")
    handles = [
        Line2D([], [], color=look.ink, linestyle=look.linestyle, linewidth=1.6, label=label)
        for label, look in zip(entries, looks, strict=True)
    ]
    handles.append(Line2D([], [], marker="o", color="black", markerfacecolor="none", linestyle="",
                          label="this scenario"))  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", handlelength=2.6,
                  ncols=columns_of([*entries, "this scenario"], WIDTH_IN, 4))  # fmt: skip
    return figure


def _region(
    axes: Axes,
    band: NDArray[Any],
    weight: NDArray[Any],
    cuts: NDArray[Any],
    num_blocks: int,
    point: tuple[float, float],
) -> None:
    """Middle state's cuts as areas, named farthest from the point and every state's border."""
    cut, moved = cuts[len(cuts) // 2], (cuts < num_blocks).sum(axis=0)
    colours = LinearSegmentedColormap.from_list("cuts", _CUTS(np.linspace(0, 1, 256)))
    axes.pcolormesh(band, weight, cut, cmap=colours, vmin=0, vmax=num_blocks, alpha=0.55,
                    shading="nearest", rasterized=True)  # fmt: skip
    near = np.hypot(*np.meshgrid(4 * (weight - point[1]), 3 * np.log10(band / point[0]),
                                 indexing="ij")) < 1  # fmt: skip
    taken = near | np.any(np.gradient(moved.astype(np.float64)), axis=0)
    for value in np.unique(cut).tolist():
        inside = np.pad((cut == value) & ~taken, 1)
        depth = distance_transform_edt(inside, (1 / len(weight), 0.5 / len(band)))[1:-1, 1:-1]
        if depth.max() > 0.075:
            row, column = np.unravel_index(np.argmax(depth), depth.shape)
            axes.text(band[column], weight[row], f"cut {value}", ha="center", va="center",
                      fontsize=10, weight="bold")  # fmt: skip


def _decades(band: NDArray[Any]) -> list[float]:
    """Round numbers 1, 3, 10, 30, … within a range."""
    ticks = [digit * 10.0**power for power in range(-3, 7) for digit in (1, 3)]
    return [tick for tick in ticks if band[0] <= tick <= band[-1]]


def thresholds_and_clocks(
    distance_m: ArrayLike,
    least_weight: ArrayLike,
    weight: ArrayLike,
    frequency_hz: ArrayLike,
    names: Sequence[str],
    highest_hz: float,
) -> Figure:
    """Weight from which CARD offloads over distance, and the best clock over the weight.

    A legend below names the devices, and labels at their lines do where all have room for one.

    Parameters
    ----------
    distance_m
        Distances [m], shape `(n,)`.
    least_weight
        Smallest weight at which a device hands blocks to the server, shape `(devices, n)`; NaN
        where it never does.
    weight
        Delay weights, shape `(m,)`.
    frequency_hz
        CARD's server clock [Hz], shape `(devices, m)`; NaN where the server idles.
    names
        Devices.
    highest_hz
        Highest clock of the server [Hz].
    """
    figure = Figure(figsize=(WIDTH_IN, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    _labelled_lines(left, np.asarray(distance_m), np.asarray(least_weight), names)
    left.set(title="Weight from which it offloads", xlabel="distance [m]",
             ylabel="least delay weight w", ylim=(0, 1))  # fmt: skip
    clocks = np.asarray(frequency_hz) / 1e9
    handles, middles = [], []
    for (name, members), colour in zip(device_groups(names).items(), DEVICE_COLOURS, strict=False):
        lines = clocks[members]
        # Lines meet at the highest clock; there the short ones, which show nowhere else, lie on top
        above = 3 - float(np.isfinite(lines).mean())
        handles += right.plot(weight, lines.T, color=colour, label=name, zorder=above)[:1]
        middles.append(np.nanmedian(lines) if np.isfinite(lines).any() else np.inf)
    order = [handles[index] for index in np.argsort(middles)[::-1]]
    columns = columns_of([str(handle.get_label()) for handle in order], WIDTH_IN, 5)
    figure.set_figheight(3.5 + _LINE_IN * -(-len(order) // columns))
    figure.legend(handles=order, loc="outside lower center", ncols=columns, handlelength=1.2)
    right.axhline(highest_hz / 1e9, color=COLOURS["grey"], linestyle="--", linewidth=1.2)
    right.annotate("highest clock", (0.0, highest_hz / 1e9), xytext=(4, 3),
                   textcoords="offset points", fontsize=9, color="#555555")  # fmt: skip
    right.set(title="Best server clock", xlabel="delay weight w", ylabel="GHz", xlim=(0, 1),
              ylim=(0, 1.12 * highest_hz / 1e9))  # fmt: skip
    return figure


def _labelled_lines(axes: Axes, x: NDArray[Any], lines: NDArray[Any], names: Sequence[str]) -> None:
    """One line per device between 0 and 1, labelled at its end on the right, if it has one there.

    Other labels stand on their lines, where other lines and labels are farthest. There are none
    where one is wider than there is room for.
    """
    group, words = _group_of(names), list(device_groups(names))
    for index, line in enumerate(lines):
        axes.plot(x, line, color=DEVICE_COLOURS[group[index]])
    if max(map(width_pt, words)) > _LABEL_PT:
        return
    ends = {
        name: (lines[members, -1][np.isfinite(lines[members, -1])][0], DEVICE_COLOURS[place])
        for place, (name, members) in enumerate(device_groups(names).items())
        if np.isfinite(lines[members, -1]).any()
    }
    heights = moved_apart([end for end, _ in ends.values()], 2 * _LABEL_HEIGHT)
    for (name, (_, colour)), height in zip(ends.items(), heights, strict=True):
        label_line(axes, x[-1], height, name, colour)
    across = x / (2 * _LABEL_WIDTH * (x[-1] - x[0]))
    up = lines / (2 * _LABEL_HEIGHT)
    taken: list[tuple[float, float]] = []
    labelled, share = {*ends}, (x - x[0]) / (x[-1] - x[0])
    for index in range(len(names)):
        colour, name = DEVICE_COLOURS[group[index]], words[group[index]]
        if name in labelled:
            continue
        known = np.flatnonzero(np.isfinite(lines[index]))
        inner = known[len(known) // 6 : len(known) - len(known) // 6]
        inner = inner[np.abs(share[inner] - 0.5) <= 0.5 - _WIDEST]  # within the panel
        if not inner.size:
            continue
        others = [other for other, number in enumerate(group) if number != group[index]]
        rivals = [(across[i], up[o, i]) for o in others for i in range(0, len(x), 5)]
        place = np.array([(u, v) for u, v in rivals + taken if np.isfinite(v)]).reshape(-1, 2)
        spots = np.column_stack([across[inner], up[index, inner]])
        apart = np.abs(spots[:, None] - place[None]).max(axis=-1)
        clear = apart.min(axis=1, initial=2.0)
        at = inner[np.argmax(clear)]
        names_meet = any(
            abs(across[at] - u) < 1.0 and abs(up[index, at] - v) < 1.0 for u, v in taken
        )
        if names_meet:  # the legend names this colour, too
            continue
        labelled.add(name)
        taken.append((float(across[at]), float(up[index, at])))
        axes.annotate(name, (x[at], lines[index, at]), fontsize=9, color=colour,
                      ha="center", va="center",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4})  # fmt: skip
