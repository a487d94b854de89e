"""Which decisions may be taken, whoever takes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from card.base.arguments import check_index, check_positive, check_shapes
from card.base.arrays import backend_of
from card.base.errors import ScenarioError
from card.base.units import BoolArray, FloatArray
from card.costs import System

_ROUNDING = 1e-9
"""Relative error that a clock may have."""
_DIGITS = ".12g"
"""How a refusal writes clocks: closer than `_ROUNDING`, so that what it offers is accepted."""


def check_decision(system: System, device: Any, cut: Any, frequency_hz: Any) -> None:
    """Refuse a cut that does not fit device and server, or a clock that the server does not have.

    Parameters
    ----------
    system
        A scenario's arrays.
    device
        Device positions.
    cut
        Options, of a shape that broadcasts with the others; the cuts 0..I are the first of them.
    frequency_hz
        Server clocks [Hz].

    Raises
    ------
    ScenarioError
        If a value is out of its range or not finite, a cut not feasible by :eq:`eq-feasible`, or a
        clock not allowed by :eq:`eq-clock-range` or not on a list of clocks.
    """
    backend = backend_of(device, cut, frequency_hz)
    given = {
        "device": check_index("device", device, system.num_devices, backend),
        "cut": check_index("cut", cut, system.num_options, backend),
        "frequency_hz": check_positive("frequency_hz", frequency_hz, backend),
    }
    check_shapes(**given)
    device, cut, clock = np.broadcast_arrays(*map(backend.numpy, given.values()))
    misfits, outside, unlisted = _wrong(system, device, cut, clock)
    if misfits.any():
        index, wrong = device[misfits][0], cut[misfits][0]
        fits = np.flatnonzero(system.feasible[index])
        raise ScenarioError(
            f"cut = {wrong} does not fit {system.device_names[index]} and the server; give one of "
            f"{', '.join(map(str, fits))}."
        )
    if outside.any():
        index, (lowest, highest) = device[outside][0], _clock_range(system)
        raise ScenarioError(
            f"frequency_hz = {clock[outside][0]:{_DIGITS}} is not allowed; give "
            f"{lowest[index]:{_DIGITS}} to {highest:{_DIGITS}} Hz for {system.device_names[index]}."
        )
    if system.clocks_hz is not None and unlisted.any():
        offered = ", ".join(f"{item:{_DIGITS}}" for item in system.clocks_hz)
        raise ScenarioError(
            f"frequency_hz = {clock[unlisted][0]:{_DIGITS}} is not on the list; give one of "
            f"{offered}."
        )


def allowed(system: System, device: Any, cut: Any, frequency_hz: Any) -> BoolArray:
    """Whether each decision may be taken, as `check_decision` says, whatever numbers it has.

    Returns
    -------
    BoolArray
        One truth value per decision, of their broadcast shape.
    """
    backend = backend_of(device, cut, frequency_hz)
    device, cut, clock = np.broadcast_arrays(*map(backend.numpy, (device, cut, frequency_hz)))
    known = np.isin(cut, np.arange(system.num_options))
    misfits, outside, unlisted = _wrong(system, device, np.where(known, cut, 0).astype(int), clock)
    whole: BoolArray = known & np.isfinite(clock) & ~(misfits | outside | unlisted)
    return whole


def _wrong(system: System, device: Any, cut: Any, clock: Any) -> tuple[BoolArray, ...]:
    """Where a cut does not fit, a clock is out of its range, and a clock is not on the list."""
    lowest, highest = _clock_range(system)
    outside = (clock < lowest[device] * (1 - _ROUNDING)) | (clock > highest * (1 + _ROUNDING))
    unlisted = np.zeros(clock.shape, dtype=bool)
    if system.clocks_hz is not None:
        near = np.isclose(clock[..., None], system.clocks_hz, rtol=_ROUNDING, atol=0)
        unlisted = ~near.any(axis=-1)
    return ~system.feasible[device, cut], outside, unlisted


def _clock_range(system: System) -> tuple[FloatArray, FloatArray]:
    """Lowest clock of each device, and the highest of all [Hz]."""
    ends = system.frequency_min_hz, system.frequency_max_hz
    lowest, highest = (backend_of(end).numpy(end) for end in ends)
    return lowest, highest
