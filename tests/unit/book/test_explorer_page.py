"""`card.book.explorer_page`: markup that holds its data whole, and asks for no other file."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import get_args

import pytest

from card.book.explorer_page import View, element
from card.figures.palette import dark
from card.figures.style import PART_COLOURS


class Scripts(HTMLParser):
    """Collects what stands in scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inside, self.found = False, []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.inside = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        self.found += [data] if self.inside else []


def test_no_name_ends_the_element_early() -> None:
    content = {"title": "</script><script>alert(1)</script>\n"}
    (script,) = Scripts(element(content)).found
    assert json.loads(script) == content


@pytest.mark.parametrize("view", get_args(View))
def test_the_element_asks_for_no_file_and_brings_the_palette(view: View) -> None:
    html = element({}, view)
    assert not re.search(r"https?:|\bsrc=|\bhref=", html)
    for colour in PART_COLOURS.values():
        assert colour in html
        assert dark(colour) in html


@pytest.mark.parametrize("view", get_args(View))
def test_every_picture_has_its_height_before_it_is_drawn(view: View) -> None:
    drawn = re.findall(r"<svg data-panel=[^>]*>", element({}, view))
    assert drawn
    assert all(re.search(r'style="height:\d+px"', tag) for tag in drawn)
