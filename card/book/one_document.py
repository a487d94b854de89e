"""Puts the pages of a built book together into one document, to be printed.

The pages themselves are taken, not rendered anew, so that equations, figures and references have
the numbers that they have on the web.
"""

from __future__ import annotations

import html
import json
import posixpath
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from card.base import DISTRIBUTION
from card.base.yaml_files import read_yaml
from card.book.place import BookError, Place

LEFT_OUT = frozenset({"api", "architecture", "command-line", "downloads"})
"""Pages, or folders of pages, that serve only on a screen; the title page says so."""

_NUMBER = re.compile(r"notebooks/0*(\d+)_")
_TAG = re.compile(r"<[a-z][^<>]*>")
_ADDRESS = re.compile(r'\s(id|href|src)="([^"]*)"')
_MARKUP = re.compile(r"<[^>]*>")
_SCREEN_ONLY = re.compile(r'<script\b.*?</script>|<a class="headerlink".*?</a>', re.DOTALL)


class Page(NamedTuple):
    """A page of the book on its way into the document."""

    name: str
    """Its place in the book, without a suffix."""
    part: str
    """Part of the book that it stands in; empty for the first page."""
    title: str
    """Its heading."""
    article: str
    """HTML of what it says."""

    @property
    def heading(self) -> str:
        """Title, after the number by which the text speaks of a chapter."""
        number = _NUMBER.match(self.name)
        return f"{number[1]}  {self.title}" if number else self.title

    @property
    def paper(self) -> str:
        """Name of the kind of paper that it is printed on, which bears its heading."""
        return "paper-" + re.sub(r"\W", "-", self.name)


def one_document(place: Place) -> str:
    """All pages of a built book, behind a title page and a list of contents.

    Parameters
    ----------
    place
        Where the book has been built.

    Returns
    -------
    str
        HTML document whose equations are not typeset yet, with a script that afterwards moves
        figures to where they leave no sheet half empty. It belongs into the folder of the build,
        for it shows the pictures of the pages from there.

    Raises
    ------
    BookError
        If a page is not as Jupyter Book renders them.
    """
    config = read_yaml(place.source / "_config.yml")
    toc = read_yaml(place.source / "_toc.yml")
    made = json.loads((place.results / "provenance.json").read_text(encoding="utf-8"))
    assets = place.root / "book/_assets"
    sheet = (assets / "print.css").read_text(encoding="utf-8")
    script = (assets / "print.js").read_text(encoding="utf-8")
    parts = {name: part for part, name in _listed(toc) if name.split("/")[0] not in LEFT_OUT}
    sources = {name: (place.html / f"{name}.html").read_text(encoding="utf-8") for name in parts}
    pages = [
        Page(name, part, *_article(name, sources[name], parts)) for name, part in parts.items()
    ]
    heads = "\n".join(
        f'@page {page.paper} {{ @top-right {{ content: "{_css(page.heading)}" }} }}'
        for page in pages
    )
    lines = [
        '<!DOCTYPE html>\n<html lang="en" data-theme="light">\n<head>\n<meta charset="utf-8">',
        f"<title>{html.escape(config['title'])}</title>",
        *_head(sources),
        f"<style>\n{sheet}\n{heads}\n</style>\n<script>\n{script}</script>\n</head>",
        f'<body>\n<article class="bd-article">\n{_title_page(config, made)}\n{_contents(pages)}',
        *(
            f'<div class="chapter" id="{page.name}" style="page: {page.paper}">{page.article}</div>'
            for page in pages
        ),
        "</article>\n</body>\n</html>",
    ]
    return "\n".join(lines)


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
    heading = re.search(r"<h1>(.*?)</h1>", found[1], re.DOTALL) if found else None
    if not (found and heading):
        raise BookError(f"{name}.html has no article with a title; build the book again.")
    title = html.unescape(_MARKUP.sub("", _SCREEN_ONLY.sub("", heading[1]))).strip()

    def rename(attribute: re.Match[str]) -> str:
        kind, value = attribute[1], html.unescape(attribute[2])
        if kind == "id":
            return f' id="{name}/{attribute[2]}"'
        new = _target(name, value, names) if kind == "href" else _file(name, value)
        return f' {kind}="{html.escape(new)}"' if new else ""

    article = _SCREEN_ONLY.sub("", found[1])
    article = _TAG.sub(lambda tag: _ADDRESS.sub(rename, tag[0]), article)
    number = _NUMBER.match(name)
    if number:
        chapter = f'<h1><span class="number">Chapter {number[1]} </span>'
        article = article.replace("<h1>", chapter, 1)
    return title, article


