"""The shipped policies by name."""

from __future__ import annotations

from collections.abc import Iterable

from card.base.functions import functions
from card.policies.benchmarks import (
    card,
    clock_only,
    cut_only,
    delay_optimal,
    device_only,
    energy_optimal,
    exhaustive,
    random_cut,
    server_only,
    static_cut,
)
from card.policies.budgets import budget, budget_online, devices_priced
from card.policies.draws import Policy
from card.policies.rivals import (
    alternating_clock_first,
    alternating_cut_first,
    channel_blind,
    lyapunov,
    makespan,
)
from card.policies.searches import evolution, genetic

POLICIES: dict[str, Policy] = {
    "card": card,
    "device_only": device_only,
    "server_only": server_only,
    "random_cut": random_cut,
    "static_cut": static_cut,
    "delay_optimal": delay_optimal,
    "energy_optimal": energy_optimal,
    "exhaustive": exhaustive,
}
"""CARD and its benchmarks, which are compared where nobody names policies.

Those that decide no bits take the first listed ones.
"""

HALVES: dict[str, Policy] = {"clock_only": clock_only, "cut_only": cut_only}
"""What is left of CARD without one of its two decisions."""

BEYOND: dict[str, Policy] = {
    "devices_priced": devices_priced,
    "budget": budget,
    "budget_online": budget_online,
}
"""What solves other problems than the letter's, with prices of joules in place of its weights."""

RIVALS: dict[str, Policy] = {
    "channel_blind": channel_blind,
    "makespan": makespan,
    "lyapunov": lyapunov,
    "alternating_cut_first": alternating_cut_first,
    "alternating_clock_first": alternating_clock_first,
}
"""What the literature proposes, as far as it carries over to devices in turns."""

SCORED: dict[str, Policy] = POLICIES | HALVES | BEYOND | RIVALS
"""All that decide many device-rounds at once, which a scorecard compares."""

SEARCHES: dict[str, Policy] = {"evolution": evolution, "genetic": genetic}
"""General optimisers, which take a long time and are scored where they are named."""

SHIPPED: dict[str, Policy] = SCORED | SEARCHES
"""Every policy that has a name."""


def named(names: Iterable[str]) -> dict[str, Policy]:
    """Policies by name, in the order given; FILE.py:FUNCTION goes by the function's name.

    Raises
    ------
    ScenarioError
        If a name is unknown, or a function's file, or its name, is refused.
    """
    return functions("policies", names, SHIPPED)
