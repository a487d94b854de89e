"""Ways to choose a cut that the literature proposes, as far as they carry over to devices in turns.

Each is built from the public description that it cites, of which mostly the abstract is in our
hands. What that leaves open is `assumed`, and said with each. They are scored by the same costs as
CARD, on the same draws.
"""

from __future__ import annotations

import numpy as np

from card.base.arrays import backend_of
from card.base.units import FloatArray, IntArray
from card.costs import System, evaluate
from card.policies.benchmarks import (
    card_frequency,
    common_options,
    cut_only,
    scores,
    server_only,
)
from card.policies.budgets import by_queues
from card.policies.draws import Choice, Draws
from card.solver import solve
from card.solver.optimum import TIE

_FREE_BPS = 1e30
"""Rate of a link whose bits take no time that counts [bit/s]."""


def channel_blind(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """One option and clock for each device, by its memory and speed alone, whatever the channel.

    After ESFL (Zhu et al. 2024, arXiv 2402.15903), which fits each device's share of the model and
    of the server's computing to unlike devices. Assumed: the objective is CARD's with bits that
    take no time, decided once for all rounds. ESFL's devices train side by side and wait for the
    slowest, which has no counterpart where they take turns; what it knows of the link is left out.
    """
    found = solve(system, np.arange(system.num_devices), _FREE_BPS, _FREE_BPS)
    backend = backend_of(found.frequency_hz)
    option, clock = backend.numpy(found.option), backend.numpy(found.frequency_hz)
    return option[draws.device], clock[draws.device]


def makespan(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """One option for all devices of a round, that of the shortest makespan, at full clock.

    After workflow optimisation for parallel split learning (Tirana et al. 2024, arXiv 2402.10092)
    and the choice of split points of MP-SL (Tirana et al. 2024, arXiv 2402.00208), which look at
    time alone. Assumed: one server, which holds one copy of its part for all devices. In turns the
    makespan is the sum of the devices' delays, so there is nothing to schedule, and with a cut of
    its own for each device this would be `delay_optimal`.
    """
    _, top = server_only(system, draws, rng)
    rates = draws.uplink_bps, draws.downlink_bps
    common = np.flatnonzero(common_options(system, "makespan")).tolist()

    def taken_s(option: int) -> FloatArray:
        delay = evaluate(system, draws.device, option, top, *rates).delay_s
        each = np.atleast_2d(backend_of(delay).numpy(delay))
        total: FloatArray = each.sum(axis=-2, keepdims=True)
        return total

    best = np.array(common)[np.array(list(map(taken_s, common))).argmin(axis=0)]
    spread = np.broadcast_to(best, np.atleast_2d(draws.device).shape)
    return spread.reshape(draws.device.shape), top


def lyapunov(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """Drift plus penalty round by round, with a queue of energy for every device of its own.

    After OPEN (Li et al. 2024, arXiv 2403.05158): least mean delay within a long-term energy, by
    the current round alone. It differs from `budget_online` in who is held to the budget: each
    device's turns by themselves, in each channel state, in place of the mean over all of them, so
    that no device may spend what another leaves. Assumed: these queues, and budgets and V that are
    those of `budget_online`. OPEN searches clock and cut in two layers; here both are exact.
    """
    return by_queues(system, draws, np.asarray)


def alternating_cut_first(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """`alternate` from the full clock, for which the cut is chosen first."""
    return alternate(system, draws, *cut_only(system, draws, rng))


def alternating_clock_first(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """`alternate` from the decision of `server_only`, for whose cut the clock is chosen first."""
    return alternate(system, draws, *server_only(system, draws, rng))


def alternate(system: System, draws: Draws, option: IntArray, clock_hz: FloatArray) -> Choice:
    """The best clock for an option, the best option for a clock, and again till nothing changes.

    Block-coordinate descent (Tseng 2001, doi 10.1023/A:1017501703105) on CARD's own objective, with
    its own exact steps, which is how the literature often solves such problems. No step makes
    anything worse, yet where none improves need not be the joint optimum: with the whole LLM on the
    device any clock is as good, so nothing calls for the one at which the server would be worth
    asking. A step is taken only if it lowers the objective, by more than what counts as a tie.

    Parameters
    ----------
    system
        A scenario's arrays.
    draws
        The device-rounds.
    option
        Options to start from, of the shape of the draws.
    clock_hz
        Server clocks to start from [Hz], which broadcast to it.
    """
    backend = backend_of(draws.uplink_bps)
    clock = np.broadcast_to(backend_of(clock_hz).numpy(clock_hz), draws.device.shape)
    value = scores(system, draws, option, clock)
    while True:
        other = backend.numpy(card_frequency(system, draws, option))
        quicker = scores(system, draws, option, other)
        moved = quicker < value - TIE
        clock, value = np.where(moved, other, clock), np.where(moved, quicker, value)
        every = np.array([scores(system, draws, one, clock) for one in range(system.num_options)])
        changed = every.min(axis=0) < value - TIE
        if not changed.any():
            return option, clock
        option = np.where(changed, every.argmin(axis=0), option)
        value = np.where(changed, every.min(axis=0), value)
