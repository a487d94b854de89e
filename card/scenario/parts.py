"""The parts of a scenario but for its two ends: training, link and what is simulated."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    WithJsonSchema,
    WrapValidator,
    create_model,
    model_validator,
)
from pydantic.fields import FieldInfo

from card.base.arguments import LARGEST, SMALLEST
from card.base.errors import check_once, shortened
from card.base.schema import (
    WHOLE,
    Count,
    Duration,
    Flag,
    Level,
    Loss,
    Name,
    Natural,
    Number,
    Positive,
    Record,
)
from card.scenario.leakage import Attack, Width

ALL_LINEAR = "all-linear"
"""What stands in place of a list in `lora.targets` for every matrix of a block."""


def _as_list(targets: Any) -> Any:
    return (ALL_LINEAR,) if targets == ALL_LINEAR else targets


# names of projections, or `all-linear`, which is kept as a list of that word alone
Targets = Annotated[
    tuple[Name, ...],
    Field(min_length=1),
    BeforeValidator(_as_list),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": ALL_LINEAR, "type": "string"},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
            ]
        }
    ),
]

# how many bits a number may have on the wire, each once
Widths = Annotated[tuple[Annotated[Width, WHOLE], ...], Field(min_length=1)]

Schedule = Literal["alternate", "pipelined"]
"""Names of what is in flight in a turn, one micro-batch or all that a mini-batch has."""

Optimiser = Literal["adamw", "sgd", "sgd-momentum"]
"""Optimisers by what they keep for a trained weight, which is two numbers, none, or one."""


class Training(Record):
    """How one round of fine-tuning is cut into mini-batches."""

    batch_size: Count
    """Sequences per mini-batch (B)."""
    accumulation: Count = 1
    """Micro-batches that a mini-batch is trained in; gradients add up (m)."""
    schedule: Schedule = "alternate"
    """Whether micro-batches follow one another, or all are in flight at once (`pipelined`)."""
    sequence_length: Count
    """Tokens per sequence (L)."""
    local_iterations: Count
    """Mini-batches a device trains per round (T)."""
    activation_bits: Annotated[Literal[8, 16, 32, 64], WHOLE]
    """Bits per element of activations in memory, and on the wire if `wire` says nothing else."""
    weight_bits: Annotated[Literal[4, 8, 16, 32, 64], WHOLE]
    """Bits per frozen weight."""
    base_weights: Literal["nf4"] | None = None
    """Format of the frozen matrices of blocks, `nf4` as in QLoRA; null for `weight_bits`."""
    gradient_checkpointing: Flag = False
    """Whether only inputs of blocks are kept for backward, and the rest is computed again."""
    optimiser: Optimiser = "adamw"
    """What changes the adapters; its own numbers per weight have `lora.adapter_bits` each."""
    topology: Literal["vanilla", "u-shaped"]
    """Where the head and the loss live; on the device (`u-shaped`) labels never leave."""
    cut_range: tuple[Natural, Natural | None]
    """First and last cut allowed; null means all blocks on the device."""

    @property
    def micro_batch_size(self) -> int:
        """Sequences that are in memory at once."""
        return self.batch_size // self.accumulation

    @property
    def in_flight(self) -> int:
        """Micro-batches in flight at once."""
        return self.accumulation if self.schedule == "pipelined" else 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"training.accumulation = {self.accumulation} does not divide training.batch_size "
                f"= {self.batch_size}; give a divisor of {self.batch_size}."
            )
        first, last = self.cut_range
        if last is not None and first > last:
            raise ValueError(
                f"training.cut_range = [{first}, {last}] is not allowed; give two cuts in order, "
                f"e.g. [{last}, {first}]."
            )
        if self.base_weights and self.weight_bits < 16:
            raise ValueError(
                f"training.base_weights = {self.base_weights!r} is not allowed with "
                f"training.weight_bits = {self.weight_bits}, which all but matrices of blocks "
                f"keep; give 16 or more, or set training.base_weights to null."
            )
        return self


class Wire(Record):
    """How many bits a number may be sent in: of smashed data up, and of their gradients down.

    If u-shaped, gradients of the final hidden states go up as well, and these states come down.
    Bits are decided together with the cut. The order of a list is no preference: nothing stands
    against the fewest, and they always win, unless a table says what bits do to the LLM's loss and
    a limit rules options out; the first listed ones are taken where bits make no difference, and by
    policies that do not decide them.

    Numbers of as many bits as they are held in are sent as they are. Fewer bits are floats of 16 or
    32 bits, or integers of 8 or 4, which share scales: one float16 for each started group of
    values of a token, and these are counted. To turn numbers into fewer bits and back takes no time
    here (`assumed`), and no memory: that is what `training.activation_bits` says, whatever is sent.
    """

    uplink_bits: Widths | None = None
    """Bits per element up, a list to decide from; null for `training.activation_bits` alone."""
    downlink_bits: Widths | None = None
    """Bits per element down, likewise."""
    group: Count = 64
    """Values of a token that share one scale, where integers are sent."""
    loss_penalty: Name | None = None
    """Table of measured loss by bits, shipped or a .json file; null where loss is not asked for."""
    loss_limit: Annotated[Number, Field(ge=0)] | None = None
    """Loss beyond that of 16 bits that an option may have at most [nat]; null for no limit."""

    @property
    def lists(self) -> dict[str, tuple[int, ...] | None]:
        """What may be chosen from up and down, by key."""
        return {"uplink_bits": self.uplink_bits, "downlink_bits": self.downlink_bits}

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key, listed in self.lists.items():
            check_once(f"wire.{key}", listed)
        if self.loss_penalty is None and self.loss_limit is not None:
            raise ValueError(
                f"wire.loss_limit = {self.loss_limit:g} needs a table of loss penalties for the "
                f"scenario's LLM; name one in wire.loss_penalty, or leave it out."
            )
        return self


class Privacy(Record):
    """How much of a device's text a curious server may recover.

    Leakage is the share of tokens that the best of some attacks recovers. It is 1 where labels go
    up, in the `vanilla` topology, and 0 where a cut sends nothing, with all blocks on the device;
    in between it is what a table says. What adapters tell of a text is not counted.
    """

    leakage: Name | None = None
    """Table of measured leakage, shipped or a .json file; null where leakage is not asked for."""
    attacks: Annotated[tuple[Attack, ...], Field(min_length=1)] | None = None
    """Attacks that are feared; null for every one in the table."""
    leakage_max: Annotated[Number, Field(ge=0, le=1)] | None = None
    """Leakage that an option may have at most [1] (Λ_max); null for no limit."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key, value in {"attacks": self.attacks, "leakage_max": self.leakage_max}.items():
            if self.leakage is None and value is not None:
                said = list(value) if isinstance(value, tuple) else value
                raise ValueError(
                    f"privacy.{key} = {said} needs a table of leakage for the scenario's LLM; "
                    f"name one in privacy.leakage, or leave it out."
                )
        check_once("privacy.attacks", self.attacks)
        return self


