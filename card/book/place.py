"""Where a book is built, and the error that says why it could not be."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from card.base.errors import ScenarioError
from card.studies.study_file import Study


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
    offered: Path
    """Executed notebooks as Jupyter shows them, for readers to take home."""

    @property
    def made_of(self) -> Path:
        """What the pages were built of, as JSON."""
        return self.build / "made_of.json"

    @property
    def pdf(self) -> Path:
        """The pages on paper."""
        return self.build / "card.pdf"

    @property
    def report(self) -> Path:
        """The short paper on what was found."""
        return self.build / "report.pdf"

    @classmethod
    def of(cls, root: Path, name: str) -> Place:
        """Place of a book in `_build/<name>` below the root that has its pages and notebooks."""
        build = root / "_build" / name
        parts = ("source", "results", "logs", "html", "chapters", "offered")
        return cls(root, build, *(build / part for part in parts))

    @classmethod
    def of_study(cls, root: Path, study: Study) -> Place:
        """Place of a study's book, which no other study has.

        That is `_build/<name>`, unless the book of another file of that name lies there: then a
        digest of the path follows.
        """
        _check_paths(root, study.name)
        place = cls.of(root, study.name)
        if study.shipped:
            return place
        own = os.fsencode(study.path)
        place.build.mkdir(parents=True, exist_ok=True)
        owner = place.build / "study"
        try:
            with owner.open("xb") as file:
                file.write(own)
        except FileExistsError:
            other = owner.read_bytes()
            if other != own and Path(os.fsdecode(other)).is_file():
                return cls.of(root, f"{study.name}-{hashlib.sha256(own).hexdigest()[:8]}")
            owner.write_bytes(own)
        return place


def _check_paths(root: Path, name: str) -> None:
    """Refuse what no page, log or folder could name, before any work."""
    for what, path in (("the folder of the book", str(root)), ("the name of the study", name)):
        try:
            path.encode()
        except UnicodeEncodeError:
            raise ScenarioError(f"{what} = {path!a} is not UTF-8; rename it.") from None
    if not name.strip("."):
        raise ScenarioError(
            f"the name of the study = {name!r} is no name of a folder; rename its file."
        )
