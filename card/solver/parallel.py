"""All devices train at once: the least makespan of a round that shares the band and the server.

Split federated learning (Thapa et al. 2022, doi 10.1609/aaai.v36i8.20825): every device has its own
copy of the adapters, the server runs the other half of all copies at once, and at the end of the
round adapters are averaged, which takes no time here (`assumed`). A device has one share of the
band, the same both ways, and its rates are that share of those that it has alone (`assumed`: power
per hertz stays). It has one share of the server at full clock, launches included (`assumed`), so
that either kind of share adds up to at most 1, as where band and computing are allocated jointly
(Tran and Pompili 2019, doi 10.1109/TVT.2018.2881191). Within its round a device does one thing
after the other. Servers that take the mini-batches of all devices as one, behind a barrier in every
iteration and with one cut for all, are another model (Lin et al. 2024, arXiv 2303.15991). Not
counted is memory of the server for several copies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from card.base.arguments import check_index, check_positive, check_shapes
from card.base.arrays import NUMPY
from card.base.errors import ScenarioError
from card.base.units import BoolArray, FloatArray, IntArray
from card.costs import System, check_one_in_flight, evaluate, fixed_parts, trips_s
from card.scenario import Scenario
from card.solver.pruning import pruned_options

_CLOSE = 1e-12
"""Distance between two prices of the band that counts as none."""
_PROVED = 1e-9
"""Relative distance between a makespan and its bound that counts as none."""
_ROUNDING = 1e-15
"""Relative distance between two deadlines that no double tells apart."""
_STEPS = 100
"""Steps of a search that halves its interval at worst: more than doubles have digits."""
_TRIALS = 400
"""Devices times subproblems that are searched at most, which keeps it within a second or two."""


@dataclass(frozen=True, eq=False)
class Parallel:
    """Decisions and shares of a round of all devices at once; arrays `(devices,)`."""

    option: IntArray
    """Option of each device, by its row in the system's profile."""
    band_share: FloatArray
    """Its share of the band, both ways [1]."""
    server_share: FloatArray
    """Its share of the server at full clock [1]."""
    makespan_s: float
    """Time of the round, until the last device is through [s]."""
    bound_s: float
    """Time that no options and shares go below [s]; equal to the makespan where that is proved."""
    busy_s: float
    """Time of the server at full clock that the round takes, launches left out [s]."""


class _Jobs(NamedTuple):
    """What options ask for in a round, `(devices, candidates)`."""

    own_s: FloatArray
    """Time that no share changes [s]."""
    sent_s: FloatArray
    """Time on the whole band [s]."""
    served_s: FloatArray
    """Time on the whole server [s]."""

    def only(self, choice: IntArray) -> _Jobs:
        """One option of each device, by its place among the candidates."""
        at = np.arange(len(choice)), choice
        return _Jobs(*(table[at][:, None] for table in self))


class _Dual(NamedTuple):
    """The best bound on a makespan, and what devices choose at prices around it."""

    bound_s: float
    price: float
    """Price of the whole band; that of the server is the rest to 1."""
    choices: tuple[IntArray, IntArray]
    """Candidates at the last price that was too low for the band, and too high."""


