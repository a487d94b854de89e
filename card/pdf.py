"""Prints the book of a study: its pages, put together into one document, as one PDF.

Chromium typesets and prints. Numbers of equations and figures are those of the pages, since the
document is made of the pages themselves.
"""

from __future__ import annotations

import html
import json
import posixpath
import re
import shutil
import subprocess
import tempfile
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import yaml

from card.pages import write
from card.study import ROOT, BookError, Echo, Place, build_book
from card.studyfile import load_study

LEFT_OUT = frozenset({"api"})
"""Pages that only make sense on a screen."""

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",  # the document is our own, and containers have no user namespaces
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
)
_TYPESETTING_MS = 60_000
"""Time on the page's own clock, which waits for whatever the page still loads."""
_TIMEOUT_S = 600
_TAG = re.compile(r"<[a-z][^<>]*>")
_ATTRIBUTE = re.compile(r'\s(id|href|src)="([^"]*)"')
_SCRIPT = re.compile(r"<script\b.*?</script>", re.DOTALL)
_HEADER_LINK = re.compile(r'<a class="headerlink".*?</a>', re.DOTALL)
_DATE = re.compile(rb"\(D:\d{14}")


class Page(NamedTuple):
    """One page of the book on its way into the document; `html` is its article."""

    name: str
    part: str
    title: str
    html: str

    @property
    def number(self) -> str:
        """Number of a chapter, by which the text refers to it; empty for other pages."""
        found = re.match(r"notebooks/0*(\d+)_", self.name)
        return found[1] if found else ""

    @property
    def heading(self) -> str:
        """Title with the chapter's number before it."""
        return f"{self.number}  {self.title}" if self.number else self.title

    @property
    def css_name(self) -> str:
        """Name of the kind of paper that the page is printed on, by which it has a head."""
        return "page-" + re.sub(r"\W", "-", self.name)


def build_pdf(study: str | Path = "nominal", *, echo: Echo = print) -> Path:
    """Print the book of a scenario or study; it is built first if there is none.

    Parameters
    ----------
    study
        Name of a shipped scenario or study, or path of a scenario or study file.
    echo
        Receives a line per step.

    Returns
    -------
    Path
        The PDF.

    Raises
    ------
    ScenarioError
        If the study is refused; nothing has run then.
    BookError
        If there is no Chromium, or building or printing fails.
    """
    place = Place.of(ROOT, load_study(study).name)
    browser = chromium()
    if not (place.html / "index.html").is_file():
        build_book(study, echo=echo)
    echo("Typesetting the equations")
    document = place.build / "print.html"
    write(document, one_document(place))
    write(document, typeset(document, browser))
    echo("Printing")
    pdf = place.build / "card.pdf"
    options = ("--no-pdf-header-footer", "--generate-pdf-document-outline")
    _run(browser, *options, f"--print-to-pdf={pdf}", document.as_uri())
    if not pdf.is_file():
        raise BookError(f"Chromium printed nothing; try it by hand on {document}.")
    # the same book gives the same document, whenever it is printed
    pdf.write_bytes(_DATE.sub(b"(D:19700101000000", pdf.read_bytes()))
    return pdf


