"""A real LLM taken apart, as the profiler runs it.

Random weights, eager attention and no dropout; a part of the LLM runs alone, or all of it at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from card.hardware.profile import PartName
from card.scenario import Lora, Training
from card.training.llm.adapters import AdaptedLlm
from card.training.llm.models import DTYPES, plain_model
from card.training.llm.passes import Context


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
        context = self.context()
        return self._llm.embed(self.ids), context.arguments(0)

    def context(self) -> Context:
        """What blocks need beside their input."""
        return self._llm.context(*self._shape)

    def head(self, hidden: Tensor) -> Tensor:
        """Loss, from the output of the last block."""
        return self._llm.loss(hidden, self.ids)

    def chain(
        self,
        hidden: Tensor,
        first: int,
        last: int,
        context: Context | None = None,
        *,
        head: bool = False,
    ) -> None:
        """Forward and backward of blocks `first` + 1 to `last`, and of the head if said so.

        Without a context it is made, as by a side that gets `hidden` (B, L, H) from another one.
        """
        context = context or self.context()
        arrived = hidden.detach().clone().requires_grad_(first > 0)
        output = self._llm.run(arrived, first, last, context)
        if head:
            output = self.head(output)
        torch.autograd.backward(output, torch.ones_like(output))

    def step(self) -> None:
        """Forward and backward of the whole LLM as built, by transformers' own forward pass."""
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
