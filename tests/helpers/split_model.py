"""The real LLM that the closed forms are held against: transformers' model with peft's adapters.

It is cut where the artifact cuts it. Blocks are called with the very arguments that the whole model
passes them, so nothing of a block is written twice.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from card.llm import public_config
from card.scenario import ALL_LINEAR, Lora, Training

torch.set_num_threads(1)

DTYPES = {16: torch.bfloat16, 32: torch.float32}
QUERY_AND_VALUE = {
    "gpt-2": ("c_attn",),
    "phi-3-mini-4k": ("qkv_proj",),
    "phi3": ("qkv_proj",),
    "gpt_neox": ("query_key_value",),
}
"""LoRA targets where they are not `q_proj` and `v_proj`."""
TRUNKS = {
    "gpt2": ("transformer", "h", "ln_f"),
    "gpt_neox": ("gpt_neox", "layers", "final_layer_norm"),
    "bloom": ("transformer", "h", "ln_f"),
    "falcon": ("transformer", "h", "ln_f"),
    "gptj": ("transformer", "h", "ln_f"),
    "opt": ("model.decoder", "layers", "final_layer_norm"),
    "phi": ("model", "layers", "final_layernorm"),
}
"""Names of the trunk, its blocks and its last norm, where they are not as in Llama."""


def training(**changes: Any) -> Training:
    """One mini-batch of two short sequences in bfloat16."""
    short = {"batch_size": 2, "sequence_length": 24, "local_iterations": 1, "weight_bits": 16}
    shape = {"activation_bits": 16, "topology": "vanilla", "cut_range": (0, None)}
    return Training(**{**short, **shape, **changes})


def lora(name: str, *targets: str, rank: int = 8, bits: int = 16, **more: Any) -> Lora:
    """Adapters on the query and value projections unless targets are given."""
    chosen = targets or QUERY_AND_VALUE.get(name, ("q_proj", "v_proj"))
    return Lora(rank=rank, targets=chosen, adapter_bits=bits, **more)


def narrow_config(name: str, blocks: int = 4) -> dict[str, Any]:
    """A shipped configuration, narrow enough to run on any processor; widths share no factor."""
    raw = public_config(name)
    if raw["model_type"] == "gpt2":
        narrow = {"n_embd": 48, "n_layer": blocks, "n_head": 6, "n_positions": 64}
    else:
        narrow = {"hidden_size": 48, "num_hidden_layers": blocks, "num_attention_heads": 6}
        narrow |= {"num_key_value_heads": 2, "intermediate_size": 104}
        narrow |= {"max_position_embeddings": 64, "pad_token_id": 0}
        narrow |= {"head_dim": 20} if "head_dim" in raw else {}
        narrow |= {"rope_scaling": None, "layer_types": None}
    return {**raw, **narrow, "vocab_size": 90, "bos_token_id": 0, "eos_token_id": 1}


def causal_lm(raw: dict[str, Any], bits: int = 16, device: str = "meta") -> PreTrainedModel:
    """The plain model of a configuration, with eager attention and without dropout."""
    dropout = {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
    keys = {
        k: v for k, v in json.loads(json.dumps(raw)).items() if k not in ("_card", "model_type")
    }
    keys |= dropout if raw["model_type"] == "gpt2" else {}
    config = AutoConfig.for_model(raw["model_type"], **keys)
    config.use_cache = False
    # transformers knows this loss by the model's class and names it so without being asked
    config.loss_type = "ForCausalLM"
    with torch.device(device):
        return AutoModelForCausalLM.from_config(
            config,
            attn_implementation="eager",
            # a loop over experts must see which are chosen, a batch of them copies their weights
            experts_implementation="batched_mm" if device == "meta" else "eager",
            dtype=DTYPES[bits],
        )


class SplitModel:
    """A model with adapters, in parts: embedding, blocks 1..I, head with loss.

    Parameters
    ----------
    raw
        Configuration as in `data/llms`.
    lora
        Adapters, with their bits per weight.
    bits
        Bits per activation and frozen weight.
    device
        `meta` counts without computing, `cpu` computes.
    """

    def __init__(
        self, raw: dict[str, Any], lora: Lora, bits: int = 16, device: str = "meta"
    ) -> None:
        self.model = causal_lm(raw, bits, device)
        adapters = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            use_dora=lora.dora,
            use_rslora=lora.rslora,
            target_modules=ALL_LINEAR if ALL_LINEAR in lora.targets else list(lora.targets),
            lora_dropout=0.0,
            fan_in_fan_out=raw["model_type"] == "gpt2",
        )
        with torch.device(device), warnings.catch_warnings():
            # peft asks transformers for a flag by its older name
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            self.adapted = get_peft_model(self.model, adapters, autocast_adapter_dtype=False)
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(DTYPES[lora.adapter_bits])
        trunk, blocks, norm = TRUNKS.get(raw["model_type"], ("model", "layers", "norm"))
        self.blocks: nn.ModuleList = self.model.get_submodule(f"{trunk}.{blocks}")
        self.norm: nn.Module = self.model.get_submodule(f"{trunk}.{norm}")
        self.device = device
        self.cap = getattr(self.model.config, "final_logit_softcapping", None)

    def tokens(self, batch: int, length: int) -> Tensor:
        """Token ids of a mini-batch, also its labels."""
        generator = None if self.device == "meta" else torch.Generator().manual_seed(0)
        shape, vocabulary = (batch, length), self.model.config.vocab_size
        return torch.randint(vocabulary, shape, device=self.device, generator=generator)

    @torch.no_grad()
    def embed(self, ids: Tensor) -> tuple[Tensor, list[dict[str, Any]]]:
        """Input of block 1, and the arguments (mask, rotary tables) each block is called with."""
        hidden: list[Tensor] = []
        arguments: list[dict[str, Any]] = []

        def note(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            names = ("hidden_states", "past_key_values", "attention_mask")
            called = {**dict(zip(names, args, strict=False)), **kwargs}
            hidden.append(called.pop("hidden_states"))
            arguments.append(called)

        hooks = [block.register_forward_pre_hook(note, with_kwargs=True) for block in self.blocks]
        self.model(input_ids=ids, attention_mask=torch.ones_like(ids))
        for hook in hooks:
            hook.remove()
        return hidden[0].detach(), arguments

    def run(self, hidden: Tensor, arguments: list[dict[str, Any]], first: int, last: int) -> Tensor:
        """Output of blocks `first`+1..`last` for the input of block `first`+1."""
        for block, given in zip(self.blocks[first:last], arguments[first:last], strict=True):
            output = block(hidden, **given)
            hidden = output if isinstance(output, Tensor) else output[0]
        return hidden

    def loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Final norm, LM head and loss."""
        logits = self.model.lm_head(self.norm(hidden))
        if self.cap:
            logits = torch.tanh(logits / self.cap) * self.cap
        return self.model.loss_function(logits, labels, self.model.config.vocab_size)

    def adapter_parameters(self, blocks: int) -> int:
        """Trained weights in blocks 1..`blocks`."""
        parts = (p for block in self.blocks[:blocks] for p in block.parameters())
        return sum(p.numel() for p in parts if p.requires_grad)


