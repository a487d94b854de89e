"""Sentences of a notebook with numbers in them, which Jupyter and the book show alike.

A sentence names its numbers in double braces, and they are often computed further down. So it is
shown at once, and again when the last of them is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from card.base.errors import extra
from card.book.markdown import plain

with extra("book", "card.book.prose"):
    from IPython import display

_ipython: Any = display  # has no types
TAG = "prose"
"""Tag of a cell that shows sentences alone; the book shows them as its own text."""

_NAME = re.compile(r"\{\{([\w-]+)\}\}")
_known: dict[str, str] = {}
_shown: list[tuple[str, Any]] = []


def prose(text: str) -> None:
    """Show Markdown in which `{{name}}` stands for what `quote` gives, before or afterwards.

    Parameters
    ----------
    text
        Markdown; a name that has no value yet shows as an ellipsis.
    """
    handle = _ipython.display(_ipython.Markdown(_filled(text)), display_id=True)
    _shown.append((text, handle))


def quote(values: Mapping[str, Any], written: Callable[[Any], object] | None = None) -> None:
    """Give the sentences of a notebook values by name.

    Parameters
    ----------
    values
        Text or numbers by the name that the sentences use. Numbers are shown as Python writes
        them, formulas of SymPy as LaTeX, text as it stands; `Markdown` alone may hold markup.
    written
        How else each value is written, such as `percent` or `"{:.1f}".format`.
    """
    new = {name: _markdown(written(value) if written else value) for name, value in values.items()}
    _known.update(new)
    for text, handle in _shown:
        if not new.keys().isdisjoint(_NAME.findall(text)):
            handle.update(_ipython.Markdown(_filled(text)))


def _filled(text: str) -> str:
    return _NAME.sub(lambda name: _known.get(name[1], "…"), text).strip("\n")


def _markdown(value: Any) -> str:
    if isinstance(value, _ipython.Markdown):
        return str(value.data)
    if hasattr(value, "_repr_latex_"):
        return str(value._repr_latex_()).strip("$")
    return plain(str(value))
