"""Formulas, equations and docstrings link to definitions and code in a book of two pages."""

import dataclasses
import re
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from rendered import rendered
from sphinx.errors import SphinxWarning

from card.book.crossrefs import set_symbols, skip_others

CHAPTER = r"""
Work :math:`F_D(c)`
===================

Work :math:`F_D(c)`, rate :math:`B`, sum :math:`F_D + F_S`.

In 3 s at **2.5** GHz, 4 % of 7 samples, 5 square metres, ``6 s``.

.. math::
   :label: eq-delay

   D = 1

.. math::
   :label: eq-of-nobody

   E = 1

.. py:module:: card.costs.rounds
.. py:class:: Costs

   .. py:attribute:: delay_s
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Text of a chapter and of the page of notation, by name."""
    place = tmp_path_factory.mktemp("book")
    (place / "notebooks").mkdir()
    (place / "index.rst").write_text("T\n=\n\n.. toctree::\n\n   notation\n   notebooks/03_x\n")
    (place / "notation.rst").write_text("Notation\n========\n\n:math:`F_D`\n")
    (place / "notebooks/03_x.rst").write_text(CHAPTER)
    extensions = ["sphinx.ext.mathjax", "card.book.crossrefs"]
    out = rendered(place, extensions=extensions, nitpicky=True)
    return {name: (out / f"{name}.html").read_text() for name in ("notation", "notebooks/03_x")}


def targets(text):
    return re.findall(r'<a class="symbol[^>]*href="([^"]+)"', text)


def test_formulas_of_one_symbol_link_with_the_meaning_of_the_chapter(built):
    assert targets(built["notebooks/03_x"]) == [
        "../notation.html#symbol-F-D",
        "../notation.html#symbol-B-03",
    ]


def test_a_link_says_meaning_and_unit(built):
    assert 'title="rate of the memory [byte/s]"' in built["notebooks/03_x"]


def test_the_page_of_notation_links_to_nothing(built):
    assert targets(built["notation"]) == []


def test_a_number_stays_with_its_unit_and_with_nothing_else(built):
    (line,) = re.findall(r"<p>(In .*?)</p>", built["notebooks/03_x"])
    text = re.sub(r"<[^>]*>", "", line)
    assert text == ("In 3\xa0s at 2.5\xa0GHz, 4\xa0% of 7 samples, 5 square metres, 6 s.")


def test_an_equation_links_to_what_computes_it(built):
    (note,) = re.findall(r'<p class="in-code">.*?</p>', built["notebooks/03_x"])
    assert 'href="#card.costs.rounds.Costs.delay_s"' in note


REFERRING = r"""
(here)=
# Page

```{math}
:label: eq-here
D = 1
```

There: {eq}`eq-here`, {ref}`here`, [the page](#here), [`a file`](data.txt).

Missing: {eq}`eq-gone`, {numref}`fig-gone`, {numref}`Fig. %s <fig-gone>`, [](#fig-gone),
{ref}`gone`, {ref}`own words <gone>`,
[more words](#fig-gone), [`results/gone.json`](results/gone.json), {py:obj}`card.gone`.
"""


def referring(place, **settings):
    """Lines of a page that refers to what is there and what is missing."""
    (place / "index.md").write_text(REFERRING)
    (place / "data.txt").write_text("1")
    extensions = ["sphinx.ext.mathjax", "myst_nb", "card.book.crossrefs"]
    text = (
        rendered(place, extensions=extensions, numfig=True, **settings) / "index.html"
    ).read_text()
    return re.findall(r"<p>((?:There|Missing): .*?)</p>", text, re.DOTALL)


def test_where_chapters_failed_references_to_them_say_that_they_are_missing(tmp_path):
    there, missing = referring(
        tmp_path, card_chapters_failed=True, suppress_warnings=["myst.xref_missing"]
    )
    assert there.count("<a ") == 4
    assert "missing" not in there
    assert missing.count('<abbr title="A chapter that failed holds it.">(missing)</abbr>') == 8
    assert "<a " not in missing
    assert " ".join(re.sub(r"<[^>]*>", "", missing).split()) == (
        "Missing: (missing), (missing), Fig. (missing), (missing), (missing), own words (missing), "
        "more words (missing), results/gone.json (missing), card.gone."
    )


def test_where_none_failed_a_reference_that_leads_nowhere_is_an_error(tmp_path):
    with pytest.raises(SphinxWarning):
        referring(tmp_path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Device work [FLOP] (F_D).", "Device work [FLOP] (:math:`F_D`)."),
        ("Server clock (f) [Hz], above 0.", "Server clock (:math:`f`) [Hz], above 0."),
        ("Power at a clock, P(f) = P_0.", "Power at a clock, P(f) = P_0."),
        ("Rows (each of a device).", "Rows (each of a device)."),
    ],
)
def test_docstrings_set_the_symbols_that_they_name(line, expected):
    lines = [line]
    set_symbols(None, "function", "f", None, None, lines)
    assert lines == [expected]


@dataclasses.dataclass
class Made:
    size: int


class Written:
    def __init__(self, size: int) -> None:
        self.size = size


class Named(NamedTuple):
    size: int


@pytest.mark.parametrize(
    ("what", "thing", "expected"),
    [
        ("class", Made.__init__, True),
        ("class", Named.__new__, True),
        ("class", Written.__init__, None),
        ("class", pytest.fixture, None),  # a method that a class has from elsewhere is its own
        ("module", Made, None),
        ("module", 3, None),
        ("module", dataclasses.dataclass, True),
        ("module", dataclasses.Field, True),
        ("module", type(pytest.fixture), True),  # the class of functions
    ],
)
def test_what_others_wrote_is_not_documented(what, thing, expected):
    env = SimpleNamespace(temp_data={"autodoc:module": __name__})
    app = SimpleNamespace(env=env)
    assert skip_others(app, what, "name", thing, False, None) is expected
