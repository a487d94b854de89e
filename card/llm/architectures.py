"""The architecture of any LLM that a configuration describes."""

from __future__ import annotations

from collections.abc import Mapping

from card.base.data_files import DATA, llm_names
from card.base.errors import ScenarioError, shortened
from card.base.llm_configs import LlmConfig, public_config
from card.llm.dimensions import Architecture
from card.llm.families import FAMILIES, of_family
from card.scenario import Training


def architecture(name: str) -> Architecture:
    """Architecture of a shipped LLM, of a `config.json`, or of a folder with one."""
    file = f"{DATA / 'llms' / name}.json" if name in llm_names() else name
    return architecture_of(name, public_config(name), file)


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
        If the family is not known, or a dimension is wrong; it names the file, or where none is
        given the LLM.
    """
    place, family = file or name, raw.get("model_type")
    if isinstance(family, str) and family in FAMILIES:
        return of_family(family, name, raw, place)
    inner = raw.get("text_config")
    if isinstance(inner, Mapping) and inner.get("model_type") in FAMILIES:
        raise ScenarioError(
            f"{place}: model_type = {shortened(family)} is of more than text; give what its key "
            f"text_config holds as a config.json of its own."
        )
    raise ScenarioError(
        f"{place}: model_type = {shortened(family)} is not counted here; give an LLM of one of "
        f"the families {', '.join(FAMILIES)}."
    )


def check_length(arch: Architecture, training: Training) -> None:
    """Refuse sequences that are longer than the LLM's positions."""
    length = training.sequence_length
    if length > arch.max_positions:
        raise ScenarioError(
            f"training.sequence_length = {length} exceeds the {arch.max_positions} positions of "
            f"{arch.name}; give at most {arch.max_positions}."
        )
