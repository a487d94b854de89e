"""Every page of the built book: complete from the disk, drawn, described, linked, narrow."""

from collections.abc import Callable
from typing import Any

from built import links, resolves

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


def test_internal_links_resolve(page: str) -> None:
    assert [link for link in links(page) if not resolves(page, link)] == []
