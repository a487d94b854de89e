"""The base of everything that is read from a file: frozen, documented, without unknown keys."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from card.base.errors import LARGEST_COUNT, LARGEST_WHOLE, shortened, validated

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Level = Annotated[Number, Field(ge=-300, le=300)]
Loss = Annotated[Number, Field(ge=0, le=100)]
Duration = Annotated[Number, Field(ge=0, le=10**9)]
Time = Annotated[Number, Field(ge=1e-12, le=10**9)]
Rate = Annotated[Number, Field(ge=1, le=1e30)]
Power = Annotated[Number, Field(ge=1e-6, le=10**9)]
Frequency = Annotated[Number, Field(ge=1, le=1e15)]
Clock = Annotated[Number, Field(ge=1e6, le=1e15)]  # no processor that trains is below 1 MHz
Work = Annotated[Number, Field(ge=1e-9, le=1e9)]
Quantity = Annotated[Number, Field(ge=0, le=1e30)]
Size = Annotated[Number, Field(ge=1e-3, le=1e5)]  # of memory in GB, or its traffic in GB/s
Share = Annotated[Number, Field(ge=1e-9, le=1)]
Count = Annotated[int, Field(strict=True, ge=1, le=LARGEST_COUNT)]
Natural = Annotated[int, Field(strict=True, ge=0, le=LARGEST_WHOLE)]
Flag = Annotated[bool, Field(strict=True)]


def _no_float(value: Any) -> Any:
    if isinstance(value, float):
        raise PydanticCustomError("no_float", "a float is no whole number")
    return value


# beside a choice of whole numbers, which takes 16.0 for 16 otherwise, as no other key does
WHOLE = BeforeValidator(_no_float)
Name = Annotated[str, Field(strict=True, min_length=1, pattern=r"\S")]


def _day(text: str) -> str:
    try:
        known = date.fromisoformat(text).isoformat() == text
    except ValueError:
        known = False
    if not known:
        raise ValueError(
            f"date = {shortened(text)} is not allowed; give a day of the calendar as YYYY-MM-DD."
        )
    return text


# the value of a key that is called `date`
Day = Annotated[Name, AfterValidator(_day)]


POLICY_NAMES = (
    "card",
    "device_only",
    "server_only",
    "random_cut",
    "static_cut",
    "delay_optimal",
    "energy_optimal",
    "exhaustive",
    "clock_only",
    "cut_only",
    "devices_priced",
    "budget",
    "budget_online",
    "channel_blind",
    "makespan",
    "lyapunov",
    "alternating_cut_first",
    "alternating_clock_first",
    "evolution",
    "genetic",
)
"""Names of the shipped decision policies, which `card.policies` has."""


class Record(BaseModel):
    """Frozen values that refuse unknown keys and document each field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Sweep(Record):
    """Which scenarios a study sweeps over, and what it scores on each."""

    over: Annotated[
        dict[Name, Annotated[tuple[Any, ...], Field(min_length=1)]], Field(min_length=1)
    ]
    """Values per dotted path, e.g. `objective.delay_weight`."""
    policies: Annotated[tuple[Name, ...], Field(min_length=1)] = (
        "card",
        "device_only",
        "server_only",
    )
    """Names of the policies to score."""
    rounds: Count | None = None
    """Rounds of every point; null for the study's own."""
    seed: Natural | None = None
    """Seed of every point; null for the study's own."""


class StudyPart(Record):
    """The part of a study file that is no scenario."""

    sweep: Sweep


def check_sweep(part: Any) -> Sweep | None:
    """The sweep that a study file has, if any; a `ScenarioError` if it has another shape."""
    return None if part is None else validated(StudyPart, {"sweep": part}).sweep
