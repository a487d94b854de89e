"""Sphinx extension of the book: words of the field lead to the glossary, once on a page.

A link carries the definition as its title, which a script of the book shows to who points at it,
reaches it with the keyboard or taps on it.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

from card.base.errors import extra

with extra("book", "card.book.glossary"):
    from docutils import nodes  # type: ignore[import-untyped]
    from sphinx.application import Sphinx
    from sphinx.transforms.post_transforms import SphinxPostTransform

PAGE = "glossary"
_SENTENCES = (nodes.paragraph, nodes.caption)
_APART = (nodes.reference, nodes.literal, nodes.math, nodes.raw, nodes.FixedTextElement)
_BODY = re.compile(r"^```\{glossary\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARKUP = re.compile(r"\{[\w:]+\}`([^`<]*[^`< ]) ?(?:<[^`]*>)?`|[*`$]")


def definitions(page: str) -> dict[str, tuple[str, str]]:
    """First word and definition of every word that a page of MyST Markdown with a glossary has.

    Parameters
    ----------
    page
        Text of the page. Words stand on lines of their own, those of one meaning on neighbouring
        lines, and the definition indented below them.
    """
    found: dict[str, tuple[str, str]] = {}
    for body in _BODY.findall(page):
        for entry in body.strip().split("\n\n"):
            lines = entry.split("\n")
            words = [line for line in lines if not line.startswith(" ")]
            text = " ".join(line.strip() for line in lines[len(words) :])
            plain = _MARKUP.sub(lambda mark: mark[1] or "", text)
            found |= dict.fromkeys(words, (words[0], plain))
    return found


class LinkWords(SphinxPostTransform):
    """Links each word of the glossary once on a page, in the first sentence that has it."""

    default_priority = 420  # behind the links of symbols
    formats = ("html",)

    @cached_property
    def known(self) -> dict[str, tuple[str, str]]:
        """The glossary, with words in lower case."""
        page = Path(self.app.srcdir, f"{PAGE}.md").read_text(encoding="utf-8")
        return {word.lower(): entry for word, entry in definitions(page).items()}

    def run(self, **_: Any) -> None:
        """Link the words of one page."""
        page = self.env.docname
        if PAGE not in self.env.found_docs or page.split("/")[0] in (PAGE, "api", "bibliography"):
            return
        longest = sorted(self.known, key=len, reverse=True)
        words = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, longest))})e?s?(?![\w-])", re.I)
        target = self.app.builder.get_relative_uri(page, PAGE)
        listed = self.env.get_domain("std").get_objects()
        anchors = {word: anchor for word, _, kind, _, anchor, _ in listed if kind == "term"}
        linked: set[str] = set()
        for text in list(self.document.findall(nodes.Text)):
            if not _in_sentence(text):
                continue
            parts: list[nodes.Node] = []
            end = 0
            for match in words.finditer(text.astext()):
                first, definition = self.known[match[1].lower()]
                if first in linked:
                    continue
                linked.add(first)
                parts.append(nodes.Text(text.astext()[end : match.start()]))
                uri = f"{target}#{anchors[first]}"
                told = {"internal": True, "reftitle": definition, "classes": ["word"]}
                parts.append(nodes.reference("", match[0], refuri=uri, **told))
                end = match.end()
            if parts:
                text.parent.replace(text, [*parts, nodes.Text(text.astext()[end:])])


def _in_sentence(node: nodes.Node) -> bool:
    while (node := node.parent) is not None:
        if isinstance(node, _APART):
            return False
        if isinstance(node, _SENTENCES):
            return not isinstance(node.parent, nodes.entry)
    return False


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_post_transform(LinkWords)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