def least_makespan(
    system: System | Scenario, device: ArrayLike, uplink_bps: ArrayLike, downlink_bps: ArrayLike
) -> Parallel:
    """Options and shares with which the last of some devices is through as early as possible.

    Parameters
    ----------
    system
        A scenario, or its arrays.
    device
        Device positions, shape `(devices,)`; one that is there twice stands for two like it.
    uplink_bps, downlink_bps
        Link rates with the whole band [bit/s], which broadcast to that shape.

    Raises
    ------
    ScenarioError
        If a value is out of its range or not finite, or several micro-batches are in flight.

    Notes
    -----
    Equation :eq:`eq-parallel` of the book. At prices of band and server that add up to 1, and a
    deadline, each device takes the option that costs the least by itself; a deadline at which all
    of them cost more than 1 cannot be met. The latest such deadline over all prices is the bound.
    For one option per device it can be met, for the problem is then convex. Where devices are
    undecided between options at the best prices, the search branches on one of them; it closes the
    gap for few devices, and for many leaves one that is as small as one device among them.

    Examples
    --------
    >>> import card
    >>> nominal = card.load_scenario("nominal")
    >>> found = least_makespan(nominal, [0, 1, 2, 3, 4], 60e6, 150e6)
    >>> print(f"{found.makespan_s:.1f} s", found.option, found.band_share.round(2))
    24.9 s [16 16  0  0  0] [0.02 0.03 0.31 0.31 0.31]
    """
    arrays = System.of(system)
    check_one_in_flight(arrays, "devices that train at once")
    index = check_index("device", device, arrays.num_devices, NUMPY)
    up = check_positive("uplink_bps", uplink_bps, NUMPY)
    down = check_positive("downlink_bps", downlink_bps, NUMPY)
    check_shapes(device=index, uplink_bps=up, downlink_bps=down)
    if index.ndim != 1 or not index.size:
        raise ScenarioError(
            f"device of shape {index.shape} is not allowed; give a list of positions, at least one."
        )
    up, down = (np.broadcast_to(rate, index.shape)[:, None] for rate in (up, down))
    each, options = index[:, None], pruned_options(arrays)[index]
    top = arrays.frequency_max_hz
    compute_s, *sent_s = fixed_parts(arrays, each, options, up, down)
    up_trips_s, down_trips_s, adapter_trip_s = trips_s(arrays, each, options)
    costs = evaluate(arrays, each, options, top, up, down)
    jobs = _Jobs(
        compute_s + up_trips_s + down_trips_s + 2.0 * adapter_trip_s,
        sum(sent_s, np.zeros(options.shape)),
        np.broadcast_to(costs.server_compute_s, options.shape),
    )
    repeated = np.diff(options, axis=1, prepend=-1) == 0
    choice, makespan_s, bound_s = _search(jobs, ~repeated)
    at = np.arange(len(index)), choice
    _, band, server = _shares(jobs.only(choice))
    busy = np.broadcast_to(costs.busy_s, options.shape)[at]
    return Parallel(options[at], band, server, makespan_s, bound_s, float(busy.sum()))


def _search(jobs: _Jobs, allowed: BoolArray) -> tuple[IntArray, float, float]:
    """Choice of each device, its makespan, and what none goes below; best bound first."""
    order, nodes = count(), _TRIALS // len(allowed)
    best: tuple[float, IntArray] = np.inf, np.zeros(len(allowed), dtype=np.int64)
    heap: list[tuple[float, int, BoolArray, _Dual]] = []

    def visit(mask: BoolArray) -> None:
        nonlocal best
        dual = _dual(jobs, mask)
        if dual.bound_s >= best[0] * (1.0 - _PROVED):
            return
        for choice in _roundings(jobs, dual):
            makespan_s = _shares(jobs.only(choice))[0]
            if makespan_s < best[0]:
                best = makespan_s, choice
        heappush(heap, (dual.bound_s, next(order), mask, dual))

    visit(allowed)
    while heap and heap[0][0] < best[0] * (1.0 - _PROVED) and nodes > 0:
        _, _, mask, dual = heappop(heap)
        for child in _children(jobs, _worthwhile(jobs, mask, dual, best[0]), dual):
            visit(child)
            nodes -= 1
    proved = not heap or heap[0][0] >= best[0] * (1.0 - _PROVED)
    return best[1], best[0], best[0] if proved else heap[0][0]


def _children(jobs: _Jobs, mask: BoolArray, dual: _Dual) -> list[BoolArray]:
    """A subproblem per option of the device whose choice moves the most; itself if none has two."""
    undecided = np.flatnonzero(mask.sum(axis=1) > 1)
    if not undecided.size:
        return [mask] if mask.any(axis=1).all() else []
    low, high = (jobs.only(choice) for choice in dual.choices)
    moved = np.abs(low.sent_s - high.sent_s) + np.abs(low.served_s - high.served_s)
    device = undecided[np.argmax(moved[undecided, 0])]
    children = np.repeat(mask[None], mask[device].sum(), axis=0)
    children[:, device] = np.eye(mask.shape[1], dtype=bool)[mask[device]]
    return list(children)


