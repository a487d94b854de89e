"""Measured profiles of processors: what `card profile` writes and a scenario's `hardware` accepts.

A profile holds what one machine took for the parts of one LLM, and whatever else it offered; a
quantity that the machine does not offer is absent with the reason, never filled in. Files of format
1 time each part alone; those of format 2 also say what it adds to a training step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import ValidationError, model_validator

from card.base.errors import ScenarioError, shortened
from card.base.schema import (
    WHOLE,
    Clock,
    Count,
    Day,
    Flag,
    Natural,
    Number,
    Power,
    Quantity,
    Rate,
    Record,
    Size,
    Time,
)
from card.base.text_files import read_json_object
from card.base.units import BITS_PER_BYTE

Format = Literal["card-profile/1", "card-profile/2"]
FORMATS: tuple[Format, ...] = get_args(Format)
"""Versions of the file that are read, of which the last is written."""

PartName = Literal["embedding", "first_block", "block", "head"]
PARTS: tuple[PartName, ...] = get_args(PartName)
"""The parts in the order in which the LLM has them."""


class Spread(Record):
    """Time of repeated runs."""

    median_s: Time
    """Median [s]."""
    lower_s: Time
    """Lower quartile [s]."""
    upper_s: Time
    """Upper quartile [s]."""
    repeats: Count
    """Runs after warm-up."""


class Reading(Record):
    """A quantity that a machine may or may not offer."""

    value: Quantity | None = None
    """What was read, in the unit of the key."""
    reason: str | None = None
    """How it was read, or why it is absent."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.value is None and not self.reason:
            raise ValueError("an absent reading needs its reason")
        return self


class Part(Record):
    """One part of the LLM for one mini-batch."""

    forward: Spread
    """Time of the forward pass."""
    backward: Spread | None
    """Time of the backward pass; none where nothing needs a gradient."""
    forward_flop: Natural
    """Forward work, by torch's counter [FLOP]."""
    backward_flop: Natural
    """Backward work, by torch's counter [FLOP]."""
    saved_bit: Natural
    """Activations held for backward, by torch's hooks [bit]."""
    moved_bit: Natural | None = None
    """Weights, input, output and activations held for backward, each counted once [bit]."""
    added_s: Reading | None = None
    """What the part adds to a training step [s]; none in files that time it alone."""
    device_s: Reading | None = None
    """Time that a GPU itself works on the part alone [s]."""
    launched_s: Reading | None = None
    """Time after which a GPU has been asked for all of the part [s]."""

    @property
    def time_s(self) -> float:
        """What the part adds to a training step [s]; where that is not known, its time alone."""
        alone_s = self.forward.median_s + (self.backward.median_s if self.backward else 0.0)
        return read_value(self.added_s) or alone_s

    @property
    def worked_s(self) -> float:
        """Time in which the processor works on the part [s], a GPU's own if measured."""
        return read_value(self.device_s) or self.time_s

    @property
    def flop(self) -> int:
        """Forward and backward work [FLOP]."""
        return self.forward_flop + self.backward_flop

    @property
    def intensity_flop_per_byte(self) -> float | None:
        """Work per byte moved [FLOP/byte]; none where no traffic was counted.

        Every byte counts once, while weights larger than the cache are read in both passes: the
        traffic is a lower bound, and this an upper one.
        """
        return self.flop / (self.moved_bit / BITS_PER_BYTE) if self.moved_bit else None


class Machine(Record):
    """Where a profile was recorded."""

    processor: str
    """Name of the processor that ran the LLM."""
    accelerator: Flag
    """Whether that is a GPU."""
    cores: Count
    """Logical processor cores used, or the GPU's multiprocessors."""
    memory_gb: Size
    """Its memory [GB]."""
    system: str
    """Operating system and architecture."""


class Settings(Record):
    """What was run."""

    llm: str
    """Entry of `data/llms`."""
    batch_size: Count
    """Sequences per mini-batch."""
    sequence_length: Count
    """Tokens per sequence."""
    activation_bits: Annotated[Literal[16, 32], WHOLE]
    """Bits of activations, frozen weights and adapters."""
    rank: Count
    """LoRA rank."""
    targets: tuple[str, ...]
    """LoRA targets."""
    dora: Flag = False
    """Whether the adapters were those of DoRA."""
    quick: Flag
    """Whether fewer repeats were made."""


