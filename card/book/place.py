"""Where a book is built, and the error that says why it could not be."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class BookError(RuntimeError):
    """The book could not be built whole; the message says where, and which log holds the rest."""


class Place(NamedTuple):
    """Where one book is built; `html` exists once its pages have been rendered."""

    root: Path
    """Folder with the pages and notebooks that are staged."""
    build: Path
    """Folder of everything below."""
    source: Path
    """Staged pages and executed notebooks."""
    results: Path
    """Results as data."""
    logs: Path
    """What the steps of the build said."""
    html: Path
    """Rendered pages."""
    chapters: Path
    """Executed notebooks with their results, kept from build to build."""

    @property
    def made_of(self) -> Path:
        """What the pages were built of, as JSON."""
        return self.build / "made_of.json"

    @property
    def pdf(self) -> Path:
        """The pages on paper."""
        return self.build / "card.pdf"

    @classmethod
    def of(cls, root: Path, name: str) -> Place:
        """Place of a book in `_build/<name>` below the root that has its pages and notebooks."""
        build = root / "_build" / name
        parts = ("source", "results", "logs", "html", "chapters")
        return cls(root, build, *(build / part for part in parts))
