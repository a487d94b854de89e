"""A comparison of two studies as one web page: its tables can be read at any width."""

import pytest
from built import PHONE
from playwright.sync_api import Browser

import card
from card.book.comparison_page import comparison_page
from card.studies.comparison import compare

LONGEST = """() => Math.max(...[...document.querySelectorAll('tr')].map(
  (row) => row.clientHeight / parseFloat(getComputedStyle(row).lineHeight)))"""


@pytest.mark.parametrize("viewport", [PHONE, {"width": 1280, "height": 900}], ids=["phone", "desk"])
def test_words_stay_whole_and_tables_scroll_alone(
    viewport: dict[str, int], browser: Browser
) -> None:
    found = compare(card.load_scenario("nominal"), card.load_scenario("bigger-llm"), rounds=5)
    tab = browser.new_page(viewport=viewport)
    tab.set_content(comparison_page(found, ("nominal", "bigger-llm")))
    lines = tab.evaluate(LONGEST)
    beyond = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
    tab.close()
    assert lines < 3, "a row of one or two lines and its padding"
    assert beyond <= 0
