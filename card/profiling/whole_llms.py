"""Counts work, traffic and memory of every shipped LLM in full size, to hold closed forms against.

Runs on torch's meta device, which follows every shape and computes nothing, so an LLM of any size
takes a moment: `python -m card.profiling.whole_llms FILE` writes the record that the book shows.
"""

from __future__ import annotations

import datetime
import json
import sys
from typing import Any

import torch
from torch import Tensor

from card.base.data_files import llm_names
from card.base.whole_files import write_whole
from card.costs import load_scenario
from card.llm import architecture, public_config
from card.profiling.counters import count, tensors_in
from card.profiling.llm_under_test import Parts
from card.profiling.machine import software
from card.scenario import Lora, Training
from card.training.wire.tensors import payload_bit

SCENARIO = "nominal"
"""Scenario whose mini-batch and adapters are counted."""


def counted() -> dict[str, dict[str, Any]]:
    """Targets, forward and training work, traffic and memory of every shipped LLM, by counters.

    Returns
    -------
    dict[str, dict[str, Any]]
        Per LLM the LoRA `targets`, `forward_flop` and `training_flop` of the whole LLM [FLOP],
        `smashed_bit` of an inner cut, `adapter_bit` of all blocks and `saved_bit`, the activations
        that training all of it holds for backward [bit].
    """
    scenario = load_scenario(SCENARIO)
    return {name: _of(name, scenario.training, scenario.lora) for name in llm_names()}


def _of(name: str, training: Training, lora: Lora) -> dict[str, Any]:
    arch = architecture(name)
    fused = {"targets": ("c_attn",)} if len(arch.qkv) == 1 else {}
    adapters = lora.model_copy(update=fused)
    model = Parts(public_config(name), training, adapters, "meta")
    hidden, arguments = model.embed()

    def whole(arrived: Tensor) -> Tensor:
        for block in model.blocks:
            arrived = block(arrived, **arguments)
        return model.head(arrived)

    shared = [*model.model.parameters(), *tensors_in(arguments)]
    forward, backward, saved = count((whole, hidden), shared)
    blocks = range(arch.num_blocks)
    trained = {f"{i}.{key}": weight for i in blocks for key, weight in model.adapters(i).items()}
    return {
        "targets": list(adapters.targets),
        "forward_flop": forward,
        "training_flop": forward + backward,
        "smashed_bit": payload_bit(_zeros({"hidden": hidden})),
        "adapter_bit": payload_bit(_zeros(trained)),
        "saved_bit": saved,
    }


def _zeros(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the same shapes that hold something to write."""
    return {key: torch.zeros_like(value, device="cpu") for key, value in tensors.items()}


if __name__ == "__main__":
    versions = software("cpu")
    del versions["instructions"]
    record = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "software": versions,
        "scenario": SCENARIO,
        "llms": counted(),
    }
    write_whole(sys.argv[1], json.dumps(record, indent=1) + "\n")
