"""The built book as a web of links: symbols, equations, figures, claims, sources, pages."""

import json
import re
from html import unescape
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from built import BOOK, anchors, links, missing_book, read, resolves
from chapter_texts import texts
from sphinx.util.inventory import InventoryFile

from card.book.indexes import pages_of
from card.book.notation import notation
from card.book.references import referring

ROOT = Path(__file__).resolve().parents[2]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
PAGES = pages_of(TOC)
CHAPTERS = [page for page in PAGES if page.startswith("notebooks/")]
REFERENCE = [f"{page}.html" for page in PAGES if page.startswith("api/")]
SOURCES = [*sorted((ROOT / "book").rglob("*.md")), *sorted((ROOT / "notebooks").glob("*.ipynb"))]
LOCAL = {
    "1": "a number",
    "0": "a number",
    "n": "counts draws in one paragraph",
    r"\rho": "a threshold in one sentence",
    r"\square": "ends a proof",
    "a": "any cut in a proof",
    "b": "any cut in a proof",
    "d": "any device in one sentence",
}
"""Formulas of one letter that are no symbol of the book, and why."""

pytestmark = missing_book


def text_of(path: Path) -> str:
    """Markdown of a page, or of a notebook as the book renders it, without its code."""
    if path.suffix == ".md":
        return path.read_text("utf-8")
    return "\n\n".join(map(referring, texts(path)))


class TestSymbols:
    @pytest.mark.parametrize("symbol", notation().listed, ids=lambda symbol: symbol.anchor)
    def test_has_an_entry(self, symbol) -> None:
        assert symbol.anchor in anchors("notation.html")

    @pytest.mark.parametrize("name", [page for page in PAGES if page != "notation"])
    def test_every_formula_of_one_symbol_links_to_its_entry(self, name: str) -> None:
        text = read(f"{name}.html")
        number = re.match(r"notebooks/(\d+)", name)
        inline = r'<span class="math notranslate nohighlight">\\\((.*?)\\\)</span>'
        linked = rf'<a class="symbol[^>]*#([\w-]+)"[^>]*>{inline}</a>'
        found = {(unescape(latex), anchor) for anchor, latex in re.findall(linked, text, re.S)}
        for latex, anchor in found:
            symbol = notation().symbol(latex, number[1] if number else "")
            assert symbol
            assert symbol.anchor == anchor
        formulas = [unescape(latex) for latex in re.findall(inline, text, re.S)]
        known = [f for f in formulas if notation().symbol(f, number[1] if number else "")]
        # formulas in headings and in links stay what they are
        assert set(known) == {latex for latex, _ in found}

    def test_no_chapter_has_a_symbol_that_is_not_listed(self) -> None:
        one_symbol = (
            r"\\?[A-Za-z]+(?:_(?:\w|\{?\\?\w+\}?|\\mathrm\{\w+\}))?(?:\([a-z](?:, ?[a-z])?\))?"
        )
        unknown = {}
        for path in SOURCES:
            number = path.name[:2] if path.suffix == ".ipynb" else ""
            text = re.sub(r"\$\$.*?\$\$|```.*?```", "", text_of(path), flags=re.S)
            for formula in re.findall(r"(?<!\\)\$([^$]+)\$", text):
                alone = re.fullmatch(one_symbol, formula)
                if alone and formula not in LOCAL and not notation().symbol(formula, number):
                    unknown.setdefault(path.name, set()).add(formula)
        assert unknown == {}, "add these to data/notation.yml, or to LOCAL with the reason"

    def test_a_link_says_what_the_symbol_means(self) -> None:
        links_to = re.findall(r'<a class="symbol[^>]*>', read("notebooks/01_system_model.html"))
        assert links_to
        assert all(re.search(r'title="[^"]+"', link) for link in links_to)

    def test_docstrings_link_as_sentences_do(self) -> None:
        assert 'href="../notation.html#symbol-F-D"' in read("api/model.html")


