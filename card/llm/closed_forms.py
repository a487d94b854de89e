"""Closed forms of a whole LLM, to hold against what torch's counters gave for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from card.base.data_files import read_json
from card.llm.architectures import architecture
from card.llm.blocks import block_costs, head_cost
from card.llm.cuts import profile_of
from card.scenario import Scenario


def recorded() -> dict[str, Any]:
    """The counters' numbers, with date, software and scenario: `data/fidelity.json`."""
    return read_json("fidelity")


def closed_forms(scenario: Scenario, llm: str, targets: Sequence[str]) -> dict[str, int]:
    """What the model says of training a whole LLM on one mini-batch.

    Parameters
    ----------
    scenario
        Mini-batch and adapters.
    llm
        Name of a shipped LLM.
    targets
        Projections with adapters.

    Returns
    -------
    dict[str, int]
        `forward_flop` and `training_flop` of the whole LLM [FLOP], `smashed_bit` of an inner cut,
        `adapter_bit` of all blocks, and `saved_bit`, the activations kept for backward [bit].
    """
    training = scenario.training
    lora = scenario.lora.model_copy(update={"targets": tuple(targets)})
    arch = architecture(llm)
    parts = (*block_costs(arch, training, lora), head_cost(arch, training))
    cuts = profile_of(arch, training, lora)
    return {
        "forward_flop": sum(part.forward_flop for part in parts),
        "training_flop": sum(part.flop for part in parts),
        "smashed_bit": int(cuts.downlink_bit[1]),
        "adapter_bit": int(cuts.adapter_bit[-1]),
        "saved_bit": sum(part.saved_bit for part in parts),
    }
