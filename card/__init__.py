"""CARD: cut layer and computing resource decision for split fine-tuning of LLMs at the edge."""

from card.claims import Claim, claims
from card.costs import Costs, CutProfile, System, cut_profile, evaluate, system
from card.refusal import ScenarioError
from card.scenario import Scenario, load_scenario
from card.simulate import simulate
from card.solver import Decision, solve, solve_exhaustive
from card.sweep import Calibration, CalibrationError, Target, calibrate, sweep

__all__ = [
    "Calibration",
    "CalibrationError",
    "Claim",
    "Costs",
    "CutProfile",
    "Decision",
    "Scenario",
    "ScenarioError",
    "System",
    "Target",
    "calibrate",
    "claims",
    "cut_profile",
    "evaluate",
    "load_scenario",
    "simulate",
    "solve",
    "solve_exhaustive",
    "sweep",
    "system",
]
