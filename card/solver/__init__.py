"""CARD itself: the cuts that can win, the clock that is best for them, and the optimum."""

from card.solver.budget import Budgeted, least_delay
from card.solver.clock import best_frequency, shared_clocks
from card.solver.decision import (
    Decision,
    compiled,
    extremes,
    objective,
    prices,
    round_by_round,
    solve,
    solve_exhaustive,
)
from card.solver.optimum import Extremes
from card.solver.pareto import pareto_front
from card.solver.pruning import extreme_cuts
