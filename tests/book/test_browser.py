"""Every page of the built book: complete from the disk, drawn, described, linked, narrow."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from built import BOOK, links, missing_book, resolves
from playwright.sync_api import Browser, Page

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


@missing_book
def test_a_title_that_is_one_long_word_fits_a_phone_also_in_captions(browser: Browser) -> None:
    tab = browser.new_page(viewport={"width": 390, "height": 844})
    tab.goto((BOOK / "index.html").as_uri())
    banner = "<div class='bd-header-announcement'>{}</div>"
    tab.evaluate(
        """([banner, word]) => {
            document.body.insertAdjacentHTML("afterbegin", banner.replace("{}", word));
            document.querySelector(".bd-article h1").textContent = word;
            document.querySelector(".bd-article p").textContent = word;
            for (const caption of document.querySelectorAll("figcaption p"))
                caption.textContent += word;
        }""",
        [banner, "a_word_without_an_end_" * 9],
    )
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    tab.close()


def test_internal_links_resolve(page: str) -> None:
    assert [link for link in links(page) if not resolves(page, link)] == []


@missing_book
@pytest.mark.parametrize(
    ("words", "found"),
    [("bandwidth", "notebooks/01_system_model.html"), ("smashed data", "notation.html")],
)
def test_search_finds_pages_without_a_network(words: str, found: str, tab: Page) -> None:
    tab.goto(f"{(BOOK / 'search.html').as_uri()}?q={quote(words)}")
    # results come one by one; the summary follows the last of them
    tab.wait_for_function("/found/i.test(document.querySelector('.search-summary')?.innerText)")
    links = tab.eval_on_selector_all("#search-results li a", "all => all.map((a) => a.href)")
    assert any(found in link for link in links)


@missing_book
@pytest.mark.parametrize("words", ["bandwidth", "cut", "delay weight", "energy", "adapter"])
def test_search_puts_chapters_before_names_of_the_package(words: str, tab: Page) -> None:
    tab.goto(f"{(BOOK / 'search.html').as_uri()}?q={quote(words)}")
    tab.wait_for_function("/found/i.test(document.querySelector('.search-summary')?.innerText)")
    links = tab.eval_on_selector_all("#search-results li a", "all => all.map((a) => a.href)")
    kinds = [
        bool(re.search(r"/html/(?:index\.|notebooks|idea|glossary|provenance|your-)", link))
        for link in links
    ]
    assert kinds[0]
    assert kinds == sorted(kinds, reverse=True)


@missing_book
@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("CARD versus static cut server only", "notebooks/05_comparison.html"),
        ("split learning cut layer definition", "glossary.html"),
        ("install command time minutes", "index.html"),
        ("static cut baseline realistic", "notebooks/05_comparison.html"),
        ("use my own LLM GPU", "your-own.html"),
    ],
)
def test_search_answers_questions_of_which_no_page_has_all_words(
    question: str, found: str, tab: Page
) -> None:
    tab.goto(f"{(BOOK / 'search.html').as_uri()}?q={quote(question)}")
    tab.wait_for_function("/found/i.test(document.querySelector('.search-summary')?.innerText)")
    links = tab.eval_on_selector_all("#search-results li a", "all => all.map((a) => a.href)")
    assert any(found in link for link in links[:5])


def test_search_shows_excerpts_where_a_server_serves_the_pages(
    browser: Browser, address: str
) -> None:
    tab = browser.new_page()  # online
    tab.goto(f"{address}/search.html?q=bandwidth")
    tab.wait_for_function("/found/i.test(document.querySelector('.search-summary')?.innerText)")
    excerpt = tab.locator("#search-results li p.context").first
    excerpt.wait_for()
    assert "bandwidth" in excerpt.inner_text().lower()
    tab.goto(f"{address}/search.html?q=smashed+data")
    meaning = tab.locator("#search-results li", has=tab.locator("a[href*='term-smashed-data']"))
    meaning.locator("p.context").wait_for()
    assert "output of the last block" in meaning.inner_text()
    excerpts = tab.locator("#search-results li p.context").all_inner_texts()
    assert not any(re.search(r"\\\(|import |^\W*Contents", text) for text in excerpts)
    tab.close()


@missing_book
def test_search_says_when_nothing_is_found(tab: Page) -> None:
    tab.goto(f"{(BOOK / 'search.html').as_uri()}?q=zeppelin")
    tab.wait_for_function(
        "/did not match|no results/i.test(document.querySelector('#search-results').innerText)"
    )
