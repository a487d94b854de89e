"""Times of work on a processor or a GPU: warm up, wait for it, repeat until the spread is small."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from card.base.units import FloatArray
from card.hardware.profile import Reading, Spread

SPREAD = 0.05
"""Interquartile range over median at which repeating ends."""

HELD = 3.0
"""Time for which a GPU is held up, over that of the run that waits meanwhile."""
IN_QUEUE = 9
"""Runs in its queue after warm-up."""
FASTEST_HZ = 3e9
"""A clock that no GPU exceeds; by a slower one it is held up longer [Hz]."""

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


def clocked(function: Callable[[], object], accelerator: str | None) -> Times:
    """Time of one run [s], as `repeat` takes it."""
    start = now(accelerator)
    function()
    return (now(accelerator) - start,)


def now(accelerator: str | None) -> float:
    """Time on this process's clock [s], once a GPU has done all that it was asked for."""
    if accelerator == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def queued(accelerator: str, run: Callable[[], Times], alone_s: float) -> tuple[Reading, Reading]:
    """Time that a GPU works on a run [s], and that after which it has been asked for all of it [s].

    The GPU is held up for some time, so that the whole run waits in its queue and then follows
    without gaps; two events of the queue give its time.

    Parameters
    ----------
    accelerator
        `cpu`, which has no such times, or `cuda`.
    run
        What to time; it does not wait for the GPU, and returns when it had asked for all [s].
    alone_s
        What it takes when it is waited for [s].
    """
    if accelerator != "cuda":
        absent = Reading(reason="a processor is not asked for its work beforehand")
        return absent, absent
    held_s = HELD * alone_s
    runs = [_queued(run, held_s) for _ in range(IN_QUEUE + 1)][1:]
    device_s, launched_s = np.median(runs, axis=0).tolist()
    return told_apart(device_s, launched_s, held_s)


def told_apart(device_s: float, launched_s: float, held_s: float) -> tuple[Reading, Reading]:
    """Both times as readings; absent where the GPU was not held up until all was asked for."""
    if launched_s >= held_s:
        reason = f"not all was asked for while the GPU was held up, {held_s:.3g} s"
        return Reading(reason=reason), Reading(reason=reason)
    how = f"median of {IN_QUEUE} runs in a queue"
    return (
        Reading(value=device_s, reason=f"events, {how}"),
        Reading(value=launched_s, reason=f"this process's clock, {how}"),
    )


def _queued(run: Callable[[], Times], held_s: float) -> Times:
    cuda: Any = torch.cuda
    begin, end = (cuda.Event(enable_timing=True) for _ in range(2))
    cuda.synchronize()
    cuda._sleep(int(held_s * FASTEST_HZ))
    begin.record()
    launched_s = sum(run())
    end.record()
    cuda.synchronize()
    return begin.elapsed_time(end) / 1e3, launched_s


def repeat(runs: dict[str, Callable[[], Times]], limits: Limits) -> dict[str, FloatArray]:
    """Times of each run, `(repeats, times)` [s], repeated until the spread of every sum is small.

    The runs take turns, so that whatever else slows the machine down meets all of them alike. Each
    runs once untimed before it is timed, as a training step follows another of its own kind: after
    a larger one that gave its memory back, it would have to ask for memory that it otherwise holds.
    Their order is drawn anew every time, for what a run leaves in caches is of use to the next one.
    """
    drawn = random.Random(0)
    samples: dict[str, list[Times]] = {name: [] for name in runs}
    start = time.perf_counter()
    for done in range(1, limits.most + 1):
        for name, run in drawn.sample([*runs.items()], len(runs)):
            run()
            samples[name].append(run())
        sums = [spread(np.sum(rows, axis=1)) for rows in samples.values()]
        steady = all(s.upper_s - s.lower_s <= SPREAD * s.median_s for s in sums)
        late = time.perf_counter() - start > limits.seconds
        if done >= limits.least and (steady or late):
            break
    return {name: np.array(rows) for name, rows in samples.items()}


def spread(times_s: FloatArray) -> Spread:
    """Median and quartiles of times [s]."""
    lower, middle, upper = np.quantile(times_s, [0.25, 0.5, 0.75]).tolist()
    return Spread(median_s=middle, lower_s=lower, upper_s=upper, repeats=len(times_s))
