"""Times of work on a processor or a GPU: warm up, wait for it, repeat until the spread is small."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from card.hardware.profile import Spread

SPREAD = 0.05
"""Interquartile range over median at which repeating ends."""

Times = tuple[float, ...]
"""Times that one run takes, part by part [s]."""


@dataclass(frozen=True)
class Limits:
    """How often, and how long, a measurement repeats."""

    least: int
    """Runs at least."""
    most: int
    """Runs at most."""
    seconds: float
    """Time after which no more is begun once `least` are done [s]."""


QUICK, FULL = Limits(5, 15, 40.0), Limits(9, 60, 150.0)


def clocked(function: Callable[[], object], accelerator: str) -> Times:
    """Time of one run [s], as `repeat` takes it."""
    start = now(accelerator)
    function()
    return (now(accelerator) - start,)


def now(accelerator: str | None) -> float:
    """Time on this process's clock [s], once a GPU has done all that it was asked for."""
    if accelerator == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def repeat(runs: dict[str, Callable[[], Times]], limits: Limits) -> dict[str, list[Spread]]:
    """Spread of each time that each run returns, repeated until that of every sum is small.

    The runs take turns, so that whatever else slows the machine down meets all of them alike.
    """
    for run in runs.values():
        run()
    samples: dict[str, list[Times]] = {name: [] for name in runs}
    start = time.perf_counter()
    for done in range(1, limits.most + 1):
        for name, run in runs.items():
            samples[name].append(run())
        sums = [_spread(np.sum(rows, axis=1)) for rows in samples.values()]
        steady = all(s.upper_s - s.lower_s <= SPREAD * s.median_s for s in sums)
        late = time.perf_counter() - start > limits.seconds
        if done >= limits.least and (steady or late):
            break
    return {name: [_spread(times) for times in np.array(s).T] for name, s in samples.items()}


def _spread(times_s: Any) -> Spread:
    lower, middle, upper = np.quantile(times_s, [0.25, 0.5, 0.75]).tolist()
    return Spread(median_s=middle, lower_s=lower, upper_s=upper, repeats=len(times_s))
