"""What the bits of each option cost in loss, by a scenario's table."""

from __future__ import annotations

import numpy as np

from card.base.errors import ScenarioError, shortened
from card.base.llm_configs import llm_name
from card.base.units import FloatArray
from card.llm.cuts import CutProfile
from card.scenario import Scenario


def option_penalty(scenario: Scenario, profile: CutProfile) -> FloatArray | None:
    """Extra loss on held-out text of each option beyond 16 bits [nat], shape `(options,)`.

    It is 0 with all blocks on the device, where neither smashed data nor gradients are sent, and 0
    where the table's interval holds 0. Cuts outside `training.cut_range` are not looked up and have
    none.

    Parameters
    ----------
    scenario
        Its table of penalties, its topology and its cut range.
    profile
        What each option asks for.

    Returns
    -------
    FloatArray or None
        None where the scenario has no table.

    Raises
    ------
    ScenarioError
        If the table is of another LLM or topology, or lacks a cut or bits that the scenario has.
    """
    table, name = scenario.penalties, scenario.wire.loss_penalty
    if table is None or name is None:
        return None
    llm, topology = llm_name(scenario.llm, scenario.llm_config), scenario.training.topology
    if table.llm != llm:
        raise ScenarioError(
            f"wire.loss_penalty = {shortened(name)} is a table of {table.llm}; what bits do to "
            f"{llm} is not guessed from it: give a table of {llm}, or set wire.loss_penalty to "
            f"null."
        )
    if table.topology != topology:
        raise ScenarioError(
            f"wire.loss_penalty = {shortened(name)} was measured with training.topology = "
            f"{table.topology!r}, not {topology!r}; give a table of that, or set "
            f"wire.loss_penalty to null."
        )
    first, last = scenario.training.cut_range
    last = profile.num_blocks if last is None else last
    columns = profile.cut, profile.uplink_bits, profile.downlink_bits
    options = zip(*(column.tolist() for column in columns), strict=True)
    sends = range(first, min(last, profile.num_blocks - 1) + 1)
    return np.array([table.penalty(*each).settled if each[0] in sends else 0.0 for each in options])
