"""Scenarios: everything a study may change, validated once, with the origin of every number.

A scenario is a YAML file of the shape shown in `data/scenarios/nominal.yml`. A file with a `base`
key overrides another one, as `card.base.overrides` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from card.base.data_files import (
    DATA,
    llm_names,
    read_json,
    scenario_file,
)
from card.base.errors import ScenarioError, nearest, repeated, shortened, unknown, validated
from card.base.overrides import merge_recorded, origins, words
from card.base.provenance import Origins, Source, check_origins
from card.base.schema import (
    Count,
    Level,
    Loss,
    Name,
    Natural,
    NotNegative,
    Number,
    Positive,
    Record,
    Share,
    check_sweep,
)
from card.base.yaml_files import read_yaml
from card.hardware import Hardware, hardware
from card.hardware.catalogue import by_content, is_file, is_profile

MOST_CLOCKS = 10_000
"""Clocks that a step may make at most."""


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


class Equipped(Record):
    """What has hardware: the server, and each device."""

    _board: Hardware = PrivateAttr()

    @property
    def board(self) -> Hardware:
        """What `hardware` names, as it was when the scenario was loaded."""
        return self._board


class Server(Equipped):
    """The edge server."""

    hardware: Name
    """Entry of the hardware catalogue, or a measured profile by name or file."""
    utilisation: Share
    """Share of the peak rate that training reaches (u)."""
    static_power_w: NotNegative
    """Power drawn whenever the server works, whatever its clock [W] (P_0)."""
    linear_power_w_per_hz: NotNegative = 0
    """Power per clock while the server works [W/Hz] (P_1)."""
    waiting_power_w: NotNegative = 0
    """Power drawn while the server waits for a device, the link or its own launches [W] (P_w)."""
    power_cap_w: Positive | None = None
    """Limit that the driver holds the power to [W]; null for none."""
    block_overhead_s: NotNegative = 0
    """Time of a local iteration in each block that no clock changes [s]."""
    head_overhead_s: NotNegative = 0
    """The same in the head [s]."""
    minimum_frequency_hz: NotNegative
    """Lowest GPU clock the server runs at [Hz] (F_hw)."""
    clocks_hz: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    """The clocks the GPU really offers [Hz]; null for a continuous clock."""
    clock_step_hz: Positive | None = None
    """Step of a regular clock list below the highest clock [Hz]; null for a continuous clock."""

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        gpu = self._board = _board("server.hardware", self.hardware, info)
        _check_utilisation("server", self.hardware, self.utilisation)
        top = gpu.clock_hz
        if gpu.max_power_w is None:
            raise ValueError(
                f"server.hardware = {self.hardware!r} has no power, which the server's energy "
                f"needs; record it with --hardware and a catalogue entry."
            )
        if self.static_power_w >= gpu.max_power_w:
            raise ValueError(
                f"server.static_power_w = {self.static_power_w:g} is not allowed; give a number "
                f"below {gpu.max_power_w:g} W, which {gpu.title} draws at most."
            )
        if self.waiting_power_w > gpu.max_power_w:
            raise ValueError(
                f"server.waiting_power_w = {self.waiting_power_w:g} is not allowed; give at most "
                f"{gpu.max_power_w:g} W, which {gpu.title} draws at most."
            )
        rest_w = gpu.max_power_w - self.static_power_w
        if self.linear_power_w_per_hz * top >= rest_w:
            raise ValueError(
                f"server.linear_power_w_per_hz = {self.linear_power_w_per_hz:g} is not allowed; "
                f"give a number below {rest_w / top:g} W/Hz, which leaves {gpu.title} some power "
                f"for its cubed clock."
            )
        if self.power_cap_w is not None and self.power_cap_w <= self.static_power_w:
            raise ValueError(
                f"server.power_cap_w = {self.power_cap_w:g} is not allowed; give a number above "
                f"{self.static_power_w:g} W, the power at any clock."
            )
        if self.minimum_frequency_hz > top:
            raise ValueError(
                f"server.minimum_frequency_hz = {self.minimum_frequency_hz:g} is not allowed; give "
                f"at most {top:g} Hz, the highest clock of {gpu.title}."
            )
        if self.clocks_hz and self.clock_step_hz:
            raise ValueError(
                "server.clocks_hz and server.clock_step_hz exclude each other; "
                "set one of them to null."
            )
        if self.clock_step_hz and self.clock_step_hz > top:
            raise ValueError(
                f"server.clock_step_hz = {self.clock_step_hz:g} is not allowed; give at most "
                f"{top:g} Hz, the highest clock of {gpu.title}."
            )
        if self.clock_step_hz and top > MOST_CLOCKS * self.clock_step_hz:
            raise ValueError(
                f"server.clock_step_hz = {self.clock_step_hz:g} is not allowed; give at least "
                f"{top / MOST_CLOCKS:g} Hz, which makes {MOST_CLOCKS:,} clocks."
            )
        if self.clocks_hz and not self.minimum_frequency_hz <= max(self.clocks_hz) <= top:
            raise ValueError(
                f"server.clocks_hz ends at {max(self.clocks_hz):g}, which is not allowed; give a "
                f"highest clock from {self.minimum_frequency_hz:g} to {top:g} Hz, the range of "
                f"{gpu.title}."
            )
        return self


class Device(Equipped):
    """One mobile device."""

    name: Annotated[Name, Field(pattern=r"^[^.\s]+$")]
    """Unique name of the device, without dots or blanks."""
    hardware: Name
    """Entry of the hardware catalogue, or a measured profile by name or file."""
    utilisation: Share
    """Share of the peak rate that training reaches (u)."""
    distance_m: Annotated[Number, Field(ge=1, le=1e6)]
    """Distance to the base station [m]; the path-loss law starts at 1 m."""
    memory_share: Share = 0.75
    """Share of the memory that training may use (μ); the rest is the system's."""
    waiting_power_w: NotNegative = 0
    """Power drawn while the device waits for the server or the link [W] (P_w,D)."""
    block_overhead_s: NotNegative = 0
    """Time of a local iteration in each block that no clock changes [s]."""
    head_overhead_s: NotNegative = 0
    """The same in the head [s]."""

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        self._board = _board(f"devices.{self.name}.hardware", self.hardware, info)
        _check_utilisation(f"devices.{self.name}", self.hardware, self.utilisation)
        most_w = self._board.max_power_w
        if most_w is not None and self.waiting_power_w > most_w:
            raise ValueError(
                f"devices.{self.name}.waiting_power_w = {self.waiting_power_w:g} is not allowed; "
                f"give at most {most_w:g} W, which {self._board.title} draws at most."
            )
        return self


