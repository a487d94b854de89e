"""Processors: public facts from the catalogue, or what a profile measured in their place."""

from __future__ import annotations

import os
from collections import UserDict
from collections.abc import Iterable
from functools import lru_cache
from math import log
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from card.base.data_files import DATA
from card.base.errors import ScenarioError, nearest, shortened, unknown, validated
from card.base.provenance import Source, set_by
from card.base.schema import (
    Clock,
    Count,
    Duration,
    Flag,
    Name,
    NotNegative,
    Power,
    Record,
    Size,
    Work,
)
from card.base.yaml_files import read_yaml
from card.hardware.profile import PartName, Profile, read_profile, read_value

NumberFormat = Literal["fp32", "tf32", "bf16", "fp16", "int8"]
"""Number formats of matrix products, whose sums are kept in 32 bits."""


_NO_VALUES = ("title", "role", "sources")


class Hardware(Record):
    """Public facts of one processor (`data/hardware.yml`)."""

    title: Name
    """Name that a figure shows."""
    role: Literal["device", "server"]
    """Where the catalogue lists it; either may be used on both sides."""
    cores: Count
    """CUDA cores (σ)."""
    flop_per_core_cycle: Work
    """Work per core and clock cycle in FP32 [FLOP] (δ); a fused multiply-add counts 2."""
    formats: dict[NumberFormat, Work] = Field(default_factory=dict)
    """The same on its tensor cores by number format, without sparsity [FLOP]; what it lacks is not
    listed."""
    clock_hz: Clock
    """Highest GPU clock [Hz] (f_D)."""
    memory_gb: Size
    """Memory [GB], of a device (M_D) or the server (M_S); 1 GB = 10⁹ byte."""
    memory_bandwidth_gb_per_s: Size | None
    """Memory bandwidth [GB/s]."""
    min_power_w: Power | None
    """Lowest power mode [W]."""
    max_power_w: Power | None
    """Highest power mode, or thermal design power [W] (P_max)."""
    sources: dict[str, Source]
    """Origin of each number."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        values = [key for key in type(self).model_fields if key not in _NO_VALUES]
        for key in self.sources:
            if key not in values:
                raise ValueError(f"sources.{key} is the origin of no value; {nearest(key, values)}")
        return self

    @property
    def flop_per_cycle(self) -> dict[NumberFormat, float]:
        """Work in one clock cycle if every core does all it can, by number format [FLOP] (σ δ)."""
        per_core = {"fp32": self.flop_per_core_cycle, **self.formats}
        return {name: self.cores * work for name, work in per_core.items()}

    @property
    def peak_flops(self) -> dict[NumberFormat, float]:
        """Rate at the highest clock if every core does all it can, by number format [FLOP/s]."""
        return {name: work * self.clock_hz for name, work in self.flop_per_cycle.items()}

    def at(self, batch_size: int, sequence_length: int) -> Self:
        """The processor with mini-batches of a shape; the same with any, unless it is measured."""
        return self


class Own(Hardware):
    """A processor as a user describes it, in a study or in a file beside it."""

    role: Literal["device", "server"] = "device"
    """Where a catalogue would list it."""
    flop_per_core_cycle: Work = 2
    """Work per core and clock cycle in FP32 [FLOP] (δ); a fused multiply-add counts 2."""
    memory_bandwidth_gb_per_s: Size | None = None
    """Memory bandwidth [GB/s]."""
    min_power_w: Power | None = None
    """Lowest power mode [W]."""
    max_power_w: Power | None = None
    """Highest power mode, or thermal design power [W] (P_max)."""
    sources: dict[str, Source] = Field(default_factory=dict)
    """Origin of each number."""

    @model_validator(mode="after")
    def _check_powers(self) -> Self:
        if self.min_power_w and self.max_power_w and self.min_power_w > self.max_power_w:
            raise ValueError(
                f"min_power_w = {self.min_power_w:g} is not allowed; give at most "
                f"{self.max_power_w:g}, the max_power_w, or raise that."
            )
        return self


class Measured(Hardware):
    """A processor as a profile measured it: with what each part of an LLM takes beyond its work."""

    accelerator: Flag
    """Whether it is a GPU."""
    llm: Name
    """The LLM that was measured."""
    batch_size: Count
    """Sequences of the mini-batch that was measured."""
    sequence_length: Count
    """Its tokens per sequence."""
    overhead_s_per_token: dict[PartName, Duration]
    """Time beyond the work at the fastest part's rate, per token [s]."""
    launch_s: dict[PartName, Duration]
    """Time that a GPU's launches take, whatever the mini-batch [s]; 0 on a processor."""
    arrival_s: Duration
    """What a side takes that begins inside the LLM, whatever the mini-batch [s]."""
    linear_power_w_per_hz: NotNegative
    """Power per clock of a swept law [W/Hz] (P_1); 0 without one."""
    points: tuple[Measured, ...] = ()
    """The processor with mini-batches of the other shapes that were measured."""

    def at(self, batch_size: int, sequence_length: int) -> Measured:
        """The processor as measured with the nearest shape of mini-batch: by tokens, then length.

        Nearness is that of logarithms, so that half is as far as double.
        """

        def distance(one: Measured) -> tuple[float, float]:
            tokens = one.batch_size * one.sequence_length
            length = log(one.sequence_length / sequence_length)
            return abs(log(tokens / (batch_size * sequence_length))), abs(length)

        return min((self, *self.points), key=distance)


