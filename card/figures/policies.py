"""Figures that compare CARD with the benchmarks: delay, energy, and where both go."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from card.base.units import FloatArray
from card.figures.labels import (
    NAME_LETTERS,
    apart,
    columns_of,
    folded,
    in_legend,
    moved_apart,
    short,
)
from card.figures.phones import WIDTH_IN as PHONE_IN
from card.figures.phones import draw_narrow
from card.figures.style import (
    COLOURS,
    DEVICE_COLOURS,
    NARROW_IN,
    PART_COLOURS,
    PART_HATCHES,
    PART_LABELS,
    POLICY_LABELS,
    WIDTH_IN,
    Look,
    looks,
    state_looks,
)

if TYPE_CHECKING:
    import xarray as xr

_ENERGY_LABELS = {
    "dynamic_j": "server computes",
    "static_j": "server, static",
    "computing_j": "device computes",
    "sending_j": "device sends",
}
_ENERGY_COLOURS = {
    "dynamic_j": COLOURS["green"],
    "static_j": COLOURS["orange"],
    "computing_j": COLOURS["vermillion"],
    "sending_j": COLOURS["sky"],
}
_ENERGY_HATCHES = {
    "dynamic_j": PART_HATCHES["server_compute_s"],
    "static_j": "...",
    "computing_j": PART_HATCHES["device_compute_s"],
    "sending_j": PART_HATCHES["uplink_s"],
}

_STATE_IN = 0.09
"""Height that a channel state takes in the row of a policy [inch]."""
_CURVE_LABEL = "CARD at other weights"
_LINE_IN = 0.18
"""Height of a line of a legend [inch]."""
_FAINT = 0.45
"""Share of its colour that the line has which leads to other decisions."""
_ALONG = np.linspace(0.4, 0.8, 6)[:, None, None]
"""Places on the line between a point's mark and its far label, where no text should be."""
_DIGIT_IN, _NAMES_IN = 0.145, 1.15
"""Width that a digit above a dot takes, and that of the names beside a panel [inch]."""
_MARK_PT = 6.5, 4.0
"""Half the size of CARD's mark in a wide figure and in a narrow one [pt]."""
_FAR_PT = (34, -34, 50, -50, 66, -66)
"""How far above and below its point a label may stand [pt], at the end of a line."""


def label_of(policy: str) -> str:
    """Name of a policy as figures write it."""
    return POLICY_LABELS.get(policy, short(policy.replace("_", " "), NAME_LETTERS))


def labels_of(policies: Sequence[str]) -> list[str]:
    """Names of policies as a figure writes them, no two of them alike."""
    own = [policy for policy in policies if policy not in POLICY_LABELS]
    told = dict(
        zip(own, apart([name.replace("_", " ") for name in own], NAME_LETTERS), strict=True)
    )
    return [told[policy] if policy in told else label_of(policy) for policy in policies]


