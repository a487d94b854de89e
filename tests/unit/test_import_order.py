"""The house: each room imports only from those to its left, and no import leads back."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import card

PACKAGE = Path(card.__file__).parent
ORDER = [
    "base",
    "hardware",
    "scenario",
    "llm channel",
    "costs",
    "solver",
    "policies",
    "simulation",
    "training",
    "profiling",
    "studies",
    "figures",
    "book",
    "cli",
    "__main__",
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms.split()}
NEED_TORCH = {"training", "profiling"}
USERS_OF_TORCH = NEED_TORCH | {"cli"}
FILES = {
    ".".join(("card", *path.relative_to(PACKAGE).with_suffix("").parts)): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def room(module):
    """Top-level part of the package that a module belongs to; empty for the package's own init."""
    return module.split(".")[1].removesuffix("__init__")


def imported(path):
    """Modules of the package that a file imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    inits = {f"{name}.__init__" for name in names}
    own = ".".join(("card", *path.relative_to(PACKAGE).with_suffix("").parts))
    return ((names | inits) & FILES.keys()) - {"card.__init__", own}


IMPORTS = {module: imported(path) for module, path in FILES.items()}


def test_every_room_has_its_place():
    assert {room(module) for module in FILES} - {""} == set(RANK)


@pytest.mark.parametrize("module", [module for module in FILES if room(module)])
def test_imports_come_from_rooms_to_the_left(module):
    others = {room(name) for name in IMPORTS[module]} - {room(module)}
    assert {name for name in others if RANK[name] >= RANK[room(module)]} == set()


@pytest.mark.parametrize("module", [m for m in FILES if room(m) and room(m) not in USERS_OF_TORCH])
def test_only_the_command_line_imports_what_needs_torch(module):
    assert {room(name) for name in IMPORTS[module]} & NEED_TORCH == set()


def test_no_import_leads_back():
    TopologicalSorter(IMPORTS).prepare()  # raises CycleError, which names the circle