class TestEquations:
    def labels(self) -> dict[str, str]:
        """Page of every numbered equation in the sources."""
        return {
            label: path.stem
            for path in SOURCES
            for label in re.findall(r"^:label: (eq-[\w-]+)$", text_of(path), re.M)
        }

    def test_the_table_lists_those_of_the_book(self) -> None:
        assert {equation.label for equation in notation().equations} == set(self.labels())

    def test_the_table_has_the_order_of_the_book(self) -> None:
        assert [equation.label for equation in notation().equations] == list(self.labels())

    @pytest.mark.parametrize(
        "equation", [e for e in notation().equations if e.home], ids=lambda e: e.label
    )
    def test_book_and_code_link_to_each_other(self, equation) -> None:
        page = f"notebooks/{self.labels()[equation.label]}.html"
        entry = f"card.{equation.home}"
        home = page_of(entry)
        assert f'href="../{home}#{entry}"' in after(read(page), f'"equation-{equation.label}"')
        assert f'href="../{page}#equation-{equation.label}"' in after(read(home), f'id="{entry}"')
        assert f'href="{home}#{entry}"' in read("notation.html")
        assert f'href="{page}#equation-{equation.label}"' in read("notation.html")


def page_of(entry: str) -> str:
    """Page of the API reference that documents a name."""
    (page,) = [page for page in REFERENCE if entry in anchors(page)]
    return page


def after(text: str, mark: str, reach: int = 20_000) -> str:
    """What follows a mark, up to the next entry of the API reference or equation."""
    found = text.partition(mark)[2][:reach]
    return re.split(r'<dt class="sig sig-object|id="equation-', found, maxsplit=1)[0]


class TestIndexes:
    def test_every_figure_of_the_book_is_listed(self) -> None:
        drawn = {
            f"{page}.html#{name}"
            for page in PAGES
            for name in re.findall(r'<figure[^>]* id="([^"]+)"', read(f"{page}.html"))
        }
        listed = set(re.findall(r'href="([\w/.-]+#fig-[\w-]+)"', read("indexes.html")))
        assert drawn == listed

    def test_figures_are_listed_by_number(self) -> None:
        numbers = re.findall(r">Fig\. (\d+)</span>", read("indexes.html").partition("Claims of")[0])
        assert [int(number) for number in numbers] == list(range(1, len(numbers) + 1))

    @pytest.mark.parametrize("claim", ["C1", "C2"])
    def test_every_claim_is_listed_with_its_status(self, claim: str) -> None:
        results = json.loads((BOOK / "results/claims.json").read_text("utf-8"))
        found = next(item for item in results if item["id"] == claim)
        row = re.search(
            rf"<tr[^>]*>(?:(?!</tr>).)*<strong>{claim}</strong>.*?</tr>", read("indexes.html"), re.S
        )
        assert row
        assert found["status"] in row[0]
        assert found["text"].partition(" ")[0] in row[0]

    def test_tests_that_statements_name_exist(self) -> None:
        named = re.findall(r"`(tests/[\w/.]+)`", (ROOT / "book/indexes.md").read_text("utf-8"))
        assert named
        assert [name for name in named if not (ROOT / name).is_file()] == []


class TestBibliography:
    TEXT = (ROOT / "book/references.bib").read_text("utf-8")
    KEYS = re.findall(r"^@\w+\{([^,]+),$", TEXT, re.M)

    def cited(self) -> set[str]:
        roles = [re.findall(r"\{cite:\w+\}`([^`]+)`", text_of(path)) for path in SOURCES]
        return {key.strip() for found in roles for keys in found for key in keys.split(",")}

    def test_keys_are_unique(self) -> None:
        assert len(set(self.KEYS)) == len(self.KEYS)

    def test_what_is_cited_is_listed_and_what_is_listed_is_cited(self) -> None:
        assert self.cited() == set(self.KEYS)

    def test_every_citation_leads_to_its_entry(self) -> None:
        entries = anchors("bibliography.html")
        for page in PAGES:
            for link in links(f"{page}.html"):
                if "bibliography.html#" in link:
                    assert link.partition("#")[2] in entries

    def test_identifiers_are_well_formed(self) -> None:
        for doi in re.findall(r"^\s*doi\s*=\s*\{(.*)\}", self.TEXT, re.M):
            assert re.fullmatch(r"10\.\d{4,9}/[-.;()/:\w]+", doi), doi
        for eprint in re.findall(r"^\s*eprint\s*=\s*\{(.*)\}", self.TEXT, re.M):
            assert re.fullmatch(r"\d{4}\.\d{4,5}", eprint), eprint
        for year in re.findall(r"^\s*year\s*=\s*\{(.*)\}", self.TEXT, re.M):
            assert 1948 <= int(year) <= 2026, year


