"""Prints the book of a study as one PDF, with the Chromium that the machine has."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from card.base.errors import ScenarioError, extra
from card.base.processes import StandstillError, python_child, run
from card.book.build import ROOT, asked_for, build_book, contents_of, portable
from card.book.chapters import Echo
from card.book.downloads import offer_prints
from card.book.markdown import write
from card.book.one_document import one_document
from card.book.place import BookError, Place
from card.scenario import Scenario

with extra("book", "card.book.pdf"):
    from pypdf import PdfReader

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless",
    # containers often forbid what the sandbox needs, and the document is the book's own
    "--no-sandbox",
    "--disable-gpu",
    # or else lines on the screen, where sheets are measured, break elsewhere than on paper
    "--font-render-hinting=none",
    "--no-first-run",
    "--disable-background-networking",
)
_TYPESETTING_MS = 60_000
"""Limit on the page's own clock, which stands still while the page loads its scripts."""
_SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL)
_TIME = re.compile(rb"(?<=Date \(D:)\d{14}")


def build_pdf(study: str | Path = "nominal", *, commands: Any, echo: Echo = print) -> Path:
    """Print the book of a scenario or study.

    The book is taken as it was last built, and built first if it never was, or of other values.

    Parameters
    ----------
    study
        Name of a shipped scenario or study, or path of a scenario or study file.
    commands
        As `build_book` takes it.
    echo
        Receives a line per step.

    Returns
    -------
    Path
        The PDF, beside the folder of the book's pages.

    Raises
    ------
    ScenarioError
        If the study is refused, or there is no Chromium; nothing has run then.
    BookError
        If building, typesetting or printing fails.
    """
    asked = asked_for(study)
    place = Place.of_study(ROOT, asked)
    browser = chromium()
    if not built(place, asked.scenario):
        echo("There is no full build of this study; building it first, for some five minutes")
        build_book(study, commands=commands, echo=echo)
    document, pdf = place.build / "print.html", place.build / "print.pdf"
    echo("Typesetting the equations")
    write(document, one_document(place))
    write(document, typeset(document, browser))
    echo("Printing")
    to_pdf(document, pdf, browser)
    # a style sheet cannot yet say which page a link leads to, so the first print tells the second
    write(document, numbered(document.read_text(encoding="utf-8"), pdf))
    to_pdf(document, pdf, browser)
    pdf.replace(place.pdf)
    offer_prints(place)
    return place.pdf


def built(place: Place, scenario: Scenario) -> bool:
    """Whether the pages there are of this very study, with all its rounds."""
    if not (place.made_of.is_file() and (place.html / "index.html").is_file()):
        return False
    made_of = json.loads(place.made_of.read_text(encoding="utf-8"))
    return bool(made_of == contents_of(*portable(scenario)))


def chromium() -> str:
    """Path of Chromium.

    Raises
    ------
    ScenarioError
        If it is not installed.
    """
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        raise ScenarioError(
            "Chromium is not installed, and it prints the book; on Debian: apt-get install chromium"
        )
    return found


def typeset(document: Path, browser: str) -> str:
    """HTML of a document after its scripts have run, so that printing need not wait for them.

    Parameters
    ----------
    document
        HTML file with equations for MathJax.
    browser
        Path of Chromium.

    Returns
    -------
    str
        The same document with drawn equations and without scripts.

    Raises
    ------
    BookError
        If an equation is not drawn.
    """
    written = document.read_text(encoding="utf-8")
    budget = f"--virtual-time-budget={_TYPESETTING_MS}"
    drawn = _SCRIPT.sub("", _run(browser, budget, "--dump-dom", document.as_uri()))
    wanted = len(re.findall(r'class="[^"]*\bmath notranslate', written))
    good = drawn.count("<mjx-container") - drawn.count('<g data-mml-node="merror"')
    if good != wanted:
        raise BookError(f"{good} of {wanted} equations could be typeset; open {document} to look.")
    return drawn


def numbered(document: str, pdf: Path) -> str:
    """HTML of a document whose list of contents says the page numbers that a print of it has."""
    print_ = PdfReader(pdf)
    places = print_.named_destinations

    def number(entry: re.Match[str]) -> str:
        page = print_.get_destination_page_number(places[f"/{entry[1]}"])
        return entry[0] if page is None else f"{entry[0]}{page + 1}"

    return re.sub(r'<span class="sheet" data-of="([^"]*)">', number, document)


def to_pdf(document: Path, pdf: Path, browser: str) -> None:
    """Print an HTML file; the PDF bears no time, since the same book is the same print."""
    pdf.unlink(missing_ok=True)
    options = ("--no-pdf-header-footer", "--generate-pdf-document-outline")
    _run(browser, *options, f"--print-to-pdf={pdf}", document.as_uri())
    if not pdf.is_file():
        raise BookError(f"Chromium printed nothing; try to print {document} by hand.")
    pdf.write_bytes(_TIME.sub(b"19700101000000", pdf.read_bytes()))


def _run(browser: str, *arguments: str) -> str:
    """What Chromium writes, in a profile apart from the user's own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, *_FLAGS, f"--user-data-dir={profile}", *arguments]
        start = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
        try:
            # or else Chromium, when it is killed, leaves files where others have theirs
            done = run(python_child(start, *command), environment={**os.environ, "TMPDIR": profile})
        except StandstillError as error:
            raise BookError(f"Chromium was stopped: {error}.") from None
    if done.returncode:
        last = "\n  ".join(done.stderr.splitlines()[-6:])
        raise BookError(f"Chromium failed:\n  {last}")
    return done.stdout
