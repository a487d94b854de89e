"""CARD: cut layer and computing resource decision for split fine-tuning of LLMs at the edge.

Names load with their modules on first use, so that `import card` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    """Version of the package."""
    from card.base.errors import ScenarioError
    from card.costs import Costs, System, evaluate, load_scenario, system
    from card.llm import CutProfile, cut_profile
    from card.scenario import Scenario
    from card.simulation import simulate
    from card.solver import Decision, solve, solve_exhaustive
    from card.studies.benchmark import benchmark
    from card.studies.calibration import Calibration, CalibrationError, Target, calibrate
    from card.studies.claims import Claim, claims
    from card.studies.sweep import sweep

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
    "benchmark",
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

_HOMES = {
    "base.errors": ("ScenarioError",),
    "costs": ("Costs", "System", "evaluate", "load_scenario", "system"),
    "llm": ("CutProfile", "cut_profile"),
    "scenario": ("Scenario",),
    "simulation": ("simulate",),
    "solver": ("Decision", "solve", "solve_exhaustive"),
    "studies.benchmark": ("benchmark",),
    "studies.calibration": ("Calibration", "CalibrationError", "Target", "calibrate"),
    "studies.claims": ("Claim", "claims"),
    "studies.sweep": ("sweep",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        from card.base import DISTRIBUTION

        return version(DISTRIBUTION)
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
