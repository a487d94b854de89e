"""A general-purpose optimiser of pymoo on one device-round, beside those of `scipy_search`."""

from __future__ import annotations

from typing import Any

from card.base.errors import extra
from card.solver.scipy_search import Found, Space

POPULATION = 20
"""Decisions of a generation."""
GENERATIONS = 100
"""Generations in all."""


def by_genetic(space: Space, seed: int) -> Found:
    """Least objective by pymoo's genetic algorithm for mixed variables.

    Parameters
    ----------
    space
        What there is to choose from.
    seed
        Seed of the algorithm.

    Raises
    ------
    MissingExtraError
        If pymoo is not installed.

    Notes
    -----
    Blank and Deb 2020, doi 10.1109/ACCESS.2020.2990567.
    """
    with extra("search", "the policy genetic"):
        from pymoo.core.mixed import MixedVariableGA
        from pymoo.core.problem import ElementwiseProblem
        from pymoo.core.variable import Integer, Real
        from pymoo.optimize import minimize

    class Problem(ElementwiseProblem):  # type: ignore[misc]
        def _evaluate(self, x: dict[str, Any], out: dict[str, Any], *_: Any, **__: Any) -> None:
            out["F"] = space.at(x["option"], x["clock"]).value

    variables = {
        "option": Integer(bounds=(0, len(space.options) - 1)),
        "clock": Real(bounds=(space.low_hz, space.high_hz)),
    }
    found = minimize(
        Problem(vars=variables, n_obj=1),
        MixedVariableGA(pop_size=POPULATION),
        ("n_gen", GENERATIONS),
        seed=seed,
    )
    return space.at(found.X["option"], found.X["clock"])
