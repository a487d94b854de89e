"""Where an LLM of any family has its blocks, its embedding and its head.

Found by running a small copy of it, of which transformers' own forward pass tells all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.pytorch_utils import Conv1D

from card.base.errors import ScenarioError, nearest, shortened
from card.llm.real.stack import one_line

_FACTORY: Any = AutoModelForCausalLM
_TOKENS, _WIDTH = 64, 8
_PERIODS = ("step", "interval", "pattern", "first_k")
_FEW = {
    "sliding_window": 3,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "rotary_dim": _WIDTH,
}
_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")


@dataclass(frozen=True)
class Anatomy:
    """Names of an LLM's parts within transformers' model."""

    blocks: str
    """List of its blocks."""
    before: tuple[str, ...]
    """Modules with weights that tokens pass before the first block."""
    after: tuple[str, ...]
    """Modules with weights that they pass behind the last one."""
    tuples: bool
    """Whether blocks return a tuple, whose first item goes on."""


def anatomy_of(llm: str, config: Any) -> Anatomy:
    """Anatomy of the LLM that a configuration of transformers describes.

    Raises
    ------
    ScenarioError
        If it is no stack of blocks, or no small copy of it can be run.
    """
    return _anatomy(llm, config.model_type, json.dumps(config.to_dict(), sort_keys=True))


@lru_cache(maxsize=16)
def _anatomy(llm: str, family: str, told: str) -> Anatomy:
    raw = json.loads(told)
    with one_line(llm):
        model = small_copy(llm, {"model_type": family, **raw})
    count = model.config.num_hidden_layers
    lists = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == count
    ]
    if not lists:
        raise not_plain(llm, family, f"it has no list of {count}")
    blocks = model.get_submodule(lists[0])
    passed: list[Any] = []
    before: dict[str, None] = {}
    after: dict[str, None] = {}

    def enter(name: str) -> None:
        (after if passed else before)[name] = None

    inside = set(blocks.modules())
    with torch.no_grad(), one_line(llm), ExitStack() as hooks:
        for name, module in model.named_modules():
            if module not in inside and list(module.parameters(recurse=False)):
                hook = module.register_forward_pre_hook(lambda *_, name=name: enter(name))
                hooks.callback(hook.remove)
        for block in blocks:
            hook = block.register_forward_hook(lambda _, __, output: passed.append(output))
            hooks.callback(hook.remove)
        model(input_ids=torch.arange(8).unsqueeze(0), use_cache=False)
    if len(passed) != count:
        raise not_plain(llm, family, "not each is passed once")
    return Anatomy(lists[0], tuple(before), tuple(after), not isinstance(passed[0], torch.Tensor))


def not_plain(llm: str, family: str, why: str) -> ScenarioError:
    """Error for an LLM that cannot be cut."""
    return ScenarioError(
        f"{llm}: the blocks of {family} are no plain stack that could be cut anywhere: {why}; "
        f"give another LLM."
    )


def small_copy(llm: str, raw: Mapping[str, Any]) -> Any:
    """An LLM of the same architecture, small enough to run in a moment, with random weights.

    It has as many of the first blocks as show every kind of block, in the pattern of the whole
    LLM. Where widths depend on each other in ways of their own, only blocks and tokens are fewer.
    """
    family, known = raw["model_type"], MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if family not in known:
        raise ScenarioError(
            f"{llm}: model_type = {shortened(family)} is no causal LM of the transformers that is "
            f"installed; {nearest(family, known)}"
        )
    config = AutoConfig.for_model(**json.loads(json.dumps(raw)))
    if config.is_encoder_decoder:
        raise ScenarioError(
            f"{llm}: the family {family} has an encoder beside its decoder, which no cut could "
            f"have; give a decoder alone."
        )
    told = config.to_dict()  # by the names that the family has for its keys
    try:
        return _made(_narrow(told, config))
    except Exception:  # whatever the code of a family says of widths
        return _made(_short(told, config))


def _made(keys: dict[str, Any]) -> Any:
    config = AutoConfig.for_model(**keys)
    config.use_cache = False
    if hasattr(config, "output_router_logits"):
        config.output_router_logits = False
    model = _FACTORY.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    with torch.no_grad():
        model(input_ids=torch.arange(8).unsqueeze(0), use_cache=False)
    return model


def _short(raw: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Configuration with few blocks and tokens."""
    native = getattr(config, "attribute_map", {})
    total = config.num_hidden_layers
    lists = [v for v in raw.values() if isinstance(v, list) and len(v) == total]
    kinds = [tuple(map(str, kind)) for kind in zip(*lists, strict=True)]
    last_new = max((kinds.index(kind) for kind in set(kinds)), default=0)
    periods = [
        value
        for key, value in raw.items()
        if type(value) is int and 0 < value <= 8 and any(word in key for word in _PERIODS)
    ]
    count = min(total, max(2, last_new + 1, *(value + 1 for value in periods)))
    keys = {
        key: value[:count] if isinstance(value, list) and len(value) == total else value
        for key, value in raw.items()
    }
    keys[native.get("num_hidden_layers", "num_hidden_layers")] = count
    keys[native.get("vocab_size", "vocab_size")] = _TOKENS
    for key in _IDS:
        value = keys.get(key)
        if isinstance(value, list) or (isinstance(value, int) and value >= _TOKENS):
            keys[key] = 1
    return {key: value for key, value in keys.items() if key not in ("dtype", "torch_dtype")}


def _narrow(raw: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Configuration that is narrow, too."""
    native = getattr(config, "attribute_map", {})
    keys = _short(raw, config)
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    few_kv = min(kv_heads, 2)
    few = few_kv * min(heads // kv_heads, 2)
    hidden = few * _WIDTH
    sizes = {
        "hidden_size": hidden,
        "num_attention_heads": few,
        "num_key_value_heads": few_kv,
        "num_kv_heads": few_kv,
        "head_dim": _WIDTH,
        "intermediate_size": 2 * hidden + 8,
        "ffn_dim": 2 * hidden + 8,
        "word_embed_proj_dim": hidden,
    }
    for name, size in sizes.items():
        key = native.get(name, name)
        if keys.get(key) is not None:
            keys[key] = size
    for key, most in _FEW.items():
        if isinstance(keys.get(key), int):
            keys[key] = min(keys[key], most)
    for key in ("rope_parameters", "rope_scaling"):
        if isinstance(keys.get(key), dict):
            keys[key] = {name: _cut_factors(value) for name, value in keys[key].items()}
    return keys


def _cut_factors(value: Any) -> Any:
    """A factor for each pair of a head's width, where there is one."""
    return value[: _WIDTH // 2] if isinstance(value, list) and len(value) > _WIDTH // 2 else value


def matrices(blocks: nn.ModuleList) -> tuple[dict[str, nn.Linear | Conv1D], bool]:
    """Matrices of blocks that may carry an adapter by name, and whether blocks have experts.

    Experts carry none.
    """
    named = [(name, module) for block in blocks for name, module in block.named_modules()]
    routed = any(name.endswith("experts") for name, _ in named)
    found = {
        name: module
        for name, module in named
        if isinstance(module, (nn.Linear, Conv1D)) and "experts." not in name
    }
    return found, routed
