"""Each module imports only from those to its left in one fixed order."""

import ast
from pathlib import Path

import pytest

import card

PACKAGE = Path(card.__file__).parent
ORDER = [
    {"arrays"},
    {"units"},
    {"refusal"},
    {"records", "checks"},
    {"merge", "profiles"},
    {"hardware"},
    {"scenario", "notation"},
    {"llm", "channel", "parameters"},
    {"blocks", "fading"},
    {"cuts"},
    {"costs"},
    {"kernel", "fidelity"},
    {"solver"},
    {"policies", "pareto", "search"},
    {"simulate", "explorer"},
    {"grid"},
    {"store"},
    {"sweep", "claims", "compare", "studyfile", "plan"},
    {"sensitivity"},
    {"figures"},
    {"book"},
    {"cli"},
    {"__main__"},
]
LAB = {
    "units",
    "profiles",
    "hardware",
    "scenario",
    "llm",
    "blocks",
    "cuts",
    "costs",
    "solver",
    "refusal",
}
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def part(path):
    """Top-level module that a file belongs to; `card` for the package's own init."""
    top = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "card" if top == "__init__" else top


def imported(path):
    """Modules of the package that a file imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            if node.module == "card":
                names |= {f"card.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("card.")}


def test_every_module_has_its_place():
    assert {part(path) for path in FILES} - {"card", "lab"} <= set(RANK)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_come_from_the_left(path):
    own = part(path)
    found = imported(path) - {own}
    if own == "card":
        return
    if own == "lab":
        assert found <= LAB
        return
    allowed = {name for name in RANK if RANK[name] < RANK[own]}
    allowed |= {"lab"} if own == "cli" else set()
    assert found <= allowed


def test_only_the_command_line_imports_the_lab():
    outside = [path for path in FILES if part(path) not in ("lab", "cli")]
    assert [path.name for path in outside if "lab" in imported(path)] == []
