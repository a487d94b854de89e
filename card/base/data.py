"""Where the shipped data lie: in the package once it is installed, beside it in the repository."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]

DATA = next(f for f in (_PACKAGE / "data", _PACKAGE.parent / "data") if f.is_dir())
"""Folder of the shipped data; `data/README.md` says what is in it."""
