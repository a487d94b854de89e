"""The printed report: four full pages, its numbers those of the results, and no link that is dead.

`make book` and `make report` come first. Without a report these tests are skipped, and say so.
"""

import html
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page
from pypdf import PdfReader
from pypdf.generic import DictionaryObject

from card.book.report import FOLDER
from card.book.report_values import Results, tables, values

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "_build/nominal"
PDF = BUILD / "report.pdf"
TEXT = (FOLDER / "report.md").read_text("utf-8")
SHEETS = 4
BOTTOM = 0.75
"""Least part of a sheet that is filled, but for the last."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PDF.is_file(), reason="no report; run `make report`"),
]


@pytest.fixture(scope="module")
def pdf() -> PdfReader:
    return PdfReader(PDF)


@pytest.fixture(scope="module")
def text(pdf: PdfReader) -> str:
    """Text of all pages, without spaces."""
    return squeezed("".join(page.extract_text() for page in pdf.pages))


def test_it_has_four_pages_of_a4_with_the_appendix_on_the_last(pdf: PdfReader) -> None:
    assert len(pdf.pages) == SHEETS
    assert {tuple(round(float(side)) for side in page.mediabox[2:]) for page in pdf.pages} == {
        (595, 842)
    }
    assert "Artifact appendix" in pdf.pages[-1].extract_text()


def test_sheets_are_full_but_the_last(pdf: PdfReader) -> None:
    for number, page in enumerate(pdf.pages[:-1], 1):
        lowest = [float(page.mediabox.height)]

        def note(
            text: str, cm: list[float], tm: list[float], *_: object, found: list[float] = lowest
        ) -> None:
            height = tm[5] * cm[3] + cm[5]
            # the number of the page stands below the text
            if text.strip() and height > 50:
                found.append(height)

        page.extract_text(visitor_text=note)
        assert 1 - min(lowest) / float(page.mediabox.height) > BOTTOM, number


def test_text_has_its_size(pdf: PdfReader) -> None:
    """Chromium shrinks everything if one thing is wider than the paper."""
    sizes: Counter[float] = Counter()

    def measure(text: str, cm: list[float], tm: list[float], _: object, size: float) -> None:
        sizes[abs(round(size * tm[0] * cm[0], 1))] += len(text.strip())

    for page in pdf.pages:
        page.extract_text(visitor_text=measure)
    ((most, _),) = sizes.most_common(1)
    assert most == 9.2


def test_numbers_are_those_of_the_results(text: str) -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    known = values(BUILD / "html", lock)
    # formulas are drawn, and have no text
    words = re.sub(r"\$\$.*?\$\$|\$[^$]+\$", "", TEXT, flags=re.DOTALL)
    named = set(re.findall(r"\{\{([\w-]+)\}\}", words))
    assert named <= known.keys()
    assert [name for name in named if squeezed(html.unescape(known[name])) not in text] == []


def test_tables_are_those_of_the_results(text: str) -> None:
    for table in tables(Results(BUILD / "html/results")).values():
        cells = re.findall(r"(?<=\| )[^|]+(?= \|)", re.sub(r"<br>|\*\*|`", " ", table))
        plain = [html.unescape(cell) for cell in cells if not set(cell) <= set("-: ")]
        assert len(plain) > 10
        assert [cell for cell in plain if squeezed(cell) not in text] == []


def test_what_it_says_of_the_strongest_assumptions_is_so() -> None:
    rows = tables(Results(BUILD / "html/results"))["tab-assumed"].splitlines()[2:5]
    said = ["training.topology", "server.static_power_w", "server.minimum_frequency_hz"]
    assert [row.split("`")[1] for row in rows] == said


def test_references_lead_to_a_place_in_it(pdf: PdfReader) -> None:
    asked = {str(link["/Dest"]) for link in links(pdf) if "/Dest" in link}
    cited = set(re.findall(r"references\.bib#(\w+)", TEXT))
    assert {f"/ref-{key}" for key in cited} <= asked
    assert asked <= set(pdf.named_destinations)


def test_links_out_of_it_lead_to_the_web(pdf: PdfReader) -> None:
    addresses = {str(link["/A"]["/URI"]) for link in links(pdf) if "/A" in link}
    assert addresses
    assert [one for one in addresses if not one.startswith("https://")] == []


def test_nothing_is_left_to_be_resolved_or_typeset(text: str) -> None:
    assert not re.search(r"\{\{|\\[a-zA-Z]+[{_^]|\$\S|\]\(|\*\*", text)


def test_it_says_neither_when_nor_where_it_was_printed() -> None:
    content = PDF.read_bytes()
    assert set(re.findall(rb"/\w+Date \(D:(\d+)", content)) == {b"19700101000000"}
    assert b"file://" not in content


OVERFLOWING = """() => [...document.querySelectorAll('p, li, .equation, figure, table, td, th')]
  .filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0)
  .concat([...document.querySelectorAll('img, .equation svg')].filter((e) => {
    const own = e.getBoundingClientRect();
    const room = e.closest('figure, .equation').getBoundingClientRect();
    return own.right > room.right + 1 || own.left < room.left - 1;
  }))
  .map((e) => e.textContent.slice(0, 80) || e.src)"""


def test_nothing_is_wider_than_its_column(tab: Page) -> None:
    tab.emulate_media(media="print")
    # A4 less the margins of `report.css`, in CSS pixels
    tab.set_viewport_size({"width": round((210 - 2 * 17) * 96 / 25.4), "height": 986})
    tab.goto((BUILD / "report.html").as_uri(), wait_until="load")
    assert tab.evaluate("document.querySelectorAll('.equation mjx-container').length") == 6
    assert tab.evaluate(OVERFLOWING) == []


def links(pdf: PdfReader) -> Iterator[DictionaryObject]:
    for page in pdf.pages:
        for annotation in page.get("/Annots", ()):
            link = annotation.get_object()
            if link["/Subtype"] == "/Link":
                yield link


def squeezed(text: str) -> str:
    """Text without what line breaks may take or leave."""
    return re.sub(r"[\s\u00ad]", "", text)
