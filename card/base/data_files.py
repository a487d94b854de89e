"""Where the shipped data lie: in the package once it is installed, beside it in the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from card.base.text_files import read_json_object

_PACKAGE = Path(__file__).parents[1]

DATA = next(f for f in (_PACKAGE / "data", _PACKAGE.parent / "data") if f.is_dir())
"""Folder of the shipped data; `data/README.md` says what is in it.

:meta hide-value:
"""


def read_json(name: str) -> dict[str, Any]:
    """Mapping in a shipped JSON file, such as `runs/speed`."""
    return read_json_object(DATA / f"{name}.json", "restore the file as it was shipped")