class Ceilings(Record):
    """What the machine reaches where nothing else holds it up; best of the repeats."""

    peak_flops: Rate
    """Rate of a large square matrix product in the parts' number format [FLOP/s] (C_peak)."""
    memory_byte_per_s: Rate
    """Bytes read and written per time by a large copy [byte/s]."""
    repeats: Count
    """Runs of each after warm-up."""

    @property
    def ridge_flop_per_byte(self) -> float:
        """Intensity below which memory, not arithmetic, limits the rate [FLOP/byte]."""
        return self.peak_flops / self.memory_byte_per_s


class WholeStep(Record):
    """One training step of the whole LLM: measured, and predicted from its parts."""

    measured: Spread
    """Measured time."""
    predicted_s: Time
    """Sum of the parts' times [s], by :eq:`eq-step`."""

    @property
    def error(self) -> float:
        """Relative error of the prediction [1]."""
        return self.predicted_s / self.measured.median_s - 1.0


class PowerLaw(Record):
    """P(f) = P₀ + P₁ f + ξ f³ fitted to a sweep of clocks."""

    clocks_hz: tuple[Clock, ...]
    """Clocks of the sweep [Hz]."""
    powers_w: tuple[Power, ...]
    """Measured power at each clock [W]."""
    times_s: tuple[Time, ...]
    """Time of the same work at each clock [s]."""
    static_power_w: Quantity
    """Fitted power at any clock [W] (P_0)."""
    linear_power_w_per_hz: Quantity = 0.0
    """Fitted power per clock [W/Hz] (P_1); 0 in files of format 1, whose law has none."""
    power_coefficient: Quantity
    """Fitted ξ [W/Hz³]."""
    residuals_w: tuple[Number, ...]
    """Measured minus fitted power at each clock [W]."""
    holds_from_hz: Clock | None
    """Lowest clock from which on the law is within a tenth; none if nowhere."""


class Recorded(Record):
    """Where, when and how a profile was recorded."""

    format: Format
    """Version of the file."""
    title: str
    """Name that a figure shows."""
    date: Day
    """Day of the measurement."""
    hardware: str | None
    """Entry of the hardware catalogue that the machine is, if it is listed."""
    machine: Machine
    """What was measured on."""
    software: dict[str, str]
    """Versions that matter."""
    settings: Settings
    """How it was measured."""