class Lora(Record):
    """Low-rank adapters on frozen matrices."""

    rank: Count
    """Rank of each adapter (r)."""
    alpha: Count = 8
    """What an adapter's output is scaled by, over the rank; changes no cost."""
    targets: Targets
    """Projections that carry an adapter, named as in the architecture."""
    dora: Flag = False
    """Whether each adapted weight has a trained magnitude beside its direction (DoRA)."""
    rslora: Flag = False
    """Whether an adapter's output is scaled over the root of the rank (rsLoRA); changes no cost."""
    adapter_bits: Annotated[Literal[8, 16, 32, 64], WHOLE]
    """Bits per adapter weight, on the wire and in memory."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_once("lora.targets", self.targets)
        return self


def _listed(value: Any) -> Any:
    """One name as a list of one, and null as none."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


class Link(Record):
    """The radio link between a device and the base station."""

    bandwidth_hz: Annotated[Number, Field(ge=1e3, le=1e15)]
    """Bandwidth of each direction [Hz] (W).

    The narrowest channel of cellular standards, a tone of NB-IoT, has 3.75 kHz (3GPP TS 36.211)."""
    uplink_power_dbm: Level
    """Transmit power of a device [dBm]."""
    downlink_power_dbm: Level
    """Transmit power of the base station [dBm]."""
    noise_dbm_per_hz: Annotated[Number, Field(ge=-200, le=-50)]
    """Noise power density [dBm/Hz] (N_0).

    Thermal noise has -174 at 290 K and -194 in the cosmic background of 2.7 K. What receivers add
    stays below 30 dB, and the noise of a city above 30 MHz below 40 dB (ITU-R P.372); an interferer
    of 1 W over 10 MHz at 1 m brings -70."""
    reference_loss_db: Level
    """Path loss at 1 m [dB] (g_0)."""
    shadowing_db: Loss
    """Standard deviation of log-normal shadowing [dB] (σ_X)."""
    shadowing_coherence_rounds: Annotated[Number, Field(ge=0, le=10**6)] = 0
    """Rounds after which shadowing is correlated by 1/e; 0 for independent rounds (n_X)."""
    fading: Literal["ergodic", "none", "block"]
    """How fast fading enters a round's rate."""
    fading_draws: Count = 1
    """Rayleigh draws averaged per round when fading is `block` (K)."""
    noise_figure_db: Loss = 0
    """Noise that a receiver adds to the thermal one [dB] (N_F)."""
    gap_db: Loss = 0
    """Signal-to-noise ratio that a real code needs beyond Shannon's [dB] (Γ)."""
    spectral_efficiency_max: Annotated[Number, Field(ge=1e-3, le=100)] | None = None
    """Most that modulation and coding carry [bit/s/Hz] (C_max); null for no limit."""
    overhead_share: Annotated[Number, Field(ge=0, lt=1)] = 0
    """Share of the bandwidth and time that pilots, control and headers take (η)."""
    round_trip_s: Duration = 0
    """Time that each message takes beyond its bits [s] (t_rt)."""
    trace: Annotated[tuple[Name, ...], BeforeValidator(_listed)] = ()
    """Rates of every round in place of the channel's, as a .csv file or a list of such."""


