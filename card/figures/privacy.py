"""A picture of what privacy costs: delay and energy against the leakage that is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from card.figures.style import COLOURS, NARROW_IN, WIDTH_IN
from card.studies.privacy import Limited, Setting

_Style = tuple[str, float, Literal["-", "--"]]

_LINES: tuple[_Style, ...] = (("sky", 5.0, "-"), ("blue", 2.4, "-"), ("vermillion", 1.6, "--"))
"""Colour, width and dashes of each threat; a wide line shows below those that it shares ends
with."""
_INK = "#222222"
_SENT = "labels sent"


def accepted_leakage(
    limited: Sequence[Limited], sent: Setting | None = None, width_in: float = WIDTH_IN
) -> Figure:
    """Mean delay and server energy of a round over the leakage that is accepted, by threat.

    Lines are steps: between two marks nothing changes, for no option leaks just that much.

    Parameters
    ----------
    limited
        Result of `card.studies.privacy.limits`, of at most three threats.
    sent
        What the same scenario takes where labels go up, which leak everything.
    width_in
        Width of the figure [inch].
    """
    narrow = width_in < NARROW_IN
    shape = (2, 1) if narrow else (1, 2)
    figure = Figure(figsize=(width_in, 5.4 if narrow else 3.5), layout="constrained")
    panels = figure.subplots(*shape, sharex=True)
    labels = {"delay_s": "delay of a round [s]", "energy_j": "server energy of a round [J]"}
    threats = list(dict.fromkeys(one.threat for one in limited))
    styles = dict(zip(threats, _LINES, strict=False))
    for axes, (quantity, label) in zip(panels.flat, labels.items(), strict=True):
        for threat in threats:
            _steps(axes, [one for one in limited if one.threat == threat], quantity, styles[threat])
        mean = sent and getattr(sent, quantity)
        if mean:
            axes.plot([1.0], [mean.value], "*", color=_INK, markersize=13, zorder=6, clip_on=False)
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.set_xlim(-0.02, 1.02)
    for axes in panels.flat[1:] if narrow else panels.flat:
        axes.set_xlabel("leakage accepted [share of tokens]")
    keys = [
        Line2D([], [], color=COLOURS[colour], linewidth=width, linestyle=dashes, label=threat)
        for threat, (colour, width, dashes) in styles.items()
    ]
    if sent and sent.delay_s:
        keys.append(Line2D([], [], color=_INK, marker="*", markersize=11, ls="", label=_SENT))
    figure.legend(handles=keys, loc="outside lower center", ncols=2 if narrow else len(keys))
    return figure


def _steps(axes: Axes, limited: Sequence[Limited], quantity: str, style: _Style) -> None:
    colour, width, dashes = style
    places = [one.leakage_max for one in limited]
    means = [getattr(one, quantity) for one in limited]
    values = [mean.value for mean in means]
    axes.plot(
        [*places, 1.0], [*values, values[-1]], drawstyle="steps-post", color=COLOURS[colour],
        linewidth=width, linestyle=dashes, solid_capstyle="butt",
    )  # fmt: skip
    ends = [[mean.value - mean.low for mean in means], [mean.high - mean.value for mean in means]]
    axes.errorbar(
        places, values, ends, fmt="o", color=COLOURS[colour], markersize=2.5 + width / 1.5,
        elinewidth=1.2, zorder=5,
    )  # fmt: skip
