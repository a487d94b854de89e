"""What the profiler runs of a real LLM, and what it counts there.

Random weights, eager attention and no dropout; a part of the LLM runs alone, or all of it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from card.hardware.profile import PartName
from card.scenario import Lora, Training
from card.training.llm.adapted import AdaptedLlm
from card.training.llm.models import plain_model

DTYPES = {16: torch.bfloat16, 32: torch.float32}
"""Number format by bits per element."""


class Parts:
    """An LLM with adapters, as embedding, blocks and head, and a mini-batch for it.

    Parameters
    ----------
    raw
        Configuration as in `data/llms`.
    training
        The mini-batch; weights have its `activation_bits` too.
    lora
        The adapters.
    device
        Where it runs, `cpu` or `cuda`.
    blocks
        How many blocks to build; None for all.
    """

    def __init__(
        self,
        raw: Mapping[str, Any],
        training: Training,
        lora: Lora,
        device: str = "cpu",
        blocks: int | None = None,
    ) -> None:
        torch.manual_seed(0)
        dtype = DTYPES[training.activation_bits]
        self._llm = AdaptedLlm(plain_model(raw, dtype, device=device, blocks=blocks), lora)
        self.model = self._llm.model
        self.blocks = self._llm.blocks
        self._shape = (training.batch_size, training.sequence_length)
        self.ids: Tensor = torch.randint(self._llm.vocabulary, self._shape).to(device)
        """Token ids of the mini-batch, also its labels."""

    def embed(self) -> tuple[Tensor, dict[str, Any]]:
        """Input of block 1, and the other arguments (mask, rotary tables) of a block."""
        context = self._llm.context(*self._shape)
        return self._llm.embed(self.ids, context), context.arguments(self._llm.layer_types[0])

    def head(self, hidden: Tensor) -> Tensor:
        """Loss, from the output of the last block."""
        return self._llm.loss(hidden, self.ids)

    def step(self) -> None:
        """Forward and backward of the whole LLM as built, by transformers' own forward pass."""
        self.forget()
        self.model(input_ids=self.ids, labels=self.ids).loss.backward()

    def forget(self) -> None:
        """Drop gradients, so that the next step does not add to them."""
        self.model.zero_grad(set_to_none=True)

    def weights(self, part: PartName) -> list[Tensor]:
        """Weights that a part multiplies with, adapters included."""
        modules: dict[PartName, list[nn.Module]] = {
            "embedding": [],
            "first_block": [self.blocks[0]],
            "block": [self.blocks[1]],
            "head": self._llm.head,
        }
        return [weight for module in modules[part] for weight in module.parameters()]

    def adapters(self, block: int) -> dict[str, Tensor]:
        """Trained weights of a block, by name."""
        return self._llm.adapters(block, block + 1)


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
