"""CARD: cut layer and computing resource decision for split fine-tuning of LLMs at the edge.

Names load with their modules on first use, so that `import card` costs next to nothing.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from card.claims import Claim, claims
    from card.costs import Costs, System, evaluate, system
    from card.cuts import CutProfile, cut_profile
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

_HOMES = {
    "claims": ("Claim", "claims"),
    "costs": ("Costs", "System", "evaluate", "system"),
    "cuts": ("CutProfile", "cut_profile"),
    "refusal": ("ScenarioError",),
    "scenario": ("Scenario", "load_scenario"),
    "simulate": ("simulate",),
    "solver": ("Decision", "solve", "solve_exhaustive"),
    "sweep": ("Calibration", "CalibrationError", "Target", "calibrate", "sweep"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


class _Package(ModuleType):
    """The package, whose functions keep their names where a module has the same one."""

    def __getattr__(self, name: str) -> Any:
        if name not in _HOME_OF:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{self.__name__}.{_HOME_OF[name]}"), name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # importing card.simulate would otherwise put that module in the place of its function
        hides = isinstance(value, ModuleType) and _HOME_OF.get(name) == name
        super().__setattr__(name, getattr(value, name) if hides else value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
