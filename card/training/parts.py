"""What each end of a training holds of the LLM, and whether its memory has room for it."""

from __future__ import annotations

import psutil  # type: ignore[import-untyped]

from card.base.errors import ScenarioError
from card.base.units import BITS_PER_BYTE, BYTES_PER_GB
from card.costs import system
from card.scenario import Scenario
from card.training.llm.holding import Part


def part_of_device(scenario: Scenario, name: str) -> Part:
    """What a device needs at its deepest cut: embedding, first blocks, and the head if it runs it.

    Raises
    ------
    ScenarioError
        If the scenario has no such device, or no cut fits it.
    """
    arrays = system(scenario)
    feasible = arrays.feasible[scenario.device_index(name)]
    deepest = int(arrays.profile.cut[feasible].max())
    whole = deepest == arrays.profile.num_blocks
    return Part(0, deepest, True, whole or scenario.training.topology == "u-shaped")


def part_of_server(scenario: Scenario) -> Part:
    """What the server needs for every cut: blocks above the shallowest, and the head if it runs it.

    It holds adapters of all blocks, which are its own between rounds.

    Raises
    ------
    ScenarioError
        If no cut fits a device.
    """
    arrays = system(scenario)
    shallowest = int(arrays.profile.cut[arrays.feasible.any(axis=0)].min())
    blocks = arrays.profile.num_blocks
    head = shallowest < blocks and scenario.training.topology == "vanilla"
    return Part(shallowest, blocks, False, head, all_adapters=True)


def check_memory(scenario: Scenario, part: Part) -> None:
    """Refuse to start where a part does not fit the memory that is free.

    Raises
    ------
    ScenarioError
        If it does not, with what it needs.
    """
    profile = system(scenario).profile.at_first_bits
    if part.all_adapters:
        who, cut = "the server", part.first
        need_bit = profile.server_memory_bit[cut] + profile.adapter_bit[cut]
        remedy = "let training.cut_range begin at a deeper cut"
    else:
        who, cut = "the device", part.last
        need_bit = profile.device_memory_bit[cut]
        remedy = "let training.cut_range end at a shallower cut"
    need_gb = float(need_bit) / BITS_PER_BYTE / BYTES_PER_GB
    free_gb = psutil.virtual_memory().available / BYTES_PER_GB
    if need_gb > free_gb:
        raise ScenarioError(
            f"{who} needs {need_gb:.3g} GB for {scenario.llm} at cut {cut}, {free_gb:.3g} GB of "
            f"memory are free; end other programs, {remedy}, or choose a smaller llm or mini-batch."
        )
