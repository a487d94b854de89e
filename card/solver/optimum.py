"""Where the optimum is found: the best of the options that can win, at the best clock.

One implementation serves every array library, and one-dimensional arrays of device-rounds of any
length. `card.solver.decision` checks, flattens and names what goes in and comes out. What delay and
energy are is said in `card.costs.rounds` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from card.base.arrays import Backend, is_foreign
from card.base.units import FloatArray, IntArray
from card.costs import System, rounds
from card.costs.arrays import of_device
from card.solver.clock import best_clock, cycle_price, has_overhead, overhead_ratio

TIE = 1e-12
"""Objectives closer than this are a tie, which goes to the first listed bits, and of the same bits
to the smaller cut."""

ROUNDING = 2e-15
"""Relative error of a computed delay or energy; what it does to the objective ties as well."""


class Extremes(NamedTuple):
    """True extremes of delay and server energy over a device-round's feasible set."""

    delay_min_s: FloatArray
    """Shortest delay [s] (D_min)."""
    delay_max_s: FloatArray
    """Longest delay [s] (D_max)."""
    energy_min_j: FloatArray
    """Least server energy [J] (E_min)."""
    energy_max_j: FloatArray
    """Most server energy [J] (E_max)."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Costs of each candidate option, with all that no rate and no clock changes worked out.

    What `rounds.fixed_parts` gives at rates of 1 bit/s, and the server's overhead and cycles: delay
    and energy are straight lines in the inverse of every rate and in the time that the cycles take.
    Arrays are `(candidates, devices)`, or `(candidates, 1)` where all devices have the same. What
    the server computes depends on the cut alone: its arrays are `(kinds, devices)`, and candidates
    of the same cuts are of a kind.
    """

    xp: Any
    """Namespace of the array library."""
    arrays: System
    """The system, in arrays of that library."""
    option: Any
    """Candidate options."""
    chosen: tuple[Any, ...]
    """Blocks on the device, bits up and bits down of every option, each of shape `(options,)`."""
    own_s: Any
    """Time of a round in which the server waits, but not for bits [s]."""
    device_s: Any
    """Part of it in which the device computes [s]."""
    uplink_bit: Any
    """What goes up in a round [bit]."""
    downlink_bit: Any
    """What comes down in a round [bit]."""
    kinds: Any | None
    """Kind of each candidate; none where each is its own."""
    members: tuple[tuple[int, ...], ...]
    """Candidates of each kind."""
    overhead_s: Any
    """Time of a round that the server computes whatever its clock [s]."""
    cycles: Any
    """Server clock cycles of a round (Q)."""
    ratio: Any | None
    """Overhead per cycle [s]; none where no option has any, so that one clock is best for all."""
    waits: bool
    """Whether waiting takes energy, so that the extremes of energy depend on the rates."""
    least_j: Any
    """Least server energy while it computes, of each device and kind over the clocks [J]."""
    most_j: Any
    """Most server energy while it computes, likewise [J]."""

    @classmethod
    def of(cls, system: System, candidates: IntArray, backend: Backend) -> Lines:
        """Lines of the candidate options of each device, `(devices, candidates)`."""
        alike = bool((candidates == candidates[:1]).all())
        option = backend.array(np.ascontiguousarray((candidates[:1] if alike else candidates).T))
        xp, arrays, profile = backend.xp, system.on(backend), system.profile
        choices = profile.cut, profile.uplink_bits, profile.downlink_bits
        kinds, members = _of_a_kind(profile.cut[candidates.T])
        each = option[backend.array([rows[0] for rows in members])]
        lowest, cycles = arrays.frequency_min_hz, rounds.server_cycles(arrays, each)
        overhead_s = rounds.busy_overhead_s(arrays, each)
        ratio = overhead_ratio(xp, overhead_s, cycles) if has_overhead(system) else None
        device = xp.arange(system.num_devices)
        compute_s, up_bit, down_bit, adapter_down_bit, adapter_up_bit = rounds.fixed_parts(
            arrays, device, option, up=1.0, down=1.0
        )
        up_s, down_s, adapter_s = rounds.trips_s(arrays, device, option)
        launch_s = arrays.local_iterations * arrays.server_launch_s[option]

        def energy_j(clock: Any) -> Any:
            # as many seconds as cycles, at the power that one cycle in a second would take
            power_w = rounds.server_power_w(arrays, clock)
            spent = rounds.energy_j(cycles, power_w / clock, overhead_s, power_w)
            return xp.broadcast_to(spent, (each.shape[0], lowest.shape[0]))

        no_price, price = backend.floats(0.0), backend.floats(1.0)
        thrifty = best_clock(xp, arrays, lowest, no_price, price, ratio)
        least_j = energy_j(thrifty)
        most_j = xp.maximum(energy_j(lowest), energy_j(arrays.frequency_max_hz))
        # the slope of a tensor is wanted also where it is 0
        waits = is_foreign(system.waiting_power_w) or system.waiting_power_w > 0
        return cls(
            xp=xp,
            arrays=arrays,
            option=option,
            chosen=tuple(map(backend.array, choices)),
            own_s=compute_s + (up_s + down_s + 2.0 * adapter_s + launch_s),
            device_s=compute_s,
            uplink_bit=up_bit + adapter_up_bit,
            downlink_bit=down_bit + adapter_down_bit,
            kinds=None if kinds is None else backend.array(kinds),
            members=members,
            overhead_s=overhead_s,
            cycles=cycles,
            ratio=ratio,
            waits=waits,
            least_j=least_j if waits else xp.min(least_j, axis=0),
            most_j=most_j if waits else xp.max(most_j, axis=0),
        )

    def at(self, table: Any, device: Any, place: Any | None = None) -> Any:
        """Columns of a table for each device-round; one column serves all.

        Of all candidates, or of the one in `place` of each device-round.
        """
        xp, width = self.xp, table.shape[-1]
        if place is not None:
            column = 0 if width == 1 else device
            return xp.take(xp.reshape(table, (-1,)), place * width + column)
        return table if width == 1 < table.ndim else xp.take(table, device, axis=-1)

    def told(self, device: Any, place: Any) -> tuple[Any, ...]:
        """Options with their blocks on the device, bits up and bits down."""
        option = self.at(self.option, device, place)
        return option, *(self.xp.take(column, option) for column in self.chosen)

    def waited_s(self, device: Any, up: Any, down: Any, place: Any | None = None) -> Any:
        """Time in which the server waits, `(candidates, device-rounds)` or of one of them [s]."""
        up_bit, down_bit, own_s = (
            self.at(table, device, place)
            for table in (self.uplink_bit, self.downlink_bit, self.own_s)
        )
        return rounds.waited_s(own_s, up_bit / up + down_bit / down)

    def device_j(self, device: Any, up: Any, waiting_w: Any, place: Any | None = None) -> Any:
        """What a device spends beyond waiting all round [J], likewise."""
        known_w = self.xp.nan_to_num(self.arrays.device_power_w)
        computing_w = self.at(known_w, device) - waiting_w
        sending_w = of_device(self.arrays.uplink_power_w, device) - waiting_w
        sent_s = self.at(self.uplink_bit, device, place) / up
        return self.at(self.device_s, device, place) * computing_w + sent_s * sending_w

    def over_kinds(self, reduced: Any, table: Any) -> Any:
        """A table of all candidates reduced to one row for each kind."""
        if self.kinds is None:
            return table
        rows = [reduce(reduced, [table[row] for row in members]) for members in self.members]
        return self.xp.stack(rows)

    def extremes(self, device: Any, waited_s: Any, lowest: Any) -> Extremes:
        """Extremes of each device-round."""
        xp, top = self.xp, self.arrays.frequency_max_hz
        cycles, overhead_s = self.at(self.cycles, device), self.at(self.overhead_s, device)
        least_j, most_j = self.at(self.least_j, device), self.at(self.most_j, device)
        short_s = self.over_kinds(xp.minimum, waited_s)
        long_s = self.over_kinds(xp.maximum, waited_s)
        if self.waits:
            waiting_w = self.arrays.waiting_power_w
            least_j = xp.min(least_j + short_s * waiting_w, axis=0)
            most_j = xp.max(most_j + long_s * waiting_w, axis=0)
        fast_s, slow_s = (rounds.busy_s(overhead_s, cycles, clock) for clock in (top, lowest))
        return Extremes(
            xp.min(rounds.delay_s(short_s, fast_s), axis=0),
            xp.max(rounds.delay_s(long_s, slow_s), axis=0),
            least_j,
            most_j,
        )


