"""Loading a scenario whole: read, validated, and refused if the model cannot work with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from card.channel.rates import check_state_rates
from card.costs.arrays import System
from card.scenario import Scenario, read_scenario


def load_scenario(name_or_path: str | Path, **overrides: Any) -> Scenario:
    """Load a scenario or study, merged with its bases, and refuse whatever is wrong with it.

    Parameters
    ----------
    name_or_path
        Name of a shipped scenario or study, or path of a scenario or study file.
    **overrides
        Values to replace, as nested mappings or dotted paths, e.g. ``{"link.bandwidth_hz": 2e7}``.

    Raises
    ------
    ScenarioError
        If a file is missing or malformed, a key unknown, a value out of range, or if the values do
        not go together: with the LLM, with memory, or on the link.
    """
    return checked(read_scenario(name_or_path, **overrides))


def checked(scenario: Scenario) -> Scenario:
    """The scenario, or a `ScenarioError` if no `system` follows from it, or no rate on a link."""
    System.of(scenario)
    check_state_rates(scenario)
    return scenario
