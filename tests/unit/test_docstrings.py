"""Examples in the package's docstrings give what they say."""

import doctest
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


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name):
    if name.startswith(("card.training", "card.profiling")):
        pytest.importorskip("torch")
    found = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0


def test_there_are_examples():
    assert MODULES
