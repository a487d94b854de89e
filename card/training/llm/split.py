"""Training of an LLM on both sides of a cut, one mini-batch at a time.

Each side holds the graph of its own blocks. What passes between the two is what the methods below
take and return: tensors apart from any graph, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from card.training.llm.adapters import AdaptedLlm
from card.training.llm.holding import SplitError
from card.training.llm.passes import Context, Padding

__all__ = [
    "AdaptedLlm",
    "Batch",
    "Context",
    "DeviceSide",
    "ServerSide",
    "SplitError",
    "optimiser",
    "step",
]

Topology = Literal["vanilla", "u-shaped"]
IGNORED = -100
"""Label of a token that does not count in the loss."""
_TOLD = ("lengths", "starts", "positions")


@dataclass(frozen=True)
class Batch:
    """A mini-batch of token sequences."""

    ids: Tensor
    """Token ids, (B, L) int64."""
    lengths: Tensor | None = None
    """Tokens of each sequence before padding on its right, (B,) int64; None if there is none."""
    starts: Tensor | None = None
    """Tokens of padding on its left, (B,) int64; None if there is none."""
    positions: Tensor | None = None
    """Position of each token, (B, L) int64; None counts from the left. In a sequence of several
    texts without padding it begins at 0 with each."""

    @property
    def padding(self) -> Padding | None:
        """What the LLM is told of padding and positions; None if there is nothing to tell."""
        told = (self.lengths, self.starts, self.positions)
        return None if all(one is None for one in told) else Padding(*told)

    @property
    def labels(self) -> Tensor:
        """Token ids, and -100 where none is to be foretold, (B, L) int64; the loss shifts them.

        That is padding, and the first token of each text.
        """
        labels = self.ids
        kept = self.padding.kept(labels.shape[1]) if self.padding else None
        if kept is not None:
            labels = labels.masked_fill(~kept, IGNORED)
        if self.positions is not None:
            labels = labels.masked_fill(self.positions == 0, IGNORED)
        return labels


class _Side:
    """What both sides of a cut share: the blocks that they run, and the one way in and out."""

    def __init__(
        self, llm: AdaptedLlm, cut: int, topology: Topology, wire: torch.dtype | None = None
    ) -> None:
        if not 0 <= cut <= llm.num_blocks:
            raise SplitError(
                f"cut = {cut} is not allowed; give a number from 0 to {llm.num_blocks}."
            )
        self.llm, self.cut, self.topology = llm, cut, topology
        self._wire = wire or llm.dtype
        self._whole = cut == llm.num_blocks
        self._output: Tensor | None = None

    def _leave(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to("cpu", self._wire).contiguous()

    def _arrive(self, tensor: Tensor, *, trains: bool = False) -> Tensor:
        # a copy, for autograd must not mark a tensor that is the caller's
        arrived = tensor.detach().to(self.llm.device, self.llm.dtype, copy=True)
        return arrived.requires_grad_(trains)

    def _loss(self, hidden: Tensor, labels: Tensor) -> float:
        """Loss at the head, differentiated back to where this side's graph begins."""
        loss = self.llm.loss(hidden, labels)
        torch.autograd.backward(loss)
        return loss.item()

    def _differentiate(self, gradient: Tensor) -> None:
        output, self._output = self._output, None
        if output is None:
            raise SplitError("a gradient came without a forward pass before it.")
        _check_shape("the gradient", gradient, tuple(output.shape))
        torch.autograd.backward(output, self._arrive(gradient))


