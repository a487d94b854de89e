"""Configurations of LLMs as a researcher brings them: without `_card`, in a folder of one's own."""

import json
from pathlib import Path
from typing import Any

from card.base.llm_configs import public_config, said


def own_llm(file: Path, like: str = "llama-3.2-1b", **changes: Any) -> Path:
    """File with the configuration of a shipped LLM as its publisher wrote it, but for changes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**said(public_config(like)), **changes}), "utf-8")
    return file


def own_llm_study(folder: Path, **changes: Any) -> Path:
    """Study of an LLM whose configuration lies in a folder beside it."""
    own_llm(folder / "mine" / "config.json", **changes)
    path = folder / "study.yml"
    path.write_text("base: nominal\ntitle: t\nllm: mine\n", "utf-8")
    return path
