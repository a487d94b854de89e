"""Public configurations of LLMs: shipped ones by name, and any other as its publisher wrote it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from card.base.data_files import DATA, llm_names, read_json
from card.base.errors import ScenarioError, shortened, unknown
from card.base.letters import printable
from card.base.text_files import read_json_object

LlmConfig = dict[str, Any]
"""What a `config.json` says; a shipped one has `_card` beside it."""


def is_llm_file(name: str, beside: str | Path = "") -> bool:
    """Whether a name is no shipped LLM but a `config.json`, or a folder with one.

    A name without `/` or `.json` is a folder if there is one `beside` which it is looked for.
    """
    folder = os.path.isdir(Path(beside) / name)  # noqa: PTH112, says no to names no file can have
    return name not in llm_names() and (name.endswith(".json") or "/" in name or folder)


def config_file(name: str) -> Path:
    """File that says what an LLM of a name is, whether it is there or not."""
    if name in llm_names():
        return DATA / "llms" / f"{name}.json"
    folder = os.path.isdir(name)  # noqa: PTH112, says no to names no file can have
    return Path(name, "config.json") if folder else Path(name)


def public_config(name: str) -> LlmConfig:
    """Configuration of an LLM: a shipped one by name, a `config.json`, or a folder with one.

    Raises
    ------
    ScenarioError
        If there is no such LLM, or its file is no JSON document.
    """
    if name in llm_names():
        return read_json(f"llms/{name}")
    if not is_llm_file(name):
        raise unknown("llm", name, llm_names())
    file = config_file(name)
    if not os.path.isfile(file):  # noqa: PTH113
        raise ScenarioError(
            f"llm = {shortened(name)}: there is no file {shortened(str(file))}; give a "
            f"config.json, a folder with one, or one of {', '.join(llm_names())}."
        )
    return read_json_object(file, "get it again from its publisher")


def said(config: Mapping[str, Any]) -> LlmConfig:
    """What a configuration says of the LLM itself: without its title and where it came from."""
    return {key: value for key, value in config.items() if not key.startswith("_")}


def llm_name(name: str, config: Mapping[str, Any]) -> str:
    """Name that stays true wherever files lie: a shipped LLM's own, or else its title.

    A title that is a shipped LLM's, such as that of a folder of one that was changed, has a digest
    of the content behind it.
    """
    title = name if name in llm_names() else llm_title(name, config)
    if title == name or title not in llm_names() or said(config) == said(public_config(title)):
        return title
    content = json.dumps(said(config), sort_keys=True)
    return f"{title}, changed ({sha256(content.encode()).hexdigest()[:8]})"


def llm_title(name: str, config: Mapping[str, Any]) -> str:
    """Name for people: the title in `_card`, else the publisher's name, else the file's own."""
    card, origin = config.get("_card"), config.get("_name_or_path")
    if isinstance(card, Mapping) and isinstance(card.get("title"), str) and card["title"]:
        return printable(str(card["title"]))
    if isinstance(origin, str) and Path(origin).name:
        return printable(Path(origin).name)
    path = Path(name).absolute()
    if path.name == "config.json":
        return path.parent.name or name
    return path.name.removesuffix(".json") or name