class DeviceSide(_Side):
    """Embedding and blocks 1..c on a device; the head too if it lives here.

    A mini-batch is `forward`, in the u-shaped topology `head`, then `backward`; at c = I `forward`
    and `finish`.

    Parameters
    ----------
    llm
        The LLM; only this side's part of it is used.
    cut
        Blocks on the device, c in 0..I.
    topology
        `vanilla` or `u-shaped`.
    wire
        Number format of activations and gradients between the sides; the LLM's if not given.

    Raises
    ------
    SplitError
        If the LLM has no such cut.
    """

    _labels: Tensor

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Run this side's blocks.

        Returns
        -------
        dict of str to Tensor
            What the server needs, that is `hidden` (B, L, H), in the vanilla topology `labels`
            (B, L) int32, with padding `lengths` or `starts` (B,) int32, with positions `positions`
            (B, L) int32; nothing at c = I, where no server takes part.
        """
        count, length = batch.ids.shape
        context = self.llm.context(count, length, batch.padding)
        embedded = self.llm.embed(batch.ids, batch.padding)
        self._output = self.llm.run(embedded, 0, self.cut, context)
        self._labels = batch.labels
        if self._whole:
            return {}
        sent = {"hidden": self._leave(self._output)}
        if self.topology == "vanilla":
            sent["labels"] = batch.labels.to(torch.int32)
        for name in _TOLD:
            if (told := getattr(batch, name)) is not None:
                sent[name] = told.to(torch.int32)
        return sent

    def finish(self) -> float:
        """Loss at c = I, where all is here; all blocks are differentiated with it.

        Raises
        ------
        SplitError
            If blocks are missing here, or no forward pass was made.
        """
        output, self._output = self._output, None
        if output is None or not self._whole:
            raise SplitError(f"at cut {self.cut} the device cannot finish a mini-batch alone now.")
        return self._loss(output, self._labels)

    def head(self, hidden: Tensor) -> tuple[float, Tensor]:
        """Loss in the u-shaped topology, and its gradient to send up, (B, L, H).

        Parameters
        ----------
        hidden
            Output of block I from the server, (B, L, H).

        Raises
        ------
        SplitError
            If the head is not here, or the shape differs.
        """
        if self._whole or self.topology == "vanilla":
            raise SplitError(f"at cut {self.cut} ({self.topology}) no hidden states come down.")
        _check_shape("hidden", hidden, (*self._labels.shape, self.llm.hidden))
        arrived = self._arrive(hidden, trains=True)
        loss = self._loss(arrived, self._labels)
        return loss, self._leave(_gradient(arrived))

    def backward(self, gradient: Tensor | None = None) -> None:
        """Differentiate blocks 1..c, from the gradient of `hidden`, (B, L, H).

        None at c = 0, where nothing here trains.

        Raises
        ------
        SplitError
            If a gradient is missing, not due or of another shape.
        """
        due = 0 < self.cut < self.llm.num_blocks
        if (gradient is not None) != due:
            raise SplitError(f"at cut {self.cut} {'a' if due else 'no'} gradient comes down.")
        if gradient is not None:
            self._differentiate(gradient)

    @torch.no_grad()
    def judge(self, hidden: Tensor | None = None) -> float:
        """Loss after `forward` with nothing trained, where the head is here.

        Parameters
        ----------
        hidden
            Output of block I from the server, (B, L, H); None at c = I.

        Raises
        ------
        SplitError
            If no forward pass was made, or blocks are missing here.
        """
        final = self._output if hidden is None and self._whole else hidden
        self._output = None
        if final is None:
            raise SplitError(f"at cut {self.cut} the device cannot judge a mini-batch now.")
        _check_shape("hidden", final, (*self._labels.shape, self.llm.hidden))
        return self.llm.loss(self._arrive(final), self._labels).item()


class ServerSide(_Side):
    """Blocks c+1..I on the server; in the vanilla topology the head too.

    A mini-batch is `train`, or in the u-shaped topology `forward` and `backward`. Parameters and
    errors are those of `DeviceSide`.
    """

    _arrived: Tensor

    def train(self, tensors: Mapping[str, Tensor]) -> tuple[float, Tensor | None]:
        """Run this side's blocks and the head on what `DeviceSide.forward` sent, and back.

        Returns
        -------
        tuple
            The loss, and the gradient of `hidden` to send down, (B, L, H); None at c = 0.

        Raises
        ------
        SplitError
            If the head is not here, or a tensor is missing, not due, of another shape, or out of
            range.
        """
        if self.topology == "u-shaped":
            raise SplitError("in the u-shaped topology the loss is the device's.")
        output = self._run(tensors)
        return self._loss(output, tensors["labels"].long()), self._down()

    def forward(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Output of block I to send down, (B, L, H), in the u-shaped topology.

        Raises
        ------
        SplitError
            If the head is on this side, or as `train` does.
        """
        if self.topology == "vanilla":
            raise SplitError("in the vanilla topology no hidden states go down.")
        self._output = self._run(tensors)
        return self._leave(self._output)

    def backward(self, gradient: Tensor) -> Tensor | None:
        """Differentiate blocks c+1..I, from the gradient that `DeviceSide.head` sent, (B, L, H).

        Returns
        -------
        Tensor or None
            Gradient of `hidden` to send down; None at c = 0.
        """
        self._differentiate(gradient)
        return self._down()

    @torch.no_grad()
    def judge(self, tensors: Mapping[str, Tensor]) -> float:
        """Loss of what `DeviceSide.forward` sent with nothing trained; raises what `train` does."""
        if self.topology == "u-shaped":
            raise SplitError("in the u-shaped topology the loss is the device's.")
        return self.llm.loss(self._run(tensors), tensors["labels"].long()).item()

    def _run(self, tensors: Mapping[str, Tensor]) -> Tensor:
        self._check(tensors)
        batch, length, _ = tensors["hidden"].shape
        told = [tensors.get(name) for name in _TOLD]
        padding = None if all(one is None for one in told) else Padding(*told)
        context = self.llm.context(batch, length, padding)
        self._arrived = self._arrive(tensors["hidden"], trains=self.cut > 0)
        return self.llm.run(self._arrived, self.cut, self.llm.num_blocks, context)

    def _down(self) -> Tensor | None:
        return self._leave(_gradient(self._arrived)) if self.cut else None

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        """Refuse what would fail deep inside the LLM, or on a GPU end the process."""
        if self._whole:
            raise SplitError(f"at cut {self.cut} no block is left to the server.")
        due = {"hidden", "labels"} if self.topology == "vanilla" else {"hidden"}
        if wrong := sorted(due ^ (tensors.keys() - set(_TOLD))):
            what = "is missing" if wrong[0] in due else "is not due"
            raise SplitError(f"{wrong[0]!r} {what} at cut {self.cut} ({self.topology}).")
        batch, length = (*tensors["hidden"].shape, 0, 0)[:2]
        _check_shape("hidden", tensors["hidden"], (batch, length, self.llm.hidden))
        if not 0 < length <= self.llm.max_positions:
            raise SplitError(f"hidden has {length} positions; give 1 to {self.llm.max_positions}.")
        if "labels" in tensors:
            labels = tensors["labels"]
            _check_shape("labels", labels, (batch, length))
            _check_range("labels", labels[labels != IGNORED], 0, self.llm.vocabulary - 1)
        if "lengths" in tensors:
            _check_shape("lengths", tensors["lengths"], (batch,))
            _check_range("lengths", tensors["lengths"], 1, length)
        if "starts" in tensors:
            _check_shape("starts", tensors["starts"], (batch,))
            _check_range("starts", tensors["starts"], 0, length - 1)
        if "positions" in tensors:
            _check_shape("positions", tensors["positions"], (batch, length))
            _check_range("positions", tensors["positions"], 0, self.llm.max_positions - 1)


def optimiser(weights: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.AdamW:
    """AdamW for the adapters of one side, `llm.trained(first, last)`, in one round.

    Each side makes a new one every round, so that no moments travel with the adapters and the
    result depends neither on the cut nor on who trained before.

    Parameters
    ----------
    weights
        Trained weights; may be none, as on the device at c = 0.
    learning_rate
        Step size [1].
    """
    group = {"params": list(weights)}  # a bare empty list is refused
    return torch.optim.AdamW([group], lr=learning_rate, weight_decay=0.0)


def step(update: torch.optim.Optimizer) -> None:
    """Change the weights by their gradients, and forget these."""
    update.step()
    update.zero_grad()


def _gradient(tensor: Tensor) -> Tensor:
    if tensor.grad is None:
        raise SplitError("no gradient has reached the smashed data.")
    return tensor.grad


def _check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise SplitError(
            f"{name} has shape {tuple(tensor.shape)}; this LLM and batch need {shape}."
        )


def _check_range(name: str, tensor: Tensor, low: int, high: int) -> None:
    if tensor.numel() and not low <= int(tensor.min()) <= int(tensor.max()) <= high:
        raise SplitError(
            f"{name} go from {int(tensor.min())} to {int(tensor.max())}; give {low} to {high}."
        )
