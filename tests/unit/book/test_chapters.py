"""`card.book.chapters`: whatever stops a chapter, the failure and its log say in which cell."""

import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from card.book.chapters import Failure, chapters_of, execute
from card.book.place import Place

LIMIT_S = 20.0
HANGS = "import time; time.sleep(3600)"
KERNEL = "import os; os.kill(os.getpid(), 9)"
PROCESS = "import os, time; os.kill(os.getppid(), 9); time.sleep(3600)"


def failed(folder: Path, source: str, limit_s: float) -> tuple[Failure, str]:
    """What becomes of a notebook whose third code cell does this, and its log."""
    cells = [
        new_markdown_cell("# Stops"),
        new_code_cell("seed: int = 0", metadata={"tags": ["parameters"]}),
        new_code_cell(""),  # which no kernel runs or counts
        new_code_cell("print('second')"),
        new_code_cell(source),
        new_code_cell("print('not reached')"),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (folder / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=cells, metadata=kernel), folder / "notebooks/stops.ipynb")
    place = Place.of(folder, "tiny")
    for made in (place.source / "notebooks", place.logs):
        made.mkdir(parents=True)
    chapters = chapters_of(place, {}, None)
    failures = execute(place, chapters, jobs=1, echo=lambda _: None, limit_s=limit_s)
    return failures["stops"], (place.logs / "stops.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "report"),
    [(KERNEL, "SIGKILL ended the kernel."), (PROCESS, "SIGKILL ended the process.")],
    ids=["the kernel is killed", "its process is killed"],
)
def test_a_chapter_that_is_killed_names_signal_and_cell(
    tmp_path: Path, source: str, report: str
) -> None:
    failure, log = failed(tmp_path, source, limit_s=600)
    assert failure.where == "code cell 3"
    assert failure.error.startswith(report)
    assert "It stopped in code cell 3." in log
    assert report in log


@pytest.mark.slow
def test_a_cell_that_hangs_is_named_and_stopped_at_the_stated_time(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    failure, log = failed(tmp_path, f"open({str(begun)!r}, 'w').close(); {HANGS}", LIMIT_S)
    lasted_s = time.time() - begun.stat().st_mtime
    assert failure == Failure("code cell 3", "It made no progress for 20 s and was stopped.")
    assert "It stopped in code cell 3." in log
    assert lasted_s > LIMIT_S
