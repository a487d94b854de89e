"""`card.book.chapters`: whatever stops a chapter, the failure and its log say in which cell."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from machines import NO_POWER
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from papermill import execute_notebook

from card.book.chapters import chapters_of, execute
from card.book.executor import Failure
from card.book.place import Place

ROOT = Path(__file__).parents[3]
LIMIT_S = 20.0
HANGS = "import time; time.sleep(3600)"
FIGURES = r"""
from IPython.display import display
from matplotlib.figure import Figure
from card.figures.labels import width_pt
from card.figures.style import use_style
use_style()
width_pt("\U0010fffd")
for number in range(2):
    figure = Figure()
    figure.subplots().plot([0, 1], label="\U0010fffd")
    figure.axes[0].legend()
    display(figure)
"""
KERNEL = "import os; os.kill(os.getpid(), 9)"
UNTRACED = """
class Untraced(Exception):
    def _render_traceback_(self):
        return [" "]
raise Untraced({value})
"""
PROCESS = "import os, time; os.kill(os.getppid(), 9); time.sleep(3600)"


def executed(folder: Path, source: str, limit_s: float) -> tuple[Place, dict[str, Failure]]:
    """What becomes of a notebook whose third code cell does this."""
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
    chapters = chapters_of(
        place, {"seed": 7}, None
    )  # so a cell is injected, which no reader counts
    failures = execute(place, chapters, jobs=1, echo=lambda _: None, limit_s=limit_s)
    return place, failures


def failed(folder: Path, source: str, limit_s: float) -> tuple[Failure, str]:
    """The failure of a notebook whose third code cell does this, and its log."""
    place, failures = executed(folder, source, limit_s)
    return failures["stops"], (place.logs / "stops.log").read_text()


def test_what_executes_a_notebook_imports_little() -> None:
    heavy = "pandas", "xarray", "matplotlib", "scipy", "jupyter_client"
    code = (
        "import sys; from card.book.executor import execute_one;"
        f"found = set(sys.modules) & set({heavy}); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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
    said = "It made no progress for 20 s and was stopped."
    assert failure == Failure("code cell 3", said, said)
    assert "It stopped in code cell 3." in log
    assert lasted_s > LIMIT_S


@pytest.mark.slow
def test_a_chapter_that_leaves_early_without_an_error_has_failed(tmp_path: Path) -> None:
    failure, log = failed(tmp_path, "import sys; sys.exit(0)", 60.0)
    assert failure.where == "code cell 3"
    assert "left cells that did not run" in log


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("%nosuchmagic 3", "UsageError: Line magic function `%nosuchmagic` not found."),
        (UNTRACED.format(value="'no value'"), "Untraced: no value"),
        (UNTRACED.format(value=""), "Untraced"),
    ],
    ids=["usage error", "no traceback", "nothing said"],
)
def test_an_error_without_a_traceback_is_told_all_the_same(
    tmp_path: Path, source: str, said: str
) -> None:
    failure, log = failed(tmp_path, source, 60.0)
    assert (failure.where, failure.error) == ("code cell 3", said)
    assert log.endswith(f"It stopped in code cell 3.\n{said}\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ValueError", "Stop"])
def test_the_name_of_an_error_stands_before_the_end_of_its_long_text(
    tmp_path: Path, name: str
) -> None:
    source = f"class Stop(Exception): pass\nraise {name}('a\\nb\\nc\\nd\\ne\\nf\\ng')"
    failure, _ = failed(tmp_path, source, 60.0)
    assert failure.error == f"{name}: a"
    assert failure.report == f"{name}: a\n…\nb\nc\nd\ne\nf\ng"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "cells"),
    [("x = ,", ["3"]), ("def fail():\n    1 / 0\nfail()", ["3", "3"])],
    ids=["syntax error", "traceback of two frames"],
)
def test_a_traceback_numbers_cells_as_a_reader_counts_them(
    tmp_path: Path, source: str, cells: list[str]
) -> None:
    failure, log = failed(tmp_path, source, 60.0)
    assert failure.where == "code cell 3"
    assert re.findall(r"Cell In\[(\d+)\]", log) == cells
    assert set(re.findall(r"Cell In\[(\d+)\]", failure.report)) == {"3"}


@pytest.mark.slow
def test_letters_that_no_font_has_are_told_once_a_chapter_without_a_path(tmp_path: Path) -> None:
    place, failures = executed(tmp_path, FIGURES, 60.0)
    assert failures == {}
    notebook = nbformat.read(place.chapters / "stops/stops.ipynb", nbformat.NO_CONVERT)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    (said,) = (one["text"] for one in outputs if one.get("name") == "stderr")
    assert said.startswith("Warning: no font that is installed has \U0010fffd, drawn as boxes; ")
    assert said.count("\n") == 1
    assert sum("data" in one for one in outputs) == 2


@pytest.mark.slow
@pytest.mark.parametrize("chapter", ["01_system_model", "03_hardware_profiling"])
def test_a_chapter_takes_hardware_that_a_study_describes_itself(
    chapter: str, tmp_path: Path
) -> None:
    """The energy of one of the devices is not known, which the first chapter says."""
    board = "{title: a board, cores: 4000, memory_gb: 24, clock_hz: 2.0e+9, max_power_w: 200}"
    devices = json.dumps({"device-3": {"hardware": NO_POWER}})
    study = tmp_path / "own.yml"
    study.write_text(f"base: nominal\nserver: {{hardware: {board}}}\ndevices: {devices}\n")
    executed = execute_notebook(
        ROOT / f"notebooks/{chapter}.ipynb",
        None,
        {"scenario": str(study), "quick": True},
        cwd=tmp_path,
        progress_bar=False,
    )
    outputs = [output for cell in executed.cells for output in cell.get("outputs", ())]
    told = " ".join(one.get("data", {}).get("text/markdown", "") for one in outputs)
    assert ("and the devices an unknown energy." in told) == (chapter == "01_system_model")
    assert "nan J" not in told
