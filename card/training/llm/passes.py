"""The parts of an LLM, each run apart from the rest.

Every part is run by transformers' own forward pass of the whole LLM, from which the rest is left
out: blocks get the arguments that it gives them, made from shapes and padding alone, so that
whoever runs a block needs no token for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from card.base.errors import ScenarioError
from card.training.llm.holding import HeldLlm, SplitError, absent
from card.training.llm.models import Attention


class _ReachedError(Exception):
    """The forward pass of the whole LLM has come as far as it is needed."""

    def __init__(self, hidden: Tensor) -> None:
        self.hidden = hidden


@dataclass(frozen=True)
class Padding:
    """Which tokens of a mini-batch are padding, and where each stands in its text."""

    lengths: Tensor | None = None
    """Tokens of each sequence before padding on its right, (B,); None if there is none."""
    starts: Tensor | None = None
    """Tokens of padding on its left, (B,); None if there is none."""
    positions: Tensor | None = None
    """Position of each token, (B, L) int64; None counts from the left. Where they begin again, in
    sequences without padding, another text begins, to which no token attends across."""

    def kept(self, length: int) -> Tensor | None:
        """Which tokens are none of padding, (B, L) bool; None if all are."""
        if self.lengths is None and self.starts is None:
            return None
        place, kept = torch.arange(length), torch.ones(1, dtype=torch.bool)
        if self.lengths is not None:
            kept = kept & (place < self.lengths.cpu().unsqueeze(1))
        if self.starts is not None:
            kept = kept & (place >= self.starts.cpu().unsqueeze(1))
        return kept


@dataclass(frozen=True)
class Context:
    """What blocks need beside their input, for one shape of mini-batch."""

    calls: tuple[dict[str, Any], ...]
    """Arguments that the whole LLM gives each block, by name."""

    def arguments(self, block: int) -> dict[str, Any]:
        """Keyword arguments of a block."""
        return self.calls[block]


class RunnableLlm(HeldLlm):
    """An LLM whose embedding, blocks and head can be run apart, as far as they are held."""

    _shared: tuple[tuple[int, int], Context] | None = None

    def to(self, device: str) -> None:
        """Move all weights that are held to a processor, by torch's name of it."""
        # buffers of parts that are not held have no data
        self.model._apply(lambda tensor: tensor if tensor.is_meta else tensor.to(device))
        self.device, self._shared = torch.device(device), None

    def attend(self, attention: Attention) -> None:
        """Compute attention in another way.

        Raises
        ------
        ScenarioError
            If the LLM has no such attention.
        """
        try:
            self.model.set_attn_implementation(attention)
            self._shared = None
        except ValueError:
            raise ScenarioError(
                f"attention = {attention!r} is not offered by {self._name}; give eager."
            ) from None

    @property
    def attention(self) -> str:
        """How attention is computed, `eager` or `sdpa`."""
        return str(self.model.config._attn_implementation)

    def context(self, batch: int, length: int, padding: Padding | None = None) -> Context:
        """Arguments of every block, from shapes and padding alone.

        Parameters
        ----------
        batch
            Sequences (B).
        length
            Tokens of each sequence (L).
        padding
            Padding and positions; None if there is none, and they count from the left.
        """
        if padding is None and self._shared and self._shared[0] == (batch, length):
            return self._shared[1]
        calls: list[dict[str, Any]] = []

        def note(block: nn.Module, hidden: Tensor, named: dict[str, Any]) -> Any:
            calls.append(named)
            if len(calls) == self.num_blocks:
                raise _ReachedError(hidden)
            return self._passed(hidden)

        with torch.no_grad(), self._instead(range(self.num_blocks), partial(_named, note)):
            self._forward(self._nothing(batch, length), padding)
        context = Context(tuple(calls))
        if padding is None:
            self._shared = ((batch, length), context)
        return context

    @torch.no_grad()
    def embed(self, ids: Tensor, padding: Padding | None = None) -> Tensor:
        """Input of block 1 for token ids (B, L): (B, L, H), with learned positions if any."""
        if not self._part.embedding:
            raise absent("the embedding")

        def reached(_: nn.Module, hidden: Tensor, __: dict[str, Any]) -> Any:
            raise _ReachedError(hidden)

        with self._instead(range(1), partial(_named, reached)):
            return self._forward({"input_ids": ids.to(self.device)}, padding)

    def run(self, hidden: Tensor, first: int, last: int, context: Context) -> Tensor:
        """Output of blocks `first` + 1 to `last` for the input (B, L, H) of block `first` + 1."""
        for block in range(first, last):
            if not self._part.first <= block < self._part.last:
                raise absent(f"block {block}")
            output = self.blocks[block](hidden, **context.arguments(block))
            hidden = output[0] if self._anatomy.tuples else output
        return hidden

    def loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Mean next-token loss, from the output of the last block.

        Parameters
        ----------
        hidden
            Output of block I, (B, L, H), before the final norm.
        labels
            Token ids, (B, L) int64, not shifted; -100 where none counts.
        """
        found: Tensor = self._behind(hidden, labels=labels.to(self.device)).loss
        return found

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of every token as the next one, (..., V), from outputs of the last block."""
        scores: Tensor = self._behind(hidden.reshape(-1, 1, self.hidden)).logits
        return scores.reshape(*hidden.shape[:-1], -1)

    def _behind(self, hidden: Tensor, **more: Any) -> Any:
        """What the whole LLM makes of the output of its last block."""
        if not self._part.head:
            raise absent("the head")

        def given(_: nn.Module) -> Any:
            return lambda *_, **__: self._passed(hidden)

        with self._instead(range(self.num_blocks), given):
            inputs = self._nothing(*hidden.shape[:2])
            return self.model(**inputs, use_cache=False, **more)

    def _passed(self, hidden: Tensor) -> Any:
        """What a block would return."""
        return (hidden,) if self._anatomy.tuples else hidden

    def _nothing(self, batch: int, length: int) -> dict[str, Tensor]:
        """Zeros in place of embedded tokens."""
        width = self.model.get_input_embeddings().embedding_dim
        zero = torch.zeros((), dtype=self.dtype, device=self.device)
        return {"inputs_embeds": zero.expand(batch, length, width)}

    def _forward(self, inputs: Mapping[str, Tensor], padding: Padding | None) -> Tensor:
        """Run the whole LLM, up to where it is stopped."""
        padding = padding or Padding()
        length = next(iter(inputs.values())).shape[1]
        kept, positions = padding.kept(length), padding.positions
        more: dict[str, Tensor] = {}
        if kept is not None:
            more["attention_mask"] = kept.long().to(self.device)
        if positions is not None:
            more["position_ids"] = positions.long().to(self.device)
        try:
            self.model(**inputs, **more, use_cache=False)
        except _ReachedError as end:
            return end.hidden
        raise SplitError("the LLM's forward pass did not reach its blocks.")

    @contextmanager
    def _instead(self, blocks: range, does: Callable[[nn.Module], Any]) -> Iterator[None]:
        """Context in which blocks do something else, and parts that are not held give zeros.

        `does` makes the forward pass that a block has meanwhile.
        """
        replaced = [self.blocks[block] for block in blocks]
        for block in replaced:
            vars(block)["forward"] = does(block)
        if not self._part.embedding:
            for place in self._anatomy.before:
                module = self.model.get_submodule(place)
                if not list(module.parameters(recurse=False)):
                    vars(module)["forward"] = _zeros(module, self.dtype, self.device)
                    replaced.append(module)
        try:
            yield
        finally:
            for module in replaced:
                del vars(module)["forward"]


def _named(does: Any, block: nn.Module) -> Any:
    """A forward pass that tells by name what a block is given beside its input."""
    signature = inspect.signature(type(block).forward)

    def forward(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(block, *args, **kwargs).arguments
        (_, _), (_, hidden), *others = given.items()
        named = dict(others)
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                named |= named.pop(name, {})
        return does(block, hidden, named)

    return forward


def _zeros(module: nn.Module, dtype: torch.dtype, device: torch.device) -> Any:
    """A forward pass of zeros, for what the first block is given is left aside."""
    width = getattr(module, "embedding_dim", getattr(module, "out_features", None))

    def forward(given: Tensor, *_: Any, **__: Any) -> Tensor:
        if width is None:
            return given
        shape = given.shape[:-1] if given.ndim == 3 else given.shape
        return torch.zeros((), dtype=dtype, device=device).expand(*shape, width)

    return forward
