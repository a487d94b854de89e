"""Work, saved activations and traffic of a part of an LLM, by torch's own counters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from card.base.units import BITS_PER_BYTE

Task = tuple[Callable[[Tensor], Tensor], Tensor]
"""A part of the LLM and its input."""


def count(task: Task, shared: list[Tensor]) -> tuple[int, int, int]:
    """Forward and backward work [FLOP], and what is kept between them [bit].

    Parameters
    ----------
    task
        A part of the LLM and its input, on any device, torch's `meta` included.
    shared
        Tensors that are held whatever is trained, so that keeping them costs nothing.
    """
    function, arrived = task
    kept = saved_bit(partial(function, arrived), shared)
    with FlopCounterMode(display=False) as ahead:
        output = function(arrived)
    with FlopCounterMode(display=False) as back:
        if output.requires_grad:
            torch.autograd.backward(output, torch.ones_like(output))
    return ahead.get_total_flops(), back.get_total_flops(), kept


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
            sizes[storage._cdata] = BITS_PER_BYTE * storage.nbytes()
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
