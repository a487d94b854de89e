"""Tables of loss penalties: what few bits on the wire do to learning, measured for one LLM."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from card.base.errors import ScenarioError, repeated
from card.base.schema import WHOLE, Name, Natural, Number, Record
from card.scenario.leakage import Width
from card.scenario.tables import MeasuredTable

Format = Literal["card-loss-penalty/1"]
FORMAT: Format = "card-loss-penalty/1"
"""Version of the file that is written and read."""


class Estimate(Record):
    """A mean over seeds with its 95 % interval."""

    mean: Number
    """Mean over seeds."""
    low: Number
    """Lower end of the interval."""
    high: Number
    """Upper end."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low <= self.mean <= self.high:
            raise ValueError(
                f"mean = {self.mean:g} is not between low = {self.low:g} and high = {self.high:g}"
            )
        return self

    @property
    def settled(self) -> float:
        """The mean, or 0 where the interval holds 0, so that neither gain nor loss is claimed."""
        return 0.0 if self.low <= 0 <= self.high else self.mean


class Penalised(Estimate):
    """Loss on held-out text beyond that of 16 bits either way, after the same training [nat]."""

    cut: Natural
    """Blocks on the device."""
    uplink_bits: Annotated[Width, WHOLE]
    """Bits per number that goes up."""
    downlink_bits: Annotated[Width, WHOLE]
    """Bits per number that comes down."""
    curve: tuple[Estimate, ...] = ()
    """Loss on held-out text before training and after each round [nat]."""


class Learned(Record):
    """What training in 16 bits does for one device's held-out text."""

    text: Name
    """The text."""
    unigram: Number
    """Entropy of its held-out tokens under counts of those trained on [nat]."""
    base: Number
    """Loss per token of the LLM without adapters [nat]."""
    adapted: Estimate
    """Loss with adapters that were trained on this text alone [nat]."""
    gain: Estimate
    """How much less that is than without adapters, over the same seeds [nat]."""


class PenaltyTable(MeasuredTable):
    """What bits on the wire cost in loss, by cut and bits, for one LLM."""

    format: Format
    """Version of the file."""
    topology: Literal["vanilla", "u-shaped"]
    """Where the head was; with it on the device more crosses in few bits."""
    penalties: Annotated[tuple[Penalised, ...], Field(min_length=1)]
    """Penalty by cut and bits, each once."""
    learned: tuple[Learned, ...] = ()
    """What is learned at all, text by text."""

    _files, _command = "loss-penalty", "card bits"

    @model_validator(mode="after")
    def _check(self) -> Self:
        rows = ((one.cut, one.uplink_bits, one.downlink_bits) for one in self.penalties)
        twice = repeated(rows)
        if twice is not None:
            raise ValueError(
                "penalties has cut {} with {} bits up and {} down twice".format(*twice)
            )
        return self

    @property
    def content(self) -> dict[str, Any]:
        """What options are judged by, without when and on what it was measured."""
        rows = (one.model_dump(mode="json", exclude={"curve"}) for one in self.penalties)
        order = ("cut", "uplink_bits", "downlink_bits")
        listed = sorted(rows, key=lambda row: [row[name] for name in order])
        return {"llm": self.llm, "topology": self.topology, "penalties": listed}

    def penalty(self, cut: int, uplink_bits: int, downlink_bits: int) -> Penalised:
        """Penalty of a cut and bits.

        Raises
        ------
        ScenarioError
            If the table has no such row.
        """
        for one in self.penalties:
            if (one.cut, one.uplink_bits, one.downlink_bits) == (cut, uplink_bits, downlink_bits):
                return one
        raise ScenarioError(
            f"the table of loss penalties for {self.llm} has none at cut {cut} with {uplink_bits} "
            f"bits up and {downlink_bits} down; add it, or leave the cut or the bits out."
        )