def _target(name: str, link: str, names: Container[str]) -> str | None:
    """Where a link of a page leads to in the document; None if that is not printed."""
    parts = urlsplit(link)
    if parts.scheme:
        return link
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(parts.path)))
    target = path.removesuffix(".html") if parts.path else name
    if target not in names:
        return None
    return f"#{target}/{parts.fragment}" if parts.fragment else f"#{target}"


def _file(name: str, link: str) -> str:
    """Where a file that a page names lies as seen from the document."""
    if urlsplit(link).scheme:
        return link
    return posixpath.normpath(posixpath.join("html", posixpath.dirname(name), link))


def _head(sources: Mapping[str, str]) -> list[str]:
    """What the heads of the pages say about style and equations."""
    styles, mathjax = [], []
    for name, source in sources.items():
        styles += [
            _file(name, link)
            for link in re.findall(r'<link [^>]*?href="([^"?]+\.css)[^"]*"', source)
        ]
        start = re.search(r'<script [^>]*?src="([^"]*/mathjax/[^"]*)"', source)
        options = re.search(r"<script>window\.MathJax = .*?</script>", source)
        if start and options:
            mathjax = [options[0], f'<script defer src="{_file(name, start[1])}"></script>']
    return [*(f'<link rel="stylesheet" href="{link}">' for link in dict.fromkeys(styles)), *mathjax]


def _title_page(config: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """What a reader must know before the first chapter."""
    title, _, subtitle = html.escape(config["title"]).partition(": ")
    version = made["packages"][DISTRIBUTION]
    if made["commit"]:
        version += f", commit {made['commit'][:12]}"
    if made["dirty"]:
        version += " with changes"
    return f"""<header class="front title-page tex2jax_ignore mathjax_ignore">
<p class="title">{title}</p>
<p class="subtitle">{subtitle}</p>
<p>By {html.escape(config["author"])}</p>
<p class="version">Version {version}</p>
<p>An independent reconstruction of the letter “Energy-Efficient Split Learning for Fine-Tuning
Large Language Models in Edge Networks” by Z. Li, S. Wu, L. Li and S. Zhang, IEEE Networking
Letters 7(3), 2025, of which only the abstract was at hand.</p>
<p>Scenario: {html.escape(made["scenario"]["title"])}.</p>
<p>The edition for the web has more: the Explorer’s sliders, the code of the notebooks, the
references of the API and the command line, how the package is built, and all files to download.</p>
</header>"""


def _contents(pages: Sequence[Page]) -> str:
    """List of the pages by parts, each a link with room for the number of its first sheet."""
    lines, part = [], ""
    for page in pages:
        if page.part != part:
            part = page.part
            lines.append(f'<li class="part">{html.escape(part)}</li>')
        lines.append(
            f'<li><a href="#{page.name}"><span>{html.escape(page.heading)}</span>'
            f'<span class="sheet" data-of="{page.name}"></span></a></li>'
        )
    items = "\n".join(lines)
    return f'<nav class="front listing">\n<h1>Contents</h1>\n<ul>\n{items}\n</ul>\n</nav>'


def _css(text: str) -> str:
    """Text within a string of a style sheet, which it must not end."""
    return re.sub(r'["\\<]', lambda sign: f"\\{ord(sign[0]):x} ", text)