def _of_a_kind(cuts: IntArray) -> tuple[IntArray | None, tuple[tuple[int, ...], ...]]:
    """Kind of each candidate, none where all differ, and the candidates of each kind.

    Candidates `(candidates, devices)` that have the same cut on every device are of a kind.
    """
    _, kinds = np.unique(cuts, axis=0, return_inverse=True)
    kinds = kinds.ravel()
    if kinds.max() == len(cuts) - 1:
        return None, tuple((place,) for place in range(len(cuts)))
    members = (np.flatnonzero(kinds == kind).tolist() for kind in range(kinds.max() + 1))
    return kinds, tuple(map(tuple, members))


def extremes_of(lines: Lines, device: Any, up: Any, down: Any) -> Extremes:
    """Extremes alone, for one-dimensional arrays of one length."""
    lowest = lines.at(lines.arrays.frequency_min_hz, device)
    return lines.extremes(device, lines.waited_s(device, up, down), lowest)


def unit_prices(xp: Any, extremes: Extremes, weight: Any) -> tuple[Any, Any]:
    """Price of a second w / ΔD and of a joule (1 - w) / ΔE; 0 where nothing can be gained."""

    def ratio(above: Any, below: Any) -> Any:
        spread = below > 0
        return xp.where(spread, above / xp.where(spread, below, 1.0), 0.0)

    delay_span = extremes.delay_max_s - extremes.delay_min_s
    energy_span = extremes.energy_max_j - extremes.energy_min_j
    return ratio(weight, delay_span), ratio(1.0 - weight, energy_span)


