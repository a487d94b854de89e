"""On a phone nothing is cropped: figures have a version of their own, equations shrink."""

import pytest
from built import BOOK, PHONE, missing_book, open_page, pages
from playwright.sync_api import Browser

pytestmark = missing_book
READ = [page for page in pages() if not page.startswith("api")]

BEYOND = """() => {
  const wide = (box) => box.scrollWidth > box.clientWidth + 1;
  const all = (what) => [...document.querySelectorAll(`.bd-article ${what}`)];
  const width = (box, most) => {
    box.style.maxWidth = most;
    return box.getBoundingClientRect().width;
  };
  const drawn = all('div.math mjx-container svg').filter((e) => width(e, '') > 0);
  return {
    cut: all('div.math, div.math mjx-container').filter(wide).length,
    smallest: Math.min(1, ...drawn.map((e) => width(e, '') / width(e, 'none'))),
    figures: all('figure').filter((e) => e.querySelector('picture') && wide(e)).map((e) => e.id),
    shown: all('figure picture img').map((e) => e.currentSrc),
  };
}"""


@pytest.mark.parametrize("name", READ)
def test_figures_and_equations_fit(name: str, browser: Browser) -> None:
    context = browser.new_context(viewport=PHONE, offline=True)
    tab = context.new_page()
    open_page(tab, name)
    found = tab.evaluate(BEYOND)
    context.close()
    assert found["cut"] == 0
    assert found["smallest"] > 0.5, "an equation is too small to read"
    assert found["figures"] == []
    assert all(source.endswith("-phone.svg") for source in found["shown"])


def test_every_figure_of_a_chapter_has_such_a_version() -> None:
    drawn = {path.stem for path in (BOOK / "results/figures").glob("*.png")}
    narrow = {path.stem.removesuffix("-phone") for path in BOOK.glob("results/figures/*-phone.svg")}
    assert narrow == drawn
