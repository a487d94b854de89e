"""Pictures of a measured machine: what the parts of an LLM take, its limits, what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from card.base.units import FloatArray
from card.figures.labels import NAME_LETTERS, apart
from card.figures.style import COLOURS, WIDTH_IN, state_looks
from card.hardware import Profile
from card.hardware.profile import Ceilings, Part, PartName, Spread

_INK = "#222222"
NAMES: dict[PartName, str] = {
    "embedding": "embedding",
    "first_block": "first block",
    "block": "inner block",
    "head": "head",
}
"""What figures call the parts."""
_PART_STYLES: dict[PartName, tuple[str, str]] = {
    "embedding": (COLOURS["grey"], "s"),
    "first_block": (COLOURS["sky"], "^"),
    "block": (COLOURS["blue"], "o"),
    "head": (COLOURS["vermillion"], "D"),
}


def _rate_unit(profile: Profile) -> tuple[str, float]:
    """Unit in which a machine's rates have few digits, and its size [FLOP/s]."""
    fast = profile.fastest_flops > 1e13
    return ("TFLOP/s", 1e12) if fast else ("GFLOP/s", 1e9)


def part_times(profile: Profile) -> Figure:
    """Time of forward and backward pass of each part, and the rate it reaches.

    Parameters
    ----------
    profile
        A measured profile; bars are medians, whiskers quartiles.
    """
    figure = Figure(figsize=(WIDTH_IN, 3.7), layout="constrained")
    times, rates = figure.subplots(1, 2, sharey=True, width_ratios=(1.5, 1))
    rows = np.arange(len(NAMES))
    unit, size = _rate_unit(profile)
    for key, shift, colour, hatch in (
        ("forward", -0.18, COLOURS["blue"], ""),
        ("backward", 0.18, COLOURS["orange"], "////"),
    ):
        passes = {
            place: (spread, getattr(profile.parts[name], f"{key}_flop"))
            for place, name in enumerate(NAMES)
            if (spread := getattr(profile.parts[name], key)) is not None
        }
        at = np.array(list(passes)) + shift
        spreads = [spread for spread, _ in passes.values()]
        worked = np.array([flop for _, flop in passes.values()], dtype=np.float64)
        style = {"height": 0.34, "color": colour, "hatch": hatch, "edgecolor": "white"}
        whiskers = {"ecolor": _INK, "elinewidth": 1.2, "capsize": 2.5}
        middle, low, high = (1e3 * row for row in _quartiles(spreads))
        error = [middle - low, high - middle]
        times.barh(at, middle, xerr=error, error_kw=whiskers, label=key, **style)
        for y, value, end in zip(at, middle, high, strict=True):
            _beside(times, end, y, f"{value:.0f}" if value >= 9.5 else f"{value:.1f}")
        rate, slow, fast = (1e3 * worked / row / size for row in (middle, high, low))
        some = worked > 0
        error = [(rate - slow)[some], (fast - rate)[some]]
        rates.barh(at[some], rate[some], xerr=error, error_kw=whiskers, **style)
    _beside(rates, 0.0, 0.0, "only looks up rows")
    times.set_yticks(rows, list(NAMES.values()))
    times.set_ylim(len(NAMES) - 0.5, -0.5)
    times.set_xlim(0, 1.12 * times.get_xlim()[1])
    times.set(title="Time", xlabel="time per mini-batch [ms]")
    rates.set(title="Rate", xlabel=f"rate reached [{unit}]")
    times.legend(loc="upper right")
    for axes in (times, rates):
        axes.grid(axis="y", visible=False)
    return figure


def _quartiles(spreads: Sequence[Spread]) -> FloatArray:
    rows = [(spread.median_s, spread.lower_s, spread.upper_s) for spread in spreads]
    return np.array(rows).T


def _beside(axes: Axes, x: float, y: float, text: str) -> None:
    axes.annotate(text, (x, y), (5, 0), textcoords="offset points", va="center", fontsize=8.5)


def rate_flops(part: Part) -> tuple[float, float, float]:
    """Rate of training a part at the median, upper and lower quartile of its times [FLOP/s]."""
    passes = [spread for spread in (part.forward, part.backward) if spread]
    middle, low, high = _quartiles(passes).sum(axis=1)
    return part.flop / middle, part.flop / high, part.flop / low


def roofline(profiles: Sequence[Profile]) -> Figure:
    """Rate of each part against its intensity, below each machine's measured ceilings.

    Parameters
    ----------
    profiles
        Measured profiles with ceilings, a panel each; parts without counted traffic are left out.

    Notes
    -----
    The roof is :eq:`eq-roofline` of the book.
    """
    figure = Figure(figsize=(WIDTH_IN, 3.9), layout="constrained")
    panels = figure.subplots(1, len(profiles), squeeze=False).flat
    for axes, profile in zip(panels, profiles, strict=True):
        if profile.ceilings is None:
            raise ValueError(f"the profile {profile.title!r} has no ceilings; give one that has.")
        _roof(axes, profile, profile.ceilings)
    return figure


