"""What Jupyter shows becomes what the book numbers: `card.book.references` and `.prose`."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from card.book.references import page, referring


@pytest.mark.parametrize(
    ("written", "rendered"),
    [
        ("[The figure below](#fig-cuts) counts.", "{numref}`fig-cuts` counts."),
        ("by [(delay)](#eq-delay)", "by {eq}`eq-delay`"),
        ("by [(delay)](01_system_model.ipynb#eq-delay)", "by {eq}`eq-delay`"),
        ("[Chapter 9](09_beyond.ipynb)", "{doc}`Chapter 9 <09_beyond>`"),
        ("[the table](../book/provenance.md)", "{doc}`the table <../provenance>`"),
        ("[(Ha and Li, 1990)](../book/references.bib#ha1990)", "{cite:p}`ha1990`"),
        ("[Ha and Li (1990)](../book/references.bib#ha1990)", "{cite:t}`ha1990`"),
        (
            "[(Ha, 1990)](../book/references.bib#ha), [(Li, 1991)](../book/references.bib#li)",
            "{cite:p}`ha,li`",
        ),
        (
            "$$\nD = \\frac{1}{f} . \\tag{delay}\n$$",
            "```{math}\n:label: eq-delay\nD = \\frac{1}{f} .\n```",
        ),
        ("$$\nD = 1\n$$", "$$\nD = 1\n$$"),
        ("[elsewhere](https://example.org)", "[elsewhere](https://example.org)"),
        ("`[a](#fig-cuts)`", "`[a](#fig-cuts)`"),
        ("```bash\n[a](#fig-cuts)\n```", "```bash\n[a](#fig-cuts)\n```"),
        (
            "> **Time alone**\n>\n> See [(delay)](#eq-delay).\n>\n> - and this",
            "````{admonition} Time alone\n:class: important\n\n"
            "See {eq}`eq-delay`.\n\n- and this\n````",
        ),
        ("> quoted, and not a note", "> quoted, and not a note"),
        (
            "<details>\n<summary>Solution</summary>\n\n```bash\ncard solve\n```\n\n</details>",
            "````{admonition} Solution\n:class: dropdown\n\n```bash\ncard solve\n```\n\n````",
        ),
        (
            "<details>\n<summary>One</summary>\n\nFirst.\n\n</details>\n\nBetween.\n\n"
            "<details>\n<summary>Two</summary>\n\nSecond.\n\n</details>",
            "````{admonition} One\n:class: dropdown\n\nFirst.\n\n````\n\nBetween.\n\n"
            "````{admonition} Two\n:class: dropdown\n\nSecond.\n\n````",
        ),
        (
            "> **Predict first**\n>\n> Which cut?",
            "````{admonition} Predict first\n:class: tip\n\nWhich cut?\n````",
        ),
    ],
)
def test_what_reads_in_jupyter_becomes_a_mark_of_the_book(written, rendered):
    assert referring(f"Before.\n\n{written}\n\nAfter.") == f"Before.\n\n{rendered}\n\nAfter."


@pytest.fixture(scope="module")
def executed():
    sources = [
        "from card.book.notebook import prose, quote\nfrom IPython.display import Markdown",
        'prose("It takes {{delay}} at *{{where}}*, {{more}}; {{nobody}} says. {{delay}}!")',
        "import sympy\nquote({'delay': 1.25}, '{:.1f} s'.format)",
        "quote({'where': '<b> a_b_ $x$', 'more': Markdown('*really*')})",
        'prose("$$\\n{{law}} \\\\tag{law}\\n$$")',
        "quote({'law': sympy.Eq(sympy.Symbol('f'), sympy.Rational(1, 2))})",
    ]
    cells = [
        new_code_cell(text, metadata={"tags": ["prose"] if text.startswith("prose") else []})
        for text in sources
    ]
    notebook = new_notebook(cells=cells)
    NotebookClient(notebook, resources={"metadata": {"path": str(Path(__file__).parent)}}).execute()
    return notebook


SAID = "It takes 1.2 s at *&#60;b&#62; a&#95;b&#95; &#36;x&#36;*, *really*; … says. 1.2 s!"
LAW = "$$\n\\displaystyle f = \\frac{1}{2} \\tag{law}\n$$"


def test_sentences_get_their_numbers_whenever_these_are_known(executed):
    shown = [out for cell in executed.cells for out in cell.outputs]
    assert [out["data"]["text/markdown"] for out in shown] == [SAID, LAW]


def test_the_book_shows_sentences_as_its_own_text(executed):
    cells = page(executed)["cells"]
    assert [cell["cell_type"] for cell in cells] == [
        "code",
        "markdown",
        "code",
        "code",
        "markdown",
        "code",
    ]
    assert cells[1]["source"] == SAID
    assert "\\tag" not in cells[4]["source"]
    nbformat.validate(nbformat.from_dict(page(executed)))
