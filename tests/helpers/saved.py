"""What torch's autograd keeps between a forward pass and its backward pass."""

from collections.abc import Iterator
from weakref import WeakSet

import torch
from torch import Tensor


def tensors(node) -> Iterator[Tensor]:
    """All tensors in a nest of lists and mappings."""
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, dict | list | tuple):
        for item in node.values() if isinstance(node, dict) else node:
            yield from tensors(item)


def storage(tensor):
    return tensor.untyped_storage().data_ptr()


def saved_bit(function, shared):
    """Bits that the graph of what `function()` returns keeps beside the shared tensors."""
    kept, excluded = WeakSet(), set(map(storage, shared))

    class Kept:
        """Gone with the step of the graph that keeps the tensor."""

        def __init__(self, tensor):
            self.tensor = tensor.detach()  # a result would hold the step that keeps it
            kept.add(self)

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda one: one.tensor):
        result = function()
    found = {storage(one.tensor): 8 * one.tensor.untyped_storage().nbytes() for one in kept}
    del result
    return sum(size for key, size in found.items() if key not in excluded)
