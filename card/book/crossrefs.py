"""Sphinx extension of the book: links between formulas, symbols and the package.

Inline formulas that are one symbol link to its entry on the page *Notation*; numbered equations
are followed by a link to what computes them; symbols in docstrings are set as formulas, and link
alike. Numbers stay with their units, and what others wrote is not documented. In a book of which
chapters failed, references to what they hold say that it is missing.
"""

from __future__ import annotations

import re
from types import FunctionType
from typing import Any

from card.base.errors import extra
from card.book.notation import notation
from card.book.pages import CHAPTERS_FAILED

with extra("book", "card.book.crossrefs"):
    from docutils import nodes  # type: ignore[import-untyped]
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment
    from sphinx.transforms import SphinxTransform
    from sphinx.transforms.post_transforms import SphinxPostTransform
    from sphinx.writers.html5 import HTML5Translator

UNIT_GAP = re.compile(
    r"(?<=\d) (?=(?:%|[mµn]?s|min|h|days|years|[kmM]?J|k?Wh?|[kMG]?Hz|dBm?|k?m|[kMG]?B"
    r"|[kMG]?bit(?:/s)?|[GT]FLOP(?:/s)?)(?!\w))"
)
_VERBATIM = (nodes.literal, nodes.math, nodes.raw, nodes.FixedTextElement)
PAGE = "notation"
"""The page that symbols link to; it links none itself."""
_NUMBER = re.compile(r"\s*(?:%s|\{(?:number|name)\})")


class LinkSymbols(SphinxPostTransform):
    """Links every inline formula that is one symbol to its definition."""

    default_priority = 400
    formats = ("html",)

    def run(self, **_: Any) -> None:
        """Link the formulas of one page."""
        page = self.env.docname
        if page == PAGE or PAGE not in self.env.found_docs:
            return
        chapter = re.match(r"notebooks/(\d+)", page)
        target = self.app.builder.get_relative_uri(page, PAGE)
        for formula in list(self.document.findall(nodes.math)):
            symbol = notation().symbol(formula.astext(), chapter[1] if chapter else "")
            if symbol is None or _within(formula, nodes.title, nodes.reference):
                continue
            unit = f" [{symbol.unit}]" if symbol.unit else ""
            link = nodes.reference(
                "",
                "",
                internal=True,
                refuri=f"{target}#{symbol.anchor}",
                reftitle=f"{symbol.meaning.replace('$', '')}{unit}",
                classes=["symbol"],
            )
            formula.replace_self(link)
            link += formula


def _within(node: nodes.Node, *kinds: type[nodes.Node]) -> bool:
    while node := node.parent:
        if isinstance(node, kinds):
            return True
    return False


class LinkEquations(SphinxTransform):
    """Puts behind every numbered equation a link to what computes it."""

    default_priority = 400

    def apply(self, **_: Any) -> None:
        """Extend the equations of one page."""
        homes = {equation.label: equation.home for equation in notation().equations}
        for block in list(self.document.findall(nodes.math_block)):
            home = homes.get(block.get("label") or "")
            if not home:
                continue
            link = pending_xref(
                "",
                nodes.literal("", home),
                refdomain="py",
                reftype="obj",
                reftarget=f"card.{home}",
                refdoc=self.env.docname,
                refwarn=True,
            )
            place = block.parent.index(block) + 1
            block.parent.insert(place, nodes.paragraph("", "In code: ", link, classes=["in-code"]))


class KeepUnits(SphinxPostTransform):
    """Keeps a number and its unit on one line."""

    default_priority = 410
    formats = ("html",)

    def run(self, **_: Any) -> None:
        """Set no-break spaces in the sentences and tables of one page."""
        block, last = None, ""
        for text in list(self.document.findall(nodes.Text)):
            within = text.parent
            while isinstance(within, nodes.Inline) and not isinstance(within, _VERBATIM):
                within = within.parent
            if isinstance(within, _VERBATIM):
                continue
            before = last if within is block else ""  # a pasted number is a text of its own
            joined = UNIT_GAP.sub("\N{NO-BREAK SPACE}", before + text.astext())
            block, last = within, joined[-1:]
            if joined != before + text.astext():
                text.parent.replace(text, nodes.Text(joined[len(before) :]))


def missing_reference(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Where chapters failed, say that an equation, figure or section is missing; else leave it."""
    if not app.config[CHAPTERS_FAILED] or node.get("refdomain") not in ("std", "math"):
        return None
    return _missing(_NUMBER.sub("", content.astext()) if node.get("refexplicit") else "")


class TellMissing(SphinxPostTransform):
    """Where chapters failed, says so in place of links to files or labels that are not there.

    MyST makes those links by itself, and asks nobody.
    """

    default_priority = 20  # links are there from 10 on

    def run(self, **_: Any) -> None:
        """Replace the dead links of one page."""
        if not self.config[CHAPTERS_FAILED]:
            return
        there = {name for node in self.document.findall(nodes.Element) for name in node["ids"]}
        for link in list(self.document.findall(nodes.reference)):
            target = link.get("refid", "")
            if target not in {"", *there}:
                words = link.astext()
                is_label = words == target and "." not in words  # which a file's name is not
                link.replace_self(_missing("" if is_label else words))


def _missing(words: str) -> nodes.inline:
    """What stands for a reference: its own words, if any, and a remark."""
    told = nodes.abbreviation("", "(missing)", explanation="A chapter that failed holds it.")
    return nodes.inline("", f"{words} " if words else "", told)


def set_symbols(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Set as formulas the symbols that a docstring names in parentheses, such as `(F_D)`."""
    known = {symbol.plain: symbol.latex for symbol in notation().listed if not symbol.chapter}
    named = "|".join(map(re.escape, known))

    def formula(found: re.Match[str]) -> str:
        return f"(:math:`{known[found[1]]}`)"

    for number, line in enumerate(lines):
        lines[number] = re.sub(rf"(?<= )\(({named})\)(?=[\s.,;:]|$)", formula, line)


def skip_others(
    app: Sphinx, what: str, name: str, thing: object, skip: bool, options: object
) -> bool | None:
    """Leave out what others wrote.

    That is a constructor by Python, since a class's fields say the same in order, and what a module
    imports, before its own file is read in vain.
    """
    generated = isinstance(thing, FunctionType) and thing.__code__.co_filename == "<string>"
    here = app.env.temp_data["autodoc:module"]
    defined = isinstance(thing, (type, FunctionType)) and thing.__module__
    imported = what == "module" and defined and defined != here
    return True if generated or imported else None


def visit_citation(translator: HTML5Translator, node: nodes.Element) -> None:
    """Write an entry of the bibliography with the role that its list requires of its items."""
    HTML5Translator.visit_citation(translator, node)
    translator.body[-1] = translator.body[-1].replace('"doc-biblioentry"', '"listitem"')


def depart_citation(translator: HTML5Translator, node: nodes.Element) -> None:
    """Close an entry of the bibliography."""
    HTML5Translator.depart_citation(translator, node)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_transform(LinkEquations)
    app.add_post_transform(LinkSymbols)
    app.add_post_transform(KeepUnits)
    app.add_post_transform(TellMissing)
    app.add_config_value(CHAPTERS_FAILED, False, "env")
    app.connect("missing-reference", missing_reference)
    app.connect("autodoc-process-docstring", set_symbols)
    app.connect("autodoc-skip-member", skip_others)
    app.add_node(nodes.citation, override=True, html=(visit_citation, depart_citation))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
