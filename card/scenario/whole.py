"""A whole scenario: its parts, what is known of each value, and how it is changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from card.base.data_files import DATA, llm_names, read_json
from card.base.errors import nearest, repeated, shortened, unknown, validated
from card.base.overrides import merge_recorded, origins, removed, words
from card.base.provenance import Source, check_origins
from card.base.schema import Name, Record
from card.hardware import Hardware
from card.hardware.catalogue import by_content
from card.scenario import ends, parts


class Scenario(Record):
    """One edge network fine-tuning one LLM: everything the model needs, and where it comes from."""

    title: Name
    """One line that says what is studied."""
    llm: Name
    """Entry of `data/llms`."""
    training: parts.Training
    """Mini-batches, number formats, topology and the cuts allowed."""
    lora: parts.Lora
    """The adapters that are trained."""
    server: ends.Server
    """The edge server."""
    devices: Annotated[tuple[ends.Device, ...], Field(min_length=1)]
    """The mobile devices, in the order they take turns."""
    link: parts.Link
    """The radio link of every device."""
    channel_states: Annotated[dict[Name, parts.ChannelState], Field(min_length=1)]
    """Named propagation conditions; every device meets each."""
    objective: parts.Objective
    """What counts how much."""
    simulation: parts.Simulation
    """Rounds and seed of the Monte Carlo."""
    policies: tuple[Name, ...] = ()
    """Policies to compare beside the usual ones, by name or as FILE.py:FUNCTION."""
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

        Titles, policies and sources are left out; hardware and LLM stand there as what their files
        say.
        """
        values = self.model_dump(mode="json", exclude={"title", "policies", "sources"})
        config = read_json(f"llms/{self.llm}")
        known = {key: value for key, value in config.items() if key != "_card"}
        return {**by_content(values, self.boards), "llm": known}

    @property
    def digest(self) -> str:
        """SHA-256 of `content`, which tells results of one scenario from those of another."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()

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
        known = {**kept, **(boards or {})}
        changed = validated(Scenario, raw, context=known, removed=removed(overrides, before))
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
