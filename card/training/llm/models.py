"""Real LLMs without adapters: of a public configuration, or from a checkpoint on this machine."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from card.base.data_files import DATA, llm_names
from card.base.errors import ScenarioError
from card.base.llm_configs import llm_title
from card.base.text_files import read_json_object
from card.base.yaml_files import label
from card.llm.real.stack import one_line
from card.scenario import Training
from card.training.llm.four_bits import check_quantisation
from card.training.llm.weights import Drawn, Weights

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
_NO_KEYS = ("_card", "model_type", "torch_dtype", "dtype", "quantization_config")
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
    keys = {key: value for key, value in raw.items() if key not in _NO_KEYS}
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
    model = plain_model(raw, dtype, device="meta", attention=attention)
    materialise(model, drawn(model, seed), {name for name, _ in _alike(model.named_parameters)})
    return model


def drawn(model: Any, seed: int) -> Drawn:
    """Random weights as an LLM's configuration scales them."""
    return Drawn(seed, 3**0.5 * float(getattr(model.config, "initializer_range", 0.02)))


@torch.no_grad()
def materialise(model: Any, weights: Weights, names: Collection[str], device: str = "cpu") -> None:
    """Give an LLM on the meta device some of its weights, and the modules that have them buffers.

    Parameters
    ----------
    model
        transformers' model, without adapters.
    weights
        Where they come from.
    names
        Which ones, shared weights under each of their names.
    device
        Where they go.

    Raises
    ------
    ScenarioError
        If a weight is nowhere to be had.
    """
    shared: dict[int, list[str]] = {}
    wanted: dict[str, Tensor] = {}
    for name, weight in _alike(model.named_parameters):
        if name in names:
            shared.setdefault(id(weight), []).append(name)
            wanted.setdefault(shared[id(weight)][0], weight)
    begun = [name for name, weight in wanted.items() if not weights.has(name, weight)]
    for name in begun:
        _place(model, shared[id(wanted[name])], torch.full_like(wanted[name], nan, device=device))
    holders = {name.rpartition(".")[0] for name in names}
    for place, module in model.named_modules():
        if place not in holders and list(module.parameters(recurse=False)):
            continue
        made = [key for key, buffer in module.named_buffers(recurse=False) if buffer.is_meta]
        for key in made:
            buffer = module._buffers[key]
            empty = nan if buffer.is_floating_point() else 0
            module._buffers[key] = torch.full_like(buffer, empty, device=device)
        if made or any(name.rpartition(".")[0] == place for name in begun):
            model._init_weights(module)
        started = [module._buffers[key] for key in made]
        started += [model.get_parameter(n) for n in begun if n.rpartition(".")[0] == place]
        if any(one.is_floating_point() and bool(one.isnan().any()) for one in started):
            raise ScenarioError(f"transformers does not say how {place!r} starts; give --weights.")
    for name, value in weights.tensors({n: w for n, w in wanted.items() if n not in begun}).items():
        _place(model, shared[id(wanted[name])], value.to(device))


def _place(model: Any, names: Sequence[str], value: Tensor) -> None:
    four_bits = isinstance(value, nn.Parameter)
    weight = value if four_bits else nn.Parameter(value, requires_grad=False)
    for name in names:
        place, _, leaf = name.rpartition(".")
        model.get_submodule(place)._parameters[leaf] = weight


def _alike(named: Any) -> Iterator[tuple[str, Tensor]]:
    """Weights by each of their names."""
    found: Iterator[tuple[str, Tensor]] = named(remove_duplicate=False)
    return found


def stored_config(path: Path) -> dict[str, Any]:
    """What the `config.json` of a checkpoint says; no code that it names is run.

    Raises
    ------
    ScenarioError
        If there is none, or it asks for code of its own or for weights quantised in another way
        than QLoRA's.
    """
    if not (path / "config.json").is_file():
        raise ScenarioError(
            f"{path} holds no checkpoint (no config.json); give a folder that transformers' "
            f"save_pretrained wrote."
        )
    raw = read_json_object(path / "config.json", "get it again from its publisher")
    if raw.get("auto_map"):
        raise ScenarioError(
            f"{path / 'config.json'}: auto_map asks for code of the publisher's, which is never "
            f"run here; give a checkpoint of the same LLM without it."
        )
    if raw.get("quantization_config"):
        check_quantisation(path / "config.json", raw["quantization_config"])
    if not isinstance(raw.get("model_type"), str):
        raise ScenarioError(f"{path / 'config.json'} has no model_type; get it again.")
    return raw


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
