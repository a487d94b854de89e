"""Which options may be taken: cuts that fit device, server, cut range and limits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from card.base.errors import ScenarioError
from card.base.units import BITS_PER_BYTE, BYTES_PER_GB, FloatArray, IntArray, gb_to_bit
from card.llm.cuts import CutProfile
from card.scenario import Scenario


def feasible_cuts(
    scenario: Scenario,
    profile: CutProfile,
    memory_gb: list[float],
    server_memory_gb: float,
    leakage: FloatArray | None = None,
    penalty: FloatArray | None = None,
) -> NDArray[np.bool_]:
    """Options whose cuts each device may take (C), shape `(devices, options)`.

    Parameters
    ----------
    scenario
        Its devices, with the share of memory that training may use, and its cut range.
    profile
        What each option asks for.
    memory_gb
        Memory of each device [GB].
    server_memory_gb
        Memory of the server [GB], all of which training may use.
    leakage
        Leakage of each option [1], shape `(options,)`; None if it is not asked for.
    penalty
        Loss penalty of each option [nat], shape `(options,)`; likewise.

    Raises
    ------
    ScenarioError
        If the cut range is empty, every cut in it leaks or loses too much, or none fits a device
        and the server.

    Notes
    -----
    Equation :eq:`eq-feasible` of the book.
    """
    first, last = scenario.training.cut_range
    count = profile.num_blocks
    last = count if last is None else last
    if not first <= last <= count:
        raise ScenarioError(
            f"training.cut_range = [{first}, {last}] is not allowed; give two cuts in order "
            f"between 0 and {count}, the number of blocks of {scenario.llm}."
        )
    allowed = (profile.cut >= first) & (profile.cut <= last)
    if leakage is not None:
        allowed = _quiet(scenario, allowed, leakage)
    if penalty is not None:
        allowed = _learning(scenario, allowed, penalty)
    served = profile.server_memory_bit <= gb_to_bit(server_memory_gb)
    rows = []
    for device, size_gb in zip(scenario.devices, memory_gb, strict=True):
        usable = device.memory_share * gb_to_bit(size_gb)
        fits = allowed & (profile.device_memory_bit <= usable)
        if not fits.any():
            raise ScenarioError(
                f"devices.{device.name}: no cut fits its memory; the smallest need is "
                f"{_least_gb(profile.device_memory_bit, allowed):.3g} GB, usable are "
                f"{device.memory_share:g} x {size_gb:g} GB. Choose a "
                f"smaller llm or mini-batch, or a device with more memory."
            )
        if not (fits & served).any():
            raise ScenarioError(
                f"server.hardware = {scenario.server.hardware_name!r}: what a cut leaves to the "
                f"server does not fit its memory; with devices.{device.name} the smallest need is "
                f"{_least_gb(profile.server_memory_bit, fits):.3g} GB, it has "
                f"{server_memory_gb:g} GB. Choose a smaller llm or mini-batch, or a server or "
                f"device with more memory."
            )
        rows.append(fits & served)
    return np.array(rows)


def _quiet(
    scenario: Scenario, allowed: NDArray[np.bool_], leakage: FloatArray
) -> NDArray[np.bool_]:
    """Options of those allowed that leak no more than the scenario accepts, if it has a limit."""
    limit, last = scenario.privacy.leakage_max, scenario.training.cut_range[1]
    if limit is None:
        return allowed
    quiet = allowed & (leakage <= limit)
    if not quiet.any():
        least = np.ceil(1e3 * leakage[allowed].min()) / 1e3
        raise ScenarioError(
            f"privacy.leakage_max = {limit:g} is not allowed with training.cut_range up to {last}, "
            f"where the least leakage is {least:g}; give that much, or let all blocks stay on the "
            f"device, which sends nothing."
        )
    return quiet


def _learning(
    scenario: Scenario, allowed: NDArray[np.bool_], penalty: FloatArray
) -> NDArray[np.bool_]:
    """Options of those allowed whose bits cost no more loss than the scenario accepts."""
    limit = scenario.wire.loss_limit
    kept = allowed if limit is None else allowed & (penalty <= limit)
    if not kept.any():
        least = np.ceil(1e3 * penalty[allowed].min()) / 1e3
        raise ScenarioError(
            f"wire.loss_limit = {limit:g} is not allowed with these bits and cuts, where the least "
            f"penalty is {least:g} nat; give that much, or list 16 bits."
        )
    return kept


def _least_gb(need_bit: IntArray, cuts: NDArray[np.bool_]) -> float:
    return float(need_bit[cuts].min()) / BITS_PER_BYTE / BYTES_PER_GB
