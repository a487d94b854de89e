"""Figures of what CARD decides: cuts and clocks over rounds, weights, bandwidths and distances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle, pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt

from card.figures.labels import NAME_LETTERS, apart
from card.figures.style import (
    COLOURS,
    DEVICE_COLOURS,
    WIDTH_IN,
    device_groups,
    device_rows,
    label_line,
    representatives,
)

if TYPE_CHECKING:
    import xarray as xr

LineStyle = Literal["-", "--", ":", "-."]
STATE_STYLES: tuple[LineStyle, ...] = ("-", "--", ":", "-.")
_LABEL_WIDTH, _LABEL_HEIGHT = 0.1, 0.03
"""Half the size of a device's label, as shares of a panel."""

_BESIDE_LETTERS = 12
"""Letters of a state's name up to which a panel's title has room for it on one line."""
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


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Positions moved apart in their order, until none are closer than `gap`."""
    order = np.argsort(positions, kind="stable")
    placed = np.asarray(positions, dtype=np.float64)[order]
    for _ in range(50):
        lacking = np.clip(gap - np.diff(placed), 0.0, None)
        placed[:-1] -= lacking / 2
        placed[1:] += lacking / 2
    moved = np.empty_like(placed)
    moved[order] = placed
    return [float(value) for value in moved]


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
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
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
    for (name, (colour, _)), level in zip(groups.items(), spread(levels, gap), strict=True):
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
    figure = Figure(figsize=(width_in, 1.1 + 0.36 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(states), sharex=True, sharey=True, squeeze=False)[0]
    titles = apart(states, NAME_LETTERS)
    for axes, state, title in zip(panels, states, titles, strict=True):
        for position, members in enumerate(rows.values()):
            cuts = results.cut.sel(state=state).isel(device=members).values
            values, counts = np.unique(cuts, return_counts=True)
            left = 0.0
            for cut, share in zip(values.tolist(), 100.0 * counts / cuts.size, strict=True):
                axes.barh(position, share, 0.78, left, color=cut_colour(cut, num_blocks),
                          edgecolor="white", linewidth=0.8)  # fmt: skip
                if share >= 20:
                    axes.text(
                        left + share / 2, position, f"cut {cut}", color="white", weight="bold",
                        fontsize="smaller", ha="center", va="center_baseline",
                    )  # fmt: skip
                left += share
        axes.set(title=title, xlim=(0, 100), xticks=(0, 50, 100), xlabel="rounds [%]")
        axes.grid(visible=False)
    panels[0].set_yticks(range(len(rows)), list(rows))
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


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
    titles = apart(devices, NAME_LETTERS)
    for axes, device, title in zip(grid.flat, devices, titles, strict=False):
        here = cut.sel(device=device).transpose("state", "delay_weight", "bandwidth_hz").values
        _region(axes, band, weight, here, num_blocks, ring)
        for moved, style in zip(here < num_blocks, cycle(STATE_STYLES), strict=False):
            if moved.any() and not moved.all():
                axes.contour(band, weight, moved.astype(float), [0.5], colors="black",
                             linestyles=style, linewidths=1.6)  # fmt: skip
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
    handles = [
        Line2D([], [], color="black", linestyle=style, label=f"border, {state}")
        for state, style in zip(apart(states, NAME_LETTERS), cycle(STATE_STYLES), strict=False)
    ]
    handles.append(Line2D([], [], marker="o", color="black", markerfacecolor="none", linestyle="",
                          label="this scenario"))  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handlelength=2.6)
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
    right.legend(handles=order, loc="upper left", bbox_to_anchor=(0.0, 0.86), handlelength=1.2)
    right.axhline(highest_hz / 1e9, color=COLOURS["grey"], linestyle="--", linewidth=1.2)
    right.annotate("highest clock", (0.0, highest_hz / 1e9), xytext=(4, 3),
                   textcoords="offset points", fontsize=9, color="#555555")  # fmt: skip
    right.set(title="Best server clock", xlabel="delay weight w", ylabel="GHz", xlim=(0, 1),
              ylim=(0, 1.12 * highest_hz / 1e9))  # fmt: skip
    return figure


def _labelled_lines(axes: Axes, x: NDArray[Any], lines: NDArray[Any], names: Sequence[str]) -> None:
    """One line per device between 0 and 1, labelled where other lines and labels are farthest."""
    across = x / (2 * _LABEL_WIDTH * (x[-1] - x[0]))
    up = lines / (2 * _LABEL_HEIGHT)
    taken: list[tuple[float, float]] = []
    group, labelled = _group_of(names), set()
    words = list(device_groups(names))
    for index in range(len(names)):
        colour, name = DEVICE_COLOURS[group[index]], words[group[index]]
        axes.plot(x, lines[index], color=colour)
        if name in labelled:
            continue
        known = np.flatnonzero(np.isfinite(lines[index]))
        inner = known[len(known) // 6 : len(known) - len(known) // 6]
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
        if names_meet:  # the other panel's legend names this colour, too
            continue
        labelled.add(name)
        taken.append((float(across[at]), float(up[index, at])))
        axes.annotate(name, (x[at], lines[index, at]), fontsize=9, color=colour,
                      ha="center", va="center",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4})  # fmt: skip
