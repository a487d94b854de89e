"""Neighbouring folded cells share one fold, in a book of one notebook."""

import re

import nbformat
import pytest
from rendered import rendered

LABEL = "Show the code"


def code(source, *, folded=True, shows=""):
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["hide-input"] if folded else []})
    if shows:
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=shows)]
    return cell


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    place = tmp_path_factory.mktemp("book")
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Title"),
            code("first = 1"),
            code("second = 2"),
            code("third = 3", shows="shown by the third"),
            code("fourth = 4"),
            nbformat.v4.new_markdown_cell("A paragraph."),
            code("fifth = 5", folded=False),
            code("sixth = 6"),
        ],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            "language_info": {"name": "python", "pygments_lexer": "ipython3"},
        },
    )
    nbformat.write(notebook, place / "index.ipynb")
    out = rendered(
        place,
        extensions=["card.book.folds"],
        nb_execution_mode="off",
        nb_code_prompt_show=LABEL,
    )
    return (out / "index.html").read_text("utf-8")


def words(html):
    return " ".join(re.sub(r"<[^>]+>", "", html).split())


def test_cells_that_show_nothing_join_the_next_one(page):
    folds = [words(fold) for fold in re.findall(r"<details.*?</details>", page, re.S)]
    assert [re.findall(r"\w+ = \d", fold) for fold in folds] == [
        ["first = 1", "second = 2", "third = 3"],
        ["fourth = 4"],
        ["sixth = 6"],
    ]


def test_what_is_shown_stays_behind_its_fold(page):
    behind = page.split("</details>")[1]
    assert "shown by the third" in behind
    assert page.count("shown by the third") == 1


def test_cells_in_the_open_keep_their_place(page):
    between = page[page.index("A paragraph.") : page.rindex("<details")]
    assert "fifth = 5" in words(between)


def test_the_name_of_a_fold_is_what_it_says(page):
    assert page.count(LABEL) == 3
    assert "<summary>" in page
    assert 'aria-label="Toggle' not in page