class Link(Record):
    """The radio link between a device and the base station."""

    bandwidth_hz: Positive
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
    spectral_efficiency_max: Annotated[Positive, Field(le=100)] | None = None
    """Most that modulation and coding carry [bit/s/Hz] (C_max); null for no limit."""
    overhead_share: Annotated[Number, Field(ge=0, lt=1)] = 0
    """Share of the bandwidth and time that pilots, control and headers take (η)."""
    round_trip_s: NotNegative = 0
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


class Scenario(Record):
    """One edge network fine-tuning one LLM: everything the model needs, and where it comes from."""

    title: Name
    """One line that says what is studied."""
    llm: Name
    """Entry of `data/llms`."""
    training: Training
    """Mini-batches, number formats, topology and the cuts allowed."""
    lora: Lora
    """The adapters that are trained."""
    server: Server
    """The edge server."""
    devices: Annotated[tuple[Device, ...], Field(min_length=1)]
    """The mobile devices, in the order they take turns."""
    link: Link
    """The radio link of every device."""
    channel_states: Annotated[dict[Name, ChannelState], Field(min_length=1)]
    """Named propagation conditions; every device meets each."""
    objective: Objective
    """What counts how much."""
    simulation: Simulation
    """Rounds and seed of the Monte Carlo."""
    sources: dict[str, Source]
    """Provenance per key; `devices.distance_m` covers every device."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.llm not in llm_names() and ("/" in self.llm or self.llm.endswith(".json")):
            raise ValueError(
                f"llm = {shortened(self.llm)} is no name; choose one of {', '.join(llm_names())}, "
                f"or copy its config.json to {DATA / 'llms'}/NAME.json, add a `_card` with a "
                f"title, as the others there have, and give NAME."
            )
        if self.llm not in llm_names():
            raise ValueError(f"llm = {self.llm!r} is unknown; {nearest(self.llm, llm_names())}")
        names = [device.name for device in self.devices]
        twice = repeated(names)
        if twice is not None:
            raise ValueError(f"devices: the name {twice!r} is used twice; give each its own.")
        return self

    def device_index(self, device: str | int) -> int:
        """Position of a device given by name or position."""
        names = [item.name for item in self.devices]
        if isinstance(device, str) and device in names:
            return names.index(device)
        if isinstance(device, int) and -len(names) <= device < len(names):
            return device % len(names)
        raise unknown("device", device, names)

    @property
    def boards(self) -> dict[str, Hardware]:
        """What the hardware of server and devices is, by the names that the scenario has for it."""
        devices = {device.hardware: device.board for device in self.devices}
        return {self.server.hardware: self.server.board, **devices}

    @property
    def content(self) -> dict[str, Any]:
        """All that results follow from, wherever files lie and whatever they are called.

        Titles and sources are left out; hardware and LLM stand there as what their files say.
        """
        values = self.model_dump(mode="json", exclude={"title", "sources"})
        config = read_json(f"llms/{self.llm}")
        known = {key: value for key, value in config.items() if key != "_card"}
        return {**by_content(values, self.boards), "llm": known}

    def updated(
        self,
        overrides: Mapping[str, Any],
        reason: str = "set by the user",
        boards: Mapping[str, Hardware] | None = None,
    ) -> Scenario:
        """Copy with values replaced; keys are dotted paths or nested mappings.

        Hardware that no value names stays as it was loaded; what one names is read anew, but for
        `boards`, which are known already.
        """
        named = set(words(overrides))
        kept = {name: board for name, board in self.boards.items() if name not in named}
        before = self.model_dump(mode="json")
        raw = merge_recorded(before, overrides, reason)
        changed = validated(Scenario, raw, context={**kept, **(boards or {})})
        if given := origins(overrides):
            check_origins(given, before, changed.model_dump())
        return changed

    def source_of(self, path: str) -> Source | None:
        """Provenance of a key: its own entry, that of all list items, or of the part it is in."""
        names = {device.name for device in self.devices} | set(self.channel_states)
        exact, generic = path, ".".join(p for p in path.split(".") if p not in names)
        for key in (exact, generic):
            while key:
                if key in self.sources:
                    return self.sources[key]
                key = key.rpartition(".")[0]
        return None


def _board(key: str, name: str, info: ValidationInfo) -> Hardware:
    """Hardware that is known already, or is looked up now."""
    known: Mapping[str, Hardware] = info.context or {}
    return known[name] if name in known else hardware(key, name)


def _check_utilisation(key: str, name: str, utilisation: float) -> None:
    if is_profile(name) and utilisation != 1:
        raise ValueError(
            f"{key}.utilisation = {utilisation:g} is not allowed with a measured profile, whose "
            f"rate is the one reached; give 1."
        )


def read_scenario(name_or_path: str | Path, **overrides: Any) -> Scenario:
    """Read a scenario or study with its bases; `card.load_scenario` also asks whether it works.

    Raises
    ------
    ScenarioError
        If a file is missing or malformed, a key unknown, or a value out of range.
    """
    raw, layers = _read_merged(name_or_path, ())
    if overrides:
        layers.append(_Layer("", overrides, raw, merge_recorded(raw, overrides, "set by the user")))
    scenario = validated(Scenario, layers[-1].after)
    whole = scenario.model_dump()
    for where, given, *found in layers:
        check_origins(origins(given), *found, whole, where=where)
    return scenario


class _Layer(NamedTuple):
    """What one file, or the user, changes."""

    where: str
    """The file, if the user has not named it."""
    given: Mapping[str, Any]
    """The changes."""
    before: dict[str, Any]
    """Raw scenario below; the changes themselves where there is none."""
    after: dict[str, Any]
    """Raw scenario with them."""


def _read_merged(
    name_or_path: str | Path, seen: tuple[Path, ...], beside: Path | None = None
) -> tuple[dict[str, Any], list[_Layer]]:
    path = scenario_file(name_or_path, beside)
    if path in seen:
        raise ScenarioError(f"{path}: `base` leads back to the file itself; name another base.")
    where, raw = str(path) if seen else "", read_study(path)
    check_sweep(raw.pop("sweep", None))  # is none of this one's values
    base = raw.pop("base", None)
    layers: list[_Layer] = []
    if base is None:
        below, merged = raw, raw
    elif isinstance(base, str):
        below, layers = _read_merged(base, (*seen, path), path.parent)
        merged = merge_recorded(below, raw, f"set by {path.name}")
    else:
        raise ScenarioError(
            f"base = {base!r} of {path} is not allowed; give the name or the file of a scenario."
        )
    if where:  # what changes it later hides what is wrong here
        validated(Origins, {"sources": merged.get("sources", {})}, where)
    return merged, [*layers, _Layer(where, raw, below, merged)]


def read_study(path: Path) -> dict[str, Any]:
    """What a scenario or study file says, with profile files named from the folder it lies in."""
    raw: dict[str, Any] = _anchored(read_yaml(path), path.parent)
    return raw


def _anchored(node: Any, folder: Path, key: str = "") -> Any:
    if isinstance(node, dict):
        return {name: _anchored(value, folder, str(name)) for name, value in node.items()}
    if isinstance(node, list):
        return [_anchored(item, folder, key) for item in node]
    file = key.rpartition(".")[2] == "hardware" and isinstance(node, str) and is_file(node)
    return str(folder / node) if file else node
