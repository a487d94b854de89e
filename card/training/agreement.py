"""One LLM to fine-tune over one scenario, and what every end of it must hold alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from card.base.data_files import DATA
from card.base.errors import ScenarioError, shortened
from card.costs import System, system
from card.llm import Architecture, architecture_of
from card.llm.dimensions import DIMENSIONS
from card.llm.families import FAMILIES
from card.scenario import Scenario
from card.training.llm.four_bits import check_base
from card.training.llm.holding import Part
from card.training.llm.models import (
    DTYPES,
    Attention,
    check_runnable,
    shipped_checkpoint,
    stored_config,
)
from card.training.llm.proof import check_split
from card.training.llm.split import AdaptedLlm, DeviceSide, ServerSide
from card.training.llm.text import TOKENIZER, read_tokenizer
from card.training.parts import check_memory
from card.training.trust import BreachError, spoken
from card.training.wire.limits import frame_bytes
from card.training.wire.link_probe import LARGEST_PROBE_BYTES
from card.training.wire.quantised import Form, Forms
from card.training.wire.tensors import TensorSpec, specs
from card.training.wire.transport import VERSION
from card.training.wire.wire_pb2 import Hello

_SLACK_BYTES = 1 << 16
_BESIDE = {"_card", "_name_or_path", "torch_dtype", "dtype", "transformers_version", "use_cache"}


@dataclass(frozen=True, eq=False)
class Job:
    """One LLM to fine-tune over one scenario."""

    scenario: Scenario
    """Devices, training, adapters and the hardware that decisions are made for."""
    llm: AdaptedLlm
    """The LLM with its adapters, identical at every end."""
    tokenizer: Tokenizer
    """What makes text into token ids."""
    tokenizer_hash: str
    """SHA-256 of its file."""

    @classmethod
    def open(
        cls,
        scenario: Scenario,
        weights: Path | None = None,
        compute: str = "cpu",
        attention: Attention = "eager",
        part: Part | None = None,
    ) -> Job:
        """Load a scenario's LLM, and the tokenizer that belongs to it.

        Parameters
        ----------
        scenario
            Names the LLM.
        weights
            Folder of a checkpoint, with its `tokenizer.json`. If not given, the checkpoint in
            `data/checkpoints` is taken, or random weights where there is none.
        compute
            Processor that computes, `cpu` or `cuda`.
        attention
            How attention is computed, the same at every end.
        part
            What of the LLM is read or drawn, by `card.training.parts`; all of it if not given.

        Raises
        ------
        ScenarioError
            If the runtime has no such number format, the LLM cannot be split or has no such
            attention, or the checkpoint is not the scenario's LLM, or not whole, or its part does
            not fit the memory that is free.
        """
        training, lora = scenario.training, scenario.lora
        _check_formats(scenario)
        system(scenario)  # refuses what CARD could not decide
        folder = weights or shipped_checkpoint(scenario.llm)
        raw = stored_config(folder) if folder else None
        place = str(folder or "an LLM of random weights")
        check_base(training.base_weights, raw, place, compute)
        if raw and folder:
            _check_same(raw, scenario, folder)
        path = _tokenizer_file(weights)
        if part:
            check_memory(scenario, part)
        check_split(scenario.llm, scenario.llm_config, lora, training.topology)
        dtype = DTYPES[training.weight_bits]
        if folder is None:
            llm = AdaptedLlm.build(scenario.llm_config, lora, dtype, part=part, name=scenario.llm)
        else:
            llm = AdaptedLlm.load(folder, lora, dtype, part=part)
        tokenizer, tokenizer_hash = read_tokenizer(path)
        if tokenizer.get_vocab_size() > llm.vocabulary:
            raise ScenarioError(
                f"{path} has {tokenizer.get_vocab_size()} entries, {scenario.llm} only "
                f"{llm.vocabulary}; put the LLM's own tokenizer.json beside its weights."
            )
        llm.attend(attention)
        llm.to(compute)
        return cls(scenario, llm, tokenizer, tokenizer_hash)

    @cached_property
    def system(self) -> System:
        """The arrays that decisions are made on."""
        return system(self.scenario)

    @cached_property
    def scenario_hash(self) -> str:
        """SHA-256 of all that results follow from."""
        return self.scenario.digest

    @cached_property
    def llm_fingerprint(self) -> str:
        """SHA-256 of the LLM's configuration and frozen weights."""
        return self.llm.fingerprint()

    @property
    def activation_dtype(self) -> torch.dtype:
        """Number format of activations and their gradients on the link."""
        return DTYPES[self.scenario.training.activation_bits]

    def hello(self, device: str) -> Hello:
        """What a device says of itself when it joins."""
        lora = self.scenario.lora
        return Hello(
            version=VERSION,
            device=device,
            scenario_hash=self.scenario_hash,
            llm_fingerprint=self.llm_fingerprint,
            lora_rank=lora.rank,
            lora_targets=lora.targets,
            activation_dtype=str(self.activation_dtype),
            tokenizer_hash=self.tokenizer_hash,
            weight_dtype=str(DTYPES[self.scenario.training.weight_bits]),
            attention=self.llm.attention,
        )

    def objection(self, hello: Hello) -> str | None:
        """Why a device cannot take part, in words that name what differs; None if it can."""
        names = [device.name for device in self.scenario.devices]
        if hello.device not in names:
            return (
                f"{spoken(hello.device)!r} is no device of the scenario; it has {', '.join(names)}"
            )
        own = self.hello(hello.device)
        for field, what in {
            "version": "version of the conversation",
            "lora_rank": "rank of the adapters",
            "lora_targets": "projections with adapters",
            "activation_dtype": "number format of activations",
            "weight_dtype": "number format of weights",
            "attention": "way in which attention is computed",
            "tokenizer_hash": "tokenizer",
            "llm_fingerprint": "LLM (configuration and frozen weights)",
            "scenario_hash": "scenario",
        }.items():
            theirs, ours = getattr(hello, field), getattr(own, field)
            if theirs != ours:
                return f"the {what} differs: {_short(theirs)} there, {_short(ours)} at the server"
        return None

    @cached_property
    def activations(self) -> dict[str, TensorSpec]:
        """What activations of one mini-batch, or their gradients, are on the link."""
        training = self.scenario.training
        shape = (training.batch_size, training.sequence_length, self.llm.hidden)
        return {"hidden": TensorSpec(self.activation_dtype, shape)}

    @cached_property
    def smashed(self) -> dict[str, TensorSpec]:
        """What the smashed data of one mini-batch are on the link."""
        training = self.scenario.training
        if training.topology == "u-shaped":
            return self.activations
        tokens = (training.batch_size, training.sequence_length)
        return {**self.activations, "labels": TensorSpec(torch.int32, tokens)}

    def device_side(self, cut: int) -> DeviceSide:
        """The device's part of the LLM."""
        return DeviceSide(self.llm, cut, self.scenario.training.topology, self.activation_dtype)

    def server_side(self, cut: int) -> ServerSide:
        """The server's part of the LLM."""
        return ServerSide(self.llm, cut, self.scenario.training.topology, self.activation_dtype)

    def adapters(self, cut: int) -> dict[str, TensorSpec]:
        """Tensors of the adapters of blocks 1 to `cut`."""
        return specs(self.llm.adapters(0, cut))

    def forms(self, uplink_bits: int, downlink_bits: int) -> Forms:
        """What hidden states and gradients are written as in a round.

        Raises
        ------
        BreachError
            If the scenario does not list these bits.
        """
        wire, shape = self.scenario.wire, self.activations["hidden"].shape
        for key, bits in {"uplink_bits": uplink_bits, "downlink_bits": downlink_bits}.items():
            listed = wire.lists[key] or (self.scenario.training.activation_bits,)
            if bits not in listed:
                raise BreachError(f"{bits} bits are not among wire.{key}, {list(listed)}")
        up, down = (Form(bits, wire.group, shape) for bits in (uplink_bits, downlink_bits))
        return Forms(up, down, self.scenario.simulation.seed)

    @property
    def largest_frame_bytes(self) -> int:
        """Size that no message of this job exceeds [byte]."""
        held, wire = self.scenario.training.activation_bits, self.scenario.wire
        shape = self.activations["hidden"].shape
        widths = {bits for listed in wire.lists.values() for bits in listed or (held,)}
        forms = (Form(bits, wire.group, shape).specs for bits in widths)
        messages = [self.adapters(self.llm.num_blocks), *({**self.smashed, **f} for f in forms)]
        return max(frame_bytes(*messages), LARGEST_PROBE_BYTES + _SLACK_BYTES)