def chromium() -> str:
    """Path of the browser that prints."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        raise BookError(
            "Chromium prints the book and is not installed; on Debian: apt-get install chromium."
        )
    return found


def one_document(place: Place) -> str:
    """All pages of a rendered book in one, with a title page and a list of contents.

    Parameters
    ----------
    place
        Where the book has been built.

    Returns
    -------
    str
        HTML document, to be saved beside the book's `html` folder. Its equations are not typeset.
    """
    config = yaml.safe_load((place.source / "_config.yml").read_text(encoding="utf-8"))
    toc = yaml.safe_load((place.source / "_toc.yml").read_text(encoding="utf-8"))
    made = json.loads((place.results / "provenance.json").read_text(encoding="utf-8"))
    listed = {name: part for part, name in _listed(toc) if name not in LEFT_OUT}
    sources = {name: (place.html / f"{name}.html").read_text(encoding="utf-8") for name in listed}
    pages = [
        Page(name, part, *_article(name, sources[name], listed)) for name, part in listed.items()
    ]
    chapters = [
        f'<div class="chapter" id="{page.name}" style="page: {page.css_name}">{page.html}</div>'
        for page in pages
    ]
    head = f"<title>{html.escape(config['title'])}</title>{_head(sources, pages)}"
    body = "\n".join([_title_page(config, made), _contents(pages), *chapters])
    return (
        f'<!DOCTYPE html>\n<html lang="en" data-theme="light">\n<head>\n<meta charset="utf-8">\n'
        f'{head}\n</head>\n<body>\n<article class="bd-article">\n{body}\n</article>\n</body>\n</html>'
    )


def typeset(document: Path, browser: str) -> str:
    """The document after its scripts have run, so that printing need not wait for them.

    Parameters
    ----------
    document
        File of an HTML document with MathJax in it.
    browser
        Path of Chromium.

    Returns
    -------
    str
        The same document with drawn equations and no scripts.

    Raises
    ------
    BookError
        If an equation is not drawn.
    """
    wanted = len(
        re.findall(r'class="[^"]*\bmath notranslate', document.read_text(encoding="utf-8"))
    )
    budget = f"--virtual-time-budget={_TYPESETTING_MS}"
    drawn = _SCRIPT.sub("", _run(browser, budget, "--dump-dom", document.as_uri()))
    found = drawn.count("<mjx-container") - drawn.count('<g data-mml-node="merror"')
    if found != wanted:
        raise BookError(f"Only {found} of {wanted} equations of {document} could be typeset.")
    return drawn


def _run(browser: str, *arguments: str) -> str:
    """Output of Chromium, in a profile of its own beside whatever else the user browses."""
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *_FLAGS, f"--user-data-dir={profile}", *arguments]
        try:
            done = subprocess.run(
                command, capture_output=True, encoding="utf-8", check=True, timeout=_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise BookError(f"Chromium did not end within {_TIMEOUT_S} s.") from None
        except subprocess.CalledProcessError as error:
            last = "\n  ".join(str(error.stderr).splitlines()[-6:])
            raise BookError(f"Chromium failed:\n  {last}") from None
    return done.stdout


def _listed(toc: Mapping[str, Any], part: str = "") -> Iterator[tuple[str, str]]:
    """Part and name of every page, in the order of the table of contents."""
    if "root" in toc:
        yield part, toc["root"]
    for group in toc.get("parts", ()):
        yield from _listed(group, group.get("caption", part))
    for item in (*toc.get("chapters", ()), *toc.get("sections", ())):
        if "file" in item:
            yield part, item["file"]
        yield from _listed(item, part)


def _article(name: str, source: str, names: Container[str]) -> tuple[str, str]:
    """Title and article of a page, with addresses that are right within the document."""
    found = re.search(r'<article class="bd-article">(.*)</article>', source, re.DOTALL)
    if found is None:
        raise BookError(f"{name}.html has no article; build the book again.")
    article = _HEADER_LINK.sub("", _SCRIPT.sub("", found[1]))

    def rename(attribute: re.Match[str]) -> str:
        kind, value = attribute[1], html.unescape(attribute[2])
        new: str | None = _address(name, value, names) if kind == "href" else f"{name}/{value}"
        if kind == "src" and not urlsplit(value).scheme:
            new = posixpath.normpath(f"html/{posixpath.dirname(name)}/{value}")
        return "" if new is None else f' {kind}="{html.escape(new)}"'

    article = _TAG.sub(lambda tag: _ATTRIBUTE.sub(rename, tag[0]), article)
    heading = re.search(r"<h1>(.*?)</h1>", article, re.DOTALL)
    title = html.unescape(re.sub("<[^>]*>", "", heading[1])) if heading else name
    return title, article


def _address(name: str, link: str, names: Container[str]) -> str | None:
    """Where a link of a page leads in the document; None if what it leads to is not printed."""
    parts = urlsplit(link)
    if parts.scheme:
        return link
    target = posixpath.normpath(f"{posixpath.dirname(name)}/{unquote(parts.path)}").lstrip("/")
    target = target.removesuffix(".html") if parts.path else name
    if target not in names:
        return None
    return f"#{target}/{parts.fragment}" if parts.fragment else f"#{target}"


def _head(sources: Mapping[str, str], pages: Sequence[Page]) -> str:
    """What the pages' own heads say about style and equations, and a running head per page."""
    styles = []
    mathjax = ""
    for name, source in sources.items():
        folder = f"html/{posixpath.dirname(name)}"
        for link in re.findall(r'<link [^>]*?href="([^"]+\.css)[^"]*"', source):
            styles.append(posixpath.normpath(f"{folder}/{link}"))
        found = re.search(r"<script>window\.MathJax = .*?</script>", source)
        start = re.search(r'src="([^"]*/mathjax/[^"]+)"', source)
        if found and start:
            startup = posixpath.normpath(f"{folder}/{start[1]}")
            mathjax = f'{found[0]}\n<script src="{startup}" defer></script>'
    styles.append("html/_static/print.css")
    links = [f'<link rel="stylesheet" href="{link}">' for link in dict.fromkeys(styles)]
    heads = [
        f'@page {page.css_name} {{ @top-right {{ content: "{_css(page.heading)}" }} }}'
        for page in pages
    ]
    return "\n".join([*links, "<style>", *heads, "</style>", mathjax])


def _title_page(config: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """What a reader must know before the first chapter."""
    commit = f", commit {made['commit'][:12]}" if made["commit"] else ""
    changed = " with uncommitted changes" if made["dirty"] else ""
    title, _, subtitle = config["title"].partition(": ")
    return f"""<header class="title-page">
<p class="title">{html.escape(title)}</p>
<p class="subtitle">{html.escape(subtitle)}</p>
<p>{html.escape(config["author"])}</p>
<p>Version {made["packages"]["card"]}{commit}{changed}</p>
<p>An independent reconstruction of the letter “Energy-Efficient Split Learning for Fine-Tuning Large
Language Models in Edge Networks” by Z. Li, S. Wu, L. Li and S. Zhang, IEEE Networking Letters 7(3),
2025, of which only the abstract was at hand.</p>
<p>Scenario: {html.escape(made["scenario"]["title"])}.</p>
<p>The notebooks’ code and the API reference are left to the edition for the web and to the
repository.</p>
</header>"""


def _contents(pages: Sequence[Page]) -> str:
    """List of the pages by parts, each a link."""
    lines, part = [], ""
    for page in pages:
        if page.part != part:
            lines.append(f'<li class="part">{html.escape(page.part)}</li>')
            part = page.part
        lines.append(f'<li><a href="#{page.name}">{html.escape(page.heading)}</a></li>')
    items = "\n".join(lines)
    return f'<nav class="contents">\n<p>Contents</p>\n<ul>\n{items}\n</ul>\n</nav>'


def _css(text: str) -> str:
    """Text within a CSS string, which may not end the style element either."""
    return re.sub(r'["\\<]', lambda sign: f"\\{ord(sign[0]):x} ", text)
