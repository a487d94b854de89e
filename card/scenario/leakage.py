"""Tables of leakage: how much of a device's text attacks recover from what a cut sends."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from card.base.errors import ScenarioError, repeated
from card.base.schema import WHOLE, Natural, Number, Record
from card.scenario.tables import MeasuredTable

Attack = Literal["inversion", "late-inversion", "search", "label-inference"]
"""What a curious server may try; `card.training.leakage` says how each goes about it."""
Width = Literal[32, 16, 8, 4]
"""Bits per number that goes up."""
Format = Literal["card-leakage/1"]
FORMAT: Format = "card-leakage/1"
"""Version of the file that is written and read."""
Fraction = Annotated[Number, Field(ge=0, le=1)]


class Recovery(Record):
    """Share of a text's tokens that are guessed right."""

    rate: Fraction
    """Mean over texts and seeds [1] (λ_a)."""
    low: Fraction
    """Least of them [1]."""
    high: Fraction
    """Most of them [1]."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low <= self.rate <= self.high:
            raise ValueError(
                f"{self._of}rate = {self.rate:g} is not between low = {self.low:g} and high = "
                f"{self.high:g}; give the least, the mean and the most of what was measured."
            )
        return self

    @property
    def _of(self) -> str:
        return "chance: "


class Attacked(Recovery):
    """What one attack recovers from what one cut sends."""

    attack: Attack
    """The attack."""
    cut: Natural
    """Blocks on the device."""
    uplink_bits: Annotated[Width, WHOLE]
    """Bits per number that goes up."""

    @property
    def _of(self) -> str:
        return f"{self.attack} at cut {self.cut} and {self.uplink_bits} bits: "


class LeakageTable(MeasuredTable):
    """What attacks recover of a device's text, by cut and bits, for one LLM."""

    format: Format
    """Version of the file."""
    rates: Annotated[tuple[Attacked, ...], Field(min_length=1)]
    """Recovery by attack, cut and bits, each once."""
    chance: Recovery | None = None
    """What guessing the text's most frequent token recovers."""

    _files, _command = "leakage", "card leakage"

    @model_validator(mode="after")
    def _check(self) -> Self:
        twice = repeated((one.attack, one.cut, one.uplink_bits) for one in self.rates)
        if twice is not None:
            raise ValueError(
                "rates has {} at cut {} and {} bits twice; give each once.".format(*twice)
            )
        return self

    @property
    def attacks(self) -> tuple[Attack, ...]:
        """Attacks that were made, in the order of the file."""
        return tuple(dict.fromkeys(one.attack for one in self.rates))

    @property
    def content(self) -> dict[str, Any]:
        """What options are judged by, without when and on what it was measured, in one order."""
        order = sorted(self.rates, key=lambda one: (one.attack, one.cut, one.uplink_bits))
        return {"llm": self.llm, "rates": [one.model_dump(mode="json") for one in order]}

    def recovery(self, attack: str, cut: int, uplink_bits: int) -> Recovery:
        """What an attack recovers.

        Raises
        ------
        ScenarioError
            If the table has no such row.
        """
        for one in self.rates:
            if (one.attack, one.cut, one.uplink_bits) == (attack, cut, uplink_bits):
                return one
        raise ScenarioError(
            f"the table of leakage for {self.llm} has no rate of {attack} at cut {cut} and "
            f"{uplink_bits} bits up; add it, or leave the attack, the cut or the bits out."
        )
