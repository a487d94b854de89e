"""Pictures of the system model: what a cut asks for, and where time and energy go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from card.base.units import BITS_PER_BYTE, BYTES_PER_GB, FloatArray
from card.costs import Costs
from card.figures.labels import NAME_LETTERS, apart, short
from card.figures.style import COLOURS, PART_COLOURS, PART_HATCHES, PART_LABELS, WIDTH_IN
from card.llm import CutProfile

_INK = "#222222"


def cut_costs(profiles: Mapping[str, CutProfile], usable_gb: Mapping[str, float]) -> Figure:
    """Work, traffic, adapters and memory of every cut, for one or two topologies.

    Parameters
    ----------
    profiles
        Profile per topology, drawn at the first listed bits; the first has filled markers, others
        open ones.
    usable_gb
        Memory that training may use per device [GB].
    """
    figure = Figure(figsize=(WIDTH_IN, 6.6), layout="constrained")
    (work, traffic), (adapters, memory) = figure.subplots(2, 2, sharex=True)
    first_bits = {topology: profile.at_first_bits for topology, profile in profiles.items()}
    for place, (topology, profile) in enumerate(first_bits.items()):
        base = {
            "marker": "o" if place == 0 else "s",
            "markersize": 4.5,
            "markerfacecolor": None if place == 0 else "white",
            "linestyle": "-" if place == 0 else "--",
            "label": topology,
        }
        lines = (
            (work, profile.device_flop / 1e12, PART_COLOURS["device_compute_s"]),
            (work, profile.server_flop / 1e12, PART_COLOURS["server_compute_s"]),
            (traffic, profile.uplink_bit / BITS_PER_BYTE / 1e6, PART_COLOURS["uplink_s"]),
            (traffic, profile.downlink_bit / BITS_PER_BYTE / 1e6, PART_COLOURS["downlink_s"]),
            (adapters, profile.adapter_bit / BITS_PER_BYTE / 1e6, COLOURS["grey"]),
            (memory, profile.device_memory_bit / BITS_PER_BYTE / BYTES_PER_GB, COLOURS["purple"]),
        )
        for axes, values, colour in lines:
            wide = 5.0 if colour == PART_COLOURS["uplink_s"] else 1.8
            axes.plot(profile.cut, values, color=colour, linewidth=wide, **base)
    profile = next(iter(first_bits.values()))
    count = profile.num_blocks
    _name_lines(work, profile)
    _memory_limits(memory, usable_gb, count)
    for axes, title, unit in (
        (work, "Work per mini-batch", "work [TFLOP]"),
        (traffic, "Smashed data per mini-batch", "data [MB]"),
        (adapters, "Adapters on the device", "data [MB]"),
        (memory, "Memory on the device", "memory [GB]"),
    ):
        axes.set_title(title)
        axes.set_ylabel(unit)
        axes.set_xlim(-0.04 * count, 1.04 * count)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    traffic.set_ylim(0, 1.35 * traffic.get_ylim()[1])
    _key(traffic, (("uplink", PART_COLOURS["uplink_s"]), ("downlink", PART_COLOURS["downlink_s"])))
    for axes in (adapters, memory):
        axes.set_xlabel("cut: blocks on the device")
    adapters.legend(loc="upper left", handlelength=3)
    return figure


def _name_lines(axes: Axes, profile: CutProfile) -> None:
    """Name the two lines of work where they are far apart."""
    count = profile.num_blocks
    for name, values, colour in (
        ("device", profile.device_flop, PART_COLOURS["device_compute_s"]),
        ("server", profile.server_flop, PART_COLOURS["server_compute_s"]),
    ):
        device = name == "device"
        at = count - 2 if device else 0
        axes.annotate(
            name,
            (at, float(values[at]) / 1e12),
            xytext=(6, -3) if device else (10, 1),
            textcoords="offset points",
            color=colour,
            ha="left",
            va="top" if device else "center",
            fontsize=9.5,
            fontweight="bold",
        )


def _key(axes: Axes, entries: Sequence[tuple[str, str]]) -> None:
    """A line of colour names at the top of the axes."""
    for place, (text, colour) in enumerate(entries):
        x = 0.06 + 0.42 * place
        axes.plot([x], [0.92], "o", color=colour, transform=axes.transAxes, clip_on=False)
        axes.text(x + 0.04, 0.92, text, transform=axes.transAxes, va="center", fontsize=9)


def _memory_limits(axes: Axes, usable_gb: Mapping[str, float], count: int) -> None:
    """Limits as horizontal lines; devices with the same limit share one label."""
    axes.set_yscale("log")
    for limit in sorted(set(usable_gb.values())):
        names = [name for name, size in usable_gb.items() if size == limit]
        axes.axhline(limit, color=_INK, linewidth=1.0, linestyle=":")
        axes.annotate(
            f"{', '.join(apart(names, NAME_LETTERS))}: {limit:g} GB"
            if len(names) < 3
            else f"{len(names)}: {limit:g} GB",
            (count, limit),
            xytext=(0, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
            color=_INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.2, "alpha": 0.8},
        )
    axes.set_ylim(top=2.2 * max(axes.get_ylim()[1], *usable_gb.values()) / 1.4)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.grid(which="minor", visible=False)


def parts(costs: Costs, labels: Sequence[str]) -> Figure:
    """Where delay and energy go, one bar per device.

    Parameters
    ----------
    costs
        Costs of one round per device, arrays of shape `(devices,)`.
    labels
        Name and decision of each device.
    """
    many = len(labels) > 8
    labels = [
        "\n".join(short(line, NAME_LETTERS) for line in label.split("\n")) for label in labels
    ]
    labels = [label.replace("\n", ", ") for label in labels] if many else labels
    height = 1.6 + (0.55 if many else 0.95) * len(labels)
    figure = Figure(figsize=(WIDTH_IN, height + 0.2), layout="constrained")
    time, energy = figure.subplots(2, 1, sharey=True)
    rows = np.arange(len(labels))
    left = np.zeros(len(labels))
    for name, label in PART_LABELS.items():
        width = np.broadcast_to(getattr(costs, name), left.shape)
        time.barh(
            rows,
            width,
            left=left,
            height=0.62,
            color=PART_COLOURS[name],
            hatch=PART_HATCHES[name],
            edgecolor="white",
            linewidth=0.5,
            label=label,
        )
        left = left + width
    for name, values, shift, part in (
        ("server", costs.energy_j, -0.17, "server_compute_s"),
        ("device", costs.device_energy_j, 0.17, "device_compute_s"),
    ):
        spent = np.broadcast_to(values, left.shape)
        bars = energy.barh(
            rows + shift,
            np.nan_to_num(spent),
            height=0.32,
            color=PART_COLOURS[part],
            hatch=PART_HATCHES[part],
            edgecolor="white",
            label=name,
        )
        words = ["–" if np.isnan(one) else f"{one:.0f}" for one in spent]
        energy.bar_label(bars, words, padding=3, fontsize=7 if many else 8.5)
    energy.set_xlim(0, 1.08 * energy.get_xlim()[1])
    time.set_title("Delay", pad=42)
    energy.set_title("Energy", pad=26)
    energy.set_yticks(rows, labels)
    energy.set_ylim(len(labels) - 0.5, -0.5)
    time.set_xlabel("delay of the round [s]")
    energy.set_xlabel("energy of the round [J]")
    for axes, columns in ((time, 3), (energy, 2)):
        axes.grid(axis="y", visible=False)
        axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=columns, handlelength=1.6)
    return figure


def power(
    frequency_hz: FloatArray,
    power_w: Mapping[str, FloatArray],
    energy_j_per_tflop: Mapping[str, FloatArray],
    thriftiest_hz: Mapping[str, float],
) -> Figure:
    """Server power, and energy per work, over its clock.

    Parameters
    ----------
    frequency_hz
        Clocks [Hz].
    power_w
        Power over the clocks [W], per label.
    energy_j_per_tflop
        Energy per work over the clocks [J/TFLOP], per label.
    thriftiest_hz
        Clock of least energy per label [Hz].
    """
    figure = Figure(figsize=(WIDTH_IN, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for place, label in enumerate(power_w):
        colour = COLOURS["green"] if place == 0 else COLOURS["purple"]
        style = "-" if place == 0 else "--"
        left.plot(frequency_hz / 1e9, power_w[label], color=colour, linestyle=style, label=label)
        energy = energy_j_per_tflop[label]
        right.plot(frequency_hz / 1e9, energy, color=colour, linestyle=style, label=label)
        best = thriftiest_hz[label]
        at = np.interp(best, frequency_hz, energy)
        right.plot([best / 1e9], [at], "v", color=colour, markersize=8, clip_on=False, zorder=5)
    left.legend(loc="upper left", title="static power", title_fontsize=9)
    left.set_ylabel("server power [W]")
    right.set_ylabel("energy per work [J/TFLOP]")
    right.text(
        0.97, 0.97, "triangle: least", transform=right.transAxes, fontsize=9, ha="right", va="top"
    )
    right.set_ylim(top=2.2 * max(float(energy[-1]) for energy in energy_j_per_tflop.values()))
    for axes in (left, right):
        axes.set_xlabel("server clock [GHz]")
        axes.set_ylim(bottom=0)
    return figure
