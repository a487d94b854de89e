"""The executed chapters that the book offers, opened where people re-run them.

JupyterLab and `nbconvert --to html` show them as their readers see them: with every number in its
sentence, every equation typeset and every figure drawn, and no mark that only the book understands.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from built import BOOK, missing_book
from playwright.sync_api import Browser, Page

OFFERED = sorted((BOOK / "_sources/notebooks").glob("*.ipynb"))
ROLE = re.compile(r"\{[\w:-]+\}`|`{3}\{|\{\{|…\}")
TEX = re.compile(r"\\(?:tag|frac|mathrm|begin|label|bigl|text)\b|\$[^$\s]")
FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL)
ALL_CELLS = {"windowingMode": "none"}
"""Of JupyterLab's notebook; else it renders only what fits the window."""
SHOWN = """() => {
  const read = document.querySelectorAll('.jp-RenderedMarkdown');
  return {
    text: [...read].map((e) => e.innerText).join('\\n'),
    wrong: [...document.querySelectorAll('mjx-merror')].map((e) => e.textContent),
    pictures: [...document.querySelectorAll('.jp-OutputArea img')].map((e) => e.naturalWidth),
  };
}"""

pytestmark = [missing_book, pytest.mark.slow]


def figures(notebook: Path) -> int:
    """Figures of a chapter."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    return sum("figure" in cell["metadata"].get("mystnb", {}) for cell in cells)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a JupyterLab that serves the notebooks."""
    folder = tmp_path_factory.mktemp("lab")
    for notebook in OFFERED:
        shutil.copy(notebook, folder)
    settings = folder / "settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(ALL_CELLS))
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={folder}"]
    environment = {
        **os.environ,
        "HOME": str(folder),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
    }
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        assert server.stderr is not None
        found = (re.search(r"http://127\.0\.0\.1:\d+", line) for line in server.stderr)
        yield next(filter(None, found))[0]
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()  # a thread of its own sometimes keeps it


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("notebook", OFFERED, ids=lambda path: path.stem)
def test_jupyterlab_shows_text_equations_and_figures(
    notebook: Path, lab: str, window: Page
) -> None:
    window.goto(f"{lab}/lab/tree/{quote(notebook.name)}?reset")
    window.wait_for_selector(".jp-Notebook .jp-MarkdownCell .jp-RenderedMarkdown h1")
    window.wait_for_function("!document.querySelector('.jp-Notebook .jp-mod-parked')")
    window.wait_for_function(
        "[...document.querySelectorAll('.jp-RenderedMarkdown')]"
        ".every((e) => !/\\$[^$]+\\$/.test(e.innerText))"
    )
    shown = window.evaluate(SHOWN)
    assert not ROLE.findall(shown["text"])
    assert not TEX.findall(shown["text"])
    assert shown["wrong"] == []
    assert len(shown["pictures"]) >= figures(notebook)
    assert min(shown["pictures"], default=1) > 0


@pytest.mark.parametrize("notebook", OFFERED, ids=lambda path: path.stem)
def test_nbconvert_shows_text_and_figures(notebook: Path, window: Page, tmp_path: Path) -> None:
    from nbconvert import HTMLExporter  # it takes seconds, which other workers spare

    page, _ = HTMLExporter().from_filename(str(notebook))
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    window.goto((tmp_path / "page.html").as_uri(), wait_until="domcontentloaded")
    shown = window.evaluate(SHOWN)
    assert shown["text"].count("$$") % 2 == 0
    text = FORMULA.sub("", shown["text"])  # MathJax would come from the network
    assert not ROLE.findall(text)
    assert not TEX.findall(text)
    assert len(shown["pictures"]) >= figures(notebook)
    assert min(shown["pictures"], default=1) > 0