class ChannelState(Record):
    """A propagation condition."""

    path_loss_exponent: Annotated[Number, Field(ge=1, le=8)]
    """Path-loss exponent (γ)."""


def _undotted(states: Any) -> Any:
    """Channel states, or the first name with a dot, which may lie in parts, as paths do."""
    for name, state in states.items() if isinstance(states, Mapping) else ():
        while isinstance(state, Mapping):
            inner = {key: value for key, value in state.items() if isinstance(value, Mapping)}
            key = next((key for key in inner if key not in ChannelState.model_fields), None)
            name, state = (name, None) if key is None else (f"{name}.{key}", inner[key])
        if "." in str(name):
            raise ValueError(
                f"channel_states: the name {shortened(name)} is not allowed; give one without "
                f"dots, which divide paths, e.g. {shortened(name.replace('.', '-'))}."
            )
    return states


StateName = Annotated[Name, Field(pattern=r"^[^.]*[^.\s][^.]*$")]
# by name, none of which has a dot
ChannelStates = Annotated[
    dict[StateName, ChannelState], Field(min_length=1), BeforeValidator(_undotted)
]

_OF_THE_CELL = ("fading", "fading_draws", "shadowing_coherence_rounds", "trace")
"""What all devices share, as the random draws do."""


def _optional(field: FieldInfo) -> tuple[Any, FieldInfo]:
    optional = copy(field)
    optional.default = None
    return field.annotation, optional


_OWN_KEYS = {
    **{name: field for name, field in Link.model_fields.items() if name not in _OF_THE_CELL},
    **ChannelState.model_fields,
}
_optionals: Any = {name: _optional(field) for name, field in _OWN_KEYS.items()}
_own_link = create_model("OwnLink", __base__=Record, **_optionals)


def _given(value: Any, _: Any) -> dict[str, Any]:
    own = _own_link.model_validate(dict(value) if isinstance(value, Mapping) else value)
    given: dict[str, Any] = own.model_dump(exclude_unset=True)
    return given


# values of a device's link in place of the cell's; a path-loss exponent is that of every state
OwnLink = Annotated[
    dict[str, Any], WrapValidator(_given), WithJsonSchema(_own_link.model_json_schema())
]


class Objective(Record):
    """What CARD minimises."""

    delay_weight: Annotated[Number, Field(ge=0, le=1)]
    """Weight of normalised delay (w); normalised server energy has 1 - w."""
    energy_budget_j: Positive | None = None
    """Mean server energy of a round that the policies `budget` and `budget_online` may spend [J];
    null for what CARD takes on the same draws, if the devices have no budget either."""
    device_energy_budget_j: Positive | None = None
    """Mean energy of a device in its round that they may spend [J]; null for any."""
    queue_weight: Annotated[Number, Field(ge=SMALLEST, le=LARGEST)] = 1e4
    """What delay counts against a full queue in `budget_online` [J²/s] (V).

    More of it brings the delay nearer to the least, and takes longer to keep within the budget."""


class Simulation(Record):
    """How many rounds are drawn."""

    rounds: Count
    """Rounds per device and channel state."""
    seed: Natural
    """Seed of every random draw."""
