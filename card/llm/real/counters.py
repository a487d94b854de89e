"""Work, saved activations and traffic of a part of an LLM, by torch's own counters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from weakref import WeakSet

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


@dataclass(eq=False)
class _Kept:
    """What one step of a graph keeps, for as long as the step is there."""

    tensor: Tensor


def saved_bit(function: Callable[[], object], shared: Iterable[Tensor]) -> int:
    """What the graph of `function()` keeps for backward beside shared tensors [bit].

    A storage counts once, however many tensors look into it. Steps that lead to no result are gone
    by then, and what they kept.
    """
    excluded = {tensor.untyped_storage()._cdata for tensor in shared}
    kept: WeakSet[_Kept] = WeakSet()

    def pack(tensor: Tensor) -> _Kept:
        one = _Kept(tensor.detach())  # a result would hold the step that keeps it
        kept.add(one)
        return one

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda one: one.tensor):
        result = function()
    storages = {one.tensor.untyped_storage()._cdata: one.tensor.untyped_storage() for one in kept}
    del result
    return BITS_PER_BYTE * sum(
        storage.nbytes() for key, storage in storages.items() if key not in excluded
    )


def tensors_in(node: object) -> Iterator[Tensor]:
    """All tensors in a nest of lists and mappings."""
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, dict | list | tuple):
        for item in node.values() if isinstance(node, dict) else node:
            yield from tensors_in(item)
