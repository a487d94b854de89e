"""Turns notebooks that read well in Jupyter into pages of the book, which numbers what they name.

In Jupyter a chapter is plain Markdown: equations stand in `$$` with a name as their tag, and what
is referred to is a link. The book has its own marks for numbered equations, figures, chapters and
entries of the bibliography.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from card.book.prose import TAG

_CODE = re.compile(r"^(`{3,})[^`\n]*\n.*?^\1$|(`+)(?!`).+?(?<!`)\2(?!`)", re.MULTILINE | re.DOTALL)
_EQUATION = re.compile(r"^\$\$\n(.*?) \\tag\{([\w-]+)\}\n\$\$$", re.MULTILINE | re.DOTALL)
_NOTE = re.compile(r"^> \*\*(.+)\*\*\n((?:>.*\n?)+)", re.MULTILINE)
_FOLDED = re.compile(
    r"^<details>\n<summary>([^\n]+)</summary>\n(.*?)\n</details>$", re.MULTILINE | re.DOTALL
)
_LINKS = (
    (re.compile(r"\[\([\w-]+\)\]\([\w.]*#(eq-[\w-]+)\)"), r"{eq}`\1`"),
    (re.compile(r"\[[^\]]+\]\(#(fig-[\w-]+)\)"), r"{numref}`\1`"),
    (re.compile(r"\[\([^\]]+\)\]\(\.\./book/references\.bib#(\w+)\)"), r"{cite:p}`\1`"),
    (re.compile(r"(\{cite:p\}`[\w,]+)`, \{cite:p\}`(\w+`)"), r"\1,\2"),
    (re.compile(r"\[[^\]]+\]\(\.\./book/references\.bib#(\w+)\)"), r"{cite:t}`\1`"),
    (re.compile(r"\[([^\]]+)\]\(\.\./book/([\w/-]+)\.md\)"), r"{doc}`\1 <../\2>`"),
    (re.compile(r"\[([^\]]+)\]\((\w+)\.ipynb\)"), r"{doc}`\1 <\2>`"),
)


def page(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """A notebook as the book renders it: sentences as its text, references as the book's own.

    Parameters
    ----------
    notebook
        An executed notebook, as JSON has it.
    """
    return {**notebook, "cells": [_cell(cell) for cell in notebook["cells"]]}


def _cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    if TAG in cell["metadata"].get("tags", []):
        (shown,) = cell["outputs"]
        text, metadata = shown["data"]["text/markdown"], {}
    elif cell["cell_type"] == "markdown":
        text, metadata = cell["source"], cell["metadata"]
    else:
        return dict(cell)
    source = referring(text if isinstance(text, str) else "".join(text))
    return {"cell_type": "markdown", "id": cell["id"], "metadata": metadata, "source": source}


def referring(text: str) -> str:
    """Markdown of a chapter with the book's marks in place of tags, links and folded parts."""
    kept: list[str] = []

    def keep(code: re.Match[str]) -> str:
        kept.append(code[0])
        return f"\0{len(kept) - 1}\0"

    text = _CODE.sub(keep, text)
    text = _EQUATION.sub(r"```{math}\n:label: eq-\2\n\1\n```", text)
    for link, mark in _LINKS:
        text = link.sub(mark, text)
    text = _NOTE.sub(_note, text)
    text = _FOLDED.sub(r"````{admonition} \1\n:class: dropdown\n\2\n````", text)
    return re.sub("\0(\\d+)\0", lambda place: kept[int(place[1])], text)


def _note(found: re.Match[str]) -> str:
    """A quotation that begins with a bold line, as a note with that line as its title."""
    kind = "tip" if found[1] == "Predict first" else "important"
    body = re.sub("^> ?", "", found[2].strip("\n"), flags=re.MULTILINE).strip("\n")
    return f"````{{admonition}} {found[1]}\n:class: {kind}\n\n{body}\n````\n"
