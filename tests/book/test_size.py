"""The book's weight: the whole folder, and what the first page makes a browser fetch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser

BOOK_MB = 25
FIRST_PAGE_MB = 1.0
INTERACTIVE_S = 2.0


def test_the_whole_book_is_small(book: Path) -> None:
    byte = sum(path.stat().st_size for path in book.rglob("*") if path.is_file())
    assert byte < BOOK_MB * 1e6


def test_the_first_page_is_light_and_soon_answers(
    browser: Browser, address: str, record_testsuite_property: Callable[[str, object], None]
) -> None:
    sizes: dict[str, int] = {}
    interactive_s = []
    # The best of three, since machines are busy with other things
    for _ in range(3):
        context = browser.new_context()
        tab = context.new_page()
        tab.on("response", lambda answer: sizes.update({answer.url: len(answer.body())}))
        tab.goto(f"{address}/index.html", wait_until="networkidle")
        interactive_s.append(
            tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1e3
        )
        context.close()
    record_testsuite_property("first_page_byte", sum(sizes.values()))
    record_testsuite_property("interactive_s", min(interactive_s))
    assert all(url.startswith(address) for url in sizes)
    assert sum(sizes.values()) < FIRST_PAGE_MB * 1e6, sorted(sizes.items(), key=lambda i: -i[1])[:5]
    assert min(interactive_s) < INTERACTIVE_S