def weighted_sum(
    extremes: Extremes, delay_price: Any, energy_price: Any, delay_s: Any, energy_j: Any
) -> Any:
    """Weighted sum of normalised delay and energy (U) at given prices [1]."""
    late, spent = delay_s - extremes.delay_min_s, energy_j - extremes.energy_min_j
    return delay_price * late + energy_price * spent


def decide(lines: Lines, device: Any, up: Any, down: Any, weight: Any) -> tuple[Any, ...]:
    """The best option and clock of each device-round, for one-dimensional arrays of one length.

    Returns
    -------
    tuple[Any, ...]
        Option, its cut, bits up and bits down, clock, delay, energy, objective, lowest clock, and
        the four extremes.
    """
    lowest = lines.at(lines.arrays.frequency_min_hz, device)
    waited_s = lines.waited_s(device, up, down)
    extremes = lines.extremes(device, waited_s, lowest)
    prices = unit_prices(lines.xp, extremes, weight)
    # U but for the same constant in every option
    fixed = prices[0] * (waited_s - extremes.delay_min_s)
    slack = TIE + ROUNDING * most(extremes, *prices)
    place, *costs = _best(lines, device, up, down, lowest, prices, waited_s, fixed, slack)
    score = weighted_sum(extremes, *prices, *costs[1:])
    return *lines.told(device, place), *costs, score, lowest, *extremes