class Catalogue(UserDict[str, Hardware]):
    """Processors by name; an entry is validated when it is used, so a bad one spoils no other."""

    def __init__(self, path: Path) -> None:
        entries: dict[Any, Any] = read_yaml(path, any_keys=True)
        words = {name: shortened(name) for name in entries if not isinstance(name, str)}
        super().__init__({words.get(name, name): entry for name, entry in entries.items()})
        self._path, self._no_words = path, set(words.values())

    def __getitem__(self, name: str) -> Hardware:
        """Entry of a name, or an error that says in which file and entry a value is wrong."""
        if name in self._no_words:
            raise ScenarioError(
                f"{self._path}, entry {name}: its name is not a word; put it in quotes."
            )
        entry = super().__getitem__(name)
        if not isinstance(entry, Hardware):
            entry = self[name] = validated(Hardware, entry, f"{self._path}, entry {name}")
        return entry


@lru_cache
def catalogue() -> Catalogue:
    """The hardware catalogue `data/hardware.yml`, by name."""
    return Catalogue(DATA / "hardware.yml")


@lru_cache
def profile_names() -> tuple[str, ...]:
    """Names of the shipped profiles."""
    return tuple(sorted(path.stem for path in (DATA / "profiles").glob("*.json")))


_ENTRIES = (".yml", ".yaml")


def is_file(name: str) -> bool:
    """Whether a name is that of a file: a measured profile, or a processor as a user has it."""
    return name.casefold().endswith((".json", *_ENTRIES))


def hardware(key: str, name: str) -> Hardware:
    """Processor that the scenario's `key` names: of the catalogue, or in a file."""
    if name in catalogue():
        return catalogue()[name]
    if name in profile_names():
        return measured(load_profile(key, name))
    _check_file(key, name, f"a .yml file that describes it, {_PROFILE}", catalogue())
    if name.casefold().endswith(_ENTRIES):
        return _own(Path(name))
    return measured(read_profile(Path(name)))


def _own(path: Path) -> Own:
    return sourced(validated(Own, read_yaml(path), str(path)), set_by(path))


def sourced(own: Own, reason: str) -> Own:
    """The same processor; what has no source is recorded as chosen, for a reason."""
    here = Source(kind="assumed", source=reason)
    told = sorted(own.model_dump(exclude_defaults=True, exclude=set(_NO_VALUES)))
    return own.model_copy(update={"sources": {**dict.fromkeys(told, here), **own.sources}})


def board_content(board: Hardware) -> dict[str, Any]:
    """All that results follow from: neither title nor sources, nor where it is listed."""
    names: dict[str, Any] = dict.fromkeys(_NO_VALUES, True)
    names["points"] = {"__all__": dict(names)}
    return board.model_dump(mode="json", exclude=names)


def load_profile(key: str, name: str) -> Profile:
    """Measured profile that `key` names: a shipped one, or a file."""
    if name in profile_names():
        return read_profile(DATA / "profiles" / f"{name}.json")
    _check_file(key, name, _PROFILE)
    return read_profile(Path(name))


_PROFILE = "a .json file that `card profile --output` wrote"


