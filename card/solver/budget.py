"""The least mean delay within budgets of energy, by one price of a joule for all device-rounds.

CARD normalises every device-round by its own extremes, so that a joule is dear in one round and
cheap in another. For means over rounds that is wasteful: within a mean energy, the least mean delay
has one price of a joule for all, the multiplier of the budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from numpy.typing import ArrayLike

from card.base.errors import ScenarioError
from card.costs import System, evaluate
from card.scenario import Scenario
from card.solver.decision import Decision, solve
from card.solver.optimum import TIE

_HIGHEST = 1e12
"""A price of a joule [s/J] at which delay counts for nothing."""
_CLOSE = 1e-7
"""Relative distance between two prices that counts as none."""


class Budgeted(NamedTuple):
    """Decisions within budgets, and how far they may be from the best."""

    decision: Decision
    """Option and clock of each device-round."""
    energy_price: float
    """What a joule of the server costs [s/J], the multiplier of its budget."""
    device_energy_price: float
    """What a joule of a device costs [s/J]."""
    gap_s: float
    """Mean delay above which these decisions are no more than so far from the least [s]."""


class _Trial(NamedTuple):
    """Decisions at two prices, with what they take on the average."""

    decision: Decision
    prices: tuple[float, ...]
    delay_s: float
    over_j: list[float]
    """Mean energies of server and devices beyond their budgets, by more than a tie may differ."""

    @property
    def bound_s(self) -> float:
        """A mean delay that no decisions within the budgets go below (weak duality)."""
        return self.delay_s + sum(p * o for p, o in zip(self.prices, self.over_j, strict=True) if p)


def least_delay(
    system: System | Scenario,
    device: ArrayLike,
    uplink_bps: ArrayLike,
    downlink_bps: ArrayLike,
    energy_budget_j: float | None = None,
    device_energy_budget_j: float | None = None,
) -> Budgeted:
    """Decisions of least mean delay whose mean energies keep within budgets.

    Parameters
    ----------
    system
        A scenario, or its arrays.
    device
        Device positions.
    uplink_bps, downlink_bps
        Link rates [bit/s]; all three broadcast, and means are over all device-rounds.
    energy_budget_j
        Mean server energy of a device-round at most [J]; none when None.
    device_energy_budget_j
        Mean energy of a device in its round at most [J]; none when None.

    Raises
    ------
    ScenarioError
        If no decisions keep within a budget.

    Notes
    -----
    Equation :eq:`eq-budget` of the book.

    The dual of the problem is concave in the two prices, and what a joule costs falls with its own
    budget: the server's price is found by bisection for each price of the devices', and that one by
    bisection around it. Decisions at given prices are exact, so every trial bounds the least mean
    delay from below, and the best bound says how far the decisions returned are from it.
    """
    arrays = System.of(system)
    limits = energy_budget_j, device_energy_budget_j
    best: _Trial | None = None
    bound_s = 0.0

    def at(*prices: float) -> _Trial:
        nonlocal best, bound_s
        paid = dict(zip(("energy_price", "device_energy_price"), prices, strict=True))
        found = solve(arrays, device, uplink_bps, downlink_bps, delay_price=1.0, **paid)
        spent = evaluate(arrays, device, found.option, found.frequency_hz, uplink_bps, downlink_bps)
        over = [
            -math.inf if limit is None else float(energy.mean()) - limit * (1 + TIE)
            for energy, limit in zip((spent.energy_j, spent.device_energy_j), limits, strict=True)
        ]
        one = _Trial(found, prices, float(spent.delay_s.mean()), over)
        bound_s = max(bound_s, one.bound_s)
        if max(over) <= 0 and (best is None or one.delay_s < best.delay_s):
            best = one
        return one

    def server_priced(device_price: float) -> _Trial:
        highest = _HIGHEST * (1.0 + device_price)
        return _least_price(
            lambda price: at(price, device_price), highest, 0, "energy_budget_j", limits[0] or 0.0
        )

    _least_price(server_priced, _HIGHEST, 1, "device_energy_budget_j", limits[1] or 0.0)
    assert best is not None
    price, device_price = best.prices
    return Budgeted(best.decision, price, device_price, max(best.delay_s - bound_s, 0.0))


def _least_price(
    trial: Callable[[float], _Trial], highest: float, end: int, name: str, budget_j: float
) -> _Trial:
    """The trial at the least price, but for rounding, at which one end keeps within its budget."""
    found = trial(0.0)
    if found.over_j[end] <= 0:
        return found
    low, high = 0.0, 1e-3
    while (found := trial(high)).over_j[end] > 0:
        low, high = high, 10 * high
        if high > highest:
            least_j = budget_j + found.over_j[end]
            raise ScenarioError(
                f"{name} = {budget_j:g} is not allowed; give at least {least_j:.6g} J, the least "
                "that any price leads to."
            )
    while high - low > _CLOSE * high:
        middle = (low + high) / 2
        one = trial(middle)
        if one.over_j[end] <= 0:
            high, found = middle, one
        else:
            low = middle
    return found