class TestLinks:
    @pytest.mark.parametrize("name", PAGES)
    def test_outside_links_are_whole_and_encrypted(self, name: str) -> None:
        for link in re.findall(r'<a\b[^>]*?\bhref="([^"]+)"', read(f"{name}.html")):
            parts = urlsplit(unescape(link))
            if parts.scheme or parts.netloc:
                assert parts.scheme == "https", link
                assert re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc), link

    def test_every_page_of_the_book_links_within_it(self) -> None:
        assert [page for page in PAGES if not links(f"{page}.html")] == []


class TestStory:
    def test_next_and_previous_follow_the_contents(self) -> None:
        for here, there in pairwise(PAGES):
            assert turns_to(here, "right-next") == there
            assert turns_to(there, "left-prev") == here

    def test_begins_with_the_idea_and_ends_with_reference(self) -> None:
        captions = [part["caption"] for part in TOC["parts"]]
        assert captions[0] == "The idea"
        assert captions[-1] == "Reference"

    def test_chapters_come_in_the_order_of_their_numbers(self) -> None:
        numbered = [page for page in CHAPTERS if re.match(r"notebooks/\d", page)]
        assert numbered == sorted(numbered)

    def test_every_page_is_in_the_contents(self) -> None:
        book = ROOT / "book"
        written = [path.relative_to(book).with_suffix("").as_posix() for path in book.rglob("*.md")]
        written = [name for name in written if not name.startswith("_")]  # the report is no page
        executed = [f"notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.ipynb")]
        assert set(PAGES) == {*written, *executed}


class TestReference:
    def test_the_sidebar_lists_its_pages_only_within_it(self) -> None:
        for page in PAGES:
            listed = re.findall(r'<li class="toctree-l2', read(f"{page}.html"))
            assert len(listed) == (len(REFERENCE) if page.startswith("api") else 0), page

    @pytest.mark.parametrize("name", REFERENCE)
    def test_values_and_defaults_name_no_path_of_the_machine(self, name: str) -> None:
        assert str(ROOT) not in read(name)

    @pytest.mark.parametrize("name", REFERENCE)
    def test_no_colon_tears_the_first_line_of_a_value(self, name: str) -> None:
        # what stands before one is taken for a type
        assert not re.findall(r'<dt class="field-\w+">Type<', read(name))


def turns_to(page: str, side: str) -> str:
    """Page that an arrow at the foot of a page leads to, as the contents name it."""
    here = BOOK / f"{page}.html"
    link = re.search(rf'<a class="{side}"\s+href="([^"]+)"', read(f"{page}.html"))
    assert link, f"{page} has no {side}"
    return (here.parent / link[1]).resolve().relative_to(BOOK).with_suffix("").as_posix()


class TestSourceListings:
    def listings(self) -> list[tuple[str, str, str]]:
        """Entries of the API reference with their page and where their [source] link leads."""
        entry = r'<dt class="sig sig-object py" id="([\w.]+)">(.*?)</dt>'
        link = r'<a class="reference internal" href="../(_modules/[^"]+)"><span class="viewcode'
        return [
            (name, page, found[1])
            for page in REFERENCE
            for name, body in re.findall(entry, read(page), re.S)
            if (found := re.search(link, body))
        ]

    def test_functions_and_classes_have_one(self) -> None:
        with (BOOK / "objects.inv").open("rb") as inventory:
            known = InventoryFile.load(inventory, "", lambda base, path: path)
        # a name may stand in the inventory twice, of which one leads to the other's entry
        items = [*known["py:function"].values(), *known["py:class"].values()]
        documented = {address.partition("#")[2] for _, _, address, _ in items}
        assert documented - {name for name, _, _ in self.listings()} == set()

    def test_it_leads_to_the_definition(self) -> None:
        for name, _, link in self.listings():
            page, _, anchor = link.partition("#")
            text = re.sub(r"<[^>]+>", "", read(page).partition(f'id="{anchor}"')[2])[:2000]
            last = name.rpartition(".")[2]
            assert re.search(rf"\b(?:def|class) {last}\b", text), f"{name}: {link}"

    def test_it_leads_back(self) -> None:
        for _, home, link in self.listings()[:1]:
            page = link.partition("#")[0]
            back = [there for there in links(page) if f"{home}#" in there]
            assert back
            assert all(resolves(page, there) for there in back)
