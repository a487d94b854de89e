"""Writes the report of the reconstruction: a short paper on one PDF, printed as the book is.

Its text is `book/_report/report.md`, Markdown as the notebooks have it. A name in double braces
stands for a number or a table that is read from the results of the built book.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from card.base.errors import ScenarioError, extra
from card.base.yaml_files import read_yaml
from card.book.build import ROOT, asked_for
from card.book.chapters import Echo
from card.book.crossrefs import UNIT_GAP
from card.book.downloads import offer_prints
from card.book.markdown import to_json, write
from card.book.pdf import built, chromium, to_pdf, typeset
from card.book.place import BookError, Place
from card.book.report_values import Results, tables, values
from card.figures.papers import picture

with extra("book", "card.book.report"):
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin
    from pybtex.database import parse_file
    from pybtex.style.formatting.unsrt import Style

FOLDER = ROOT / "book/_report"
"""Text and style sheet of the report.

:meta hide-value:
"""
COLUMN_IN = 3.4
"""Width of a column of the report [inch]."""

_NAME = re.compile(r"\{\{([\w-]+)\}\}")
_EQUATION = re.compile(r"^\$\$\n(.*?) \\tag\{([\w-]+)\}\n\$\$$", re.MULTILINE | re.DOTALL)
_FLOAT = re.compile(r'^!\[(.+)\]\(((?:fig|tab)-[\w-]+)(?: "(wide)")?\)$', re.MULTILINE)
_LINK = re.compile(r"\[[^\]]+\]\(#((?:fig|tab|eq)-[\w-]+)\)")
_CITED = re.compile(r"\[\([^\]]+\)\]\(references\.bib#(\w+)\)")
_REFERENCES = "## References\n"
_SHEET = "\n---\n"
_WORDS = {"fig": "Figure", "tab": "Table"}


def build_report(*, echo: Echo = print) -> Path:
    """Write the report from the book of the nominal scenario as it was last built.

    Parameters
    ----------
    echo
        Receives a line per step.

    Returns
    -------
    Path
        The PDF, beside the folder of the book's pages.

    Raises
    ------
    ScenarioError
        If there is no full build of that book or no Chromium; nothing has run then.
    BookError
        If the text names what there is not, or if typesetting or printing fails.
    """
    asked = asked_for("nominal")
    place, browser = Place.of_study(ROOT, asked), chromium()
    if not built(place, asked.scenario):
        raise ScenarioError("The report takes its numbers from the book; build it first: card book")
    echo("Reading the results")
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    known = values(place.html, lock)
    narrow, document = place.build / "fig-comparison.svg", place.build / "report.html"
    narrow.write_bytes(picture("comparison", asked.scenario, "svg", COLUMN_IN))
    figures = {path.stem: f"html/results/figures/{path.name}" for path in _figures(place)}
    floats = figures | {narrow.stem: narrow.name} | tables(Results(place.html / "results"))
    text = (FOLDER / "report.md").read_text(encoding="utf-8")
    write(document, page(text, known, floats))
    echo("Typesetting the equations")
    write(document, typeset(document, browser))
    echo("Printing")
    printed = place.build / "report.print.pdf"
    to_pdf(document, printed, browser)
    printed.replace(place.report)
    offer_prints(place)
    return place.report


def _figures(place: Place) -> Iterator[Path]:
    return (place.html / "results/figures").glob("*.svg")


def page(text: str, known: Mapping[str, str], floats: Mapping[str, str]) -> str:
    """HTML document of the report, whose equations are not typeset yet.

    Parameters
    ----------
    text
        Its Markdown. Equations have a name as their tag, and what is referred to is a link, as in
        the notebooks; a figure or table stands as `![caption](fig-name)`, with `"wide"` if it
        spans both columns. A line of three hyphens begins a new sheet.
    known
        Markdown for each name in double braces.
    floats
        By its label, each table as Markdown and each figure as the address of its picture.

    Raises
    ------
    BookError
        If the text names a value, label or reference that there is not.
    """
    text = _NAME.sub(lambda name: _of(known, name[1], "value"), text)
    text = UNIT_GAP.sub("\N{NO-BREAK SPACE}", text)
    labels = dict(_labels(text))
    text = _LINK.sub(lambda link: _reference(link[1], _of(labels, link[1], "label")), text)
    keys = list(dict.fromkeys(_CITED.findall(text)))
    text = _CITED.sub(lambda cited: _cite(cited[1], keys.index(cited[1]) + 1), text)
    text = _EQUATION.sub(lambda found: _equation(found[1], found[2], labels), text)
    text = _FLOAT.sub(lambda found: _float(found, labels, floats), text)
    text = text.replace(_REFERENCES, f"{_REFERENCES}\n<ol>\n{_references(keys)}</ol>\n")
    title = re.search(r"^# (.*)$", text, re.MULTILINE)
    if not title:
        raise BookError("The report has no title; begin its text with one, such as '# Title'.")
    sheets = (f"<article>\n{_markdown().render(sheet)}</article>" for sheet in text.split(_SHEET))
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f"<title>{html.escape(title[1])}</title>",
            f"<style>\n{(FOLDER / 'report.css').read_text(encoding='utf-8')}</style>",
            *_mathjax(),
            "</head>\n<body>",
            *sheets,
            "</body>\n</html>",
        ]
    )


def _of(known: Mapping[str, str], name: str, what: str) -> str:
    if name not in known:
        raise BookError(f"The report's text names the {what} {name!r}, which there is not.")
    return known[name]


def _labels(text: str) -> Iterator[tuple[str, str]]:
    """Number of every equation, figure and table by its label."""
    for number, found in enumerate(_EQUATION.finditer(text), 1):
        yield f"eq-{found[2]}", str(number)
    for kind in _WORDS:
        floats = (found[2] for found in _FLOAT.finditer(text) if found[2].startswith(kind))
        yield from ((label, str(number)) for number, label in enumerate(floats, 1))


def _reference(label: str, number: str) -> str:
    word = _WORDS.get(label.partition("-")[0])
    shown = f"{word}\N{NO-BREAK SPACE}{number}" if word else f"({number})"
    return f'<a href="#{label}">{shown}</a>'


def _cite(key: str, number: int) -> str:
    return f'&#91;<a href="#ref-{key}">{number}</a>&#93;'


def _equation(latex: str, name: str, labels: Mapping[str, str]) -> str:
    number = f'<span class="number">({labels[f"eq-{name}"]})</span>'
    drawn = f'<div class="math notranslate">\\[{html.escape(latex)}\\]</div>'
    return f'<div class="equation" id="eq-{name}">{drawn}{number}</div>'


def _float(found: re.Match[str], labels: Mapping[str, str], floats: Mapping[str, str]) -> str:
    caption, label, wide = found.groups()
    kind = label.partition("-")[0]
    source = _of(floats, label, _WORDS[kind].lower())
    number = f"<b>{_WORDS[kind]}\N{NO-BREAK SPACE}{labels[label]}.</b> "
    said = f"<figcaption>{number}{_markdown().renderInline(caption)}</figcaption>"
    if kind == "tab":
        parts = (said, _markdown().render(source))
    else:
        alt = html.escape(re.sub("<[^>]*>", "", caption))
        parts = (f'<img src="{source}" alt="{alt}">', said)
    return "\n".join((f'<figure id="{label}" class="{wide or "narrow"}">', *parts, "</figure>"))


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    dollarmath_plugin(markdown, allow_labels=False)
    markdown.add_render_rule("math_inline", _formula)
    return markdown


def _formula(_: Any, tokens: Sequence[Any], place: int, *__: Any) -> str:
    return f'<span class="math notranslate">\\({html.escape(tokens[place].content)}\\)</span>'


def _mathjax() -> Sequence[str]:
    """What the head of the document says about equations: the same as the book's pages."""
    config = read_yaml(ROOT / "_config.yml")["sphinx"]["config"]
    options = {**config["mathjax3_config"], "options": {"processHtmlClass": "math"}}
    script = ROOT / "book/_assets" / config["mathjax_path"]
    return (
        f"<script>window.MathJax = {to_json(options)}</script>",
        f'<script defer src="{script.as_uri()}"></script>',
    )


def _references(keys: Sequence[str]) -> str:
    """Entries of the book's bibliography, in the order in which they are cited."""
    entries = parse_file(str(ROOT / "book/references.bib"), "bibtex").entries
    cited = [entries[_of({key: key for key in entries}, key, "reference")] for key in keys]
    lines = (
        f'<li id="ref-{entry.key}">{entry.text.render_as("html")}</li>\n'
        for entry in Style().format_entries(cited)
    )
    return "".join(lines)
