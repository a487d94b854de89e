"""Every page of the built book for people who do not see it, or do not point at it."""

import json
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from built import PHONE, missing_book, open_page
from playwright.sync_api import Page

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")
COLOURS = ["color-contrast", "link-in-text-block"]
"""The rules that a change of theme can break."""
HIDE_ALIKE = """(known) => {
  const kindOf = (it) => [
    it.tagName, it.getAttribute('class'), it.style?.color, it.style?.backgroundColor,
  ].join(' ');
  const all = [...document.body.querySelectorAll('*')];
  const seen = new Set(known), kept = new Set();
  for (const it of all) {
    let kinds = '';
    for (let box = it; box; box = box.parentElement) kinds += kindOf(box) + ' < ';
    if (seen.has(kinds)) continue;
    seen.add(kinds);
    for (let box = it; box; box = box.parentElement) kept.add(box);
  }
  for (const it of all) it.style.visibility = kept.has(it) ? '' : 'hidden';
  return [...seen];
}"""
"""Hides what has an element before it of the same kind, in boxes of the same kinds up to the page,
or whose kind is known from another page.

The same rules of style give it its colours, and each takes axe a while.
"""
KNOWN: dict[str, set[str]] = {"light": set(), "dark": set()}
"""Kinds of elements whose colours were right on another page, by theme."""
OPEN_A_CELL = "document.querySelectorAll('details').forEach((box, i) => { box.open = i < 2; })"
"""Cells of code look alike, and each takes axe a second."""
FOCUSED = """() => {
  const it = document.activeElement, box = it.getBoundingClientRect(), style = getComputedStyle(it);
  return {
    tag: it.tagName.toLowerCase(), classes: [...it.classList], text: it.textContent.trim(),
    label: it.ariaLabel ?? "", area: box.width * box.height,
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0
      || style.boxShadow !== "none",
  };
}"""
TRANSITIONS = """() => Promise.all(document.getAnimations()
  .filter((it) => it instanceof CSSTransition).map((it) => it.finished))"""
LONGEST_TOUR = 400
"""Presses of the Tab key that reach the end of any page but the API reference."""
FEWEST_WORDS = 8
"""Words of a picture's description at least."""
SOURCE = "_modules/card/channel/gains.html"


def violations(tab: Page, *, others: bool = True, known: set[str] | None = None) -> list[str]:
    """Findings of axe on what a tab shows, with where each is.

    Colours of kinds that are known are not looked at again; those found to be right become known.
    """
    found = []
    if others:
        off = {rule: {"enabled": False} for rule in COLOURS}
        found += axe(tab, {"rules": off})
    seen = tab.evaluate(HIDE_ALIKE, sorted(known or ()))
    found += axe(tab, {"runOnly": COLOURS})
    if known is not None and not found:
        known.update(seen)
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]


