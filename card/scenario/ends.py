"""The two ends of a scenario that compute: the server, and each device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import (
    Field,
    PrivateAttr,
    TypeAdapter,
    ValidationInfo,
    WrapValidator,
    model_validator,
)

from card.base.llm_configs import LlmConfig
from card.base.schema import (
    Clock,
    Duration,
    Frequency,
    Name,
    NotNegative,
    Number,
    Power,
    Record,
    Share,
)
from card.hardware import Hardware, hardware
from card.hardware.catalogue import Measured, NumberFormat, Own, sourced
from card.scenario.leakage import LeakageTable
from card.scenario.parts import OwnLink
from card.scenario.penalties import PenaltyTable
from card.scenario.traces import Trace

MOST_CLOCKS = 10_000
"""Clocks that a step may make at most."""


@dataclass(frozen=True)
class Known:
    """What hardware, LLMs, traces and tables are, by the names that scenarios have for them."""

    boards: dict[str, Hardware] = field(default_factory=dict)
    """Entries of the hardware catalogue and measured profiles."""
    llms: dict[str, LlmConfig] = field(default_factory=dict)
    """Configurations of LLMs."""
    traces: dict[str, Trace] = field(default_factory=dict)
    """Rates of links."""
    leakages: dict[str, LeakageTable] = field(default_factory=dict)
    """Tables of leakage."""
    penalties: dict[str, PenaltyTable] = field(default_factory=dict)
    """Tables of loss penalties."""

    def joined(self, other: Known) -> Known:
        """All that is known of either; the other one's where both have a name."""
        return Known(
            {**self.boards, **other.boards},
            {**self.llms, **other.llms},
            {**self.traces, **other.traces},
            {**self.leakages, **other.leakages},
            {**self.penalties, **other.penalties},
        )

    def without(self, names: AbstractSet[str]) -> Known:
        """All but what has one of these names."""
        kinds: Iterable[dict[str, Any]] = vars(self).values()
        return Known(
            *({name: one for name, one in kind.items() if name not in names} for kind in kinds)
        )


_NAME: TypeAdapter[str] = TypeAdapter(Name)


def _named_or_described(value: Any, _: Any) -> str | Own:
    """A name, or a processor; whatever is wrong with one is not also told as of the other."""
    if isinstance(value, (Mapping, Own)):
        return sourced(Own.model_validate(value), "given in the study")
    return _NAME.validate_python(value)


class Equipped(Record):
    """What has hardware: the server, and each device."""

    hardware: Annotated[Name | Own, WrapValidator(_named_or_described)]
    """Entry of the hardware catalogue, a measured profile, a file of one, or what a file says."""
    number_format: NumberFormat | None = None
    """Number format of its matrix products; null for FP32, or for a profile's own."""
    utilisation: Share
    """Share of the peak rate in that format that training reaches (u)."""
    block_overhead_s: Duration = 0
    """Time of a local iteration in each block that no clock changes [s]."""
    head_overhead_s: Duration = 0
    """The same in the head [s]."""
    _board: Hardware = PrivateAttr()

    @property
    def board(self) -> Hardware:
        """What `hardware` names or is, as it was when the scenario was loaded."""
        return self._board

    @property
    def hardware_name(self) -> str:
        """What `hardware` names, or the title of what it describes."""
        return self.hardware.title if isinstance(self.hardware, Own) else self.hardware

    def flop_per_cycle(self, board: Hardware) -> Any:
        """Work in one clock cycle of its board while it trains [FLOP] (u σ δ)."""
        return self.utilisation * board.flop_per_cycle[self.number_format or "fp32"]

    def _equip(self, key: str, info: ValidationInfo) -> Hardware:
        """Look the hardware up, or take it as known already, and check what is said of its rate."""
        known, given = (info.context or Known()).boards, self.hardware
        if isinstance(given, Own):
            self._board = given
        else:
            self._board = known[given] if given in known else hardware(f"{key}.hardware", given)
        measured = isinstance(self._board, Measured)
        rate = {"utilisation": self.utilisation != 1, "number_format": self.number_format}
        for name in (name for name, changed in rate.items() if changed and measured):
            raise ValueError(
                f"{key}.{name} = {getattr(self, name)} is not allowed with a measured profile, "
                f"whose rate is the one reached; give {'1' if name == 'utilisation' else 'null'}."
            )
        offered = self._board.flop_per_cycle
        if self.number_format not in {None, *offered}:
            raise ValueError(
                f"{key}.number_format = {self.number_format!r} is not allowed; give "
                f"null or one of {', '.join(offered)}, which {self._board.title} has."
            )
        return self._board


def _beyond(key: str, value: float, allowed: str, limit: float, why: str) -> ValueError:
    """Refusal of a value beyond a limit, both with as many digits as tell them apart."""
    digits = next((n for n in range(6, 18) if f"{value:.{n}g}" != f"{limit:.{n}g}"), 6)
    return ValueError(
        f"{key} = {value:.{digits}g} is not allowed; give {allowed} {limit:.{digits}g} {why}"
    )


