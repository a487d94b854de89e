"""LLMs that have no closed form, counted by torch once and then known from a small file.

The file lies in the user's cache folder under a name that follows from all that is counted, so that
the same configuration, mini-batch and adapters are not counted twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from card.base.data_files import cache_folder
from card.base.errors import ScenarioError, needs, shortened, validated
from card.base.llm_configs import said
from card.base.whole_files import write_whole
from card.llm.blocks import LlmCosts
from card.llm.families import Titled
from card.scenario import Lora, Training

_LIBRARIES = ("torch", "transformers", "peft")
_SHAPE = ("sequence_length", "activation_bits")
_ADAPTERS = ("rank", "targets", "dora", "adapter_bits")


class _Kept(BaseModel):
    """What was counted, and by which libraries."""

    format: Literal["card-llm-costs/2"] = "card-llm-costs/2"
    software: dict[str, str | None]
    costs: LlmCosts


def counted(llm: str, raw: Mapping[str, Any], training: Training, lora: Lora) -> LlmCosts:
    """Costs of the parts of an LLM for one mini-batch, by torch's counter on the meta device.

    Parameters
    ----------
    llm
        What the scenario calls it.
    raw
        What its `config.json` says; no code that it names is run.
    training, lora
        The mini-batch and the adapters.

    Raises
    ------
    ScenarioError
        If it is of more than text, asks for code of its own, cannot be counted, or torch and
        transformers, which count it, are not installed.
    """
    family = raw.get("model_type")
    if isinstance(raw.get("text_config"), Mapping):
        raise ScenarioError(
            f"{llm}: model_type = {shortened(family)} is of more than text; give what its key "
            f"text_config holds as a config.json of its own."
        )
    if raw.get("auto_map"):
        raise ScenarioError(
            f"{llm}: auto_map asks for code of the publisher's, which is never run here; leave it "
            f"out if transformers itself has the family {shortened(family)}."
        )
    if not isinstance(family, str):
        raise ScenarioError(
            f"{llm}: model_type = {shortened(family)} is no family of LLMs; give that of a causal "
            f"LM, such as llama."
        )
    validated(Titled, raw, llm)
    asked = {
        "config": said(raw),
        "training": {"batch_size": training.micro_batch_size}
        | training.model_dump(include=set(_SHAPE)),
        "lora": lora.model_dump(mode="json", include=set(_ADAPTERS)),
    }
    return _costs(llm, json.dumps(asked, sort_keys=True))


@lru_cache(maxsize=256)
def _costs(llm: str, asked: str) -> LlmCosts:
    software = {name: _version(name) for name in _LIBRARIES}
    folder = cache_folder()
    file = folder and folder / "llms" / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"
    kept = _read(file) if file else None
    if kept and all(now in (None, kept.software.get(name)) for name, now in software.items()):
        return kept.costs
    raw = json.loads(asked)
    family = raw["config"]["model_type"]
    needs("lab", f"llm = {shortened(llm)}, counted by torch as {family} has no closed form,",
          *_LIBRARIES)  # fmt: skip
    from card.llm.real.stack import count_llm

    costs = count_llm(llm, raw["config"], Training.model_construct(**raw["training"]),
                      Lora(**raw["lora"]))  # fmt: skip
    if file:
        with contextlib.suppress(OSError):  # a folder that cannot be written to keeps nothing
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, _Kept(software=software, costs=costs).model_dump_json())
    return costs


def _read(file: Path) -> _Kept | None:
    """What is kept in a file; nothing if it is not there, or is damaged."""
    try:
        return _Kept.model_validate_json(file.read_bytes(), strict=True)
    except (OSError, ValueError):
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
