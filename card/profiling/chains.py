"""What each part of an LLM adds to a training step, by differences of chains of parts.

A part that runs alone is waited for, and all of a GPU's launches show in its time, where in a
training step they go on while earlier ones are worked off. A chain is waited for once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from card.base.units import FloatArray, IntArray
from card.hardware.profile import Reading
from card.profiling.llm_under_test import Parts

MOST_BLOCKS = 5
"""Blocks of the longest chain."""
MARGIN = 1.5
"""Free memory that a training step needs, over its closed form."""


def longest(memory_bit: IntArray, free_bit: float) -> int:
    """Blocks of the longest chain: as many as the LLM has and memory holds, from 2 to 5.

    Parameters
    ----------
    memory_bit
        Memory that training needs with the blocks below each cut, shape `(I + 1,)` [bit].
    free_bit
        Memory that is free [bit].
    """
    head_bit = memory_bit[-1] - memory_bit[-2]  # with a block, so rather too much
    most = min(MOST_BLOCKS, len(memory_bit) - 1)
    fit = [k for k in range(2, most + 1) if MARGIN * (memory_bit[k] + head_bit) <= free_bit]
    return max(fit, default=2)


def chains(model: Parts) -> dict[str, Callable[[], None]]:
    """What to time: the first block, all blocks, these and the head, and one that begins inside.

    Each is a forward and a backward pass.
    """
    hidden, context, most = model.embed()[0], model.context(), len(model.blocks)
    return {
        "first": partial(model.chain, hidden, 0, 1, context),
        "blocks": partial(model.chain, hidden, 0, most, context),
        "head": partial(model.chain, hidden, 0, most, context, head=True),
        "inside": partial(model.chain, hidden, 1, 2),
    }


def added(times_s: Mapping[str, FloatArray], blocks: int) -> dict[str, Reading]:
    """What each part adds to a training step, and what a side takes to begin inside the LLM [s].

    Parameters
    ----------
    times_s
        Time of the `embedding` and of each of `chains`, run by run: those of one run are taken soon
        after each other, and only they are compared [s].
    blocks
        Blocks of the chain of all of them.
    """
    block_s = (times_s["blocks"] - times_s["first"]) / (blocks - 1)
    return {
        "embedding": _middle(times_s["embedding"]),
        "first_block": _middle(times_s["first"]),
        "block": _middle(block_s),
        "head": _middle(times_s["head"] - times_s["blocks"]),
        "arrival": _middle(times_s["inside"] - block_s),
    }


def _middle(found_s: FloatArray) -> Reading:
    lower, middle, upper = np.quantile(found_s, [0.25, 0.5, 0.75]).tolist()
    shown = f"median of {len(found_s)} runs, quartiles {lower:.3g} s and {upper:.3g} s"
    if middle <= 0:
        return Reading(reason=f"lost in noise: {shown}")
    return Reading(value=middle, reason=shown)
