"""A small book as Sphinx renders it, for tests of the book's extensions."""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace


def rendered(place: Path, **settings: Any) -> Path:
    """Render the pages of a folder; where their HTML lies. Any warning is an error."""
    with docutils_namespace():  # else the next book in this process finds its nodes taken
        app = Sphinx(
            place,
            None,
            place / "out",
            place / "trees",
            "html",
            confoverrides=settings,
            status=None,
            warningiserror=True,
        )
        app.build()
    return place / "out"
