"""`card.book.one_document` and `card.book.pdf`: a tiny book becomes one document, and a print."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from pypdf import PdfReader
from typer.testing import CliRunner

import card
from card.base import DISTRIBUTION
from card.base.errors import ScenarioError
from card.book.build import BookError, Place, contents_of, portable
from card.book.markdown import to_json, write
from card.book.one_document import one_document
from card.book.pdf import build_pdf, built, chromium, numbered, to_pdf, typeset
from card.cli import app

ASSETS = Path(__file__).resolve().parents[3] / "book/_assets"
HEAD = """<head><link rel="stylesheet" href="{up}_static/look.css?digest=1">
<script>window.MathJax = {{}}</script>
<script defer src="{up}_static/mathjax/startup.js"></script>"""
FIRST = """<h1>Start &amp; <em>go</em><a class="headerlink" href="#here">#</a></h1>
<p id="here">See <a href="notebooks/02_next.html#here">there</a>, <a href="api.html#f">code</a>,
<a href="_downloads/a/b.json">data</a> and <a href="https://example.org/#x">more</a>.</p>
<script>alert("no")</script><img src="_images/a.svg">"""
SECOND = """<h1>Next "page"</h1><p id="here">Back <a href="../index.html">home</a>, or
<a href="#here">nowhere</a>.</p><img src="../_images/b.svg">"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A built book of two pages, and others for the screen."""
    place = Place.of(tmp_path, "tiny")
    reference = {"file": "api", "sections": [{"file": "api/model"}]}
    chapters = [{"file": "notebooks/02_next"}, reference]
    toc = {"root": "index", "parts": [{"caption": "Part", "chapters": chapters}]}
    config = {"title": "Tiny: a book", "author": "Nobody"}
    made = {
        "commit": "0123456789abcdef",
        "dirty": False,
        "packages": {DISTRIBUTION: "1.2"},
        "scenario": {"title": "Two <devices>"},
    }
    for path, text in {
        place.source / "_toc.yml": yaml.safe_dump(toc),
        place.source / "_config.yml": yaml.safe_dump(config),
        place.results / "provenance.json": json.dumps(made),
        place.root / "book/_assets/print.css": "@page { size: A5 }",
        place.root / "book/_assets/print.js": "",
        place.html / "index.html": page(FIRST, ""),
        place.html / "notebooks/02_next.html": page(SECOND, "../"),
        place.html / "api.html": page("<h1>Code</h1>", ""),
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place


def page(article: str, up: str) -> str:
    return f'{HEAD.format(up=up)}<article class="bd-article">{article}</article>'


def test_the_same_name_on_two_pages_stays_two_places(place: Place) -> None:
    names = re.findall(r'\bid="([^"]+)"', one_document(place))
    assert len(names) == len(set(names))
    assert {"index", "index/here", "notebooks/02_next", "notebooks/02_next/here"} == set(names)


def test_links_between_pages_stay_within_the_document(place: Place) -> None:
    document = one_document(place)
    for link, text in {
        "#notebooks/02_next/here": "there",
        "#index": "home",
        "https://example.org/#x": "more",
    }.items():
        assert f'<a href="{link}">{text}</a>' in document
    assert '<a href="#notebooks/02_next/here">nowhere</a>' in document, "a page's own place"


def test_links_to_what_is_not_printed_are_plain_text(place: Place) -> None:
    document = one_document(place)
    assert "<a>code</a>" in document
    assert "<a>data</a>" in document
    assert "<h1>Code</h1>" not in document


def test_pictures_and_styles_are_found_from_the_folder_of_the_build(place: Place) -> None:
    document = one_document(place)
    assert re.findall(r'<img src="([^"]+)"', document) == [
        "html/_images/a.svg",
        "html/_images/b.svg",
    ]
    assert re.findall(r'<link rel="stylesheet" href="([^"]+)"', document) == [
        "html/_static/look.css"
    ]
    assert '<script defer src="html/_static/mathjax/startup.js">' in document
    assert "alert" not in document, "a page's own scripts are for the screen"


def test_chapters_have_their_number_and_every_sheet_its_head(place: Place) -> None:
    document = one_document(place)
    assert '<span class="number">Chapter 2 </span>Next "page"</h1>' in document
    assert '<span>2  Next &quot;page&quot;</span><span class="sheet"' in document
    assert 'content: "2  Next \\22 page\\22 "' in document, (
        "quotes do not end a string of the sheet"
    )
    assert 'content: "Start & go"' in document


def test_the_title_page_says_what_was_printed(place: Place) -> None:
    document = one_document(place)
    for words in ("Version 1.2, commit 0123456789ab", "Two &lt;devices&gt;", "Nobody", "a book"):
        assert words in document
    assert "An independent reconstruction" in document


def test_a_page_of_another_make_is_refused(place: Place) -> None:
    (place.html / "index.html").write_text("<main>nothing</main>")
    with pytest.raises(BookError, match=r"index\.html has no article with a title"):
        one_document(place)


def test_without_chromium_nothing_runs_and_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ScenarioError, match="apt-get install chromium"):
        build_pdf("nominal", commands=None)
    result = CliRunner().invoke(app, ["pdf"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: Chromium is not installed" in result.stderr


def test_a_print_is_of_this_very_study_or_the_book_is_built_again(tmp_path: Path) -> None:
    study, other = (card.load_scenario(name) for name in ("nominal", "calibrated"))
    place = Place.of(tmp_path, "same")
    place.html.mkdir(parents=True)
    (place.html / "index.html").touch()
    assert not built(place, study)
    write(place.made_of, to_json(contents_of(*portable(study), quick=True)))
    assert not built(place, study), "few rounds are to look at only"
    write(place.made_of, to_json(contents_of(*portable(study))))
    assert built(place, study)
    assert not built(place, other)


def test_a_study_is_no_formula_on_the_title_page(place: Place) -> None:
    header = re.search(r'<header class="([^"]*)"', one_document(place))
    assert header is not None
    assert {"title-page", "tex2jax_ignore", "mathjax_ignore"} <= set(header[1].split())


def test_an_unknown_study_is_refused() -> None:
    with pytest.raises(ScenarioError, match="did you mean 'nominal'"):
        build_pdf("nominel", commands=None)


def test_what_cannot_be_a_book_is_refused_before_anything_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("card.book.pdf.chromium", lambda: "chromium")
    told: list[str] = []
    with pytest.raises(ScenarioError, match="'pipelined' is not allowed for a book"):
        build_pdf("pipelined-turns", commands=None, echo=told.append)
    assert not told


@pytest.fixture
def browser() -> str:
    try:
        return chromium()
    except BookError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_the_list_of_contents_gets_the_numbers_of_the_sheets(place: Place, browser: str) -> None:
    document, pdf = place.build / "print.html", place.build / "card.pdf"
    style = "<style>.front, .chapter { break-after: page }</style>"
    document.write_text(style + one_document(place))
    to_pdf(document, pdf, browser)
    text = numbered(document.read_text(), pdf)
    assert re.findall(r'data-of="([^"]+)">(\d+)<', text) == [
        ("index", "3"),
        ("notebooks/02_next", "4"),
    ]
    assert "/notebooks/02_next/here" in PdfReader(pdf).named_destinations


@pytest.mark.slow
def test_an_equation_that_is_not_drawn_is_an_error(place: Place, browser: str) -> None:
    document = place.build / "print.html"
    document.write_text('<p><span class="math notranslate nohighlight">\\(x\\)</span></p>')
    with pytest.raises(BookError, match="0 of 1 equations could be typeset"):
        typeset(document, browser)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("after", "order"),
    [
        ("<p>Look.</p><p>On.</p>", "before Look. On. figure"),
        ("<p>Look:</p><ul><li>there.</li></ul>", "before Look: there. figure"),
        ("<p>Look at</p><div class='math'>x</div><p>On.</p>", "before figure Look at x On."),
        ("<h2>On</h2><p>and on.</p>", "before figure On and on."),
    ],
    ids=["text", "list", "sentence with an equation", "heading"],
)
def test_text_fills_the_sheet_that_a_figure_would_leave_empty(
    place: Place, browser: str, after: str, order: str
) -> None:
    shutil.copytree(ASSETS, place.root / "book/_assets", dirs_exist_ok=True)
    tall = 'style="height: 600px"'
    output = f'<div class="cell_output"><figure {tall}>figure</figure></div>'
    cell = f'<div class="cell">{output}</div>'
    story = f"<section><h1>Long</h1><p {tall}>before</p>{cell}{after}</section>"
    (place.html / "index.html").write_text(page(story, ""))
    document = place.build / "print.html"
    document.write_text(one_document(place))
    printed = typeset(document, browser).split("</h1>")[2].split("</section>")[0]
    assert " ".join(re.sub("<[^>]*>", " ", printed).split()) == order