def boundary(hidden: Tensor, trains: bool) -> Tensor:
    """What arrives on the other side of a cut; `trains` if a gradient is to be sent back."""
    return hidden.detach().requires_grad_(trains)


class Ledger:
    """Work per part of the split model."""

    def __init__(self) -> None:
        self.flop: dict[str, int] = {}

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Add the work done inside to a part's."""
        with FlopCounterMode(display=False) as counter:
            yield
        self.flop[part] = self.flop.get(part, 0) + counter.get_total_flops()


Start = tuple[Tensor, list[dict[str, Any]]]
"""What `SplitModel.embed` returns."""


def split_step(split: SplitModel, ids: Tensor, start: Start, cut: int) -> dict[str, int]:
    """Forward and backward work of one training step of the split model, per part [FLOP].

    The graph is cut after block `cut` and before the head, as the u-shaped topology does; in the
    vanilla one the head's work belongs to whoever runs the last block.
    """
    ledger, count = Ledger(), len(split.blocks)
    embedded, arguments = start
    with ledger.of("device"):
        sent = split.run(embedded, arguments, 0, cut)
    arrived = boundary(sent, trains=cut > 0)
    with ledger.of("server"):
        returned = split.run(arrived, arguments, cut, count)
    final = boundary(returned, trains=True)
    with ledger.of("head"):
        split.loss(final, ids).backward()
    if cut < count:
        with ledger.of("server"):
            returned.backward(final.grad)
    if cut > 0:
        with ledger.of("device"):
            sent.backward(arrived.grad if cut < count else final.grad)
    return ledger.flop


def parts_of_one_step(split: SplitModel, ids: Tensor) -> tuple[dict[str, int], dict[str, int]]:
    """Forward and backward work of each block and of the head, cut from each other everywhere."""
    forward, backward = Ledger(), Ledger()
    arrived, arguments = split.embed(ids)
    passed = []
    for number in range(len(split.blocks)):
        arrived = boundary(arrived, trains=number > 0)
        with forward.of(f"block {number + 1}"):
            output = split.run(arrived, arguments, number, number + 1)
        passed.append((arrived, output))
        arrived = output
    arrived = boundary(arrived, trains=True)
    with forward.of("head"):
        loss = split.loss(arrived, ids)
    with backward.of("head"):
        loss.backward()
    gradient = arrived.grad
    for number in reversed(range(len(split.blocks))):
        arrived, output = passed[number]
        with backward.of(f"block {number + 1}"):
            output.backward(gradient)
        gradient = arrived.grad
    return forward.flop, backward.flop