def decide_at_prices(
    lines: Lines,
    device: Any,
    up: Any,
    down: Any,
    delay_price: Any,
    energy_price: Any,
    device_energy_price: Any,
) -> tuple[Any, ...]:
    """The same for given prices of a second and of a joule at either end.

    A device that waits pays for every second of the round, which raises the price of delay; what it
    spends on computing and sending beyond that depends on the option alone. So the clock has the
    same closed form, and the sum is as linear in an option's costs as before, which is all that
    pruning needs.

    Returns
    -------
    tuple[Any, ...]
        As `decide` does, with the priced sum for the objective.
    """
    lowest = lines.at(lines.arrays.frequency_min_hz, device)
    waited_s = lines.waited_s(device, up, down)
    extremes = lines.extremes(device, waited_s, lowest)
    waiting_w = lines.at(lines.arrays.device_waiting_power_w, device)
    own_j = device_energy_price * lines.device_j(device, up, waiting_w)
    prices = delay_price + device_energy_price * waiting_w, energy_price
    fixed = prices[0] * waited_s + own_j
    slack = TIE * (most(extremes, *prices) + lines.xp.max(own_j, axis=0))
    place, *costs = _best(lines, device, up, down, lowest, prices, waited_s, fixed, slack)
    own_j = device_energy_price * lines.device_j(device, up, waiting_w, place)
    score = prices[0] * costs[1] + energy_price * costs[2] + own_j
    return *lines.told(device, place), *costs, score, lowest, *extremes


def most(extremes: Extremes, delay_price: Any, energy_price: Any) -> Any:
    """What no decision of a device-round exceeds, which rounding errors grow with."""
    return delay_price * extremes.delay_max_s + energy_price * extremes.energy_max_j


def _best(
    lines: Lines,
    device: Any,
    up: Any,
    down: Any,
    lowest: Any,
    prices: tuple[Any, Any],
    waited_s: Any,
    fixed: Any,
    slack: Any,
) -> tuple[Any, Any, Any, Any]:
    """Place among the candidates, clock, delay and energy, at least `fixed` and computing's price.

    The first candidate wins of those that are within `slack` of it.
    """
    xp, arrays = lines.xp, lines.arrays
    ratio = None if lines.ratio is None else lines.at(lines.ratio, device)
    frequency = best_clock(xp, arrays, lowest, *prices, ratio)
    price = cycle_price(arrays, frequency, *prices, 0.0 if ratio is None else ratio)
    computing = lines.at(lines.cycles, device) * price
    if lines.kinds is not None:
        computing = xp.take(computing, lines.kinds, axis=0)
    value = fixed + computing
    if lines.waits:
        value = value + prices[1] * arrays.waiting_power_w * waited_s
    place = first_near(xp, value <= xp.min(value, axis=0) + slack)
    kind = place if lines.kinds is None else xp.take(lines.kinds, place)
    clock = frequency if ratio is None else in_row(xp, frequency, kind)
    waited_s = lines.waited_s(device, up, down, place)
    cycles, overhead_s = (
        lines.at(table, device, kind) for table in (lines.cycles, lines.overhead_s)
    )
    busy = rounds.busy_s(overhead_s, cycles, clock)
    delay = rounds.delay_s(waited_s, busy)
    energy = rounds.energy_j(
        busy, rounds.server_power_w(arrays, clock), waited_s, arrays.waiting_power_w
    )
    return place, clock, delay, energy


def first_near(xp: Any, near: Any) -> Any:
    """The first candidate that is near the optimum, for every device-round."""
    last = near.shape[0] - 1
    place = 0 * xp.astype(near[last], xp.int64) + last
    for candidate in reversed(range(last)):
        place = xp.where(near[candidate], candidate, place)
    return place


def in_row(xp: Any, table: Any, row: Any) -> Any:
    """What a table of few rows says in one of them for each of its columns."""
    found = table[-1]
    for position in range(table.shape[0] - 1):
        found = xp.where(row == position, table[position], found)
    return found
