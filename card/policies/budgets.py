"""Other problems than the letter's: the devices' joules priced, and budgets of mean energy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from card.base.arguments import SMALLEST
from card.base.arrays import backend_of
from card.base.errors import ScenarioError
from card.base.units import FloatArray
from card.costs import System, evaluate
from card.policies.draws import Choice, Draws, choice
from card.solver import least_delay, prices, round_by_round, solve


def devices_priced(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """CARD where a joule of a device costs what one of the server costs in the same round."""
    # a weight next to nothing is nothing, for no price may be as small
    delay_price, energy_price = (
        price * (price >= SMALLEST) for price in prices(draws.extremes, system.delay_weight)
    )
    each = draws.device, draws.uplink_bps, draws.downlink_bps
    found = solve(
        system, *each, delay_price=delay_price, energy_price=energy_price,
        device_energy_price=energy_price,
    )  # fmt: skip
    return choice(found)


def budget(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """Least mean delay within the scenario's mean energies, or at CARD's own if it has none.

    With hindsight over all draws, by one price of a joule for all of them.
    """
    rounds = draws.device, draws.uplink_bps, draws.downlink_bps
    return choice(least_delay(system, *rounds, *_budgets(system, draws)).decision)


def budget_online(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """`budget` without hindsight: a joule costs more the further the rounds so far are over it.

    Each budget has a virtual queue, which grows in a round by the mean energy over devices and
    states and shrinks by the budget. Every round takes the decisions of least drift plus penalty,
    with V (`objective.queue_weight`) as the price of a second and the queue as that of a joule
    (Neely 2010, doi 10.2200/S00271ED1V01Y201006CNT007). So after n rounds the mean energy is at
    most the budget and an n-th of the queue.
    """
    return by_queues(system, draws, np.mean)


def by_queues(
    system: System, draws: Draws, held: Callable[[FloatArray], FloatArray | np.floating]
) -> Choice:
    """Decisions of least drift plus penalty in every round, at prices that are queues of energy.

    Parameters
    ----------
    system
        A scenario's arrays.
    draws
        The device-rounds, rounds along the last axis.
    held
        What is held to the budgets, of a round's energies over states and devices [J]: as many
        queues as it returns numbers.
    """
    budgets = _budgets(system, draws)
    queues: list[Any] = [0.0, 0.0]
    found = []
    decided = round_by_round(system, draws.device, draws.uplink_bps, draws.downlink_bps)
    for now in range(draws.device.shape[-1]):
        one = decided(now, system.queue_weight, *queues)
        found.append(choice(one))
        spent: Any = 0.0
        if budgets[1] is not None:  # or else nobody asks what the devices spend
            rates = draws.uplink_bps[..., now], draws.downlink_bps[..., now]
            spent = evaluate(system, draws.device[..., now], *found[-1], *rates).device_energy_j
        energies = one.energy_j, spent
        queues = [
            queue
            if limit is None
            else np.maximum(queue + held(backend_of(energy).numpy(energy)) - limit, 0.0)
            for queue, energy, limit in zip(queues, energies, budgets, strict=True)
        ]
    xp = backend_of(draws.uplink_bps).xp
    option, clock = (xp.stack(part, axis=-1) for part in zip(*found, strict=True))
    return option, clock


def _budgets(system: System, draws: Draws) -> tuple[float | None, float | None]:
    """Budgets of the server and of a device [J]; without any, what CARD's server spends."""
    given = system.energy_budget_j, system.device_energy_budget_j
    unknown_power = np.flatnonzero(np.isnan(system.device_power_w))
    if given[1] is not None and unknown_power.size:
        raise ScenarioError(
            f"objective.device_energy_budget_j = {given[1]:g} needs the power of "
            f"{system.device_names[unknown_power[0]]}; give its hardware max_power_w."
        )
    if any(given):
        return given
    decision = solve(system, draws.device, draws.uplink_bps, draws.downlink_bps)
    return float(decision.energy_j.mean()), None
