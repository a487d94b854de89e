"""Pictures of speed: how fast CARD and others decide, and what more machines could make of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from card.figures.style import COLOURS, WIDTH_IN

_INK, _QUIET = "#222222", "#666666"
METHODS = {
    "test_copy_of_as_many_bytes": "copying as many bytes",
    "test_million_decisions_by_torch[compiled]": "CARD, torch, compiled",
    "test_million_decisions[solve-2]": "CARD, NumPy, 2 threads",
    "test_million_decisions[solve-1]": "CARD, NumPy, 1 thread",
    "test_million_decisions_by_torch[eager]": "CARD, torch, eager",
    "test_million_decisions[solve_exhaustive-2]": "every cut, NumPy, 2 threads",
    "test_million_decisions[solve_exhaustive-1]": "every cut, NumPy, 1 thread",
    "test_same_decisions[by_loop]": "CARD as a plain Python loop",
    "test_hundred_single_decisions": "CARD, one call at a time",
    "test_same_decisions[by_scipy]": "scipy, bounded search per cut",
    "test_same_decisions[by_evolution]": "scipy, differential evolution",
    "test_same_decisions[by_genetic]": "pymoo, mixed-variable GA",
}
"""What a benchmark of `make bench` that decides is called."""
BASELINE = METHODS["test_same_decisions[by_scipy]"]
"""What ratios refer to."""
FLOOR = METHODS["test_copy_of_as_many_bytes"]
"""What decides nothing, and only moves what a decision reads and writes."""


def decision_rates(record: Mapping[str, Any]) -> dict[str, float]:
    """Decisions per second of every method in a record, the fastest first [1/s].

    Parameters
    ----------
    record
        What `pytest tests/bench --benchmark-only --record FILE` wrote.
    """
    found = record["benchmarks"]
    rates = {
        label: found[name]["decisions"] / found[name]["median_s"]
        for name, label in METHODS.items()
        if name in found
    }
    return dict(sorted(rates.items(), key=lambda item: -item[1]))


def serial_share(speed_up: float, workers: int) -> float:
    """Share of the work that more workers do not shorten, by Amdahl's law [1].

    Parameters
    ----------
    speed_up
        Measured ratio of the time of one worker to that of `workers` [1].
    workers
        More than one.
    """
    if workers < 2 or speed_up <= 0:
        raise ValueError(
            f"workers = {workers}, speed_up = {speed_up:g} is not allowed; "
            "give 2 workers or more and a ratio above 0."
        )
    return min(1.0, max(0.0, (workers / speed_up - 1) / (workers - 1)))


def amdahl(share: float, workers: int) -> float:
    """Speed-up of `workers` with a serial share of the work [1]; one worker has 1."""
    return 1 / (share + (1 - share) / workers)


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
        text = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"
        text += f", {times:,.0f} ×" if times >= 10 else f", {times:.2g} ×"
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
