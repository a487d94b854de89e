"""The built book as files: its pages, their links, and how a browser opens them."""

import re
from functools import cache
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Page

BOOK = Path(__file__).resolve().parents[2] / "_build/nominal/html"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
PATIENCE_MS = 120_000
"""Time that a page with many equations may take where other tests compute."""

DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Until a page has drawn what it had still to draw, with its next frame or the one after."""
SETTLED = """async () => {
  if (window.MathJax?.startup) await MathJax.startup.promise;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


def pages() -> list[str]:
    """Every page a reader can reach, but for listings of source code."""
    found = (path.relative_to(BOOK).as_posix() for path in BOOK.rglob("*.html"))
    return sorted(name for name in found if not name.startswith("_"))


missing_book = pytest.mark.skipif(not pages(), reason="no book; run `make book`")
"""For tests that look at a page of their own."""


def open_page(tab: Page, name: str) -> None:
    """Load a page and wait until its equations are drawn and its scripts have settled."""
    tab.goto((BOOK / name).as_uri(), wait_until="load", timeout=PATIENCE_MS)
    tab.evaluate(SETTLED)


@cache
def read(name: str) -> str:
    """Text of a page."""
    return (BOOK / name).read_text(encoding="utf-8")


def links(name: str) -> list[str]:
    """Links of a page to other places of the book."""
    found = re.findall(r'<a\b[^>]*?\bhref="([^"]+)"', read(name))
    return sorted({link for link in map(unescape, found) if not urlsplit(link).scheme})


def resolves(name: str, link: str) -> bool:
    """Whether a link of a page leads to a file, and to an anchor if it names one."""
    page, parts = BOOK / name, urlsplit(link)
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_file():
        return False
    if not parts.fragment or target.suffix != ".html":
        return True
    return unquote(parts.fragment) in anchors(target.relative_to(BOOK).as_posix())


@cache
def anchors(name: str) -> frozenset[str]:
    """Places of a page that a link can name."""
    return frozenset(map(unescape, re.findall(r'\bid="([^"]+)"', read(name))))
