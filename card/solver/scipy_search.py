"""General-purpose optimisers on one device-round, which know nothing of its closed form.

They score with a cost function of their own, written from the book's equations in plain arithmetic,
so that neither the optimum nor the costs are checked against themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from card.base.units import FloatArray
from card.costs import System
from card.costs.arrays import of_device
from card.solver.optimum import Extremes

Objective = Callable[[int, float], float]
"""U of one device-round at an option (a cut, and bits) and a server clock [Hz]."""


def plain_objective(
    system: System, device: int, uplink_bps: float, downlink_bps: float, extremes: Extremes
) -> Objective:
    """U of one device-round by :eq:`eq-delay`, :eq:`eq-energy` and :eq:`eq-problem` of the book.

    With several micro-batches in flight, by :eq:`eq-pipeline`.

    Parameters
    ----------
    system
        The arrays of a scenario.
    device
        Device position.
    uplink_bps, downlink_bps
        Link rates [bit/s].
    extremes
        What normalises delay and energy; a term that nothing can change is left out.
    """
    p, rounds, w = system.profile, system.local_iterations, system.delay_weight
    rate_flops = system.throughput_flops[device]
    time_span = float(extremes.delay_max_s - extremes.delay_min_s) or np.inf
    energy_span = float(extremes.energy_max_j - extremes.energy_min_j) or np.inf

    def value(c: int, hz: float) -> float:
        busy_s = rounds * p.server_flop[c] / (system.flops_per_hz * hz) + rounds * (
            system.server_overhead_s[c] - system.server_launch_s[c]
        )
        sent_s = p.uplink_bit[c] / uplink_bps, p.downlink_bit[c] / downlink_bps
        adapters_s = p.adapter_bit[c] / uplink_bps + p.adapter_bit[c] / downlink_bps
        trips = rounds * p.messages[c] + (2 if p.adapter_bit[c] else 0)
        own_s = p.device_flop[c] / rate_flops + system.device_overhead_s[device, c]
        waited_s = (
            rounds * (own_s + sum(sent_s) + system.server_launch_s[c])
            + adapters_s
            + trips * of_device(system.round_trip_s, device)
        )
        power_w = (
            system.static_power_w
            + system.linear_power_w_per_hz * hz
            + system.power_coefficient * hz**3
        )
        down = p.messages[c] // 2
        trips_s = of_device(system.round_trip_s, device)
        stages_s = (
            rounds * own_s,
            rounds * (sent_s[0] + (p.messages[c] - down) * trips_s),
            rounds * system.server_launch_s[c] + busy_s,
            rounds * (sent_s[1] + down * trips_s),
        )
        saved_s = (sum(stages_s) - max(stages_s)) * (1 - 1 / system.in_flight)
        delay_s = waited_s + busy_s - saved_s
        energy_j = busy_s * power_w + (waited_s - saved_s) * system.waiting_power_w
        slow, hungry = (
            delay_s - float(extremes.delay_min_s),
            energy_j - float(extremes.energy_min_j),
        )
        return float(w * slow / time_span + (1 - w) * hungry / energy_span)

    return value


class Found(NamedTuple):
    """A decision that an optimiser ends with."""

    value: float
    """Objective (U) [1]."""
    option: int
    """Option."""
    frequency_hz: float
    """Server clock [Hz]."""


class Space(NamedTuple):
    """Options and clocks of one device-round as two numbers, for optimisers that know no more."""

    objective: Objective
    """U at an option and a clock."""
    options: Sequence[int]
    """Options to choose from, by their places."""
    low_hz: float
    """Lowest clock [Hz]."""
    high_hz: float
    """Highest clock [Hz]."""
    clocks_hz: Sequence[float] = ()
    """Clocks on offer [Hz], the nearest of which is taken; any clock where there is no list."""

    def at(self, place: float, clock_hz: float) -> Found:
        """The decision that two numbers stand for."""
        option, hz = self.options[round(place)], float(clock_hz)
        if len(self.clocks_hz):
            hz = min(self.clocks_hz, key=lambda offered: abs(offered - hz))
        return Found(self.objective(option, hz), option, hz)


def by_clock(value: Objective, cuts: Sequence[int], low_hz: float, high_hz: float) -> float:
    """Least objective by a bounded scalar search over the clock for every cut, ends included.

    Parameters
    ----------
    value
        U at an option and a clock.
    cuts
        Options to choose from.
    low_hz
        Lowest clock [Hz].
    high_hz
        Highest clock [Hz].
    """
    from scipy.optimize import minimize_scalar  # slow to load, and used in one chapter

    best = [value(cut, hz) for cut in cuts for hz in (low_hz, high_hz)]
    for cut in cuts:
        found = minimize_scalar(
            partial(value, cut), bounds=(low_hz, high_hz), method="bounded", options={"xatol": 1.0}
        )
        best.append(found.fun)
    return float(min(best))


def by_evolution(space: Space, seed: int) -> Found:
    """Least objective by differential evolution over an integer option and the clock together.

    Parameters
    ----------
    space
        What there is to choose from.
    seed
        Seed of the evolution.

    Notes
    -----
    Storn and Price 1997, doi 10.1023/A:1008202821328, as scipy has it.
    """
    from scipy.optimize import Bounds, differential_evolution  # as above

    def value(x: FloatArray) -> float:
        return space.at(*x).value

    found = differential_evolution(
        value,
        bounds=Bounds([0, space.low_hz], [len(space.options) - 1, space.high_hz]),
        integrality=[True, False],
        tol=1e-10,
        rng=seed,
    )
    return space.at(*found.x)
