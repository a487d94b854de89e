"""Parameters of notebooks: those that a build gives them, and what their own cells declare."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from card.base.errors import ScenarioError
from card.base.letters import printable
from card.book.executor import spare_grammar

_TYPES = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
"""Types of what an annotation of this name allows."""
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
        raise ScenarioError(
            f"{notebook} is no notebook, for its JSON lacks what nbformat 4 asks for, or a kernel; "
            "mend it."
        ) from None
    defaults = _defaults(notebook.name, content["cells"])
    for name, value in parameters.items():
        if name not in defaults:
            known = ", ".join(defaults) or "none"
            raise ScenarioError(
                f"{notebook.name} does not declare parameter {name!r}; it has {known}. Give it a "
                "default in a code cell with the tag `parameters`, as `seed: int = 0` does."
            )
        wanted = type(defaults[name])
        if type(value) is not wanted:
            raise ScenarioError(
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
        raise ScenarioError(
            f"{name}: a {tagged[0]['cell_type']} cell has the tag `parameters`; leave that to the "
            "code cell that gives them defaults."
        )
    if sum(cell["cell_type"] == "code" for cell in tagged) > 1:  # the later would reset the values
        raise ScenarioError(
            f"{name}: several code cells have the tag `parameters`; leave it to the first one."
        )
    source = "".join(tagged[0]["source"]) if tagged else ""
    if unread := _UNREAD.search(source):
        raise ScenarioError(
            f"{name}: the parameters cell holds {unread[0]!a}, which Python does not read; give "
            "letters that can be printed."
        )
    defaults: dict[str, Any] = {}
    line, wrong = "", "does not give a parameter a literal, as `seed: int = 0` does"
    remedy = "mend it, or move it to a later cell"
    try:
        for statement in ast.parse(source).body:
            line = ast.get_source_segment(source, statement) or ""
            defaults |= [_default(name, statement)]
    except ScenarioError:
        raise
    except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError) as error:
        if isinstance(error, (MemoryError, RecursionError)) or "too many nested" in str(error):
            raise ScenarioError(
                f"{name}: the parameters cell is nested deeper than Python reads; shorten its "
                "values."
            ) from None
        line = (error.text if isinstance(error, SyntaxError) else line) or ""
        # what IPython alone reads may stand in a later cell
        if isinstance(error, SyntaxError) and not line.startswith(("%", "!")):
            indented = isinstance(error, IndentationError)
            wrong = f"{'has a wrong indentation' if indented else 'is not Python'} ({error.msg})"
            remedy = "mend it"
        line = printable(line.rstrip().partition("\n")[0])
        raise ScenarioError(f"{name}: `{line}` in the parameters cell {wrong}; {remedy}.") from None
    return defaults


def _default(notebook: str, statement: ast.stmt) -> tuple[str, Any]:
    """Name and literal that a statement assigns; `ValueError` or `TypeError` if it does not."""
    match statement:
        case ast.AnnAssign(ast.Name(name), annotation, ast.expr() as given):
            value = ast.literal_eval(given)
            if not _allows(annotation, value):
                raise ScenarioError(
                    f"{notebook}: parameter {name} = {value!r} must be of type "
                    f"{ast.unparse(annotation)}, as it is annotated; change either."
                )
            return name, value
        case ast.Assign([ast.Name(name)], given):
            return name, ast.literal_eval(given)
    raise ValueError("no assignment to one name")


def _allows(annotation: ast.expr, value: Any) -> bool:
    """Whether a value is of the plain types that an annotation names; one of others allows any."""
    match annotation:
        case ast.BinOp(left, ast.BitOr(), right):
            return _allows(left, value) or _allows(right, value)
        case ast.Constant(None):
            return value is None
        case ast.Name(name) if name in _TYPES:
            return type(value) in _TYPES[name]
    return True
