"""The real LLM of a public configuration, in the parts that a cut can separate.

transformers' model with peft's adapters, random weights, eager attention and no dropout. Blocks are
called with the very arguments that the whole model passes them.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from card.profiles import PartName
from card.scenario import Lora, Training

DTYPES = {16: torch.bfloat16, 32: torch.float32}
"""Number format by bits per element."""


class _BlockReachedError(Exception):
    """Ends the forward pass where block 1 begins."""


class Parts:
    """An LLM with adapters, as embedding, blocks and head.

    Parameters
    ----------
    raw
        Configuration as in `data/llms`.
    training, lora
        The mini-batch and the adapters; weights and adapters have `activation_bits` too.
    device
        Where it runs, `cpu` or `cuda`.
    blocks
        How many blocks to build; None for all.
    """

    def __init__(
        self,
        raw: dict[str, Any],
        training: Training,
        lora: Lora,
        device: str = "cpu",
        blocks: int | None = None,
    ) -> None:
        gpt2 = raw["model_type"] == "gpt2"
        keys = {k: v for k, v in raw.items() if k not in ("_card", "model_type", "torch_dtype")}
        keys = json.loads(json.dumps(keys))  # transformers writes into nested mappings
        if gpt2:
            keys |= {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
        if blocks is not None:
            keys |= {"n_layer" if gpt2 else "num_hidden_layers": blocks}
            keys.pop("layer_types", None)
        config = AutoConfig.for_model(raw["model_type"], **keys)
        config.use_cache = False
        adapters = LoraConfig(
            r=lora.rank,
            target_modules=list(lora.targets),
            lora_dropout=0.0,
            fan_in_fan_out=gpt2,
        )
        torch.manual_seed(0)
        with torch.device(device), warnings.catch_warnings():
            # peft asks transformers for a flag by its older name
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            factory: Any = AutoModelForCausalLM
            self.model: Any = factory.from_config(
                config, attn_implementation="eager", dtype=DTYPES[training.activation_bits]
            )
            self.model.loss_type = "ForCausalLM"  # not every class name tells it
            get_peft_model(self.model, adapters, autocast_adapter_dtype=False)
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(DTYPES[training.activation_bits])
        trunk = self.model.transformer if gpt2 else self.model.model
        self.blocks: nn.ModuleList = trunk.h if gpt2 else trunk.layers
        self._norm: nn.Module = trunk.ln_f if gpt2 else trunk.norm
        self._cap = raw.get("final_logit_softcapping")
        shape = (training.batch_size, training.sequence_length)
        self.ids: Tensor = torch.randint(config.vocab_size, shape).to(device)
        """Token ids of the mini-batch, also its labels."""
        self._mask = torch.ones_like(self.ids)

    @torch.no_grad()
    def embed(self) -> tuple[Tensor, dict[str, Any]]:
        """Input of block 1, and the other arguments (mask, rotary tables) of a block."""
        called: dict[str, Any] = {}

        def stop(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            names = ("hidden_states", "past_key_values", "attention_mask")
            called.update(zip(names, args, strict=False), **kwargs)
            raise _BlockReachedError

        hook = self.blocks[0].register_forward_pre_hook(stop, with_kwargs=True)
        try:
            self.model(input_ids=self.ids, attention_mask=self._mask)
        except _BlockReachedError:
            return called.pop("hidden_states"), called
        finally:
            hook.remove()
        raise RuntimeError("the model did not call its first block")

    def head(self, hidden: Tensor) -> Tensor:
        """Loss, from the output of the last block."""
        logits = self.model.lm_head(self._norm(hidden))
        if self._cap:
            logits = torch.tanh(logits / self._cap) * self._cap
        loss: Tensor = self.model.loss_function(logits, self.ids, self.model.config.vocab_size)
        return loss

    def step(self) -> None:
        """Forward and backward of the whole LLM as built, by transformers' own forward pass."""
        self.forget()
        self.model(input_ids=self.ids, attention_mask=self._mask, labels=self.ids).loss.backward()

    def forget(self) -> None:
        """Drop gradients, so that the next step does not add to them."""
        self.model.zero_grad(set_to_none=True)

    def weights(self, part: PartName) -> list[Tensor]:
        """Weights that a part multiplies with, adapters included."""
        modules: dict[PartName, list[nn.Module]] = {
            "embedding": [],
            "first_block": [self.blocks[0]],
            "block": [self.blocks[1]],
            "head": [self._norm, self.model.lm_head],
        }
        return [weight for module in modules[part] for weight in module.parameters()]

    def adapters(self, block: int) -> dict[str, Tensor]:
        """Trained weights of a block, by name."""
        named = self.blocks[block].named_parameters()
        return {name: value.detach() for name, value in named if value.requires_grad}


def serialised_bit(tensors: dict[str, Tensor]) -> int:
    """Size of tensors as safetensors writes them, without its header [bit]."""
    data = save({name: value.contiguous() for name, value in tensors.items()})
    header = 8 + int.from_bytes(data[:8], "little")
    return 8 * (len(data) - header)


def saved_bit(function: Callable[[], object], shared: Iterable[Tensor]) -> int:
    """What the graph of `function()` keeps for backward beside shared tensors [bit].

    A storage counts once, however many tensors look into it.
    """
    excluded = {tensor.untyped_storage()._cdata for tensor in shared}
    sizes: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        alive.append(tensor)  # a freed storage's address could come again
        storage = tensor.untyped_storage()
        if storage._cdata not in excluded:
            sizes[storage._cdata] = 8 * storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = function()
    del result
    return sum(sizes.values())


def tensors_in(node: object) -> Iterator[Tensor]:
    """All tensors in a nest of lists and mappings."""
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, dict | list | tuple):
        for item in node.values() if isinstance(node, dict) else node:
            yield from tensors_in(item)
