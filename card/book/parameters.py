"""Parameters of notebooks: those that a build gives them, and what their own cells declare."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from card.base.letters import printable
from card.book.executor import spare_grammar
from card.book.place import BookError

_UNREAD = re.compile("[\0\ud800-\udfff]")
"""Null characters and halves of letters, which no program in Python holds."""


def changed_parameters(notebook: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that differ from a notebook's own defaults; each is declared and of its type."""
    spare_grammar()
    import nbformat  # part of the `book` extra, as papermill; the command line starts without it
    from papermill.utils import nb_kernel_name, nb_language

    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        nbformat.validate(content, version=4, relax_add_props=True)
        for needed in (nb_kernel_name, nb_language):
            needed(SimpleNamespace(metadata=content["metadata"]))
    except (ValueError, AttributeError, nbformat.ValidationError):
        raise BookError(
            f"{notebook} is no notebook, for its JSON lacks what nbformat 4 asks for, or a kernel; "
            "mend it."
        ) from None
    defaults = _defaults(notebook.name, content["cells"])
    for name, value in parameters.items():
        if name not in defaults:
            known = ", ".join(defaults) or "none"
            raise BookError(
                f"{notebook.name} does not declare parameter {name!r}; it has {known}. Give it a "
                "default in a code cell with the tag `parameters`, as `seed: int = 0` does."
            )
        wanted = type(defaults[name])
        if type(value) is not wanted:
            raise BookError(
                f"{notebook.name}: parameter {name} = {value!r} must be of type {wanted.__name__}, "
                f"as its default {defaults[name]!r} is; change either."
            )
    return {name: value for name, value in parameters.items() if value != defaults[name]}


def _defaults(name: str, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Parameters of a notebook of this name with their defaults, all that their cell may hold.

    For papermill gives them other values after that cell, which code there would not see.
    """
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if tagged and tagged[0]["cell_type"] != "code":  # papermill would set parameters behind it
        raise BookError(
            f"{name}: a {tagged[0]['cell_type']} cell has the tag `parameters`; leave that to the "
            "code cell that gives them defaults."
        )
    if sum(cell["cell_type"] == "code" for cell in tagged) > 1:  # the later would reset the values
        raise BookError(
            f"{name}: several code cells have the tag `parameters`; leave it to the first one."
        )
    source = "".join(tagged[0]["source"]) if tagged else ""
    if unread := _UNREAD.search(source):
        raise BookError(
            f"{name}: the parameters cell holds {unread[0]!a}, which Python does not read; give "
            "letters that can be printed."
        )
    defaults: dict[str, Any] = {}
    line, wrong = "", "does not give a parameter a literal, as `seed: int = 0` does"
    try:
        for statement in ast.parse(source).body:
            line = ast.get_source_segment(source, statement) or ""
            defaults |= [_default(statement)]
    except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError) as error:
        if isinstance(error, (MemoryError, RecursionError)) or "too many nested" in str(error):
            raise BookError(
                f"{name}: the parameters cell is nested deeper than Python reads; shorten its "
                "values."
            ) from None
        line = (error.text if isinstance(error, SyntaxError) else line) or ""
        if isinstance(error, IndentationError):
            wrong = f"has a wrong indentation ({error.msg})"
        line = printable(line.rstrip().partition("\n")[0])
        raise BookError(
            f"{name}: `{line}` in the parameters cell {wrong}; mend it, or move it to a later cell."
        ) from None
    return defaults


def _default(statement: ast.stmt) -> tuple[str, Any]:
    """Name and literal that a statement assigns; `ValueError` or `TypeError` if it does not."""
    match statement:
        case (
            ast.AnnAssign(target=ast.Name(name), value=ast.expr() as value)
            | ast.Assign(targets=[ast.Name(name)], value=value)
        ):
            return name, ast.literal_eval(value)
    raise ValueError("no assignment to one name")