def headline(
    table: xr.Dataset, curve: xr.Dataset | None = None, width_in: float = WIDTH_IN
) -> Figure:
    """Mean delay against mean server energy of every policy, with intervals.

    Labels stand beside their points, or below them all where the figure is narrow. Policies at one
    place have one label, and the mark of the first of them, which is CARD if it is there.

    Parameters
    ----------
    table
        Result of `card.studies.bootstrap.mean_intervals` by policy.
    curve
        Mean `delay_s` and `energy_j` of CARD along its delay weight, drawn as a line.
    width_in
        Width of the figure [inch].
    """
    wide = width_in >= NARROW_IN
    height_in = 4.4 if wide else 0.75 * width_in + 0.11 * table.sizes["policy"]
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    axes = figure.subplots()
    if curve is not None:
        axes.plot(curve.energy_j, curve.delay_s, color=COLOURS["blue"], linewidth=5, alpha=_FAINT,
                  solid_capstyle="round", zorder=1)  # fmt: skip
    groups: dict[tuple[float, float], list[str]] = {}
    sizes = (13, 11) if wide else (8, 6)
    look = looks(table.policy.values.tolist())
    for policy in sorted(look, key=lambda name: name != "card"):
        here = table.sel(policy=policy)
        (x, *x_ends), (y, *y_ends) = here.energy_j.values, here.delay_s.values
        together = groups.setdefault((float(f"{x:.6g}"), float(f"{y:.6g}")), [])
        together.append(policy)
        if together[0] != policy:
            continue
        _, caps, bars = axes.errorbar(
            x, y, xerr=_bars(x, x_ends), yerr=_bars(y, y_ends), **look[policy]._asdict(),
            markersize=sizes[policy != "card"], markeredgecolor="white",
            zorder=4 if policy == "card" else 3,
        )  # fmt: skip
        for part in (*caps, *bars):  # below the marks of others
            part.set_zorder(2.5)
    top, right = 1.12 * float(table.delay_s.max()), float(table.energy_j.max()) or 1.0
    axes.set(xlabel="mean server energy per round [J]", ylabel="mean delay per round [s]",
             ylim=(0, top), xlim=(-0.03 * right, 1.12 * right))  # fmt: skip
    names = _names(groups, _points_per_unit(axes, (width_in, height_in)), _MARK_PT[not wide])
    if not wide:
        _legend_below(figure, groups.values(), names, look, with_curve=curve is not None)
        return figure
    labels = [
        (place, name, look[group[0]].color)
        for name, (place, group) in zip(names, groups.items(), strict=True)
    ]
    line: list[tuple[float, float]] = []
    if curve is not None:
        line = list(zip(curve.energy_j.values.tolist(), curve.delay_s.values.tolist(), strict=True))
        middle = np.argmin(np.abs(curve.energy_j.values - 0.55 * float(curve.energy_j.max())))
        labels.append((line[int(middle)], _CURVE_LABEL, COLOURS["blue"]))
    corner = np.linspace(0.76, 0.99, 12) * axes.get_xlim()[1]  # where the next text stands
    line += [(float(x), 0.96 * top) for x in corner]
    place_labels(axes, (width_in, height_in), labels, line)
    axes.text(0.99, 0.98, "↙ less of both", transform=axes.transAxes, ha="right", va="top",
              color="#555555", fontsize=9.5)  # fmt: skip
    draw_narrow(figure, partial(headline, table, curve, PHONE_IN))
    return figure


def _names(
    groups: Mapping[tuple[float, float], Sequence[str]],
    scale: FloatArray,
    radius_pt: float,
) -> list[str]:
    """Names of the policies at each place, and a word where the mark of CARD hides theirs."""
    every = [policy for group in groups.values() for policy in group]
    label = dict(zip(every, labels_of(every), strict=True))
    names = [", ".join(label[policy] for policy in group) for group in groups.values()]
    card = next((place for place, group in groups.items() if "card" in group), None)
    return [
        f"{name} (under CARD)"
        if card not in (None, place) and np.hypot(*(scale * np.subtract(place, card))) < radius_pt
        else name
        for name, place in zip(names, groups, strict=True)
    ]


