"""The number format that this machine computes in, where that of the weights is slow on it.

Both ends agree on the formats of weights, of adapters and of what crosses the link. What each of
them computes in is its own affair: a processor without instructions for bfloat16 may take many
times as long with it as with float32, which holds every value of it.
"""

from __future__ import annotations

import time

import torch

from card.training.llm.adapters import AdaptedLlm

_SIZE = 192
_RUNS = 3
_FASTER = 2.0


def product_s(dtype: torch.dtype, device: torch.device) -> float:
    """Time of a small matrix product in a number format, the best of three [s]."""
    factor = torch.ones((_SIZE, _SIZE), dtype=dtype, device=device)
    times = []
    for _ in range(_RUNS + 1):  # the first one also warms up
        begun = time.perf_counter()
        float((factor @ factor)[0, 0])
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def compute_fast(llm: AdaptedLlm) -> str | None:
    """Compute in float32 where that is at least twice as fast as the format of the weights.

    Frozen weights take twice the memory then; adapters keep their format.

    Parameters
    ----------
    llm
        LLM of which this end has already dropped what it does not hold.

    Returns
    -------
    str or None
        What was measured and is done, in words; None if all stays as it is.
    """
    if llm.dtype != torch.bfloat16:
        return None
    own_s, other_s = (product_s(dtype, llm.device) for dtype in (llm.dtype, torch.float32))
    if own_s < _FASTER * other_s:
        return None
    llm.compute_in(torch.float32)
    return (
        f"computing in float32, {own_s / other_s:.0f} times as fast here as bfloat16; weights take "
        f"twice the memory, and the link carries what was agreed"
    )
