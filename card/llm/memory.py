"""Which cuts a device may take: those that fit its memory and the scenario's cut range."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from card.base.errors import ScenarioError
from card.base.units import BITS_PER_BYTE, BYTES_PER_GB, gb_to_bit
from card.llm.cuts import CutProfile
from card.scenario import Scenario


def feasible_cuts(
    scenario: Scenario, profile: CutProfile, memory_gb: list[float]
) -> NDArray[np.bool_]:
    """Cuts that each device may take (C), shape `(devices, I + 1)`.

    Parameters
    ----------
    scenario
        Its devices, with the share of memory that training may use, and its cut range.
    profile
        What each cut asks for.
    memory_gb
        Memory of each device [GB].

    Raises
    ------
    ScenarioError
        If the cut range is empty, or a device can hold no cut in it.

    Notes
    -----
    Equation :eq:`eq-feasible` of the book.
    """
    first, last = scenario.training.cut_range
    count = len(profile.cut) - 1
    last = count if last is None else last
    if not first <= last <= count:
        raise ScenarioError(
            f"training.cut_range = [{first}, {last}] is not allowed; give two cuts in order "
            f"between 0 and {count}, the number of blocks of {scenario.llm}."
        )
    allowed = (profile.cut >= first) & (profile.cut <= last)
    rows = []
    for device, size_gb in zip(scenario.devices, memory_gb, strict=True):
        usable = device.memory_share * gb_to_bit(size_gb)
        row = allowed & (profile.device_memory_bit <= usable)
        if not row.any():
            need = profile.device_memory_bit[allowed].min() / BITS_PER_BYTE / BYTES_PER_GB
            raise ScenarioError(
                f"devices.{device.name}: no cut fits its memory; the smallest need is "
                f"{need:.3g} GB, usable are {device.memory_share:g} x {size_gb:g} GB. Choose a "
                f"smaller llm or mini-batch, or a device with more memory."
            )
        rows.append(row)
    return np.array(rows)