def _meets(cost: Callable[[float], tuple[float, float]], low_s: float, high_s: float) -> float:
    """Deadline at which a cost that falls with it is 1, by Newton's steps within an interval [s].

    Parameters
    ----------
    cost
        Cost within a deadline [s], and how fast it falls [1/s].
    low_s, high_s
        Deadlines with a cost of at least 1, and of at most 1 [s].
    """
    deadline_s = low_s
    for _ in range(_STEPS):
        total, slope = cost(deadline_s)
        low_s, high_s = (deadline_s, high_s) if total > 1.0 else (low_s, deadline_s)
        # of 1 / cost, which is all but straight in the deadline
        step_s = total * (total - 1.0) / slope if 0.0 < slope < np.inf else np.inf
        following_s = deadline_s + step_s
        if abs(step_s) > _ROUNDING * deadline_s and not low_s < following_s < high_s:
            following_s = (low_s + high_s) / 2
        if abs(following_s - deadline_s) <= _ROUNDING * deadline_s:
            break
        deadline_s = following_s
    return deadline_s


def _weights(jobs: _Jobs, mask: BoolArray, price: float) -> FloatArray:
    """What an option costs for each part of a second that its deadline leaves it [s].

    The least of p x + q y with S / x + B / y within some time is (√(p S) + √(q B))² over it.
    """
    root = np.sqrt(price * jobs.sent_s) + np.sqrt((1.0 - price) * jobs.served_s)
    return np.where(mask, root**2, np.inf)


def _spent(jobs: _Jobs, weights: FloatArray, deadline_s: float) -> FloatArray:
    """What each option costs within a deadline, infinite where that is not after its own time."""
    left_s = deadline_s - jobs.own_s
    return np.where(left_s > 0, weights / np.where(left_s > 0, left_s, 1.0), np.inf)


def _deadline(jobs: _Jobs, mask: BoolArray, price: float) -> tuple[float, IntArray]:
    """The deadline at which the cheapest options of all devices cost 1, and these options."""
    weights, rows = _weights(jobs, mask, price), np.arange(len(mask))

    def chosen(deadline_s: float) -> tuple[FloatArray, IntArray]:
        spent = _spent(jobs, weights, deadline_s)
        choice = spent.argmin(axis=1)
        return spent[rows, choice], choice

    def cost(deadline_s: float) -> tuple[float, float]:
        least, choice = chosen(deadline_s)
        left_s = deadline_s - jobs.own_s[rows, choice]
        return float(least.sum()), float(_over(least, left_s).sum())

    alone_s, even_s = (jobs.own_s + weights * parts for parts in (1, len(mask)))
    deadline_s = _meets(cost, float(alone_s.min(axis=1).max()), float(even_s.min(axis=1).max()))
    return deadline_s, chosen(deadline_s)[1]


def _demands(jobs: _Jobs, price: float, deadline_s: float) -> tuple[FloatArray, FloatArray]:
    """Cheapest shares of band and server of one option per device within a deadline."""
    sent, served = np.sqrt(jobs.sent_s[:, 0]), np.sqrt(jobs.served_s[:, 0])
    band, server = np.sqrt(price), np.sqrt(1.0 - price)
    root = (band * sent + server * served) / (deadline_s - jobs.own_s[:, 0])
    return sent * root / band, served * root / server


