"""What torch's autograd keeps between a forward pass and its backward pass."""

from collections.abc import Iterator

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
    """Bits that the graph of `function()` keeps for backward beside the shared tensors."""
    sizes, alive, excluded = {}, [], set(map(storage, shared))

    def pack(tensor):
        alive.append(tensor)  # a freed storage's address could come again
        if storage(tensor) not in excluded:
            sizes[storage(tensor)] = 8 * tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function()
    return sum(sizes.values())
