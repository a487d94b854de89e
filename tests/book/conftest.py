"""Opens the built book in a real browser, from the disk and with the network refused.

`make book` comes first. Without a book or without Chromium these tests are skipped, and say why.
"""

import functools
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from built import BOOK, DESKTOP, PATIENCE_MS, PHONE, pages
from playwright.sync_api import Browser, Page, Request, Route, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]

LOOK = """async () => {
  if (window.MathJax?.startup) await MathJax.startup.promise;
  const article = document.querySelector('.bd-article') ?? document.body;
  const all = (what) => [...article.querySelectorAll(what)];
  return {
    equations: all('.math').length,
    drawn: all('.math mjx-container svg').filter((e) => e.clientWidth > 0).length,
    wrong: all('mjx-merror').map((e) => e.textContent),
    images: all('img').map((e) => ({
      src: e.src, alt: e.alt.trim(), width: e.naturalWidth, shown: !!e.closest('.bd-article'),
      caption: e.closest('figure')?.querySelector('.caption-text')?.textContent.trim() ?? '',
    })),
  };
}"""
WIDER_THAN_SCREEN = "document.documentElement.scrollWidth - window.innerWidth"


@dataclass
class View:
    """What a browser says about one page."""

    complaints: list[str]
    requests: list[str]
    content: dict[str, Any]
    overflow_px: int


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "page" in metafunc.fixturenames:
        missing = [pytest.param("", marks=pytest.mark.skip(reason="no book; run `make book`"))]
        # what looks at one page stays together, and opens it once
        metafunc.parametrize("page", pages() or missing, scope="session")


@pytest.fixture(scope="session")
def book() -> Path:
    if not BOOK.is_dir():
        pytest.skip("no book; run `make book`")
    return BOOK


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def address(book: Path) -> Iterator[str]:
    """The book behind a local web server, as readers of a site get it, but uncompressed."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    serve = functools.partial(Quiet, directory=str(book))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """An empty tab of a desktop's size, with the network off."""
    context = browser.new_context(viewport=DESKTOP, offline=True)
    context.set_default_navigation_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def view(browser: Browser) -> Callable[[str], View]:
    """Looks at a page once, however many tests ask."""

    @cache
    def look(name: str) -> View:
        context = browser.new_context(viewport=DESKTOP, offline=True)
        context.set_default_navigation_timeout(PATIENCE_MS)
        tab, complaints, requests = context.new_page(), [], []

        def only_from_disk(route: Route, request: Request) -> None:
            if request.url.startswith(("file:", "data:", "blob:")):
                route.continue_()
            else:
                requests.append(request.url)
                route.abort()

        tab.route("**/*", only_from_disk)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("requestfailed", lambda request: complaints.append(f"not loaded: {request.url}"))
        tab.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        tab.goto((BOOK / name).as_uri(), wait_until="load")
        content = tab.evaluate(LOOK)
        tab.set_viewport_size(PHONE)
        overflow = tab.evaluate(WIDER_THAN_SCREEN)
        context.close()
        return View(complaints, requests, content, overflow)

    return look
