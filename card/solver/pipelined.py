"""The optimum where several micro-batches are in flight: every option at its own best clock.

The delay of a round is no longer linear in what an option asks for, so that none can be left out;
`card.costs.rounds` scores each of them. What goes in and comes out is as in `card.solver.optimum`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from card.base.units import FloatArray
from card.costs import Costs, System, round_costs
from card.solver.clock import Pipe, pipelined_clock
from card.solver.optimum import (
    ROUNDING,
    TIE,
    Extremes,
    Lines,
    first_near,
    in_row,
    most,
    unit_prices,
    weighted_sum,
)


class _Rounds(NamedTuple):
    """Device-rounds with their candidate options, `(candidates, device-rounds)`."""

    lines: Lines
    xp: Any
    arrays: System
    device: Any
    up: Any
    down: Any
    option: Any
    lowest: Any
    """Lowest clock of each device-round [Hz]."""
    pipe: Pipe

    @classmethod
    def of(cls, lines: Lines, device: Any, up: Any, down: Any) -> _Rounds:
        arrays = lines.arrays
        option = lines.at(lines.option, device)
        lowest = lines.at(arrays.frequency_min_hz, device)
        slow = round_costs(arrays, device, option, lowest, up, down)
        pipe = Pipe.of(arrays, option, slow)
        return cls(lines, lines.xp, arrays, device, up, down, option, lowest, pipe)

    def costs(self, clock: FloatArray) -> Costs:
        """Of every option at given clocks."""
        return round_costs(self.arrays, self.device, self.option, clock, self.up, self.down)

    def clock(self, delay_price: Any, energy_price: Any) -> Any:
        """The best one of every option at given prices [Hz]."""
        return pipelined_clock(
            self.xp, self.arrays, self.lowest, delay_price, energy_price, self.pipe
        )

    def extremes(self) -> Extremes:
        """Extremes of each device-round.

        The shortest delay is that of some option at the highest clock, the longest at the lowest;
        energy falls and then rises with the clock.
        """
        xp = self.xp
        no_price = xp.zeros_like(self.lowest)
        fast = self.costs(no_price + self.arrays.frequency_max_hz)
        slow = self.costs(self.lowest)
        thrifty = self.costs(self.clock(no_price, no_price + 1.0))
        return Extremes(
            xp.min(fast.delay_s, axis=0),
            xp.max(slow.delay_s, axis=0),
            xp.min(thrifty.energy_j, axis=0),
            xp.max(xp.maximum(fast.energy_j, slow.energy_j), axis=0),
        )

    def first(self, value: Any, slack: Any, *tables: Any) -> list[Any]:
        """The first option whose value is within `slack` of the least, and what tables say of it.

        The option comes with its cut and bits.
        """
        place = first_near(self.xp, value <= self.xp.min(value, axis=0) + slack)
        told = self.lines.told(self.device, place)
        return [*told, *(in_row(self.xp, table, place) for table in tables)]


def extremes_of(lines: Lines, device: Any, up: Any, down: Any) -> Extremes:
    """Extremes alone, for one-dimensional arrays of one length."""
    return _Rounds.of(lines, device, up, down).extremes()


def decide(lines: Lines, device: Any, up: Any, down: Any, weight: Any) -> tuple[Any, ...]:
    """The best option and clock of each device-round, for one-dimensional arrays of one length.

    Returns
    -------
    tuple[Any, ...]
        As `card.solver.optimum.decide` does.
    """
    rounds = _Rounds.of(lines, device, up, down)
    extremes = rounds.extremes()
    prices = unit_prices(lines.xp, extremes, weight)
    clock = rounds.clock(*prices)
    spent = rounds.costs(clock)
    delay, energy = spent.delay_s, spent.energy_j
    value = weighted_sum(extremes, *prices, delay, energy)
    slack = TIE + ROUNDING * most(extremes, *prices)
    told = rounds.first(value, slack, clock, delay, energy, value)
    return *told, rounds.lowest, *extremes


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

    A device that waits pays for every second of the round, which raises the price of delay.

    Returns
    -------
    tuple[Any, ...]
        As `decide` does, with the priced sum for the objective.
    """
    rounds = _Rounds.of(lines, device, up, down)
    extremes = rounds.extremes()
    waiting_w = lines.at(rounds.arrays.device_waiting_power_w, device)
    clock = rounds.clock(delay_price + device_energy_price * waiting_w, energy_price)
    spent = rounds.costs(clock)
    delay, energy = spent.delay_s, spent.energy_j
    # a device whose power is unknown has no price
    own = device_energy_price * lines.xp.nan_to_num(spent.device_energy_j)
    value = delay_price * delay + energy_price * energy + own
    slack = TIE * (most(extremes, delay_price, energy_price) + lines.xp.max(own, axis=0))
    told = rounds.first(value, slack, clock, delay, energy, value)
    return *told, rounds.lowest, *extremes
