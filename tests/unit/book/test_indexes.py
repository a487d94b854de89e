"""The indexes that are written for the book."""

import json

import pytest

from card.book.indexes import (
    Picture,
    claims_index,
    equations_index,
    figures_index,
    pages_of,
    pictures,
    symbols_index,
)
from card.book.notation import notation

CLAIM = {
    "id": "C1",
    "text": "Delay is reduced by 70.8 %",
    "benchmark": "device_only",
    "nominal": 0.5,
    "calibrated": 0.708,
    "realistic": 0.07,
    "intervals": dict.fromkeys(("nominal", "calibrated", "realistic"), (None, None)),
    "status": "missed untuned, fitted when calibrated",
}
FIGURE = """# Page

```{figure} results/one.svg
:name: fig-one
:alt: A line that rises.

One model, two computers. The rest
of the caption.
```
"""


def rows(text):
    """Cells of Markdown tables without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [line.strip("| ").split(" | ") for line in lines]
    heads = [number - 1 for number, row in enumerate(cells) if row[0] == "---"]
    return [row for number, row in enumerate(cells) if not {number, number - 1} & {*heads}]


@pytest.fixture
def source(tmp_path):
    """A staged book of one page and one notebook."""
    (tmp_path / "page.md").write_text(FIGURE)
    figure = {"name": "fig-two", "caption": "The framework. And more."}
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["no figure"]},
        {"cell_type": "code", "metadata": {"mystnb": {"figure": figure}}, "source": []},
        {"cell_type": "code", "metadata": {}, "source": ["plain()"]},
    ]
    (tmp_path / "chapter.ipynb").write_text(json.dumps({"cells": cells}))
    return tmp_path


def test_pages_come_in_the_order_of_the_contents():
    contents = {
        "root": "index",
        "parts": [
            {"chapters": [{"file": "idea"}]},
            {"chapters": [{"file": "b", "sections": [{"file": "b/one"}]}, {"file": "a"}]},
        ],
    }
    assert pages_of(contents) == ["index", "idea", "b", "b/one", "a"]


def test_figures_are_found_in_pages_and_in_notebooks(source):
    assert pictures(source, ["page", "chapter"]) == [
        Picture("page", "fig-one", "One model, two computers."),
        Picture("chapter", "fig-two", "The framework."),
    ]


def test_figures_are_listed_with_number_caption_and_page():
    (row,) = rows(figures_index([Picture("notebooks/04", "fig-x", "A caption.")]))
    assert row == ["{numref}`fig-x`", "A caption.", "{doc}`/notebooks/04`"]


def test_claims_are_listed_with_what_was_found():
    (row,) = rows(claims_index([CLAIM]))
    assert row[0] == "**C1**"
    assert row[2:] == ["`device_only`", "50.0 %", "70.8 %", "7.0 %", CLAIM["status"]]


def test_every_symbol_has_a_row_and_an_anchor():
    table = rows(symbols_index())
    anchors = [row[0].partition('"')[2].partition('"')[0] for row in table]
    assert anchors == [symbol.anchor for symbol in notation().listed]
    assert {len(row) for row in table} == {5}


def test_every_equation_has_a_row_with_its_code_or_the_reason():
    table = rows(equations_index())
    assert [row[0] for row in table] == [f"{{eq}}`{e.label}`" for e in notation().equations]
    assert all(row[2] for row in table)
