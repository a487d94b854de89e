"""Picture of one decision: its cut, its clock, where it takes time and energy, and its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from card.base.units import FloatArray, counted
from card.costs import Costs
from card.figures.style import (
    PART_COLOURS,
    PART_HATCHES,
    PART_LABELS,
    POLICY_LABELS,
    POLICY_LOOKS,
    WIDTH_IN,
)
from card.studies.timeline import ADAPTERS, LANES, Step, spent

_INK, _QUIET = "#222222", "#666666"


def explorer(found: xr.Dataset, delay_weight: float, steps: Sequence[Step] = ()) -> Figure:
    """One decision of CARD beside two benchmarks and its own decisions at other weights.

    Parameters
    ----------
    found
        Decisions on one link over `(policy, delay_weight)`, as `card.explorer` finds them.
    delay_weight
        The weight of the decision to show, one of those found.
    steps
        Busy intervals of its round, in order; not drawn if there are none.
    """
    mosaic, heights = "cf;de", [1.0, 1.15]
    if steps:
        mosaic, heights = "cf;de;rr", [*heights, 0.6]
    figure = Figure(figsize=(WIDTH_IN, 2.7 * sum(heights)), layout="constrained")
    panels = figure.subplot_mosaic(mosaic, height_ratios=heights)
    chosen = found.sel(delay_weight=delay_weight)
    _cut(panels["c"], chosen.sel(policy="card"), found.attrs)
    _front(panels["f"], found, chosen)
    _delay(panels["d"], chosen)
    _energy(panels["e"], chosen)
    if steps:
        _round(panels["r"], steps)
    return figure


def round_until(costs: Costs, steps: Sequence[Step], now_s: float) -> Figure:
    """Who is busy at one moment of a round, and what energy is spent by then.

    Parameters
    ----------
    costs
        Costs of the whole round.
    steps
        Its busy intervals, in order; at least one.
    now_s
        The moment [s], from the start of the round to its end.
    """
    figure = Figure(figsize=(WIDTH_IN, 3.2), layout="constrained")
    lanes, energy = figure.subplots(2, sharex=True, height_ratios=[1.2, 1.0])
    _round(lanes, steps)
    end_s = steps[-1].start_s + steps[-1].duration_s
    here = next((step for step in steps if now_s < step.start_s + step.duration_s), steps[-1])
    lanes.set(xlabel="", title=f"{now_s:.3g} s of {end_s:.3g} s · {here.lane}: {here.label}")
    at_s = np.array([*(step.start_s for step in steps), end_s])
    sides = (
        ("server", "energy_j", "server_compute_s", "-"),
        ("device", "device_energy_j", "device_compute_s", "--"),
    )
    every, by_now = spent(costs, steps, at_s), spent(costs, steps, now_s)
    for who, name, part, line in sides:
        whole, now = getattr(every, name), float(getattr(by_now, name))
        label = f"{who}: {now:.4g} J of {whole[-1]:.4g} J"
        energy.plot(at_s, whole, line, color=PART_COLOURS[part], label=label)
    energy.set(xlabel="time since the round began [s]", ylabel="energy used [J]")
    energy.set_ylim(bottom=0)
    energy.legend(loc="upper left", fontsize=8.5)
    for axes in (lanes, energy):
        axes.axvline(now_s, color=_INK, linewidth=2)
    return figure


def _cut(axes: Axes, chosen: xr.Dataset, limits: Mapping[str, Any]) -> None:
    """The blocks of the LLM on either side of the cut, and the clock between its limits."""
    cut, blocks = int(chosen.cut), int(limits["num_blocks"])
    alone, parts = cut == blocks, blocks + 2
    head_here = alone or limits["topology"] == "u-shaped"
    for part in range(parts):
        here = head_here if part == parts - 1 else part <= cut
        side = "device_compute_s" if here else "server_compute_s"
        axes.barh(
            1, 0.85 / parts, left=part / parts, height=0.3, align="edge",
            color=PART_COLOURS[side], hatch=PART_HATCHES[side], edgecolor="white", linewidth=0,
        )  # fmt: skip
    mine = f"embedding + {counted(cut, 'block')}" if cut else "embedding"
    axes.text(0, 1.4, f"device: {'the whole LLM' if alone else mine}", fontsize=9, color=_INK)
    if not alone:
        axes.plot([(cut + 0.925) / parts] * 2, [0.93, 1.37], color=_INK, linewidth=2.5)
        theirs = counted(blocks - cut, "block") + ("" if head_here else " + head")
        axes.text(1, 0.78, f"server: {theirs}", fontsize=9, color=_INK, ha="right")
    top = limits["frequency_max_hz"]
    low, here = float(chosen.frequency_min_hz) / top, float(chosen.frequency_hz) / top
    axes.barh(0.25, 1, height=0.1, color="#E6E6E6")
    axes.barh(0.25, 1 - low, left=low, height=0.1, color="#BBBBBB")
    if float(chosen.server_compute_s) > 0:
        axes.plot([here] * 2, [0.12, 0.38], color=_INK, linewidth=2.5)
        text = f"server clock {float(chosen.frequency_hz) / 1e9:.3f} GHz"
    else:
        text = "server idle"
    axes.text(0, 0.45, text, fontsize=9, color=_INK)
    axes.text(1, -0.02, f"{top / 1e9:.2f} GHz", fontsize=8.5, color=_QUIET, ha="right", va="top")
    axes.text(0, -0.02, "0", fontsize=8.5, color=_QUIET, va="top")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.2, 1.75), title="Where to cut, how fast to clock")
    axes.axis("off")


def _front(axes: Axes, found: xr.Dataset, chosen: xr.Dataset) -> None:
    every = found.sel(policy="card")
    axes.plot(
        every.delay_s, every.energy_j, ".-", color=POLICY_LOOKS["card"].color, linewidth=0.8,
        markersize=6, label="CARD, every weight",
    )  # fmt: skip
    for policy, marker in zip(found.policy.values, "*s^", strict=True):
        at = chosen.sel(policy=policy)
        mine = policy == "card"
        axes.plot(
            [at.delay_s], [at.energy_j], marker, markersize=14 if mine else 6, zorder=5,
            color=_INK if mine else POLICY_LOOKS[policy].color, linestyle="",
            label="CARD, this weight" if mine else POLICY_LABELS[policy],
        )  # fmt: skip
    axes.margins(0.08)
    axes.legend(loc="upper right", fontsize=8.5)
    axes.set(xlabel="delay [s]", ylabel="server energy [J]", title="Its place among all weights")


def _delay(axes: Axes, chosen: xr.Dataset) -> None:
    """Parts of the delay, stacked, a bar per policy."""
    parts = {name: chosen[name] for name in PART_LABELS if name in chosen}
    parts["adapter_s"] = chosen.adapter_down_s + chosen.adapter_up_s
    start = np.zeros(chosen.sizes["policy"])
    places = np.arange(len(start))
    for name, values in parts.items():
        axes.barh(
            places, values, left=start, height=0.5, color=PART_COLOURS[name], edgecolor="white",
            hatch=PART_HATCHES[name], linewidth=0, label=PART_LABELS[name],
        )  # fmt: skip
        start += values.values
    _rows(axes, chosen, [f"{total:.4g} s" for total in start], start)
    axes.set(xlabel="delay of the round [s]", title="Delay")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=2, fontsize=8.5)


def _energy(axes: Axes, chosen: xr.Dataset) -> None:
    """Server energy and device energy of each policy, side by side."""
    places = np.arange(chosen.sizes["policy"])
    sides = (
        ("server", "energy_j", "server_compute_s", -0.11),
        ("device", "device_energy_j", "device_compute_s", 0.11),
    )
    for who, name, part, shift in sides:
        axes.barh(
            places + shift, np.nan_to_num(chosen[name]), height=0.2, color=PART_COLOURS[part],
            hatch=PART_HATCHES[part], edgecolor="white", linewidth=0, label=who,
        )  # fmt: skip
    joules = np.stack([chosen.energy_j.values, chosen.device_energy_j.values])
    text = [
        ", ".join(f"{who} {j:.4g} J" for (who, *_), j in zip(sides, pair, strict=True) if j >= 0)
        for pair in joules.T
    ]
    _rows(axes, chosen, text, np.nanmax(joules, axis=0))
    axes.set(xlabel="energy of the round [J]", title="Energy")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=2, fontsize=8.5)


def _round(axes: Axes, steps: Sequence[Step]) -> None:
    """Who is busy when, a lane each."""
    parts = dict(zip(LANES, list(PART_LABELS)[:4], strict=True))
    for place, lane in enumerate(LANES):
        for part in (parts[lane], "adapter_s"):
            adapters = part == "adapter_s"
            mine = [s for s in steps if s.lane == lane and (s.label == ADAPTERS) == adapters]
            axes.broken_barh(
                [(step.start_s, step.duration_s) for step in mine], (place - 0.35, 0.7),
                facecolor=PART_COLOURS[part], hatch=PART_HATCHES[part], edgecolor="white",
                linewidth=0,
            )  # fmt: skip
    end = steps[-1].start_s + steps[-1].duration_s
    axes.set(yticks=range(len(LANES)), yticklabels=LANES, ylim=(len(LANES) - 0.5, -0.5))
    axes.set(xlim=(0, end), xlabel="time since the round began [s]", title="Who is busy when")
    axes.grid(axis="y", visible=False)


def _rows(axes: Axes, chosen: xr.Dataset, texts: list[str], ends: FloatArray) -> None:
    """Names of the policies, and what each comes to, above its bar."""
    for place, (policy, text) in enumerate(zip(chosen.policy.values, texts, strict=True)):
        label = f"{POLICY_LABELS[policy]}: {text}"
        axes.text(0, place - 0.29, label, fontsize=9, color=_INK, va="bottom")
    axes.set(yticks=[], ylim=(len(texts) - 0.5, -0.75), xlim=(0, 1.03 * float(max(ends)) or 1.0))
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False)  # lines would cross the names
