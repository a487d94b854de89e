"""Decision policies: CARD and what it is compared with, all with one call signature."""

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
from card.policies.checks import allowed, check_decision
from card.policies.draws import Choice, Draws, Policy, apart
from card.policies.rivals import (
    alternate,
    alternating_clock_first,
    alternating_cut_first,
    channel_blind,
    lyapunov,
    makespan,
)
from card.policies.searches import evolution, genetic
from card.policies.suite import (
    BEYOND,
    HALVES,
    POLICIES,
    RIVALS,
    SCORED,
    SEARCHES,
    SHIPPED,
    named,
)
