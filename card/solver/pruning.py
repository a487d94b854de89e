"""Which options can win at all: the candidates that the optimum is searched among."""

from __future__ import annotations

from functools import lru_cache
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from card.base.arrays import backend_of
from card.base.units import FloatArray, IntArray
from card.costs import System
from card.llm import CutProfile


def extreme_cuts(
    profile: CutProfile, feasible: NDArray[np.bool_], *launch_s: FloatArray
) -> list[int]:
    """Feasible cuts that can win or set an extreme: the ends of straight runs of the cost vectors.

    Delay and energy are linear in the cost vector, so a cut strictly between two others
    on a straight line is never better than both. Compared exactly, in whole numbers.

    Where several numbers of bits may be sent, these are options, for which the same holds. One that
    asks for the same as an earlier one is left out, as is the whole LLM on the device at other
    bits than the first. One that asks for more than another is not: the worst sets an extreme.

    Parameters
    ----------
    profile
        Costs per option.
    feasible
        Options allowed, shape `(options,)`; or cuts at the first listed bits, shape `(I + 1,)`.
    *launch_s
        Times in which server and device wait for launches, if they do, each of shape `(options,)`.

    Notes
    -----
    The cost vector is :eq:`eq-vector` of the book, which proves the rule.

    Examples
    --------
    >>> import card
    >>> system = card.system(card.load_scenario("nominal"))
    >>> extreme_cuts(system.profile, system.feasible[0])  # of 17 cuts
    [0, 1, 15, 16]
    """
    vectors = _cost_vectors(profile, *launch_s)
    points = {c: vectors[c] for c in _listed(feasible)}

    kept: list[int] = []
    order = list(points)
    for cut, following in zip_longest(order, order[1:]):
        inner = kept and following is not None
        if not (inner and _between(points[cut], points[kept[-1]], points[following])):
            kept.append(cut)
    first = {tuple(points[option]): option for option in reversed(kept)}
    return sorted(first.values())


@lru_cache(maxsize=16)
def pruned_options(arrays: System) -> IntArray:
    """Options of each device that can win or set an extreme, `(devices, candidates)`.

    With several micro-batches in flight the slowest stage counts for more, so that delay is linear
    no longer, and any option can win.
    """
    if arrays.in_flight > 1:
        return every_option(arrays)
    return _padded(
        [
            extreme_cuts(arrays.profile, row, arrays.server_launch_s, launch_s)
            for row, launch_s in zip(arrays.feasible, arrays.device_launch_s, strict=True)
        ]
    )


def every_option(arrays: System) -> IntArray:
    """Feasible options of each device, `(devices, candidates)`."""
    return _padded([_listed(row) for row in arrays.feasible])


def _between(point: list[int], left: list[int], right: list[int]) -> bool:
    """Whether a point lies on the straight line from one to another, and is neither."""
    before = [b - a for a, b in zip(left, point, strict=True)]
    after = [b - a for a, b in zip(point, right, strict=True)]
    pivot = next((i for i, step in enumerate(before) if step), None)
    if pivot is None or before[pivot] * after[pivot] <= 0:
        return False
    one, other = before[pivot], after[pivot]
    return all(b * other == a * one for b, a in zip(before, after, strict=True))


def _cost_vectors(profile: CutProfile, *launch_s: FloatArray) -> list[list[int]]:
    """Whole numbers for each option, in which all its costs are linear.

    Overheads are linear in the parts held, and launch times too as long as there are any.
    """
    names = ("device_flop", "server_flop", "uplink_bit", "downlink_bit", "adapter_bit", "messages")
    columns = [getattr(profile, name) for name in names]
    launches = [(backend_of(times).numpy(times) > 0).astype(np.int64) for times in launch_s]
    table: list[list[int]] = np.column_stack([*columns, profile.device_parts, *launches]).tolist()
    return table


def _listed(feasible: Any) -> list[int]:
    return [option for option, fits in enumerate(feasible.tolist()) if fits]


def _padded(rows: list[list[int]]) -> IntArray:
    """Candidates as a table `(devices, candidates)`; short rows repeat their last one."""
    width = max(map(len, rows))
    return np.array([row + [row[-1]] * (width - len(row)) for row in rows])