class Server(Equipped):
    """The edge server."""

    static_power_w: NotNegative
    """Power drawn whenever the server works, whatever its clock [W] (P_0)."""
    linear_power_w_per_hz: NotNegative = 0
    """Power per clock while the server works [W/Hz] (P_1); 0 for a profile's own."""
    waiting_power_w: NotNegative = 0
    """Power drawn while the server waits for a device, the link or its own launches [W] (P_w)."""
    power_cap_w: Power | None = None
    """Limit that the driver holds the power to [W]; null for none."""
    minimum_frequency_hz: NotNegative
    """Lowest GPU clock the server runs at [Hz] (F_hw)."""
    clocks_hz: Annotated[tuple[Clock, ...], Field(min_length=1)] | None = None
    """The clocks the GPU really offers [Hz]; null for a continuous clock."""
    clock_step_hz: Frequency | None = None
    """Step of a regular clock list below the highest clock [Hz]; null for a continuous clock."""

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        gpu = self._equip("server", info)
        top = gpu.clock_hz
        if gpu.max_power_w is None and isinstance(gpu, Measured):
            raise ValueError(
                f"server.hardware = {self.hardware!r} has no power, which the server's energy "
                f"needs; record it with --hardware and a catalogue entry."
            )
        if gpu.max_power_w is None:
            place = "" if isinstance(self.hardware, Own) else f" in {self.hardware_name}"
            raise ValueError(
                f"server.hardware.max_power_w is missing{place}; give a number from 1e-06 to "
                f"1000000000, which the server's energy needs."
            )
        draws_most = f"W, which {gpu.title} draws at most."
        if self.static_power_w >= gpu.max_power_w:
            key, allowed = "server.static_power_w", "a number below"
            raise _beyond(key, self.static_power_w, allowed, gpu.max_power_w, draws_most)
        if self.waiting_power_w > gpu.max_power_w:
            key = "server.waiting_power_w"
            raise _beyond(key, self.waiting_power_w, "at most", gpu.max_power_w, draws_most)
        if self.power_cap_w is not None and self.waiting_power_w > self.power_cap_w:
            key, why = "server.waiting_power_w", "W, the server.power_cap_w, or raise that."
            raise _beyond(key, self.waiting_power_w, "at most", self.power_cap_w, why)
        rest_w = gpu.max_power_w - self.static_power_w
        if self.linear_power_w_per_hz * top >= rest_w:
            key, allowed = "server.linear_power_w_per_hz", "a number below"
            why = f"W/Hz, which leaves {gpu.title} some power for its cubed clock."
            raise _beyond(key, self.linear_power_w_per_hz, allowed, rest_w / top, why)
        if self.power_cap_w is not None and self.power_cap_w <= self.static_power_w:
            key, why = "server.power_cap_w", "W, the power at any clock."
            raise _beyond(key, self.power_cap_w, "a number above", self.static_power_w, why)
        highest = f"Hz, the highest clock of {gpu.title}."
        if self.minimum_frequency_hz > top:
            key = "server.minimum_frequency_hz"
            raise _beyond(key, self.minimum_frequency_hz, "at most", top, highest)
        if self.clocks_hz and self.clock_step_hz:
            raise ValueError(
                "server.clocks_hz and server.clock_step_hz exclude each other; "
                "set one of them to null."
            )
        if self.clock_step_hz and self.clock_step_hz > top:
            raise _beyond("server.clock_step_hz", self.clock_step_hz, "at most", top, highest)
        if self.clock_step_hz and top > MOST_CLOCKS * self.clock_step_hz:
            key, why = "server.clock_step_hz", f"Hz, which makes {MOST_CLOCKS:,} clocks."
            raise _beyond(key, self.clock_step_hz, "at least", top / MOST_CLOCKS, why)
        if self.clocks_hz and not self.minimum_frequency_hz <= max(self.clocks_hz) <= top:
            raise ValueError(
                f"server.clocks_hz ends at {max(self.clocks_hz):g}, which is not allowed; give a "
                f"highest clock from {self.minimum_frequency_hz:g} to {top:g} Hz, the range of "
                f"{gpu.title}."
            )
        return self


class Device(Equipped):
    """One mobile device."""

    name: Annotated[Name, Field(pattern=r"^[^.\s]*[^.\s*0-9][^.\s]*$")]
    """Unique name of the device, without dots or blanks, and not of digits or * alone."""
    utilisation: Share = 1
    """Share of the peak rate in that format that training reaches (u)."""
    distance_m: Annotated[Number, Field(ge=1, le=1e6)]
    """Distance to the base station [m]; the path-loss law starts at 1 m."""
    memory_share: Share = 0.75
    """Share of the memory that training may use (μ); the rest is the system's."""
    waiting_power_w: NotNegative = 0
    """Power drawn while the device waits for the server or the link [W] (P_w,D)."""
    link: OwnLink = Field(default_factory=dict)
    """What its link has in place of the cell's, any key but those of draws, and an exponent."""

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        most_w = self._equip(f"devices.{self.name}", info).max_power_w
        if most_w is not None and self.waiting_power_w > most_w:
            key = f"devices.{self.name}.waiting_power_w"
            why = f"W, which {self._board.title} draws at most."
            raise _beyond(key, self.waiting_power_w, "at most", most_w, why)
        return self
