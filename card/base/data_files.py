"""Where the shipped data lie: in the package once it is installed, beside it in the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]

DATA = next(f for f in (_PACKAGE / "data", _PACKAGE.parent / "data") if f.is_dir())
"""Folder of the shipped data; `data/README.md` says what is in it.

:meta hide-value:
"""


def read_json(name: str) -> dict[str, Any]:
    """Mapping in a shipped JSON file, such as `runs/speed`."""
    content: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return content
