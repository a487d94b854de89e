"""Real LLMs without adapters: of a public configuration, or from a checkpoint on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from card.base.data_files import DATA, llm_names
from card.base.errors import ScenarioError
from card.base.llm_configs import llm_title
from card.base.yaml_files import label
from card.llm.real.stack import one_line
from card.scenario import Training

DTYPES = {16: torch.bfloat16, 32: torch.float32}
"""Number formats of weights and activations, by bits per element."""

Attention = Literal["eager", "sdpa"]
"""Plain matrix products, or torch's fused attention, which Gemma 2 does not have."""

_RUNNABLE: dict[str, Any] = {
    "base_weights": None,
    "gradient_checkpointing": False,
    "accumulation": 1,
    "schedule": "alternate",
}
_FACTORY: Any = AutoModelForCausalLM


def plain_model(
    raw: Mapping[str, Any],
    dtype: torch.dtype,
    *,
    device: str = "cpu",
    attention: Attention = "eager",
    blocks: int | None = None,
) -> Any:
    """LLM of a configuration, with weights as transformers draws them.

    Parameters
    ----------
    raw
        Configuration as in `data/llms`.
    dtype
        Number format of all weights.
    device
        Where its weights are made.
    attention
        How attention is computed.
    blocks
        How many blocks to build; None for all.

    Raises
    ------
    ScenarioError
        If transformers cannot make an LLM of it.
    """
    keys = {k: v for k, v in raw.items() if k not in ("_card", "model_type", "torch_dtype")}
    keys = json.loads(json.dumps(keys))  # transformers writes into nested mappings
    if blocks is not None:
        keys |= {"n_layer" if raw["model_type"] == "gpt2" else "num_hidden_layers": blocks}
        keys.pop("layer_types", None)
    with one_line(llm_title("llm", raw)), torch.device(device):
        config = AutoConfig.for_model(raw["model_type"], **keys)
        return _FACTORY.from_config(config, attn_implementation=attention, dtype=dtype)


def seeded_model(
    raw: Mapping[str, Any], dtype: torch.dtype, seed: int, *, attention: Attention = "eager"
) -> Any:
    """LLM of a configuration with random weights, the same ones on every machine.

    Matrices are uniform with the configuration's `initializer_range` as standard deviation; norms
    and biases start as the architecture defines them.
    """
    model = plain_model(raw, dtype, attention=attention)
    bound = 3**0.5 * model.config.initializer_range
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            fill(weight, bound, f"{seed}/{name}")
    return model


def stored_model(path: Path, dtype: torch.dtype) -> Any:
    """LLM of a checkpoint as transformers' `save_pretrained` writes it, without any network.

    Raises
    ------
    ScenarioError
        If the folder holds no whole checkpoint.
    """
    if not (path / "config.json").is_file():
        raise ScenarioError(
            f"{path} holds no checkpoint (no config.json); give a folder that transformers' "
            f"save_pretrained wrote."
        )
    quiet: Any = transformers_logging
    quiet.disable_progress_bar()
    try:
        model, told = _FACTORY.from_pretrained(
            str(path),
            dtype=dtype,
            attn_implementation="eager",
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ScenarioError(f"{path} is no checkpoint that can be read: {reason}") from error
    if told["missing_keys"]:
        first = sorted(told["missing_keys"])[0]
        raise ScenarioError(f"{path} lacks the weight {first!r}; save the checkpoint again.")
    return model


def shipped_checkpoint(llm: str) -> Path | None:
    """Folder of the checkpoint shipped for an entry of `data/llms`; None if there is none."""
    path = DATA / "checkpoints" / llm
    return path if llm in llm_names() and path.is_dir() else None


def check_runnable(training: Training, **more: Any) -> None:
    """Refuse what the model counts and no real LLM is trained with here.

    Parameters
    ----------
    training
        How it would be trained.
    more
        Values by key that it must have besides.

    Raises
    ------
    ScenarioError
        If it has another value.
    """
    for key, needed in (_RUNNABLE | more).items():
        if (value := getattr(training, key)) != needed:
            raise ScenarioError(
                f"training.{key} = {label(value)} cannot be run for real yet, only counted; give "
                f"{label(needed)}."
            )


@torch.no_grad()
def fill(weight: Tensor, bound: float, key: str) -> None:
    """Fill with uniform numbers of at most ± `bound`, the same ones on every machine for a key.

    They come from integers by exact steps; torch's own generators promise no such thing across
    releases and processors.
    """
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big")
    drawn = np.random.Generator(np.random.PCG64(seed)).random(tuple(weight.shape), np.float32)
    weight.copy_(torch.from_numpy((2 * drawn - 1) * np.float32(bound)))
