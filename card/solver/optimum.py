"""Where the optimum is found: the best of the cuts that can win, at the best clock.

One implementation serves every array library, and one-dimensional arrays of device-rounds of any
length. `card.solver.decision` checks, flattens and names what goes in and comes out. What delay and
energy are is said in `card.costs` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from card import costs
from card.base.arrays import Backend
from card.base.units import FloatArray, IntArray
from card.costs import System
from card.solver.clock import best_clock, cycle_price

TIE = 1e-12
"""Objectives closer than this are a tie, which goes to the smaller cut."""

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
    """Costs of each candidate cut, with all that no rate and no clock changes worked out.

    What `costs.fixed_parts` gives at rates of 1 bit/s, and the server's cycles: delay and energy
    are straight lines in the inverse of every rate and in the time that the cycles take. Arrays are
    `(cuts, devices)`, or `(cuts, 1)` where all devices have the same.
    """

    xp: Any
    """Namespace of the array library."""
    arrays: System
    """The system, in arrays of that library."""
    cut: Any
    """Candidate cuts."""
    own_s: Any
    """Time that the device computes in a round [s]."""
    uplink_bit: Any
    """What goes up in a round [bit]."""
    downlink_bit: Any
    """What comes down in a round [bit]."""
    cycles: Any
    """Server clock cycles of a round (Q)."""
    energy_min_j: Any
    """Least server energy of each device over cuts and clocks [J]."""
    energy_max_j: Any
    """Most server energy of each device over cuts and clocks [J]."""

    @classmethod
    def of(cls, system: System, candidates: IntArray, backend: Backend) -> Lines:
        """Lines of the candidate cuts of each device, `(devices, cuts)`."""
        alike = bool((candidates == candidates[:1]).all())
        cut = backend.array(np.ascontiguousarray((candidates[:1] if alike else candidates).T))
        xp, arrays = backend.xp, system.on(backend)
        lowest, cycles = arrays.frequency_min_hz, costs.server_cycles(arrays, cut)
        own_s, up_bit, down_bit, adapter_down_bit, adapter_up_bit = costs.fixed_parts(
            arrays, slice(None), cut, up=1.0, down=1.0
        )

        def energy_j(clock: Any) -> Any:
            # as many seconds as cycles, at the power that one cycle in a second would take
            spent = costs.energy_j(cycles, costs.server_power_w(arrays, clock) / clock)
            return xp.broadcast_to(spent, (cut.shape[0], lowest.shape[0]))

        no_price, price = backend.floats(0.0), backend.floats(1.0)
        thrifty = best_clock(xp, arrays, lowest, no_price, price)
        return cls(
            xp=xp,
            arrays=arrays,
            cut=cut,
            own_s=own_s,
            uplink_bit=up_bit + adapter_up_bit,
            downlink_bit=down_bit + adapter_down_bit,
            cycles=cycles,
            energy_min_j=xp.min(energy_j(thrifty), axis=0),
            energy_max_j=xp.maximum(
                xp.max(energy_j(lowest), axis=0), xp.max(energy_j(arrays.frequency_max_hz), axis=0)
            ),
        )

    def at(self, table: Any, device: Any) -> Any:
        """Columns of a table for each device-round; one column serves all."""
        return table if table.shape[-1] == 1 < table.ndim else self.xp.take(table, device, axis=-1)

    def fixed_s(self, device: Any, up: Any, down: Any) -> Any:
        """Delay without the server's computing, `(cuts, device-rounds)`."""
        sent_s = self.at(self.uplink_bit, device) / up + self.at(self.downlink_bit, device) / down
        return costs.waited_s(self.at(self.own_s, device), sent_s)

    def extremes(self, device: Any, fixed_s: Any, lowest: Any) -> Extremes:
        """Extremes of each device-round."""
        cycles = self.at(self.cycles, device)
        return Extremes(
            self.xp.min(costs.delay_s(fixed_s, cycles / self.arrays.frequency_max_hz), axis=0),
            self.xp.max(costs.delay_s(fixed_s, cycles / lowest), axis=0),
            self.at(self.energy_min_j, device),
            self.at(self.energy_max_j, device),
        )


def extremes_of(lines: Lines, device: Any, up: Any, down: Any) -> Extremes:
    """Extremes alone, for one-dimensional arrays of one length."""
    lowest = lines.at(lines.arrays.frequency_min_hz, device)
    return lines.extremes(device, lines.fixed_s(device, up, down), lowest)


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
    """The best cut and clock of each device-round, for one-dimensional arrays of one length.

    Returns
    -------
    tuple[Any, ...]
        Cut, clock, delay, energy, objective, lowest clock, and the four extremes.
    """
    xp, arrays = lines.xp, lines.arrays
    lowest, fixed = lines.at(arrays.frequency_min_hz, device), lines.fixed_s(device, up, down)
    extremes = lines.extremes(device, fixed, lowest)
    delay_price, energy_price = unit_prices(xp, extremes, weight)
    frequency = best_clock(xp, arrays, lowest, delay_price, energy_price)
    cuts, cycles = lines.at(lines.cut, device), lines.at(lines.cycles, device)
    price = cycle_price(arrays, frequency, delay_price, energy_price)
    # U but for the same constant in every cut
    value = delay_price * (fixed - extremes.delay_min_s) + cycles * price
    scale = delay_price * extremes.delay_max_s + energy_price * extremes.energy_max_j
    limit = xp.min(value, axis=0) + (TIE + ROUNDING * scale)
    last = value.shape[0] - 1
    cut, fixed_s, work = cuts[last], fixed[last], cycles[last]
    for k in reversed(range(last)):
        near = value[k] <= limit
        cut = xp.where(near, cuts[k], cut)
        fixed_s, work = xp.where(near, fixed[k], fixed_s), xp.where(near, cycles[k], work)
    busy = work / frequency
    delay = costs.delay_s(fixed_s, busy)
    energy = costs.energy_j(busy, costs.server_power_w(arrays, frequency))
    score = weighted_sum(extremes, delay_price, energy_price, delay, energy)
    return cut, frequency, delay, energy, score, lowest, *extremes
