"""Frozen matrices in four bits, as QLoRA holds and bitsandbytes writes them.

A weight is a NormalFloat of 4 bit. Each 64 of a matrix share a scale of 8 bit, and each 256 scales
one of 32 bit (Dettmers et al. 2023, arXiv 2305.14314); `card.llm.cuts.held_bit` counts both.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from card.base.errors import ScenarioError, extra, shortened
from card.base.yaml_files import label
from card.scenario import Lora
from card.training.llm.anatomy import anatomy_of, matrices

_WRITTEN = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_quant_storage": "uint8",
}
_STATE = "quant_state.bitsandbytes__nf4"
_PARTS = ("absmax", "quant_map", "nested_absmax", "nested_quant_map", _STATE)
_GROUP, _SCALES = 64, 256


def check_quantisation(file: Path, told: Any) -> None:
    """Refuse weights that are quantised in another way than QLoRA's.

    Parameters
    ----------
    file
        The `config.json` of a checkpoint.
    told
        Its `quantization_config`.

    Raises
    ------
    ScenarioError
        If they are, with how, before any weight is read.
    """
    raw = told if isinstance(told, Mapping) else {}
    differs = next((key for key, value in _WRITTEN.items() if raw.get(key) != value), None)
    if differs is None:
        return
    bits = raw.get("bits", 4 if raw.get("load_in_4bit") else 8 if raw.get("load_in_8bit") else None)
    how = f"by {shortened(raw.get('quant_method'))}" + f" in {shortened(bits)} bit" * bool(bits)
    if differs.startswith("bnb"):
        how += f" with {differs} = {shortened(raw.get(differs))}"
    raise ScenarioError(
        f"{file}: quantization_config says that weights are quantised {how}, which are not trained "
        f"on here; give a checkpoint of the same LLM without it, or one that bitsandbytes wrote "
        f"with bnb_4bit_quant_type nf4 and bnb_4bit_use_double_quant."
    )


def check_base(
    base_weights: str | None, raw: Mapping[str, Any] | None, place: str, compute: str
) -> None:
    """Refuse a checkpoint whose matrices are not held as the scenario counts them.

    Parameters
    ----------
    base_weights
        The scenario's `training.base_weights`.
    raw
        What the `config.json` of the checkpoint says; None for random weights.
    place
        What to call the weights.
    compute
        Processor that computes.

    Raises
    ------
    ScenarioError
        If one is in four bits and the other is not, or what computes is no processor on which this
        was tested.
    """
    held = "nf4" if raw and raw.get("quantization_config") else None
    if held != base_weights:
        remedy = "" if held else ", or --weights of a checkpoint that bitsandbytes wrote in nf4"
        raise ScenarioError(
            f"training.base_weights = {label(base_weights)} is not how {place} holds the matrices "
            f"of blocks; give {label(held)}{remedy}."
        )
    if held and compute != "cpu":
        raise ScenarioError(
            f"compute = {compute} was not tested with matrices in four bits, as {place} holds "
            f"them; give cpu."
        )


def hold_in_four_bits(model: Any, packed: Callable[[str], bool], lora: Lora, folder: Path) -> None:
    """Make the matrices of blocks of an LLM on the meta device such as hold four bits per weight.

    Parameters
    ----------
    model
        transformers' causal LM.
    packed
        Whether the checkpoint has a weight, by its name, in four bits.
    lora
        The adapters, which may not be DoRA's: peft starts those from matrices on no meta device.
    folder
        The checkpoint.

    Raises
    ------
    ScenarioError
        If bitsandbytes is not installed, a matrix of a block is not held so, or adapters are
        DoRA's.
    """
    if lora.dora:
        raise ScenarioError(
            f"lora.dora = true is not trained on {folder}, whose matrices are in four bits; set "
            f"it to false."
        )
    with extra("qlora", f"{folder} in four bits"):
        from bitsandbytes.nn import Linear4bit
    place = anatomy_of(folder.name, model.config).blocks
    blocks: nn.ModuleList = model.get_submodule(place)
    _, routed = matrices(blocks)
    for number, block in enumerate(blocks):
        for name, module in matrices(nn.ModuleList([block]))[0].items():
            called = f"{place}.{number}.{name}.weight"
            if routed or not isinstance(module, nn.Linear) or not packed(called):
                raise ScenarioError(
                    f"{folder} does not hold every matrix of its blocks in four bits, such as "
                    f"{called!r}; give a checkpoint of the same LLM without quantization_config."
                )
            bias = module.bias is not None
            matrix = Linear4bit(module.in_features, module.out_features, bias, device="meta")
            matrix.to(model.dtype)
            # would lay out weights anew when nothing is trained, and lose gradients ever after
            matrix.support_avx512bf16_for_cpu = False
            block.set_submodule(name, matrix)


def packed_parts(key: str, known: Container[str]) -> dict[str, str]:
    """Tensors that belong to a matrix in four bits, by what they are; none if one is not known."""
    named = {part: f"{key}.{part}" for part in _PARTS}
    return named if all(name in known for name in named.values()) else {}


def weight_of(data: Tensor, parts: Mapping[str, Tensor], shape: torch.Size) -> nn.Parameter | None:
    """A matrix as bitsandbytes computes with it; None if its parts are not those of its shape.

    What computes reads as far as they say, so all sizes are held against the shape before.
    """
    from bitsandbytes.nn import Params4bit

    numbers = shape.numel()
    scales = -(-numbers // _GROUP)
    expected = {
        "absmax": (scales, torch.uint8),
        "quant_map": (16, torch.float32),
        "nested_absmax": (-(-scales // _SCALES), torch.float32),
        "nested_quant_map": (256, torch.float32),
    }
    found = {name: (parts[name].numel(), parts[name].dtype) for name in expected}
    if found != expected or (data.numel(), data.dtype) != (-(-numbers // 2), torch.uint8):
        return None
    try:
        weight: nn.Parameter = Params4bit.from_prequantized(data, dict(parts), device="cpu")
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError):
        return None
    state: Any = weight.quant_state  # type: ignore[attr-defined]
    told = (state.shape, state.blocksize, state.state2.blocksize, state.quant_type)
    return weight if told == (shape, _GROUP, _SCALES, "nf4") else None
