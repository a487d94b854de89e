"""A picture of speed: how fast CARD and others decide."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from card.figures.style import COLOURS, WIDTH_IN
from card.studies.speed import BASELINE, FLOOR

_INK, _QUIET = "#222222", "#666666"


def _digits(value: float) -> str:
    """Three digits from 10 on, two below: more would not repeat from run to run."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 10 else f"{value:.2g}"


def decision_speed(rates: Mapping[str, float]) -> Figure:
    """Decisions per second of every method as bars, and times the scipy loop's.

    Parameters
    ----------
    rates
        Decisions per second by method, from top to bottom [1/s]; among them `BASELINE`.
    """
    figure = Figure(figsize=(WIDTH_IN, 0.7 + 0.33 * len(rates)), layout="constrained")
    axes = figure.subplots()
    least = min(rates.values()) / 3
    for place, (label, rate) in enumerate(rates.items()):
        own = label.startswith(("CARD", "every cut"))
        colour = COLOURS["blue"] if own else COLOURS["grey"]
        empty = label == FLOOR
        axes.barh(
            place, rate - least, left=least, height=0.7, facecolor="white" if empty else colour,
            edgecolor=colour, hatch="////" if empty else None,
        )  # fmt: skip
        times = rate / rates[BASELINE]
        text = f"{_digits(rate)}/s, {_digits(times)} ×"
        axes.annotate(
            text, (rate, place), (4, 0), textcoords="offset points", va="center", fontsize=8.5,
            color=_INK if own else _QUIET,
        )  # fmt: skip
    axes.set_yticks(range(len(rates)), list(rates))
    axes.set_ylim(len(rates) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlim(least, 30 * max(rates.values()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(f"decisions per second; × is against “{BASELINE}”")
    axes.grid(axis="y", visible=False)
    return figure
