"""Gradient checkpointing against torch's own: what is kept, and what is computed again.

Each block is passed as transformers passes it, by `torch.utils.checkpoint` without re-entering. By
default torch stops the second pass behind the last tensor that it needs; here it goes to its end,
as the model counts it.
"""

from functools import partial

import pytest
from saved import saved_bit, tensors
from split_model import Ledger, SplitModel, boundary, lora, narrow_config, training
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from card.llm.architectures import architecture_of
from card.llm.blocks import block_costs, head_cost
from card.llm.cuts import profile_of

SHAPE = {"batch_size": 2, "sequence_length": 24}


def checkpointed(split, hidden, arguments, first, last):
    for block, given in zip(split.blocks[first:last], arguments[first:last], strict=True):
        hidden = checkpoint(partial(block, **given), hidden, use_reentrant=False)
        hidden = hidden if hasattr(hidden, "shape") else hidden[0]
    return hidden


@pytest.mark.parametrize("name", ["llama-3.2-1b", "gpt-2"])
def test_inputs_of_blocks_are_kept_and_all_else_is_computed_again(name):
    raw, adapters = narrow_config(name), lora(name)
    split, arch = SplitModel(raw, adapters, device="cpu"), architecture_of(name, raw)
    settings = training(**SHAPE, gradient_checkpointing=True)
    profile = profile_of(arch, settings, adapters)
    costs, head = block_costs(arch, settings, adapters), head_cost(arch, settings)
    ids, count = split.tokens(2, 24), arch.num_blocks
    embedded, arguments = split.embed(ids)
    shared = [*split.model.parameters(), *tensors(arguments)]
    for cut in (1, count):
        work = Ledger()
        with work.of("device"), set_checkpoint_early_stop(False):
            sent = checkpointed(split, embedded, arguments, 0, cut)
            arrived = boundary(sent, trains=True)
            if cut == count:
                split.loss(arrived, ids).backward()
            sent.backward(arrived.grad if cut == count else sent.detach())
        assert profile.device_flop[cut] == work.flop["device"]

        kept = saved_bit(lambda: checkpointed(split, embedded, arguments, 0, cut), shared)  # noqa: B023
        held = 16 * (split.adapter_parameters(cut) * 4 + frozen(arch, cut))
        at_once = max(cost.saved_bit for cost in costs[:cut])
        at_once = max(at_once, head.saved_bit) if cut == count else at_once
        assert profile.device_memory_bit[cut] == held + kept + at_once


def frozen(arch, cut):
    head = arch.head_parameters if cut == arch.num_blocks else 0
    return arch.embedding_parameters + sum(map(arch.parameters_of, arch.blocks[:cut])) + head