def _roof(axes: Axes, profile: Profile, ceilings: Ceilings) -> None:
    """One machine's roof and the parts below it, with their shares of its peak in a legend."""
    unit, size = _rate_unit(profile)
    peak, ridge = ceilings.peak_flops / size, ceilings.ridge_flop_per_byte
    at = {
        name: part.intensity_flop_per_byte
        for name, part in profile.parts.items()
        if part.intensity_flop_per_byte
    }
    reach = np.geomspace(ridge / 30, max([*at.values(), ridge]) * 8, 200)
    roof = np.minimum(peak, reach * ceilings.memory_byte_per_s / size)
    axes.loglog(reach, roof, color=_INK, linewidth=2.2)
    axes.axvline(ridge, color=COLOURS["grey"], linewidth=1.0, linestyle=":")
    rates = {name: [value / size for value in rate_flops(profile.parts[name])] for name in at}
    handles = []
    for name, (rate, slow, fast) in rates.items():
        colour, marker = _PART_STYLES[name]
        # the first block is much like the others: hollow and larger, it shows around their mark
        look: dict[str, Any] = {"marker": marker, "color": colour, "linestyle": "", "markersize": 7}
        if name == "first_block":
            look |= {"markersize": 13, "markerfacecolor": "none", "markeredgewidth": 1.6}
        axes.errorbar([at[name]], [rate], [[rate - slow], [fast - rate]], capsize=3, **look)
        share = f"{NAMES[name]}: {100 * rate / peak:.0f} % of peak"
        handles.append(Line2D([], [], label=share, **look))
    low = min([roof[0], *(slow for _, slow, _ in rates.values())])
    axes.text(reach[-1], 1.1 * peak, f"peak {peak:.0f} {unit}", ha="right", fontsize=9)
    axes.annotate(
        f"memory\n{ceilings.memory_byte_per_s / 1e9:,.0f} GB/s", (2 * reach[0], 2 * roof[0]),
        (12, 2), textcoords="offset points", fontsize=9, va="top",
    )  # fmt: skip
    axes.set_ylim(0.08 * low, 2.2 * peak)
    if at:
        axes.legend(handles=handles, loc="lower right", fontsize=8.5)
    axes.set(title=profile.title, xlabel="intensity [FLOP/byte]", ylabel=f"rate [{unit}]")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def server_side(
    cuts: Sequence[int],
    measured: Mapping[str, FloatArray],
    predicted: Mapping[str, Mapping[str, FloatArray]],
) -> Figure:
    """Time and energy of a local iteration on the server's side, over the cut.

    Parameters
    ----------
    cuts
        Cuts that were measured.
    measured
        `time_s` and `energy_j` at these cuts.
    predicted
        The same over all cuts with work on the server, for each way to predict them.
    """
    figure = Figure(figsize=(WIDTH_IN, 3.4), layout="constrained")
    for axes, key, scale, label in zip(
        figure.subplots(1, 2),
        ("time_s", "energy_j"),
        (1e3, 1.0),
        ("time [ms]", "server energy [J]"),
        strict=True,
    ):
        for (name, values), colour, line in zip(
            predicted.items(), (COLOURS["blue"], COLOURS["vermillion"]), ("-", "--"), strict=False
        ):
            axes.plot(
                np.arange(len(values[key])), scale * values[key], line, color=colour, label=name
            )
        axes.plot(cuts, scale * measured[key], "o", color=_INK, label="measured", zorder=5)
        axes.set(xlabel="cut", ylabel=label, ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def along_utilisation(
    utilisation: FloatArray,
    decisions: Mapping[str, Mapping[str, FloatArray]],
    measured_at: float,
    measured: Mapping[str, Mapping[str, FloatArray]],
) -> Figure:
    """Decision and costs of one device over the share of its datasheet peak that it reaches.

    Parameters
    ----------
    utilisation
        Shares of the datasheet peak [1], shape `(n,)`.
    decisions
        Per channel state `cut` [1], `frequency_hz` [Hz], `delay_s` [s] and `energy_j` [J], of
        shape `(n,)`.
    measured_at
        Measured machine's rate over the device's datasheet peak [1].
    measured
        The same numbers with the measured machine in the device's place.
    """
    figure = Figure(figsize=(WIDTH_IN, 5.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    for axes, (key, label, unit) in zip(
        panels.flat,
        (
            ("cut", "cut", 1.0),
            ("frequency_hz", "server clock [GHz]", 1e9),
            ("delay_s", "delay [s]", 1.0),
            ("energy_j", "server energy [J]", 1.0),
        ),
        strict=True,
    ):
        words = apart(list(decisions), NAME_LETTERS)
        looks = state_looks(decisions)
        for word, (state, values) in zip(words, decisions.items(), strict=True):
            colour, _, style, _ = looks[state]
            axes.plot(
                utilisation,
                values[key] / unit,
                color=colour,
                linestyle=style,
                label=word,
            )
            star = measured[state][key] / unit
            axes.plot([measured_at], [star], "*", color=colour, markersize=12, zorder=3)
        axes.set_ylabel(label)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(_percent)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(bottom=0)
    panels[0, 0].yaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0, 0].set_ylim(bottom=-0.6)
    panels[0, 0].legend(title="channel state", title_fontsize=9)
    for axes in panels[1]:
        axes.set_xlabel("share of the datasheet peak")
    return figure


def _percent(share: float, _: int) -> str:
    return f"{100 * share:g} %"
