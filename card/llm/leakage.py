"""How much of a device's text a curious server recovers with each option, by a scenario's table."""

from __future__ import annotations

import numpy as np

from card.base.errors import ScenarioError, shortened
from card.base.llm_configs import llm_name
from card.base.units import FloatArray
from card.llm.cuts import CutProfile
from card.scenario import Scenario


def option_leakage(scenario: Scenario, profile: CutProfile) -> FloatArray | None:
    """Share of tokens that the best attack recovers with each option [1], shape `(options,)`.

    It is 0 with all blocks on the device, which sends nothing but adapters, and 1 where labels go
    up, since they are the tokens themselves.

    Parameters
    ----------
    scenario
        Its topology, its table of leakage and the attacks that are feared.
    profile
        What each option asks for.

    Returns
    -------
    FloatArray or None
        None where the scenario has no table.

    Raises
    ------
    ScenarioError
        If the table is of another LLM, or lacks an attack, a cut or bits that the scenario has.

    Notes
    -----
    Equation :eq:`eq-leakage` of the book.
    """
    table, privacy = scenario.leakage, scenario.privacy
    if table is None:
        return None
    llm = llm_name(scenario.llm, scenario.llm_config)
    if table.llm != llm:
        raise ScenarioError(
            f"privacy.leakage = {shortened(privacy.leakage)} is a table of {table.llm}; what "
            f"{llm} leaks is not guessed from it: give a table of {llm}, or set privacy.leakage "
            f"to null."
        )
    if scenario.training.topology == "vanilla":
        return np.where(profile.cut < profile.num_blocks, 1.0, 0.0)
    attacks = privacy.attacks or table.attacks

    def of(cut: int, bits: int) -> float:
        return max(table.recovery(attack, cut, bits).rate for attack in attacks)

    options = zip(profile.cut.tolist(), profile.uplink_bits.tolist(), strict=True)
    return np.array([of(*each) if each[0] < profile.num_blocks else 0.0 for each in options])
