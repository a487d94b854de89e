"""Examples in the package's docstrings give what they say."""

import ast
import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

import card

ROOT = Path(card.__file__).parent
MODULES = [
    ".".join(("card", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(ROOT.rglob("*.py"))
    if ">>> " in path.read_text("utf-8")
]


NO_TYPE = re.compile(r":[\w:]+:`[^`]*`|``[^`]*``")
"""Roles and literals in two quotes, the only texts in which a colon ends no type."""


def described(node):
    """First line of what is said of each public value or property of a class or module."""
    for part, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(part, ast.FunctionDef):
            read = any("property" in ast.unparse(one) for one in part.decorator_list)
            text, name = ast.get_docstring(part) if read else None, part.name
        elif isinstance(part, (ast.Assign, ast.AnnAssign)) and isinstance(after, ast.Expr):
            text = getattr(after.value, "value", None)
            name = ast.unparse(part).split(":")[0].split(" ")[0]
        else:
            continue
        if isinstance(text, str) and not name.startswith("_"):
            yield name, text.strip().partition("\n")[0]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.stem)
def test_no_colon_stands_in_the_first_line_on_a_value(path):
    # what stands before one is taken for a type
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    found = [one for node in nodes if isinstance(node, (ast.Module, ast.ClassDef))
             for one in described(node)]  # fmt: skip
    assert [name for name, line in found if ":" in NO_TYPE.sub("", line)] == []


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name):
    if name.startswith(("card.training", "card.profiling")):
        pytest.importorskip("torch")
    found = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0


def test_there_are_examples():
    assert MODULES
