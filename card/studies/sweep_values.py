"""Values of a swept path: taken as a study file could say them, and as an axis shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from card.base.errors import ScenarioError, repeated
from card.base.llm_configs import is_llm_file
from card.base.overrides import plain
from card.base.yaml_files import label
from card.hardware.catalogue import is_file
from card.scenario.traces import is_trace_file


def coordinate(values: Sequence[Any]) -> list[Any]:
    """Values as an axis: numbers or words as they are, anything else as a study file writes it.

    Files go by their names, unless two share one.
    """
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    if numbers:
        return list(values)
    words, short = (
        [value if isinstance(value, str) else label(value) for value in listed]
        for listed in (values, map(_without_folders, values))
    )
    return short if len(set(short)) == len(short) else words


def _without_folders(value: Any) -> Any:
    """The same value with files, at any depth, by their names alone."""
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    file = isinstance(value, str) and any(
        kind(value) for kind in (is_file, is_llm_file, is_trace_file)
    )
    return Path(value).name if file else value


def listed_values(path: str, values: Any) -> list[Any]:
    """Values of a path, as plain numbers, words, lists and mappings."""
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    if isinstance(listed, (str, Mapping)) or not isinstance(listed, Sequence) or not listed:
        raise ScenarioError(
            f"over.{path} = {listed!r:.40} is not allowed; give a list of values, e.g. [1, 2]."
        )
    items = [item.item() if isinstance(item, np.generic) else item for item in listed]
    for item in items:
        try:
            if not isinstance(item, (int, float)):  # all of which a study file can say
                label(item)
        except ScenarioError as error:
            raise ScenarioError(f"over.{path}: {error}") from None
    items = [plain(f"over.{path}", item) for item in items]
    _once(f"over.{path}", [json.dumps(_whole(item), default=str) for item in items])
    return items


def _whole(value: Any) -> Any:
    """A value, or each item of a list, as a whole number if it is one, however it was written."""
    if isinstance(value, (list, tuple)):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _once(what: str, items: Sequence[str]) -> None:
    twice = repeated(items)
    if twice is not None:
        raise ScenarioError(f"{what}: {twice} is given twice; give each value once.")
