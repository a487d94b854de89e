"""The machine's own limits, which a roofline needs: rate of arithmetic, rate of memory."""

from __future__ import annotations

from collections.abc import Callable

import torch

from card.hardware.profile import Ceilings
from card.profiling.timing import clocked

REPEATS = 7
"""Runs of each after warm-up; the best counts, since nothing can make a machine too fast."""
PRODUCT_SIZE = {"cpu": 4096, "cuda": 8192}
"""Rows and columns of the matrices of the product."""
COPY_BYTE = {"cpu": 2**29, "cuda": 2**32}
"""Size of the copied array, far beyond any cache."""


def ceilings(accelerator: str, dtype: torch.dtype, *, quick: bool = False) -> Ceilings:
    """Peak rate of a matrix product and of a copy, in the parts' number format.

    Parameters
    ----------
    accelerator
        `cpu` or `cuda`.
    dtype
        Number format of the matrices.
    quick
        Matrices and arrays with a quarter of the rows.
    """
    shrink = 4 if quick else 1
    size = PRODUCT_SIZE[accelerator] // shrink
    left, right = (torch.randn(size, size, device=accelerator).to(dtype) for _ in range(2))
    product = torch.empty_like(left)
    best_s = _best_s(lambda: torch.mm(left, right, out=product), accelerator)
    source = torch.ones(COPY_BYTE[accelerator] // shrink, dtype=torch.uint8, device=accelerator)
    target = torch.zeros_like(source)
    copied_s = _best_s(lambda: target.copy_(source), accelerator)
    return Ceilings(
        peak_flops=2 * size**3 / best_s,
        memory_byte_per_s=2 * source.nbytes / copied_s,
        repeats=REPEATS,
    )


@torch.no_grad()
def _best_s(run: Callable[[], object], accelerator: str) -> float:
    """Shortest time of repeated runs [s]."""
    clocked(run, accelerator)
    return min(clocked(run, accelerator) for _ in range(REPEATS))[0]
