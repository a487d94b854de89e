"""Loading a scenario whole: read, validated, and refused if the model cannot work with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from card.base.errors import ScenarioError
from card.channel import state_rates
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
    with np.errstate(all="ignore"):  # what overflows is refused
        both_ways = state_rates(scenario)
    for rates in both_ways:
        bad = np.argwhere(~(np.isfinite(rates) & (rates > 0)))
        for state, device in bad[:1]:
            raise ScenarioError(
                f"devices.{scenario.devices[device].name}: its link has a rate of "
                f"{rates[state, device]:g} bit/s in the channel state "
                f"{list(scenario.channel_states)[state]}, which is not allowed; give distance, "
                f"power, bandwidth and path loss that leave a finite rate above 0."
            )
    return scenario
