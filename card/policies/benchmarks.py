"""CARD, the benchmarks it is compared with, and what is left of it without one of its decisions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from card.base.arrays import backend_of
from card.base.errors import ScenarioError
from card.base.units import BoolArray, FloatArray, IntArray
from card.costs import System, evaluate
from card.policies.draws import Choice, Draws, choice
from card.solver import (
    best_frequency,
    extreme_cuts,
    objective,
    prices,
    shared_clocks,
    solve,
    solve_exhaustive,
)


def card(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """CARD: the joint optimum of each device-round."""
    return choice(solve(system, draws.device, draws.uplink_bps, draws.downlink_bps))


def exhaustive(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """The joint optimum by a search over every feasible option."""
    return choice(solve_exhaustive(system, draws.device, draws.uplink_bps, draws.downlink_bps))


def delay_optimal(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """Shortest delay, whatever the server's energy (w = 1)."""
    return choice(solve(system, draws.device, draws.uplink_bps, draws.downlink_bps, 1.0))


def energy_optimal(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """Least server energy, whatever the delay (w = 0)."""
    return choice(solve(system, draws.device, draws.uplink_bps, draws.downlink_bps, 0.0))


def device_only(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """Everything on the device, or as many blocks as fit it; the server's clock is CARD's."""
    cut = np.where(system.feasible, system.profile.cut, -1).argmax(axis=1)[draws.device]
    return cut, card_frequency(system, draws, cut)


def server_only(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """As much on the server as fits it and the cut range allows, at full clock."""
    first = np.where(system.feasible, system.profile.cut, system.num_options).argmin(axis=1)
    backend = backend_of(system.frequency_max_hz)
    top = backend.floats(system.frequency_max_hz)
    return first[draws.device], backend.xp.broadcast_to(top, draws.device.shape)


def random_cut(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """A cut drawn evenly from the feasible ones; the server's clock is CARD's."""
    feasible = _at_first_bits(system)
    counts = feasible.sum(axis=1)
    ordered = np.argsort(~feasible, axis=1, kind="stable")
    pick = (rng.random(draws.device.shape) * counts[draws.device]).astype(np.int64)
    cut = ordered[draws.device, pick]
    return cut, card_frequency(system, draws, cut)


def static_cut(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """The one option and clock, the same for all devices and states, of lowest mean objective.

    Chosen with hindsight over all draws, so no other static decision is better on them.
    """
    common = common_options(system, "static_cut")
    rates = draws.uplink_bps, draws.downlink_bps
    unit = prices(draws.extremes, system.delay_weight)
    if system.in_flight > 1:
        choices = [
            (int(cut), float(clock))
            for cut in np.flatnonzero(common)
            for clock in shared_clocks(system, draws.device, int(cut), *rates, *unit)
        ]
    else:
        slowest = np.array([int(np.argmax(system.frequency_min_hz))])
        mean_prices = unit[0].mean(), unit[1].mean()
        choices = [
            (cut, float(best_frequency(system, slowest, *mean_prices, cut)[0]))
            for cut in extreme_cuts(
                system.profile, common, system.server_launch_s, *system.device_launch_s
            )
        ]

    def score(choice: tuple[int, float]) -> float:
        costs = evaluate(system, draws.device, *choice, *rates)
        return float(
            objective(draws.extremes, system.delay_weight, costs.delay_s, costs.energy_j).mean()
        )

    cut, clock = min(choices, key=score)
    shape = draws.device.shape
    return np.full(shape, cut), np.full(shape, clock)


def clock_only(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """The cut of `server_only`; the server's clock is CARD's."""
    cut, _ = server_only(system, draws, rng)
    return cut, card_frequency(system, draws, cut)


def cut_only(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """The best option of each device-round at the clock of `server_only`, which is full."""
    _, top = server_only(system, draws, rng)
    every = [scores(system, draws, option, top) for option in range(system.num_options)]
    return np.array(every).argmin(axis=0), top


def scores(system: System, draws: Draws, option: IntArray | int, clock_hz: ArrayLike) -> FloatArray:
    """Objective (U) of given options and clocks, infinite where an option is not feasible [1].

    Parameters
    ----------
    system
        A scenario's arrays.
    draws
        The device-rounds.
    option
        Options, which broadcast to the shape of the draws.
    clock_hz
        Server clocks [Hz], likewise.
    """
    rates = draws.uplink_bps, draws.downlink_bps
    costs = evaluate(system, draws.device, option, clock_hz, *rates)
    value = objective(draws.extremes, system.delay_weight, costs.delay_s, costs.energy_j)
    return np.where(system.feasible[draws.device, option], backend_of(value).numpy(value), np.inf)


def common_options(system: System, policy: str) -> BoolArray:
    """Options that fit every device, shape `(options,)`.

    Raises
    ------
    ScenarioError
        If there is none, which the policy of that name needs.
    """
    common: BoolArray = np.logical_and.reduce(system.feasible, axis=0)
    if not common.any():
        raise ScenarioError(f"policies: {policy} needs a cut that fits every device; none does.")
    return common


def _at_first_bits(system: System) -> BoolArray:
    """Feasible options, of each cut that at the first listed bits where it is feasible."""
    by_bits = system.feasible.reshape(system.num_devices, -1, system.num_blocks + 1)
    first: BoolArray = by_bits & (by_bits.cumsum(axis=1) == 1)
    return first.reshape(system.feasible.shape)


def card_frequency(system: System, draws: Draws, cut: IntArray) -> FloatArray:
    """Clock that CARD gives a cut."""
    delay_price, energy_price = prices(draws.extremes, system.delay_weight)
    rates = draws.uplink_bps, draws.downlink_bps
    return best_frequency(system, draws.device, delay_price, energy_price, cut, *rates)
