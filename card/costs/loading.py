"""Loading a scenario whole: read, validated, and refused if the model cannot work with it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from card.base.llm_configs import llm_name
from card.base.units import counted
from card.channel.rates import check_state_rates
from card.costs.arrays import System
from card.hardware.catalogue import Measured
from card.scenario import Scenario, read_scenario

_LOW_HZ, _LARGE_GB, _LOUD_DBM = 1e6, 4000, 90
"""Lowest clock, largest memory and highest power; what lies beyond was probably meant in another
unit [Hz, GB, dBm]."""


def load_scenario(name_or_path: str | Path, **overrides: Any) -> Scenario:
    """Load a scenario or study, merged with its bases, and refuse whatever is wrong with it.

    Parameters
    ----------
    name_or_path
        Name of a shipped scenario or study, or path of a scenario or study file.
    **overrides
        Values to replace, as nested mappings or dotted paths, e.g. ``{"link.bandwidth_hz": 2e7}``.

    Raises
    ------
    ScenarioError
        If a file is missing or malformed, a key unknown, a value out of range, or if the values do
        not go together: with the LLM, with memory, or on the link.
    """
    return read_scenario(name_or_path, checked, **overrides)


def notes(scenario: Scenario) -> list[str]:
    """What to know of the processors that a scenario has; a line each.

    Times of a profile that was measured with another mini-batch or LLM are scaled per token from
    its nearest mini-batch; the P₁ of its law stands in where the scenario has none. Values that
    were probably meant in another unit are named.
    """
    run = scenario.training
    llm = llm_name(scenario.llm, scenario.llm_config)
    shape, lines = (run.micro_batch_size, run.sequence_length), []
    for name, board in scenario.boards.items():
        used = board.at(*shape)
        if isinstance(used, Measured):
            taken = used.llm, used.batch_size, used.sequence_length
            if taken != (llm, *shape):
                lines.append(
                    f"{name} was not measured with {_shown(llm, *shape)}; its times with "
                    f"{_shown(*taken)} are used, per token."
                )
            if run.gradient_checkpointing:
                lines.append(
                    f"{name} was measured without gradient checkpointing; of the second forward "
                    f"pass its work alone is counted, no launches."
                )
    server = scenario.server
    law = server.board.linear_power_w_per_hz if isinstance(server.board, Measured) else 0.0
    if law and not server.linear_power_w_per_hz:
        lines.append(
            f"server.linear_power_w_per_hz is {law:g} W/Hz, by the law of {server.hardware}."
        )
    return [*lines, *_absurd(scenario)]


def _absurd(scenario: Scenario) -> list[str]:
    """What to say of clocks and memories that no processor has, and of powers no antenna sends."""
    floor_hz, lines = scenario.server.minimum_frequency_hz, []
    if 0 < floor_hz < _LOW_HZ:
        lines.append(
            f"server.minimum_frequency_hz = {floor_hz:g} Hz is far below what processors run at; "
            f"did you mean {floor_hz:g}e6?"
        )
    for board in (end.board for end in (scenario.server, *scenario.devices)):
        if board.memory_gb > _LARGE_GB:
            lines.append(
                f"memory_gb = {board.memory_gb:g} of {board.title} is far beyond what processors "
                f"have; did you mean {board.memory_gb / 1e3:g}?"
            )
    for cell, _ in scenario.cells:
        for key in ("uplink_power_dbm", "downlink_power_dbm"):
            level_dbm = getattr(cell.link, key)
            if level_dbm > _LOUD_DBM:
                lines.append(
                    f"{key} = {level_dbm:g} dBm is {10 ** (level_dbm / 10 - 3):.3g} W, far beyond "
                    f"what transmitters have; did you mean {10 * math.log10(level_dbm):.3g}?"
                )
    return list(dict.fromkeys(lines))


def _shown(llm: str, batch_size: int, sequence_length: int) -> str:
    return f"{llm} and mini-batches of {batch_size} x {counted(sequence_length, 'token')}"


def checked(scenario: Scenario) -> Scenario:
    """The scenario, or a `ScenarioError` if no `system` follows from it, or no rate on a link."""
    System.of(scenario)
    check_state_rates(scenario)
    return scenario
