"""What the configuration of an LLM says of it, and what its parts cost."""

from __future__ import annotations

from typing import Any

from card.base.errors import ScenarioError, shortened
from card.base.llm_configs import LlmConfig, config_file, public_config
from card.llm.blocks import LlmCosts, part_costs
from card.llm.counted import counted
from card.llm.dimensions import DIMENSIONS, Architecture, check_length
from card.llm.families import FAMILIES, of_family
from card.scenario import Scenario


def architecture(name: str) -> Architecture:
    """Architecture of a shipped LLM, of a `config.json`, or of a folder with one."""
    return architecture_of(name, public_config(name), str(config_file(name)))


def llm_costs(scenario: Scenario) -> LlmCosts:
    """Costs of the parts of a scenario's LLM: by closed forms, or else as torch counts them.

    Raises
    ------
    ScenarioError
        If a LoRA target or the sequence length does not fit the LLM, or it cannot be counted.
    """
    llm, raw = scenario.llm, scenario.llm_config
    training, lora = scenario.training, scenario.lora
    if raw.get("model_type") not in FAMILIES:
        return counted(llm, raw, training, lora)
    arch = architecture_of(llm, raw, str(config_file(llm)))
    check_length(arch.name, arch.max_positions, training)
    return part_costs(arch, training, lora)


def dimensions(scenario: Scenario) -> dict[str, Any]:
    """What a table shows of a scenario's LLM, by name; what torch counts has fewer dimensions."""
    llm, raw = scenario.llm, scenario.llm_config
    if raw.get("model_type") in FAMILIES:
        arch = architecture_of(llm, raw)
        return {key: getattr(arch, key) for key in DIMENSIONS}
    costs = counted(llm, raw, scenario.training, scenario.lora)
    parameters = costs.parameters
    return {"num_blocks": len(costs.blocks), "hidden": costs.hidden, "parameters": parameters}


def architecture_of(name: str, raw: LlmConfig, file: str = "") -> Architecture:
    """Architecture that a configuration describes, in the words of `config.json`.

    Parameters
    ----------
    name
        What the scenario calls the LLM.
    raw
        What its `config.json` says; what it leaves out is as transformers has it.
    file
        Where it says so.

    Raises
    ------
    ScenarioError
        If the family has no closed form, or a dimension is wrong; it names the file, or where
        none is given the LLM.
    """
    place, family = file or name, raw.get("model_type")
    if isinstance(family, str) and family in FAMILIES:
        return of_family(family, name, raw, place)
    raise ScenarioError(
        f"{place}: model_type = {shortened(family)} has no closed form; give an LLM of one "
        f"of the families {', '.join(FAMILIES)}."
    )
