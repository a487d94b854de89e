"""The parts of a scenario but for its two ends: training, link and what is simulated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from card.base.schema import (
    Count,
    Duration,
    Frequency,
    Level,
    Loss,
    Name,
    Natural,
    Number,
    Record,
)


class Training(Record):
    """How one round of fine-tuning is cut into mini-batches."""

    batch_size: Count
    """Sequences per mini-batch (B)."""
    sequence_length: Count
    """Tokens per sequence (L)."""
    local_iterations: Count
    """Mini-batches a device trains per round (T)."""
    activation_bits: Literal[8, 16, 32, 64]
    """Bits per element of activations, on the wire and in memory."""
    weight_bits: Literal[4, 8, 16, 32, 64]
    """Bits per frozen weight."""
    topology: Literal["vanilla", "u-shaped"]
    """Where the head and the loss live; on the device (`u-shaped`) labels never leave."""
    cut_range: tuple[Natural, Natural | None]
    """First and last cut allowed; null means all blocks on the device."""


class Lora(Record):
    """Low-rank adapters on frozen matrices."""

    rank: Count
    """Rank of each adapter (r)."""
    targets: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Projections that carry an adapter, named as in the architecture."""
    adapter_bits: Literal[8, 16, 32, 64]
    """Bits per adapter weight, on the wire and in memory."""


class Link(Record):
    """The radio link between a device and the base station."""

    bandwidth_hz: Frequency
    """Bandwidth of each direction [Hz] (W)."""
    uplink_power_dbm: Level
    """Transmit power of a device [dBm]."""
    downlink_power_dbm: Level
    """Transmit power of the base station [dBm]."""
    noise_dbm_per_hz: Level
    """Noise power density [dBm/Hz] (N_0)."""
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


class ChannelState(Record):
    """A propagation condition."""

    path_loss_exponent: Annotated[Number, Field(ge=1, le=8)]
    """Path-loss exponent (γ)."""


class Objective(Record):
    """What CARD minimises."""

    delay_weight: Annotated[Number, Field(ge=0, le=1)]
    """Weight of normalised delay (w); normalised server energy has 1 - w."""


class Simulation(Record):
    """How many rounds are drawn."""

    rounds: Count
    """Rounds per device and channel state."""
    seed: Natural
    """Seed of every random draw."""
