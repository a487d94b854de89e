"""Every page of the built book: complete from the disk, drawn, described, linked, narrow."""

import re
from collections.abc import Callable
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

Look = Callable[[str], Any]


def test_a_page_needs_no_network_and_no_console_complains(page: str, view: Look) -> None:
    seen = view(page)
    assert seen.requests == [], "asked of the network"
    assert seen.complaints == []


def test_equations_are_drawn(page: str, view: Look) -> None:
    content = view(page).content
    assert content["wrong"] == []
    assert content["drawn"] == content["equations"]


def test_pictures_load_and_say_what_they_show(page: str, view: Look) -> None:
    for image in view(page).content["images"]:
        assert image["width"] > 0, f"{image['src']} is not drawn"
        assert " " in image["alt"].strip(), (
            f"{image['src']} has no description, only {image['alt']!r}"
        )


def test_a_page_fits_a_phone(page: str, view: Look) -> None:
    assert view(page).overflow_px <= 0


def test_internal_links_resolve(page: str, book: Path) -> None:
    here = book / page
    broken = [link for link in links(here) if not resolves(here, link)]
    assert broken == []


def links(page: Path) -> list[str]:
    found = re.findall(r'<a\b[^>]*?\bhref="([^"]+)"', page.read_text(encoding="utf-8"))
    return sorted({link for link in map(unescape, found) if not urlsplit(link).scheme})


def resolves(page: Path, link: str) -> bool:
    parts = urlsplit(link)
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_file():
        return False
    return (
        not parts.fragment or target.suffix != ".html" or unquote(parts.fragment) in names(target)
    )


@cache
def names(page: Path) -> frozenset[str]:
    return frozenset(map(unescape, re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8"))))
