"""Counts work, traffic and memory of every shipped LLM in full size, to hold closed forms against.

Runs on torch's meta device, which follows every shape and computes nothing, so an LLM of any size
takes a moment: `python -m card.profiling.whole_llms FILE` writes the record that the book shows.
"""

from __future__ import annotations

import datetime
import json
import sys
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from card.base.data_files import llm_names
from card.base.whole_files import write_whole
from card.costs import load_scenario
from card.llm import architecture, public_config
from card.llm.real.counters import count, tensors_in
from card.profiling.machine import software
from card.scenario import Lora, Training
from card.training.llm.models import DTYPES, plain_model
from card.training.wire.tensors import payload_bit

SCENARIO = "nominal"
"""Scenario whose mini-batch and adapters are counted."""


def counted(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Targets, forward and training work, traffic and memory of shipped LLMs, by counters.

    Returns
    -------
    dict[str, dict[str, Any]]
        Per LLM the LoRA `targets`, `forward_flop` and `training_flop` of the whole LLM [FLOP],
        `smashed_bit` of an inner cut, `adapter_bit` of all blocks and `saved_bit`, the activations
        that training all of it holds for backward [bit].
    """
    scenario = load_scenario(SCENARIO)
    return {name: _of(name, scenario.training, scenario.lora) for name in names}


def _of(name: str, training: Training, lora: Lora) -> dict[str, Any]:
    arch, raw = architecture(name), public_config(name)
    first, *others = arch.blocks[0].qkv
    fused = {} if others else {"targets": (first.name.rpartition(".")[2],)}
    adapters = lora.model_copy(update=fused)
    plain = plain_model(raw, DTYPES[training.activation_bits], device="meta").eval()
    plain.loss_type = "ForCausalLM"  # not every class name tells it
    blocks = next(m for m in plain.modules() if isinstance(m, nn.ModuleList))
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of peft, about a name in transformers
        peft = LoraConfig(
            r=adapters.rank,
            target_modules=list(adapters.targets),
            fan_in_fan_out=raw["model_type"] == "gpt2",
        )
        model: Any = get_peft_model(plain, peft, autocast_adapter_dtype=False)
    trained = {key: w for key, w in model.named_parameters() if w.requires_grad}
    for weight in trained.values():
        weight.data = weight.data.to(DTYPES[adapters.adapter_bits])
    shape = (training.batch_size, training.sequence_length)
    ids = torch.zeros(shape, dtype=torch.int64, device="meta")
    run = partial(model, attention_mask=torch.ones_like(ids), use_cache=False)
    smashed, arguments = _fixed_arguments(blocks, lambda: run(input_ids=ids))

    def whole(tokens: Tensor) -> Tensor:
        loss: Tensor = run(input_ids=tokens, labels=tokens).loss
        return loss

    shared = [*model.parameters(), *tensors_in(arguments), ids]
    forward, backward, saved = count((whole, ids), shared)
    return {
        "targets": list(adapters.targets),
        "forward_flop": forward,
        "training_flop": forward + backward,
        "smashed_bit": payload_bit(_zeros({"hidden": smashed})),
        "adapter_bit": payload_bit(_zeros(trained)),
        "saved_bit": saved,
    }


def _fixed_arguments(
    blocks: nn.ModuleList, run: Callable[[], object]
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Input of block 1, and what every block is called with beside its input, from now on always.

    Masks and rotary tables are shared by all blocks and made anew by every pass of a model; kept
    fixed, they can be told from what a block keeps.
    """
    inputs: list[Tensor] = []
    arguments: list[dict[str, Any]] = []

    def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        names = ("hidden_states", "past_key_values", "attention_mask")
        called = {**dict(zip(names, args, strict=False)), **kwargs}
        inputs.append(called.pop("hidden_states"))
        arguments.append(called)

    noting = [block.register_forward_pre_hook(note, with_kwargs=True) for block in blocks]
    with torch.no_grad():
        run()
    for hook in noting:
        hook.remove()
    for block, fixed in zip(blocks, arguments, strict=True):

        def same(
            _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], fixed: Any = fixed
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return (args[0] if args else kwargs["hidden_states"],), fixed

        block.register_forward_pre_hook(same, with_kwargs=True)
    return inputs[0], arguments


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
        "llms": counted(llm_names()),
    }
    write_whole(sys.argv[1], json.dumps(record, indent=1) + "\n")