def _dual(jobs: _Jobs, mask: BoolArray) -> _Dual:
    """The latest deadline that cannot be beaten at some price of the band, by bisection on it."""
    low, high, bound_s, best = 0.0, 1.0, 0.0, 0.5
    choices: list[IntArray | None] = [None, None]
    while high - low > _CLOSE:
        price = (low + high) / 2
        deadline_s, choice = _deadline(jobs, mask, price)
        if deadline_s > bound_s:
            bound_s, best = deadline_s, price
        band, server = (share.sum() for share in _demands(jobs.only(choice), price, deadline_s))
        short = bool(band > server)
        choices[not short] = choice
        low, high = (price, high) if short else (low, price)
        if abs(band - server) <= _CLOSE:
            break
    first, last = (choice if one is None else one for one in choices)
    return _Dual(bound_s, best, (first, last))


def _roundings(jobs: _Jobs, dual: _Dual) -> list[IntArray]:
    """Choices to try: those around the best price, and mixtures that balance band and server."""
    low, high = dual.choices
    differ = np.flatnonzero(low != high)
    if not differ.size:
        return [low]
    over = [
        np.subtract(*_demands(jobs.only(choice), dual.price, dual.bound_s * (1 + _CLOSE)))
        for choice in (low, high)
    ]
    balance = over[1].sum() + np.cumsum((over[0] - over[1])[differ])
    first = int(np.argmax(balance > 0))
    mixtures = []
    for size in {first, first + 1}:
        mixed = high.copy()
        mixed[differ[:size]] = low[differ[:size]]
        mixtures.append(mixed)
    return [low, high, *mixtures]


def _shares(jobs: _Jobs) -> tuple[float, FloatArray, FloatArray]:
    """Least makespan of one option per device, with the shares that lead to it.

    With t what a deadline leaves to a device, its shares are feasible if the symmetric matrix of
    ΣS/t, Σ√(SB)/t and ΣB/t has no eigenvalue above 1, and the vector of that eigenvalue has the
    roots of both prices for its parts.
    """
    own_s, sent_s, served_s = (table[:, 0] for table in jobs)
    both_s = np.sqrt(sent_s * served_s)

    def matrix(deadline_s: float) -> tuple[float, float, float]:
        left_s = deadline_s - own_s
        band, both, server = (
            float(_over(part, left_s).sum()) for part in (sent_s, both_s, served_s)
        )
        return band, both, server

    def cost(deadline_s: float) -> tuple[float, float]:
        band, both, server = matrix(deadline_s)
        half = (band - server) / 2
        largest = (band + server) / 2 + np.hypot(half, both)
        angle = np.arctan2(both, half) / 2
        root = np.cos(angle) * np.sqrt(sent_s) + np.sin(angle) * np.sqrt(served_s)
        return float(largest), float((_over(root, deadline_s - own_s) ** 2).sum())

    whole_s = sent_s + served_s
    least_s, most_s = ((own_s + parts * whole_s).max() for parts in (1, len(own_s)))
    deadline_s = _meets(cost, float(least_s), float(most_s))
    _, both, server = matrix(deadline_s)
    left_s, exchange = deadline_s - own_s, both / (1.0 - server) if both else 1.0
    band_share = _over(sent_s + both_s * exchange, left_s)
    server_share = _over(served_s + both_s / exchange, left_s)
    band_share, server_share = (
        share / max(1.0, share.sum()) for share in (band_share, server_share)
    )
    through_s = own_s + _over(sent_s, band_share) + _over(served_s, server_share)
    return float(through_s.max()), band_share, server_share


def _over(time_s: FloatArray, share: FloatArray) -> FloatArray:
    """Time on a share of what would take that time on the whole [s]."""
    asked = time_s > 0
    return np.where(asked, time_s, 0.0) / np.where(asked, share, 1.0)


def _worthwhile(jobs: _Jobs, mask: BoolArray, dual: _Dual, makespan_s: float) -> BoolArray:
    """Options with which a makespan below the one known may be found."""
    spent = _spent(jobs, _weights(jobs, mask, dual.price), makespan_s)
    least = spent.min(axis=1, keepdims=True)
    kept: BoolArray = mask & (least.sum() - least + spent <= 1.0 + _CLOSE)
    return kept