def _points_per_unit(axes: Axes, size_in: tuple[float, float]) -> FloatArray:
    """Points per unit of either axis, about: what the axis labels leave of the figure."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    return np.array([65 * size_in[0] / (right - left), 61 * size_in[1] / (top - bottom)])


def _legend_below(
    figure: Figure,
    groups: Iterable[Sequence[str]],
    names: Sequence[str],
    look: Mapping[str, Look],
    *,
    with_curve: bool,
) -> None:
    """Name the points, those at one place together, and the line under the axes."""
    handles = [
        Line2D([], [], linestyle="", label=name, **look[group[0]]._asdict())
        for group, name in zip(groups, names, strict=True)
    ]  # fmt: skip
    if with_curve:
        handles.append(Line2D([], [], color=COLOURS["blue"], alpha=_FAINT, linewidth=4,
                              solid_capstyle="butt", label=_CURVE_LABEL))  # fmt: skip
    columns = columns_of(
        [str(one.get_label()) for one in handles], figure.get_figwidth(), 2, handle_pt=16.0
    )  # a mark that words stand close to
    more = math.ceil(len(handles) / columns) - math.ceil(len(handles) / 2)
    figure.set_figheight(figure.get_figheight() + _LINE_IN * more)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, columnspacing=1.0,
                  handletextpad=0.4, borderpad=0.2)  # fmt: skip


def _bars(value: float, ends: Sequence[float]) -> list[list[float]]:
    """Distances to the ends of an interval, as matplotlib takes them."""
    return [[max(value - ends[0], 0.0)], [max(ends[1] - value, 0.0)]]


def place_labels(
    axes: Axes,
    size_in: tuple[float, float],
    labels: Sequence[tuple[tuple[float, float], str, str]],
    busy: Sequence[tuple[float, float]],
) -> None:
    """Label points, each on the side where its text meets the fewest others; limits must be set.

    A text that finds no room beside its point stands further off, at the end of a line.

    Parameters
    ----------
    axes
        Where the points are.
    size_in
        Width and height of the figure [inch].
    labels
        Points, each with its text and colour.
    busy
        Points where no text should be.
    """
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    scale = _points_per_unit(axes, size_in)
    boxes = [(*(scale * place), 8.0, 8.0) for place, _, _ in labels]
    boxes += [(*(scale * place), 3.0, 3.0) for place in np.reshape(busy, (-1, 2))]
    texts: list[tuple[float, float, float, float]] = []
    for point, name, colour in labels:
        half = 3.4 * len(name)
        beside, slanted = half + 11, half + 9
        sides = np.array(
            [(beside, 0), (slanted, 11), (slanted, -11), (0, 15), (0, -15), (-10, -16),
             (-beside, 0), (slanted, 20), (slanted, -20), (-slanted, 20), (-slanted, -20),
             *((across * slanted, up) for up in _FAR_PT for across in (0, 1, -1))]
        )  # fmt: skip
        x, y = (scale * point + sides).T[..., None]
        there = np.array(boxes).T
        hits = (abs(x - there[0]) < half + there[2]) & (abs(y - there[1]) < 7 + there[3])
        outside = (x[:, 0] - half < scale[0] * left) | (x[:, 0] + half > scale[0] * right)
        outside |= (y[:, 0] - 7 < scale[1] * bottom) | (y[:, 0] + 7 > scale[1] * top)
        far = np.isin(np.abs(sides[:, 1]), _FAR_PT)
        lines = scale * point + _ALONG * sides
        words = np.array(texts).reshape(-1, 4)
        crossed = (abs(lines[..., :1] - words[:, 0]) < words[:, 2]) & (
            abs(lines[..., 1:] - words[:, 1]) < words[:, 3]
        )
        best = int(np.argmin(hits.sum(axis=1) + far * crossed.any(0).sum(axis=1) + 10 * outside))
        texts.append((float(x[best, 0]), float(y[best, 0]), half, 7.0))
        boxes.append(texts[-1])
        if far[best]:
            boxes += [(*place, 2.0, 2.0) for place in lines[:, best].tolist()]
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 5}
        axes.annotate(name, point, sides[best].tolist(), textcoords="offset points", ha="center",
                      va="center", color=colour, weight="bold", fontsize=10,
                      arrowprops=line if far[best] else None)  # fmt: skip


def by_state(table: xr.Dataset, width_in: float = WIDTH_IN) -> Figure:
    """Mean delay and mean server energy of every policy in each channel state, with intervals.

    Parameters
    ----------
    table
        Result of `card.studies.bootstrap.mean_intervals` by policy and state.
    width_in
        Width of the figure [inch].
    """
    policies, states = table.policy.values.tolist(), table.state.values.tolist()
    look, marks = looks(policies), [look.marker for look in state_looks(states).values()]
    entries = in_legend(states, width_in, "{} channel")
    columns = columns_of(entries, width_in, 3)
    row_in = max(0.42 if width_in >= NARROW_IN else 0.3, _STATE_IN * (len(states) + 1))
    legend_in = _LINE_IN * math.ceil(len(states) / columns)
    figure = Figure(
        figsize=(width_in, 1.0 + legend_in + row_in * len(policies)), layout="constrained"
    )
    panels = figure.subplots(1, 2, sharey=True)
    quantities = {"delay_s": "mean delay [s]", "energy_j": "mean server energy [J]"}
    if width_in < NARROW_IN:  # or else the two meet
        quantities = {name: folded(label, 11) for name, label in quantities.items()}
    offsets = _STATE_IN / row_in * (np.arange(len(states)) - (len(states) - 1) / 2)
    for axes, (quantity, label) in zip(panels, quantities.items(), strict=True):
        for row, policy in enumerate(policies):
            for offset, state, marker in zip(offsets, states, marks, strict=True):
                value, *ends = table[quantity].sel(policy=policy, state=state).values
                axes.errorbar(
                    value, row + offset, xerr=_bars(value, ends), marker=marker, capsize=2.5,
                    color=look[policy].color, markersize=6, linewidth=1.2,
                )  # fmt: skip
        highest = float(table[quantity].max()) or 1.0
        axes.set(xlabel=label, xlim=(-0.03 * highest, 1.06 * highest))
        axes.grid(visible=False, axis="y")
    panels[0].set(yticks=range(len(policies)), yticklabels=labels_of(policies),
                  ylim=(len(policies) - 0.5, -0.5))  # fmt: skip
    handles = [
        Line2D([], [], color="#444444", marker=marker, linestyle="", label=label)
        for label, marker in zip(entries, marks, strict=True)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)
    return figure


def where_it_goes(parts_s: xr.Dataset, parts_j: xr.Dataset) -> Figure:
    """What the mean delay and the mean energy of every policy add up from.

    Parameters
    ----------
    parts_s
        Mean parts of delay per policy [s], by the names of `card.simulation.PARTS`.
    parts_j
        Result of `card.simulation.energy_parts`; parts that are not known (NaN) are left out, and
        the axis says so.
    """
    policies = parts_s.policy.values.tolist()
    figure = Figure(figsize=(WIDTH_IN, 1.7 + 0.36 * len(policies)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    _stack(panels[0], parts_s, PART_LABELS, PART_COLOURS, PART_HATCHES)
    _stack(panels[1], parts_j, _ENERGY_LABELS, _ENERGY_COLOURS, _ENERGY_HATCHES)
    panels[0].set(title="Parts of the delay", xlabel="mean delay [s]")
    unknown = np.isnan(parts_j.computing_j).any()
    whose = "server energy [J], devices: –" if unknown else "energy, server and device [J]"
    panels[1].set(title="Parts of the energy", xlabel=f"mean {whose}")
    panels[0].set(yticks=range(len(policies)), yticklabels=labels_of(policies),
                  ylim=(len(policies) - 0.5, -0.5))  # fmt: skip
    for axes in panels:
        axes.grid(visible=False, axis="y")
        axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=2, columnspacing=1.2,
                    handlelength=1.4)  # fmt: skip
    return figure


def _stack(
    axes: Axes,
    parts: xr.Dataset,
    labels: Mapping[str, str],
    colours: Mapping[str, str],
    hatches: Mapping[str, str | None],
) -> None:
    rows = np.arange(parts.sizes["policy"])
    left = np.zeros(len(rows))
    for name, label in labels.items():
        if not np.nan_to_num(parts[name].values).any():  # nothing, or not known
            continue
        axes.barh(rows, parts[name].values, 0.72, left, color=colours[name], edgecolor="white",
                  linewidth=0.6, hatch=hatches[name], label=label)  # fmt: skip
        left = left + parts[name].values


def device_energy(results: xr.Dataset, width_in: float = WIDTH_IN) -> Figure:
    """Mean energy that each device spends per round under every policy.

    Parameters
    ----------
    results
        Dataset of `card.simulate`.
    width_in
        Width of the figure [inch].
    """
    means = results.device_energy_j.mean(("state", "round"))
    policies, devices = means.policy.values.tolist(), means.device.values.tolist()
    figure = Figure(figsize=(width_in, 1.2 + 0.4 * len(policies)), layout="constrained")
    axes = figure.subplots()
    digit = _DIGIT_IN / (width_in - _NAMES_IN)  # and some air
    gap = digit * float(np.log10(means.max() / means.min()))
    for row, (policy, (colour, _)) in enumerate(looks(policies).items()):
        values = means.sel(policy=policy).values
        axes.plot([values.min(), values.max()], [row, row], color=colour, alpha=0.3, linewidth=6)
        axes.plot(values.mean(), row, "|", color=colour, markersize=14, markeredgewidth=2.5)
        axes.plot(values, np.full(len(values), row), "o", color=colour, markersize=4.5)
        if len(devices) > len(DEVICE_COLOURS):
            continue
        for number, place in enumerate(moved_apart(np.log10(values), gap), start=1):
            axes.annotate(str(number), (10**place, row), (0, 8), textcoords="offset points",
                          ha="center", fontsize=9)  # fmt: skip
    axes.set(
        xscale="log", xlabel="mean energy of a device per round [J]", yticks=range(len(policies)),
        yticklabels=labels_of(policies), ylim=(len(policies) - 0.5, -0.6),
    )  # fmt: skip
    words = enumerate(apart(devices, NAME_LETTERS), start=1)
    named = ", ".join(f"{number} {word}" for number, word in words)
    if len(devices) > len(DEVICE_COLOURS):
        named = f"each dot: one of {len(devices)} devices"
    elif devices == [f"device-{number}" for number in range(1, len(devices) + 1)]:
        named = "digit: device"
    stroke = "no mean, as one is not known" if np.isnan(means).any() else "stroke: mean"
    axes.set_title(folded(f"{named}; {stroke}", 100), weight="normal", fontsize=9.5)
    if width_in >= NARROW_IN:
        draw_narrow(figure, partial(device_energy, results, PHONE_IN))
    return figure