def _check_file(key: str, name: str, kinds: str, listed: Iterable[str] = ()) -> None:
    """Refuse what is neither a name nor a file; one that is there and cannot be read says why."""
    known = [*listed, *profile_names()]
    there = os.path.exists(name)  # noqa: PTH110, which says no to names that no file can have
    if not (there or is_file(name)):
        raise unknown(key, name, known)
    if not there:
        wrong = "does not exist"
    elif Path(name).is_dir():
        wrong = "is a folder"
    elif not is_file(name):
        wrong = "has another ending"
    else:
        return
    raise ScenarioError(
        f"{key} = {shortened(name)} {wrong}; give {kinds}, or one of {', '.join(known)}."
    )


def measured(profile: Profile) -> Measured:
    """Hardware as a profile measured it, at the clock as found.

    Its compute rate is that of the fastest part of the LLM; what the other parts take beyond it is
    overhead. On a GPU that is its launches, and while they go on, the work of other parts is done.

    Cores, memory and power are the catalogue's where the profile names an entry; a measured power
    replaces the datasheet's. What neither has stays None.
    """
    first, *others = map(_measured_at_one, profile.at_points)
    most_w = {"max_power_w": first.max_power_w}
    points = [one if one.max_power_w else one.model_copy(update=most_w) for one in others]
    return first.model_copy(update={"points": tuple(points)})


def _measured_at_one(profile: Profile) -> Measured:
    base = catalogue().get(profile.hardware or "")
    clock = profile.clock_hz.value or (base.clock_hz if base else None)
    if clock is None:
        raise ScenarioError(
            f"the profile {profile.title!r} has no clock ({profile.clock_hz.reason}); record it "
            f"with --hardware and a catalogue entry."
        )
    cores = base.cores if base else profile.machine.cores
    most_w, run, law = profile.working_power_w, profile.settings, profile.power_law
    here = Source(
        kind="measured",
        source=f"card profile of {run.llm} on {profile.title}, {profile.date}",
    )
    read = {
        "cores": cores,
        "flop_per_core_cycle": profile.fastest_flops / (cores * clock),
        "clock_hz": clock,
        "max_power_w": most_w or (base.max_power_w if base else None),
        "memory_gb": base.memory_gb if base else profile.machine.memory_gb,
        "overhead_s_per_token": profile.overhead_s_per_token,
        "launch_s": profile.launch_s,
        "arrival_s": read_value(profile.arrival_s) or 0.0,
        "linear_power_w_per_hz": law.linear_power_w_per_hz if law else 0.0,
    }
    absent = {"role": "device", "memory_bandwidth_gb_per_s": None, "min_power_w": None}
    listed = base.model_dump() if base else absent
    of_entry = {"cores", "memory_gb"} | (set() if most_w else {"max_power_w"})
    taken = [name for name in read if not (base and name in of_entry)]
    sources = {**(base.sources if base else {}), **dict.fromkeys(taken, here)}
    shown = {
        "title": profile.title,
        "accelerator": profile.machine.accelerator,
        **run.model_dump(include={"llm", "batch_size", "sequence_length"}),
    }
    raw = {**listed, **read, **shown, "sources": sources}
    return validated(Measured, raw, f"the profile {profile.title!r}")


def against_datasheet(profile: Profile) -> dict[str, float | None]:
    """What a profile measured, beside the datasheet of the catalogue entry that it names.

    Returns
    -------
    dict[str, float | None]
        Datasheet peak in the number format of the profile, measured rates of the parts [FLOP/s],
        utilisation [1], and the whole step's measured and predicted time [s]; None for what is not
        known.

    Notes
    -----
    Equation :eq:`eq-utilisation` of the book.
    """
    base = catalogue().get(profile.hardware or "")
    peaks: dict[NumberFormat, float] = base.peak_flops if base else {}
    peak = peaks.get("bf16" if profile.settings.activation_bits == 16 else "fp32")
    parts, step = profile.parts, profile.whole_step
    return {
        "datasheet_flops": peak,
        "block_flops": profile.throughput_flops,
        "first_block_flops": parts["first_block"].flop / parts["first_block"].time_s,
        "head_flops": parts["head"].flop / parts["head"].time_s,
        "utilisation": profile.throughput_flops / peak if peak else None,
        "whole_step_s": step.measured.median_s if step else None,
        "whole_step_predicted_s": step.predicted_s if step else None,
        "whole_step_error": step.error if step else None,
    }
