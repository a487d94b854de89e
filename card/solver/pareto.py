"""The Pareto front of one device-round: every trade of delay against server energy worth making."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from card.base.errors import ScenarioError
from card.base.units import FloatArray, IntArray
from card.costs import System, evaluate, server_cycles
from card.solver.clock import Pipe, best_frequency
from card.solver.decision import solve


class Front(NamedTuple):
    """Efficient decisions by growing delay; arrays of one shape."""

    delay_s: FloatArray
    """Delay of the round [s]."""
    energy_j: FloatArray
    """Least server energy of any decision that is as fast [J]."""
    cut: IntArray
    """Blocks on the device."""


def pareto_front(
    system: System, device: int, uplink_bps: float, downlink_bps: float, deadlines: int = 2001
) -> Front:
    """Efficient decisions of one device-round for a continuous clock, without any weight.

    For a deadline, each option needs at least the clock that meets it, and never one below the
    clock of least energy; the option that then takes the least energy is efficient.

    Parameters
    ----------
    system
        The arrays of a scenario.
    device
        Device position.
    uplink_bps, downlink_bps
        Link rates [bit/s].
    deadlines
        Deadlines [1] from the smallest to the largest delay, evenly spaced.

    Raises
    ------
    ScenarioError
        If the server offers a list of clocks, or a value is out of range.

    Notes
    -----
    The front is :eq:`eq-deadline` of the book.
    """
    if system.clocks_hz is not None:
        raise ScenarioError(
            f"server.clocks_hz or server.clock_step_hz gives a list of {len(system.clocks_hz)} "
            f"clocks, and the front is that of a continuous one; set both to null."
        )
    latest_s = float(solve(system, device, uplink_bps, downlink_bps).extremes.delay_max_s)
    top = system.frequency_max_hz
    options = np.flatnonzero(system.feasible[device])
    fast = evaluate(system, device, options, top, uplink_bps, downlink_bps)
    cycles = server_cycles(system, options)
    due = np.linspace(fast.delay_s.min(), latest_s, deadlines)[:, None]
    # nobody runs below the clock of least energy, which is slower and dearer
    needed = best_frequency(system, np.array(device), 0.0, 1.0, options, uplink_bps, downlink_bps)
    # a round is the longer of two: the server is the slowest stage, or it is not
    ahead_s = fast.busy_s - Pipe.of(system, options, fast).spare_s
    hidden = 1.0 - 1.0 / system.in_flight
    for slower_s, share in ((-ahead_s, 1.0), (ahead_s, 1.0 / system.in_flight)):
        last_s = fast.delay_s - hidden * np.maximum(slower_s, 0.0)
        fixed_s = last_s - share * cycles / top
        with np.errstate(divide="ignore", invalid="ignore"):
            clock = np.where(
                due >= fixed_s, np.nan_to_num(share * cycles / (due - fixed_s)), np.inf
            )
        needed = np.maximum(needed, clock)
    # rounding must not deny the first deadline to the cut that sets it
    meets = needed <= top * (1 + 1e-12)
    clocks = np.minimum(needed, top)
    served = evaluate(system, device, options, clocks, uplink_bps, downlink_bps)
    best = np.argmin(np.where(meets, served.energy_j, np.inf), axis=1)
    at = np.arange(len(best)), best
    delay_s, energy_j = served.delay_s[at], served.energy_j[at]
    kept = np.diff(np.minimum.accumulate(energy_j), prepend=np.inf) < 0
    return Front(delay_s[kept], energy_j[kept], system.profile.cut[options[best[kept]]])
