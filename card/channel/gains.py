"""The radio channel: path loss, shadowing, fading, and the rate that a round sees."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from card.base.arrays import backend_of, stacked
from card.base.errors import ScenarioWarning
from card.base.units import FloatArray, db_to_linear
from card.scenario import Link, Scenario


def mean_gain(distance_m: ArrayLike, path_loss_exponent: ArrayLike, loss_db: float) -> FloatArray:
    """Channel power gain without shadowing, g = g₀ d^-γ [1].

    Parameters
    ----------
    distance_m
        Distance [m], at least 1 m.
    path_loss_exponent
        Path-loss exponent γ [1].
    loss_db
        Loss at 1 m [dB].

    Notes
    -----
    Log-distance law, :eq:`eq-gain` of the book without X; see Goldsmith, Wireless Communications
    (2005).

    Examples
    --------
    >>> mean_gain(100.0, 3.5, loss_db=30.0)  # 30 dB at 1 m, 70 dB more at 100 m
    np.float64(1e-10)
    """
    backend = backend_of(distance_m, path_loss_exponent, loss_db)
    distance, exponent = backend.floats(distance_m), backend.floats(path_loss_exponent)
    gain: FloatArray = db_to_linear(-loss_db) * distance**-exponent
    return gain


def draw_gains(rng: np.random.Generator, gain: ArrayLike, link: Link, rounds: int) -> FloatArray:
    """Channel gains of every round, the only randomness of the model.

    Parameters
    ----------
    rng
        Source of randomness.
    gain
        Gain without shadowing [1], any shape.
    link
        Shadowing and fading of the link.
    rounds
        Rounds to draw.

    Returns
    -------
    FloatArray
        Gains [1] of shape `(*gain.shape, rounds, K)`, the same for uplink and downlink; K is
        `fading_draws` for block fading, else 1 (fast fading then enters `rate_bps`).

    Notes
    -----
    Equation :eq:`eq-gain` of the book, its shadowing X drawn once per round; where it is correlated
    over rounds, by :eq:`eq-drift`.
    """
    backend = backend_of(gain, link.shadowing_db)
    mean = backend.floats(gain)[..., None]
    drawn = rng.standard_normal((*mean.shape[:-1], rounds))
    normal = backend.floats(_drifting(drawn, link.shadowing_coherence_rounds))
    shadowing = db_to_linear(link.shadowing_db * normal)
    shadowed: FloatArray = (mean * shadowing)[..., None]
    if link.fading != "block":
        return shadowed
    if link.fading_draws == 1:
        warnings.warn(
            "one Rayleigh draw per round has no finite mean delay: averages grow with the number "
            "of rounds; raise link.fading_draws or use link.fading = ergodic",
            ScenarioWarning,
            stacklevel=2,
        )
    rayleigh = backend.floats(rng.standard_exponential((*shadowed.shape[:-1], link.fading_draws)))
    gains: FloatArray = shadowed * rayleigh
    return gains


def _drifting(normal: FloatArray, coherence_rounds: float) -> FloatArray:
    """Standard normals of which each remembers the one before, along the last axis."""
    if not coherence_rounds:
        return normal
    from scipy.signal import lfilter  # slow to load

    kept = math.exp(-1.0 / coherence_rounds)
    fresh = math.sqrt(1.0 - kept * kept) * normal
    fresh[..., 0] = normal[..., 0]
    drifting: FloatArray = lfilter([1.0], [1.0, -kept], fresh)
    return drifting


def scenario_gain(scenario: Scenario) -> FloatArray:
    """Gain without shadowing [1] of every channel state and device, shape `(states, devices)`."""
    distances = stacked([device.distance_m for device in scenario.devices])

    def gain(cell: Scenario, at: Any) -> tuple[FloatArray]:
        exponents = stacked([s.path_loss_exponent for s in cell.channel_states.values()])
        return (mean_gain(distances[at], exponents[:, None], cell.link.reference_loss_db),)

    gains: FloatArray = over_cells(scenario, gain)[0]
    return gains


def over_cells(
    scenario: Scenario, function: Callable[[Scenario, Any], tuple[Any, ...]]
) -> tuple[Any, ...]:
    """Arrays `(states, devices, ...)` of a function, called once for all devices with equal links.

    Parameters
    ----------
    scenario
        Its devices may have links of their own.
    function
        Gets a scenario whose link is that of some devices, and what picks them along their axis;
        returns arrays `(states, those devices, ...)`.
    """
    cells = scenario.cells
    if len(cells) == 1:
        return function(cells[0][0], slice(None))
    parts = zip(*(function(cell, at) for cell, at in cells), strict=True)
    order = np.argsort([index for _, at in cells for index in at])
    joined = ((backend_of(*part).xp, list(part)) for part in parts)
    return tuple(xp.concat(part, axis=1)[:, order] for xp, part in joined)


def shadowing_db(scenario: Scenario) -> Any:
    """Standard deviation of shadowing [dB], of all devices or `(devices, 1)` where they differ."""
    own = {index: cell.link.shadowing_db for cell, at in scenario.cells for index in at}
    return (
        own[0] if len(set(own.values())) == 1 else stacked([own[i] for i in sorted(own)])[:, None]
    )
