"""How long a run of split fine-tuning is, and what its server puts up with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from card.base.errors import LARGEST_COUNT, ScenarioError
from card.training.trust import LARGEST_STEP

Rates = Literal["measured", "trace"]
"""Where the rates come from by which a round is decided."""


@dataclass(frozen=True)
class Terms:
    """How long a run is, and what it puts up with."""

    rounds: int
    """Rounds in all; a round is one device's turn."""
    learning_rate: float
    """Step size of AdamW, whose moments start anew in every round."""
    timeout_s: float = 60.0
    """Longest silence of a device within its round [s]."""
    patience_s: float = 600.0
    """Longest wait for a device to connect [s]."""
    wait_for: int = 1
    """Devices that must be connected before the first round."""
    cuts: tuple[int, ...] = ()
    """Cuts to go through, round by round, in place of the policy's; none lets it decide."""
    policy: str = "card"
    """Policy that decides, by its name or that of a function in a file of one's own."""

    rates: Rates = "measured"
    """Whether rounds are decided and predicted by the rates that probes measure before each, or by
    those that the scenario's trace has for it and its device, counted from the run's first."""

    def __post_init__(self) -> None:
        """Refuse what nothing can be trained or waited by.

        Raises
        ------
        ScenarioError
            If a value is out of its range.
        """
        for name, low, high in (
            ("rounds", 1, LARGEST_COUNT),
            ("learning_rate", 0, LARGEST_STEP),
            ("timeout_s", 0.1, LARGEST_COUNT),
            ("patience_s", 0, LARGEST_COUNT),
        ):
            value = getattr(self, name)
            if not low <= value <= high:  # nor is a NaN
                raise ScenarioError(f"{name} = {value} is not allowed; give {low} to {high}.")
