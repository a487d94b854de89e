"""Figures for a paper, by name: drawn from a scenario, as wide as a column, with what they show."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from importlib import metadata

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from card.base import DISTRIBUTION
from card.base.errors import ScenarioError, shortened
from card.base.units import counted
from card.costs import System
from card.figures.decisions import decision_shares
from card.figures.image_files import finished
from card.figures.policies import by_state, headline
from card.figures.style import use_style
from card.scenario import Scenario
from card.simulation import rounds_and_seed, simulate
from card.studies.bootstrap import mean_intervals
from card.studies.sweep import sweep

FORMATS = ("pdf", "svg", "eps", "png")
LEAST_IN, MOST_IN = 2.5, 12.0
"""Widths that the figures can have [inch]."""
_DPI = 600
_INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27}
_WEIGHTS = 21


def comparison(scenario: Scenario, rounds: int, seed: int, width_in: float) -> Figure:
    """Delay against server energy of every policy, and of CARD at every delay weight."""
    results = simulate(scenario, None, rounds, seed)
    others = [name for name in results.policy.values.tolist() if name != "exhaustive"]
    weights = {"objective.delay_weight": np.linspace(0, 1, _WEIGHTS).tolist()}
    curve = sweep(scenario, weights, ["card"], rounds, seed)[["delay_s", "energy_j"]]
    means = curve.mean(("policy", "state", "device"))
    return headline(mean_intervals(results.sel(policy=others)), means, width_in)


def states(scenario: Scenario, rounds: int, seed: int, width_in: float) -> Figure:
    """Delay and server energy of every policy in each channel state."""
    results = simulate(scenario, None, rounds, seed)
    others = [name for name in results.policy.values.tolist() if name != "exhaustive"]
    return by_state(mean_intervals(results.sel(policy=others), ("policy", "state")), width_in)


def cuts(scenario: Scenario, rounds: int, seed: int, width_in: float) -> Figure:
    """Shares of rounds that CARD spends at each cut, by device and channel state."""
    results = simulate(scenario, ["card"], rounds, seed).sel(policy="card", drop=True)
    return decision_shares(results, System.of(scenario).num_blocks, width_in)


FIGURES: dict[str, Callable[[Scenario, int, int, float], Figure]] = {
    "comparison": comparison,
    "states": states,
    "cuts": cuts,
}
"""The figures by name."""


def inches(text: str) -> float:
    """Width such as `3.5in`, `89mm`, `8.9cm` or `252pt` (TeX's) [inch].

    Raises
    ------
    ScenarioError
        If it is no such width, or one that no figure can have.
    """
    found = re.fullmatch(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*(in|cm|mm|pt)\s*", text)
    width = float(found[1]) * _INCHES[found[2]] if found else 0.0
    if not LEAST_IN <= width <= MOST_IN:
        raise ScenarioError(
            f"width = {shortened(text)} is not allowed; give {LEAST_IN:g}in to {MOST_IN:g}in, "
            "also in cm, mm or pt, e.g. 3.5in or 89mm."
        )
    return width


def picture(
    name: str,
    scenario: Scenario,
    file_format: str,
    width_in: float,
    rounds: int | None = None,
    seed: int | None = None,
) -> bytes:
    """File of a figure, with TrueType fonts, that says of what it is; equal calls, equal bytes.

    Parameters
    ----------
    name
        One of `FIGURES`.
    scenario
        What it is of.
    file_format
        One of `FORMATS`.
    width_in
        Width [inch].
    rounds, seed
        Rounds and seed of the simulation; the scenario's when None.
    """
    rounds, seed = rounds_and_seed(scenario, rounds, seed)
    made = f"card {metadata.version(DISTRIBUTION)}"
    about = f"scenario {scenario.digest}, {counted(rounds, 'round')}, seed {seed}"
    said = {
        "pdf": {"Creator": made, "Title": scenario.title, "Subject": about, "CreationDate": None},
        "svg": {"Creator": made, "Title": scenario.title, "Description": about, "Date": None},
        "eps": {"Creator": f"{made}, {about}"},
        "png": {"Software": made, "Title": scenario.title, "Description": about},
    }
    drawn = io.BytesIO()
    with mpl.rc_context():
        use_style(width_in)
        figure = FIGURES[name](scenario, rounds, seed, width_in)
        finished(figure, drawn=file_format != "svg")
        if file_format == "eps":
            _mix_lines(figure)
        figure.savefig(drawn, format=file_format, dpi=_DPI, metadata=said[file_format])
    return drawn.getvalue()


def _mix_lines(figure: Figure) -> None:
    """Give faint lines the colour that they have on white, since EPS has no transparency."""
    for line in figure.findobj(Line2D):
        share = line.get_alpha()
        if share is not None:
            line.set(color=1 - share + share * np.array(to_rgb(line.get_color())), alpha=None)
