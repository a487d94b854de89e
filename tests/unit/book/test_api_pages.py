"""The API reference as written: every module on one page, in the order of the imports."""

import ast
import re
from pathlib import Path

import pytest
import yaml

import card
from card.book.indexes import pages_of

PACKAGE = Path(card.__file__).parent
ROOT = PACKAGE.parent
OVERVIEW = (ROOT / "book" / "api.md").read_text("utf-8")
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
PAGES = [page for page in pages_of(TOC) if page.startswith("api/")]
TEXT = {page: (ROOT / "book" / f"{page}.md").read_text("utf-8") for page in PAGES}
LISTED = {page: re.findall(r"^\.\. automodule:: (\S+)$", TEXT[page], re.M) for page in PAGES}
INTERNAL = set(
    re.findall(
        r"`(card\.(?:training|profiling)\.[\w.]+)`",
        TEXT["api/runtime"].partition("keeps to itself")[2],
    )
)
"""Modules that the page of the runtime names without documenting them."""


MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in PACKAGE.rglob("[!_]*.py")
}


def imported(module):
    """Names that a module imports anywhere, and the modules it has them from."""
    names = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_every_module_is_documented_on_exactly_one_page():
    # the command line has a page of its own, made from its commands
    public = {name for name in MODULES if not name.startswith("card.cli.")}
    documented = [module for modules in LISTED.values() for module in modules]
    assert sorted(documented) == sorted(public - INTERNAL)
    assert public >= INTERNAL


@pytest.mark.parametrize("page", PAGES)
def test_every_heading_names_its_module(page):
    assert re.findall(r"^## `(\S+)`$", TEXT[page], re.M) == LISTED[page]


def test_the_overview_lists_the_modules_of_every_page_in_order():
    entries = re.findall(r"^\{doc\}`(api/\w+)`\n: (.*?)(?:\n\n|\Z)", OVERVIEW, re.M | re.S)
    assert [page for page, _ in entries] == PAGES
    for page, text in entries:
        assert re.findall(r"\{py:mod\}`(\S+)`", text) == LISTED[page]


def test_the_overview_begins_with_the_names_of_the_package():
    homes = {name: f"{getattr(card, name).__module__}.{name}" for name in card.__all__}
    named = re.findall(r"^   ~(\S+)$", OVERVIEW, re.M)
    assert sorted(named) == sorted(homes.values())


@pytest.mark.parametrize("page", PAGES)
def test_a_page_needs_no_page_below_it(page):
    below = PAGES[PAGES.index(page) + 1 :]
    later = {module for other in below for module in LISTED[other]}
    for module in LISTED[page]:
        assert imported(module) & later == set(), module
