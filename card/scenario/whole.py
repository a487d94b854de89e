"""A whole scenario: its parts, what is known of each value, and how it is changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from card.base.errors import repeated, unknown, validated
from card.base.functions import functions
from card.base.llm_configs import LlmConfig, public_config, said
from card.base.overrides import merge_recorded, origins, removed, words
from card.base.provenance import Source, check_origins
from card.base.schema import POLICY_NAMES, Name, Record
from card.hardware import Hardware
from card.hardware.catalogue import board_content
from card.scenario import ends, fleets, parts
from card.scenario.leakage import LeakageTable
from card.scenario.penalties import PenaltyTable
from card.scenario.traces import Trace, read_trace


class Scenario(Record):
    """One edge network fine-tuning one LLM: everything the model needs, and where it comes from."""

    title: Name
    """One line that says what is studied."""
    llm: Name
    """Entry of `data/llms`, a `config.json` as its publisher wrote it, or a folder with one."""
    training: parts.Training
    """Mini-batches, number formats, topology and the cuts allowed."""
    wire: parts.Wire = parts.Wire()
    """How many bits a number may be sent in."""
    privacy: parts.Privacy = parts.Privacy()
    """How much of a device's text a curious server may recover."""
    lora: parts.Lora
    """The adapters that are trained."""
    server: ends.Server
    """The edge server."""
    devices: Annotated[tuple[ends.Device, ...], Field(min_length=1)]
    """The mobile devices, in the order they take turns."""
    link: parts.Link
    """The radio link of every device."""
    channel_states: parts.ChannelStates
    """Named propagation conditions; every device meets each."""
    objective: parts.Objective
    """What counts how much."""
    simulation: parts.Simulation
    """Rounds and seed of the Monte Carlo."""
    policies: tuple[Name, ...] = ()
    """Policies to compare beside the usual ones, by name or as functions in files of one's own."""
    sources: dict[str, Source]
    """Provenance per key; `devices.distance_m` covers every device."""

    _llm_config: LlmConfig = PrivateAttr()
    _traces: tuple[Trace, ...] = PrivateAttr()
    _leakage: LeakageTable | None = PrivateAttr()
    _penalties: PenaltyTable | None = PrivateAttr()

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        known, named = info.context or ends.Known(), self.link.trace
        llms = known.llms
        self._llm_config = llms[self.llm] if self.llm in llms else public_config(self.llm)
        self._traces = tuple(
            known.traces[name] if name in known.traces else read_trace("link.trace", name)
            for name in named
        )
        table = self.privacy.leakage
        self._leakage = known.leakages.get(table) if table else None
        if table and self._leakage is None:
            self._leakage = LeakageTable.read("privacy.leakage", table)
        table = self.wire.loss_penalty
        self._penalties = known.penalties.get(table) if table else None
        if table and self._penalties is None:
            self._penalties = PenaltyTable.read("wire.loss_penalty", table)
        self._check_wire()
        names = [device.name for device in self.devices]
        twice = repeated(names)
        if twice is not None:
            raise ValueError(f"devices: the name {twice!r} is used twice; give each its own.")
        for trace in self._traces:
            trace.check_devices(names, [fleets.fleet_of(name) for name in names])
        twice = repeated(self.states)
        if twice is not None:
            raise ValueError(f"link.trace: the file name {twice!r} is used twice; rename one.")
        return self

    def _check_wire(self) -> None:
        held = self.training.activation_bits
        for key, listed in self.wire.lists.items():
            if listed and max(listed) > held:
                raise ValueError(
                    f"wire.{key} = {list(listed)} is not allowed with training.activation_bits = "
                    f"{held}; give numbers of {held} bits at most."
                )

    @property
    def traces(self) -> tuple[Trace, ...]:
        """What the files of `link.trace` say, as they were when the scenario was loaded."""
        return self._traces

    @property
    def leakage(self) -> LeakageTable | None:
        """What the table of `privacy.leakage` says, as it was when the scenario was loaded."""
        return self._leakage

    @property
    def penalties(self) -> PenaltyTable | None:
        """What the table of `wire.loss_penalty` says, as it was when the scenario was loaded."""
        return self._penalties

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the channel states, or in their place those of the traces."""
        if len(self._traces) == 1:
            return ("trace",)
        return tuple(trace.path.stem for trace in self._traces) or tuple(self.channel_states)

    def device_index(self, device: str | int) -> int:
        """Position of a device given by name or position."""
        names = [item.name for item in self.devices]
        if isinstance(device, str) and device in names:
            return names.index(device)
        if isinstance(device, int) and -len(names) <= device < len(names):
            return device % len(names)
        raise unknown("device", device, names)

    @property
    def cells(self) -> list[tuple[Scenario, list[int]]]:
        """The scenario as devices with equal links see it, whose link is the cell's there.

        Each with the positions of its devices.
        """
        groups: dict[Any, list[int]] = {}
        for index, device in enumerate(self.devices):
            groups.setdefault(tuple(sorted(device.link.items())), []).append(index)
        return [(self._seen_with(dict(own)), found) for own, found in groups.items()]

    def _seen_with(self, own: dict[str, Any]) -> Scenario:
        state = {key: own.pop(key) for key in parts.ChannelState.model_fields if key in own}
        states = {name: item.model_copy(update=state) for name, item in self.channel_states.items()}
        link = self.link.model_copy(update=own)
        return self.model_copy(update={"link": link, "channel_states": states})

    @property
    def llm_config(self) -> LlmConfig:
        """What the file of `llm` says, as it was when the scenario was loaded."""
        return self._llm_config

    @property
    def known(self) -> ends.Known:
        """What hardware and LLM are, by the names that the scenario has for them."""
        equipped = (self.server, *self.devices)
        boards = {end.hardware: end.board for end in equipped if isinstance(end.hardware, str)}
        traces = dict(zip(self.link.trace, self._traces, strict=True))
        table = self._leakage
        leakages = {self.privacy.leakage: table} if self.privacy.leakage and table else {}
        table_of_bits, named = self._penalties, self.wire.loss_penalty
        penalties = {named: table_of_bits} if named and table_of_bits else {}
        return ends.Known(boards, {self.llm: self.llm_config}, traces, leakages, penalties)

    @property
    def boards(self) -> dict[str, Hardware]:
        """What the hardware of server and devices is, by the names that the scenario has for it."""
        return self.known.boards

    @property
    def content(self) -> dict[str, Any]:
        """All that results follow from, wherever files lie and whatever they are called.

        Titles, policies and sources are left out; hardware, LLM, traces and tables stand there as
        what their files say.
        """
        values = self.model_dump(mode="json", exclude={"title", "policies", "sources"})
        ends_of = (self.server, *self.devices)
        for end, raw in zip(ends_of, (values["server"], *values["devices"]), strict=True):
            raw["hardware"] = board_content(end.board)
        values["link"]["trace"] = [trace.digest for trace in self._traces]
        if self._leakage:
            values["privacy"]["leakage"] = self._leakage.content
        if self._penalties:
            values["wire"]["loss_penalty"] = self._penalties.content
        return {**values, "llm": said(self.llm_config)}

    @property
    def digest(self) -> str:
        """SHA-256 of `content`, which tells results of one scenario from those of another."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()

    def updated(
        self,
        overrides: Mapping[str, Any],
        reason: str = "set by the user",
        known: ends.Known | None = None,
    ) -> Scenario:
        """Copy with values replaced; keys are dotted paths or nested mappings.

        Hardware and LLM that no value names stay as they were loaded; what one names is read anew,
        but for what is `known` already. Whether the values go together with the LLM, with memory
        and on the link follows from more than the scenario: `card.load_scenario` refuses at once
        what does not, and for a copy `card.system` and `card.simulate` do.
        """
        before = self.model_dump(mode="json")
        kept = self.known.without(set(words(overrides))).joined(known or ends.Known())
        raw = fleets.expanded(merge_recorded(before, overrides, reason), kept)
        changed = validated(Scenario, raw, context=kept, removed=removed(overrides, before))
        if changed.policies != self.policies:
            functions("policies", changed.policies, dict.fromkeys(POLICY_NAMES))
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
