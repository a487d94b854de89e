"""The look of the built book in a real browser: both themes, icons, folded code, keyboards."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from built import DRAWN
from PIL import Image
from playwright.sync_api import Browser, Page

from card.figures.palette import DARK_PAGE, LIGHT_PAGE

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
Open = Callable[[str, str], Page]
FIGURE = ".bd-article img[src$='.svg']"

# A theme's icon is a mask laid over its name; without one it would be a square, or take a font
BARE_ICONS = """() => [...document.querySelectorAll('body *')].filter((icon) =>
    ['::before', '::after'].map((part) => getComputedStyle(icon, part)).some((style) =>
      !['none', 'normal'].includes(style.content) && style.display !== 'none'
      && (style.fontFamily.startsWith('"Font Awesome') ||
          style.maskImage !== 'none' && !style.maskImage.startsWith('url'))))
  .map((icon) => icon.outerHTML.slice(0, 120))"""
UNREACHABLE = """() => [...document.querySelectorAll('.bd-article *')].filter((box) => {
    const style = getComputedStyle(box);
    const wide = box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(style.overflowX);
    const tall = box.scrollHeight > box.clientHeight + 1 && /auto|scroll/.test(style.overflowY);
    return (wide || tall) && box.tabIndex < 0 && box.checkVisibility();
  }).map((box) => box.outerHTML.slice(0, 120))"""


class Look(NamedTuple):
    """What a browser shows of one page."""

    light: list[tuple[int, ...]]
    dark: list[tuple[int, ...]]
    toggles: list[bool]
    unfolded: int
    bare_icons: list[str]
    unreachable: list[str]


@pytest.fixture(scope="module")
def opened(browser: Browser, book: Path) -> Iterator[Open]:
    """Opens a page in a theme; the reader's system asks for the other one."""
    contexts = []

    def open_page(name: str, theme: str) -> Page:
        system = {"light": "dark", "dark": "light"}[theme]
        context = browser.new_context(viewport=DESKTOP, offline=True, color_scheme=system)
        contexts.append(context)
        keep = "".join(f"localStorage.setItem('{key}', '{theme}');" for key in ("mode", "theme"))
        context.add_init_script(keep)
        tab = context.new_page()
        tab.goto((book / name).as_uri(), wait_until="load")
        tab.evaluate("async () => { await window.MathJax?.startup?.promise; }")
        return tab

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def look(opened: Open) -> Callable[[str], Look]:
    """Looks at a page once, however many tests ask."""

    @cache
    def at(name: str) -> Look:
        tab = opened(name, "light")
        figures = range(tab.locator(FIGURE).count())
        light = [corner(tab, figure) for figure in figures]
        tab.evaluate("document.documentElement.dataset.theme = 'dark'")
        dark = [corner(tab, figure) for figure in figures]
        toggles = tab.locator(".bd-article div.cell details.hide > summary")
        shown = [toggle.is_visible() for toggle in toggles.all()]
        unfolded = tab.locator(".bd-article div.cell details.hide[open]").count()
        bare = tab.evaluate(BARE_ICONS)
        tab.set_viewport_size(PHONE)
        tab.wait_for_function("width => innerWidth === width", arg=PHONE["width"])
        tab.evaluate(DRAWN)  # the page hears of its new size between two frames
        found = Look(light, dark, shown, unfolded, bare, tab.evaluate(UNREACHABLE))
        tab.close()
        return found

    return at


def corner(tab: Page, image: int) -> tuple[int, ...]:
    """Colour of a picture's background, just inside its rounded edge."""
    figure = tab.locator(FIGURE).nth(image)
    figure.scroll_into_view_if_needed()
    shot = Image.open(io.BytesIO(figure.screenshot())).convert("RGB")
    pixel = shot.getpixel((shot.width // 2, 1))
    assert isinstance(pixel, tuple)
    return pixel


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def test_figures_follow_the_switch_and_not_the_system(
    page: str, look: Callable[[str], Look]
) -> None:
    seen = look(page)
    assert set(seen.light) <= {rgb(LIGHT_PAGE)}
    assert set(seen.dark) <= {rgb(DARK_PAGE)}


def test_figures_are_dark_from_the_start_for_who_reads_by_night(opened: Open) -> None:
    assert corner(opened("index.html", "dark"), 0) == rgb(DARK_PAGE)


def test_the_link_over_the_menus_shows_nothing_of_itself_until_it_is_used(opened: Open) -> None:
    tab = opened("architecture.html", "dark")
    link = ".skip-link"
    place = "link => link.getBoundingClientRect().bottom"
    assert tab.eval_on_selector(link, place) <= -1
    tab.keyboard.press("Tab")
    tab.wait_for_function(f"({place})(document.querySelector('{link}')) > 20")


def test_every_icon_is_drawn(page: str, look: Callable[[str], Look]) -> None:
    assert look(page).bare_icons == []


def test_what_scrolls_can_be_reached_with_the_keyboard(
    page: str, look: Callable[[str], Look]
) -> None:
    assert look(page).unreachable == []


def test_code_is_folded_behind_a_visible_toggle(page: str, look: Callable[[str], Look]) -> None:
    if not page.startswith("notebooks/"):
        pytest.skip("only chapters have code to fold")
    seen = look(page)
    assert seen.toggles
    assert all(seen.toggles)
    assert seen.unfolded == 0


def test_what_goes_on_fades_until_its_end_is_reached(opened: Open) -> None:
    tab = opened("notebooks/01_system_model.html", "light")
    code = tab.locator("div.highlight pre", has_text="representatives").first
    mask = "getComputedStyle(box).maskImage"
    assert code.evaluate(f"box => {mask}") == "none"  # a screen holds it whole
    tab.set_viewport_size(PHONE)
    tab.wait_for_function(f"box => {mask} !== 'none'", arg=code.element_handle())
    code.evaluate("box => box.scrollTo(box.scrollWidth, 0)")
    tab.wait_for_function(f"box => {mask} === 'none'", arg=code.element_handle())


def test_the_first_screen_says_it_all(opened: Open) -> None:
    tab = opened("index.html", "light")
    for what in ("h1", ".reconstruction", "#fig-headline img", ".first-look table"):
        box = tab.locator(f".bd-article {what}").first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= DESKTOP["height"], what
    doors = tab.locator(".doors .sd-card-title")
    assert doors.all_inner_texts() == ["Read", "Re-run", "Build your own"]
    for door in doors.all():
        box = door.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= DESKTOP["height"]
