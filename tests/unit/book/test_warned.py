"""`card.book.warned`: what a chapter's page keeps of warnings."""

from typing import Any

import matplotlib as mpl
from nbformat.v4 import new_code_cell, new_notebook, new_output

from card.book.warned import tell_once

MODEL = "/a folder/card/gains.py:66: ScenarioWarning: no finite mean\n  drawn = gains(link)\n"
LIBRARY = f"{mpl.__file__}:40: UserWarning: Glyph 28450 missing from font(s)\n  text()\n"
OWN = "/studies/own policy.py:3: UserWarning: too slow\n  warn('too slow')\n"


def left(*wrote: list[str]) -> list[list[Any]]:
    """What is left of what the cells of a notebook wrote to stderr, one piece after another."""
    cells = [
        new_code_cell(outputs=[new_output("stream", name="stderr", text=text) for text in pieces])
        for pieces in wrote
    ]
    notebook = new_notebook(cells=cells)
    tell_once(notebook)
    return [[output["text"] for output in cell["outputs"]] for cell in notebook["cells"]]


def test_warnings_of_the_model_and_of_own_files_are_told_without_a_path() -> None:
    assert left([MODEL, OWN]) == [["Warning: no finite mean\n", "Warning: too slow\n"]]


def test_a_warning_is_told_once_a_chapter() -> None:
    assert left([MODEL + MODEL], [MODEL], [MODEL.splitlines()[0]]) == [
        ["Warning: no finite mean\n"],
        [],
        [],
    ]


def test_warnings_among_libraries_are_not_told() -> None:
    assert left([LIBRARY, f"{LIBRARY}{OWN}{LIBRARY}"]) == [["Warning: too slow\n"]]


def test_what_is_no_warning_stays() -> None:
    said = "step 1 of 2\n  at 3:40: slow\n"
    assert left([said, f"{said}{LIBRARY}{said}"]) == [[said, said + said]]