class Timed(Record):
    """What the parts of one LLM took with mini-batches of one shape."""

    parts: dict[PartName, Part]
    """Times, work and memory of each part."""
    arrival_s: Reading | None = None
    """What a side takes that begins inside the LLM, beyond its blocks and head [s], such as
    masks, tables of positions and its input; none in files of format 1."""
    smashed_bit: Natural
    """Activations of one mini-batch as really serialised, without framing [bit]."""
    peak_memory_bit: Reading
    """Most memory in use while training one block [bit]."""
    power_w: Reading
    """Mean power while training one block [W]."""
    energy_j: Reading
    """Energy of training one block on one mini-batch [J]."""
    whole_step: WholeStep | None
    """The whole LLM's training step, where it was run."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        missing = set(PARTS) - set(self.parts)
        if missing:
            raise ValueError(f"parts lacks {', '.join(sorted(missing))}")
        if self.parts["block"].flop == 0:
            raise ValueError("parts.block has no work")
        return self


class Point(Timed):
    """What was measured at another shape of mini-batches."""

    batch_size: Count
    """Sequences per mini-batch."""
    sequence_length: Count
    """Tokens per sequence."""


class Profile(Timed, Recorded):
    """What one machine took to train the parts of one LLM."""

    adapter_bit: Natural
    """Adapters of one block as really serialised, without framing [bit]."""
    clock_hz: Reading
    """Clock as found [Hz]."""
    power_law: PowerLaw | None
    """Power over clocks, where a sweep was run."""
    idle_power_w: Reading | None = None
    """Power drawn while the machine waits, ready to work [W]; none in files without it."""
    ceilings: Ceilings | None = None
    """The machine's own limits; none in files recorded before they were measured."""
    points: tuple[Point, ...] = ()
    """What was measured at further shapes of mini-batches."""

    @model_validator(mode="after")
    def _differ(self) -> Self:
        shapes = [(one.settings.batch_size, one.settings.sequence_length) for one in self.at_points]
        if len(set(shapes)) < len(shapes):
            raise ValueError("points has a shape of mini-batch twice")
        return self

    @property
    def at_points(self) -> tuple[Profile, ...]:
        """The profile at each shape of mini-batch that was measured, the first one first."""
        shape = ("batch_size", "sequence_length")
        others = []
        for point in self.points:
            found = dict(point)
            settings = self.settings.model_copy(update={name: found.pop(name) for name in shape})
            others.append(self.model_copy(update={**found, "settings": settings, "points": ()}))
        return (self, *others)

    @property
    def throughput_flops(self) -> float:
        """Measured rate of training one block [FLOP/s]."""
        block = self.parts["block"]
        return block.flop / block.time_s

    @property
    def fastest_flops(self) -> float:
        """Measured rate of the part that does most work in its time [FLOP/s]."""
        return max(part.flop / part.worked_s for part in self.parts.values())

    @property
    def working_power_w(self) -> float | None:
        """Power while the machine works [W]; none where it offers no counter.

        A GPU that trains one block waits for launches most of the time. Above the power that it
        draws then, all of its energy is of the work: for as long as it works on the block, or where
        that was not measured, at its fastest.
        """
        power_w, idle_w = self.power_w.value, read_value(self.idle_power_w)
        if power_w is None or idle_w is None or not self.machine.accelerator:
            return power_w
        block = self.parts["block"]
        taken_s = self.energy_j.value / power_w if self.energy_j.value else block.time_s
        if own_s := read_value(block.device_s):
            return idle_w + (power_w - idle_w) * taken_s / own_s
        return idle_w + (power_w - idle_w) * taken_s * self.fastest_flops / block.flop

    @property
    def overhead_s_per_token(self) -> dict[PartName, float]:
        """What each part takes beyond its work at the fastest rate, per token [s].

        On a GPU whose own time was not measured, that is launches, and none of it stands here.
        """
        tokens = self.settings.batch_size * self.settings.sequence_length
        return {
            name: max(0.0, part.worked_s - part.flop / self.fastest_flops) / tokens
            if read_value(part.device_s) or not self.machine.accelerator
            else 0.0
            for name, part in self.parts.items()
        }

    @property
    def launch_s(self) -> dict[PartName, float]:
        """Time that a GPU's launches take in each part [s]; 0 on a processor.

        Where both were measured, a part whose launches take longer than the GPU works takes as long
        as they do. Elsewhere, a part that a GPU works off slower than the fastest one is held up by
        its launches. The fastest one is not: of its time, the least that its work can take at the
        machine's ceilings is the GPU's own, during which launches of other parts go on.
        """
        if not self.machine.accelerator:
            return dict.fromkeys(PARTS, 0.0)
        peak = self.ceilings.peak_flops if self.ceilings else float("inf")

        def launched(part: Part) -> float:
            own_s, asked_s = read_value(part.device_s), read_value(part.launched_s)
            if own_s and asked_s:
                return part.time_s if asked_s > own_s else asked_s
            at_peak_s = part.flop / peak
            return part.time_s - at_peak_s * (part.flop / part.time_s == self.fastest_flops)

        return {name: launched(part) for name, part in self.parts.items()}


def read_value(reading: Reading | None) -> float | None:
    """Value of a quantity; none where it is absent."""
    return reading.value if reading else None


def read_profile(path: Path) -> Profile:
    """Profile stored in a file.

    Raises
    ------
    ScenarioError
        If the file is missing, corrupt, truncated, of another version or not a profile.
    """
    again = "record it again with card profile"
    raw = read_json_object(path, again, shown=True)
    version = raw.get("format")
    if version not in FORMATS:
        known = " and ".join(map(repr, FORMATS))
        raise ScenarioError(
            f"{path} has format {shortened(version)}; this version reads {known}: {again}."
        )
    try:
        return Profile.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the profile"
        raise ScenarioError(f"{path}: {place} is damaged ({first['msg']}); {again}.") from error