def axe(tab: Page, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Rules that what a tab shows breaks."""
    options = {"resultTypes": ["violations"], **options}
    broken: list[dict[str, Any]] = tab.evaluate(f"axe.run(document, {json.dumps(options)})")[
        "violations"
    ]
    return broken


def use_theme(tab: Page, theme: str) -> None:
    """Show a theme, and opened cells, without what passes through other colours on the way."""
    tab.add_style_tag(content="* { transition: none !important; animation: none !important; }")
    tab.evaluate(
        "theme => Object.assign(document.documentElement.dataset, {theme, mode: theme})", theme
    )


def tour(tab: Page, stops: int = LONGEST_TOUR) -> list[dict[str, Any]]:
    """What the Tab key reaches, in its order, up to the end of the page."""
    reached = []
    for _ in range(stops):
        tab.keyboard.press("Tab")
        stop = tab.evaluate(FOCUSED)
        if stop["tag"] == "body":
            return reached
        reached.append(stop)
    raise AssertionError(f"the Tab key is still under way after {stops} stops")


@pytest.mark.slow
def test_axe_finds_nothing_in_either_theme(page: str, tab: Page) -> None:
    open_page(tab, page)
    tab.evaluate(OPEN_A_CELL)
    tab.evaluate(AXE)
    use_theme(tab, "light")
    assert violations(tab, known=KNOWN["light"]) == []
    use_theme(tab, "dark")
    assert violations(tab, others=False, known=KNOWN["dark"]) == []


@missing_book
@pytest.mark.slow
@pytest.mark.parametrize("name", ["index.html", "notebooks/01_system_model.html", SOURCE])
def test_axe_finds_nothing_on_a_phone(name: str, tab: Page) -> None:
    tab.set_viewport_size(PHONE)
    open_page(tab, name)
    tab.evaluate(AXE)
    assert violations(tab) == []


@missing_book
def test_axe_sees_what_is_wrong(tab: Page) -> None:
    # a gate that cannot fail would say nothing about the pages above
    open_page(tab, "index.html")
    tab.evaluate(AXE)
    tab.evaluate("document.querySelector('.bd-article p').style.color = 'silver'")
    assert any(found.startswith("color-contrast") for found in violations(tab, others=False))


@missing_book
def test_axe_sees_what_is_wrong_with_each_of_a_kind(tab: Page) -> None:
    open_page(tab, "api/model.html")
    tab.evaluate(AXE)
    tab.add_style_tag(content=".bd-article dl.py .sig-name { color: silver !important; }")
    assert any(found.startswith("color-contrast") for found in violations(tab, others=False))


@missing_book
def test_button_switches_the_theme(tab: Page) -> None:
    tab.emulate_media(color_scheme="light")
    open_page(tab, "index.html")
    seen = {}
    for _ in range(3):  # light, dark and what the system prefers follow each other
        tab.locator(".theme-switch-button:visible").first.click()
        tab.evaluate(TRANSITIONS)
        theme = tab.evaluate("document.documentElement.dataset.theme")
        seen[theme] = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert set(seen) == {"light", "dark"}
    assert len(set(seen.values())) == 2


@missing_book
class TestKeyboard:
    PAGE = "notebooks/05_comparison.html"

    def test_reaches_everything_and_shows_where_it_is(self, tab: Page) -> None:
        open_page(tab, self.PAGE)
        stops = tour(tab)
        assert stops[0]["text"] == "Skip to main content"
        labels = {stop["label"] for stop in stops}
        classes = {name for stop in stops for name in stop["classes"]}
        tags = {stop["tag"] for stop in stops}
        assert {"search-button-field", "theme-switch-button", "left-prev", "right-next"} <= classes
        assert {"Toggle primary sidebar", "Color mode"} <= labels
        assert {"a", "button", "summary"} <= tags
        hidden = [stop for stop in stops if not stop["area"] or not stop["ring"]]
        assert hidden == []

    def test_reaches_every_page_from_every_page(self, tab: Page) -> None:
        open_page(tab, self.PAGE)
        tab.evaluate("document.querySelector('.bd-links a').focus()")
        listed = tab.locator(".bd-links a.reference").count()
        texts = tab.locator(".bd-links a.reference").all_text_contents()
        reached = [tab.evaluate(FOCUSED)["text"]]
        for _ in range(listed - 1):
            tab.keyboard.press("Tab")
            reached.append(tab.evaluate(FOCUSED)["text"])
        assert reached == [text.strip() for text in texts]

    def test_skips_to_the_content(self, tab: Page) -> None:
        open_page(tab, self.PAGE)
        tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        tab.keyboard.press("Tab")
        assert tab.evaluate("!!document.activeElement.closest('#main-content')")

    def test_opens_code_and_closes_it(self, tab: Page) -> None:
        open_page(tab, self.PAGE)
        cell = tab.locator(".bd-article details").first
        cell.locator("summary").focus()
        for opened in (True, False):
            tab.keyboard.press("Enter")
            assert cell.evaluate("box => box.open") is opened

    def test_opens_the_search_and_types_into_it(self, tab: Page) -> None:
        open_page(tab, self.PAGE)
        tab.locator(".search-button-field:visible").focus()
        tab.keyboard.press("Enter")
        tab.keyboard.type("cut")
        assert tab.evaluate("document.activeElement.value") == "cut"
        tab.keyboard.press("Escape")
        assert not tab.locator("dialog[open]").count()

    def test_switches_the_theme(self, tab: Page) -> None:
        open_page(tab, self.PAGE)
        before = tab.evaluate("document.documentElement.dataset.mode")
        tab.locator(".theme-switch-button:visible").first.focus()
        tab.keyboard.press("Enter")
        assert tab.evaluate("document.documentElement.dataset.mode") != before

    def test_scrolls_what_is_wider_than_a_phone(self, tab: Page) -> None:
        tab.set_viewport_size(PHONE)
        open_page(tab, "notebooks/01_system_model.html")
        boxes = tab.locator(".bd-article [tabindex='0']:visible")
        wide = boxes.evaluate_all("found => found.filter((it) => it.scrollWidth > it.clientWidth)")
        assert len(wide) == boxes.count() > 0
        boxes.first.focus()
        tab.keyboard.press("ArrowRight")
        tab.wait_for_function("document.activeElement.scrollLeft > 0")


def test_descriptions_say_what_pictures_show(page: str, view: Any) -> None:
    for picture in (one for one in view(page).content["images"] if one["shown"]):
        alt = picture["alt"]
        assert len(alt.split()) >= FEWEST_WORDS, (
            f"{picture['src']}: {alt!r} is too short to say much"
        )
        assert alt.endswith("."), f"{picture['src']}: {alt!r} is no sentence"
        assert alt != picture["caption"], f"{picture['src']}: the caption is read twice"
        assert not alt.lower().startswith(("image", "picture", "figure of", "plot of")), alt