def _check_formats(scenario: Scenario) -> None:
    """Refuse number formats that are counted and cannot be trained in for real."""
    training = scenario.training
    check_runnable(training, optimiser="adamw", base_weights=training.base_weights)
    for key, bits in {
        "training.activation_bits": training.activation_bits,
        "training.weight_bits": training.weight_bits,
        "lora.adapter_bits": scenario.lora.adapter_bits,
    }.items():
        if bits not in DTYPES:
            raise ScenarioError(
                f"{key} = {bits} cannot be trained here; give 16 (bfloat16) or 32 (float32)."
            )


def _tokenizer_file(weights: Path | None) -> Path:
    """Tokenizer of a checkpoint of one's own, or the shipped one for what is shipped."""
    if weights is None or weights.resolve().is_relative_to(DATA.resolve()):
        return TOKENIZER
    own = weights / "tokenizer.json"
    if not own.is_file():
        raise ScenarioError(
            f"{own} is missing, without which a text cannot be made into the LLM's tokens; put the "
            f"tokenizer.json of the LLM's publisher there."
        )
    return own


def _check_same(found: Mapping[str, Any], scenario: Scenario, folder: Path) -> None:
    """Refuse a checkpoint whose configuration is not that of the scenario's LLM."""
    expected, name = scenario.llm_config, scenario.llm
    what = None
    if found["model_type"] == expected.get("model_type") and found["model_type"] in FAMILIES:
        has, needs = (architecture_of(name, dict(raw)) for raw in (found, expected))
        if replace(has, title=needs.title) != needs:
            told = [*DIMENSIONS, *(f.name for f in fields(Architecture) if f.name != "blocks")]
            differ = [k for k in told if getattr(has, k) != getattr(needs, k)]
            keys = [k for k in differ if k not in ("name", "title")]
            values = [(k, getattr(has, k), getattr(needs, k)) for k in keys]
            what = _differs(values) or "biases differ"
    else:
        keys = ["model_type", *(key for key in expected if key in found and key not in _BESIDE)]
        what = _differs([(k, found[k], expected.get(k)) for k in keys])
    if what:
        raise ScenarioError(
            f"the checkpoint in {folder} is not {name}: its {what}; give a checkpoint of {name}, "
            f"or name its LLM with --set llm."
        )


def _differs(values: Iterable[tuple[str, object, object]]) -> str | None:
    """The first key whose values differ, and both of them."""
    different = ((k, has, needs) for k, has, needs in values if has != needs)
    return next((f"{k} is {shortened(a)}, not {shortened(b)}" for k, a, b in different), None)


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else spoken(text)
