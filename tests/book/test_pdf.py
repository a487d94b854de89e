"""The printed book: every page filled, every reference leads somewhere, nothing of one machine.

`make pdf` comes first. Without a print these tests are skipped, and say so.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from pypdf import PageObject, PdfReader
from pypdf.generic import Destination, DictionaryObject

from card.book.one_document import LEFT_OUT

BUILD = Path(__file__).resolve().parents[2] / "_build/nominal"
PDF = BUILD / "card.pdf"
POINT_MM = 25.4 / 72
TOP, BOTTOM = 90 * 0.75, (90 + 968) * 0.75
"""Where the text of a sheet begins and ends [point], as in `print.css`."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PDF.is_file(), reason="no print; run `make pdf`"),
]


@pytest.fixture(scope="module")
def pdf() -> PdfReader:
    return PdfReader(PDF)


class Sheet(NamedTuple):
    text: str
    empty: float
    """Part of the height below its last line."""


@pytest.fixture(scope="module")
def sheets(pdf: PdfReader) -> list[Sheet]:
    return [sheet(page) for page in pdf.pages]


@pytest.fixture(scope="module")
def texts(sheets: list[Sheet]) -> list[str]:
    return [sheet.text for sheet in sheets]


def test_its_list_of_contents_names_the_sheet_where_each_chapter_begins(texts: list[str]) -> None:
    entries = re.findall(r"^(?:\d+ +)?(.+?) ?\n?(\d+)$", texts[1], flags=re.MULTILINE)
    found = {title: int(number) for title, number in entries if int(number) > 1}
    assert len(found) == len(chapters())
    for title, number in found.items():
        assert squeezed(title) in squeezed(texts[number - 1])


def test_every_page_of_the_book_is_there_but_those_for_the_screen(pdf: PdfReader) -> None:
    assert chapters() <= set(pdf.named_destinations)
    assert not {f"/{name}" for name in LEFT_OUT} & set(pdf.named_destinations)


def test_bookmarks_lead_to_the_chapters_and_into_them(pdf: PdfReader) -> None:
    top = [item for item in pdf.outline if isinstance(item, Destination)]
    starts = {pdf.get_destination_page_number(item) for item in top}
    places = pdf.named_destinations
    assert starts >= {pdf.get_destination_page_number(places[name]) for name in chapters()}
    assert any(isinstance(item, list) for item in pdf.outline), "sections have bookmarks, too"


def test_no_sheet_is_blank_or_nearly(texts: list[str]) -> None:
    # the least is the end of a chapter: a running head, a page number and a short paragraph
    thin = [number for number, text in enumerate(texts, 1) if len(text.split()) < 25]
    assert thin == []


def test_few_sheets_within_a_chapter_end_early(pdf: PdfReader, sheets: list[Sheet]) -> None:
    """Where figures stay put, every seventh sheet is over a quarter empty."""
    places = pdf.named_destinations
    starts = {pdf.get_destination_page_number(places[name]) for name in chapters()}
    ends = {len(pdf.pages) - 1, *(start - 1 for start in starts)}
    # the first two are the title page and the list of contents
    within = {*range(2, len(pdf.pages))} - ends
    early = [number + 1 for number in within if sheets[number].empty > 0.25]
    assert len(early) < len(within) / 12, early


def test_text_has_its_size(pdf: PdfReader) -> None:
    """Chromium shrinks everything if one thing is wider than the paper."""
    sizes: Counter[float] = Counter()

    def measure(text: str, cm: list[float], tm: list[float], _: object, size: float) -> None:
        sizes[abs(round(size * tm[0] * cm[0], 1))] += len(text.strip())

    for page in pdf.pages[4:14]:
        page.extract_text(visitor_text=measure)
    ((most, _),) = sizes.most_common(1)
    assert most == 11.0


def test_paper_is_a4(pdf: PdfReader) -> None:
    sizes = {
        (round(float(p.mediabox.width) * POINT_MM), round(float(p.mediabox.height) * POINT_MM))
        for p in pdf.pages
    }
    assert sizes == {(210, 297)}


def test_references_within_the_book_lead_to_a_place_in_it(pdf: PdfReader) -> None:
    asked = {str(link["/Dest"]) for link in links(pdf) if "/Dest" in link}
    assert len(asked) > len(chapters()), "chapters, equations, figures, and literature"
    assert asked <= set(pdf.named_destinations)


def test_links_out_of_the_book_lead_to_the_web(pdf: PdfReader) -> None:
    addresses = {str(link["/A"]["/URI"]) for link in links(pdf) if "/A" in link}
    assert [one for one in addresses if not one.startswith(("https://", "http://"))] == []


def test_nothing_is_left_to_be_resolved_or_typeset(texts: list[str]) -> None:
    for number, text in enumerate(texts, 1):
        assert "??" not in text, number
        assert not re.search(r"\\[a-zA-Z]+[{_^]|\$\S|\{(ref|doc|eq)\}`", text), number
        assert "Show the code" not in text, number


def test_it_says_neither_when_nor_where_it_was_printed() -> None:
    content = PDF.read_bytes()
    assert set(re.findall(rb"/\w+Date \(D:(\d+)", content)) == {b"19700101000000"}
    assert b"file://" not in content
    assert str(BUILD.parent).encode() not in content


def test_it_can_be_sent_by_mail() -> None:
    assert PDF.stat().st_size < 25e6


def sheet(page: PageObject) -> Sheet:
    lines = [TOP]

    def note(text: str, cm: list[float], tm: list[float], _: object, __: float) -> None:
        down = float(page.mediabox.height) - (tm[5] * cm[3] + cm[5])
        if text.strip() and down < BOTTOM:
            lines.append(down)

    text = page.extract_text(visitor_text=note)
    return Sheet(text, 1 - (max(lines) - TOP) / (BOTTOM - TOP))


def chapters() -> set[str]:
    """Destinations of the pages that the table of contents lists, as it was when printed."""
    toc = (BUILD / "source/_toc.yml").read_text(encoding="utf-8")
    names = {yaml.safe_load(toc)["root"], *re.findall(r"file: (\S+)", toc)}
    return {f"/{name}" for name in names if name.split("/")[0] not in LEFT_OUT}


def links(pdf: PdfReader) -> Iterator[DictionaryObject]:
    for page in pdf.pages:
        for annotation in page.get("/Annots", ()):
            link = annotation.get_object()
            if link["/Subtype"] == "/Link":
                yield link


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)
