"""General-purpose optimisers as policies, which decide one device-round at a time.

They know nothing of the problem but the value of a decision, and need thousands of them where CARD
needs one cube root. So they are scored when they are asked for by name, on as few rounds as one
cares to wait for, beside the others on the same draws.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from card.base.arrays import backend_of
from card.costs import System
from card.policies.draws import Choice, Draws
from card.solver import Extremes
from card.solver.pymoo_search import by_genetic
from card.solver.scipy_search import Found, Space, by_evolution, plain_objective

Search = Callable[[Space, int], Found]
"""What looks for the least objective of a device-round, from a seed."""


def evolution(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """Differential evolution over option and clock together, by scipy.

    As `card.solver.scipy_search.by_evolution`; some hundredths of a second for each device-round.
    """
    return _one_by_one(system, draws, rng, by_evolution)


def genetic(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """A genetic algorithm over option and clock together, by pymoo (extra `search`).

    As `card.solver.pymoo_search.by_genetic`; about half a second for each device-round.
    """
    return _one_by_one(system, draws, rng, by_genetic)


def _one_by_one(system: System, draws: Draws, rng: np.random.Generator, search: Search) -> Choice:
    """Decisions of a search on every device-round, each from a seed of its own."""
    numpy = backend_of(draws.uplink_bps).numpy
    rows = zip(
        *(
            np.ravel(numpy(part)).tolist()
            for part in (draws.device, draws.uplink_bps, draws.downlink_bps)
        ),
        zip(*(np.ravel(numpy(end)) for end in draws.extremes), strict=True),
        rng.integers(2**31, size=draws.device.size).tolist(),
        strict=True,
    )
    found = [
        search(_space(system, device, up, down, Extremes(*ends)), seed)
        for device, up, down, ends, seed in rows
    ]
    option, clock = (
        np.reshape([getattr(one, name) for one in found], draws.device.shape)
        for name in ("option", "frequency_hz")
    )
    return option, clock


def _space(system: System, device: int, up: float, down: float, ends: Extremes) -> Space:
    """What there is to choose from in one device-round."""
    value = plain_objective(system, device, up, down, ends)
    options = np.flatnonzero(system.feasible[device]).tolist()
    low, high = float(system.frequency_min_hz[device]), float(system.frequency_max_hz)
    listed = system.clocks_hz
    clocks = [] if listed is None else listed[listed >= low].tolist()
    return Space(value, options, low, high, clocks)
