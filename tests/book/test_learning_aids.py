"""Words that are explained where they stand, and answers that wait until they are asked for."""

import re
from pathlib import Path

import pytest
from built import BOOK, missing_book
from playwright.sync_api import Page

pytestmark = missing_book
CHAPTERS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9]*.ipynb"))


def open_(tab: Page, name: str) -> None:
    tab.goto((BOOK / f"{name}.html").as_uri())


def test_the_keyboard_shows_what_a_word_means_and_escape_hides_it(tab: Page) -> None:
    open_(tab, "notebooks/01_system_model")
    told, word = tab.locator("#meaning"), tab.locator("a.word", has_text="smashed data").first
    assert not told.is_visible()
    tab.keyboard.press("Tab")  # so that the focus is one of the keyboard
    word.focus()
    assert told.is_visible()
    assert "last block on the device" in told.inner_text()
    assert word.get_attribute("aria-describedby") == "meaning"
    box = told.bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= tab.viewport_size["width"]
    tab.keyboard.press("Escape")
    assert not told.is_visible()


def test_the_pointer_shows_it_as_well_and_the_link_leads_to_the_glossary(tab: Page) -> None:
    open_(tab, "notebooks/01_system_model")
    word = tab.locator("a.word").first
    word.hover()
    assert tab.locator("#meaning").is_visible()
    word.click()
    tab.wait_for_url(re.compile(r"glossary\.html#term-[\w-]+$"))


@pytest.mark.parametrize("chapter", [path.stem for path in CHAPTERS])
def test_a_chapter_has_an_exercise_whose_answers_open_by_the_keyboard(
    tab: Page, chapter: str
) -> None:
    open_(tab, f"notebooks/{chapter}")
    assert tab.locator("h2", has_text="Exercise").count() == 1
    folded = tab.locator(".admonition.dropdown")
    assert folded.count() >= 1
    for place in range(folded.count()):
        box = folded.nth(place)
        text, toggle = (
            box.locator("> :not(.admonition-title):not(button)").first,
            box.locator("button.toggle-button"),
        )
        assert not text.is_visible()
        toggle.focus()
        tab.keyboard.press("Enter")
        text.wait_for(state="visible")


def test_a_link_to_an_equation_in_a_folded_part_opens_it(tab: Page) -> None:
    open_(tab, "notebooks/01_system_model")
    equation = tab.locator("[id='equation-eq-real-delay']")
    assert not equation.is_visible()
    tab.goto((BOOK / "notebooks/02_optimisation.html").as_uri())
    tab.locator("a[href$='equation-eq-real-energy']").first.click()
    # not the equation itself, which is there for a moment before the fold closes over it
    fold = tab.locator(".dropdown:has([id='equation-eq-real-energy'])")
    fold.locator(".toggle-button[aria-expanded='true']").wait_for()
    assert equation.is_visible()
