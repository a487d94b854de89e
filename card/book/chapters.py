"""Executes the notebooks of a book side by side, and keeps each with its results.

A chapter that is kept counts as long as all that it is made of is the same, by content.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress

from card.base.data_files import DATA
from card.base.processes import StandstillError, end_descendants, python_child, run
from card.base.terminals import beside
from card.book.downloads import for_pages, for_readers, lift_figures
from card.book.executor import REPORT, Failure, ended, last_begun, naming
from card.book.markdown import to_json, write
from card.book.parameters import changed_parameters
from card.book.place import Place
from card.book.provenance import versions
from card.book.references import page
from card.book.warned import tell_once
from card.studies.speed import recorded

Echo = Callable[[str], object]

# One thread per kernel, since kernels run side by side. A fixed hash seed and no clock time in
# figures, since the same study must give the same bytes.
_KERNEL_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": "0",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
_PACKAGE = Path(__file__).parents[1]


class Chapter(NamedTuple):
    """A notebook, what it is run with, and where it is kept once that is done."""

    notebook: Path
    """The notebook without outputs."""
    parameters: Mapping[str, Any]
    """Parameters that differ from its own defaults."""
    folder: Path
    """Folder of the executed notebook and its `results`."""
    key: str
    """Digest of all that it is made of."""

    @property
    def kept(self) -> bool:
        """Whether it has been executed from what it is made of now, and all it left is there."""
        mark = self.folder / "key"
        return mark.is_file() and mark.read_text(encoding="utf-8") == sealed(self.key, self.folder)


def sealed(key: str, folder: Path) -> str:
    """Mark of a chapter that is kept: its key, and a digest of all that its folder holds."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / "key":
            found.update(path.relative_to(folder).as_posix().encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{key} {found.hexdigest()}"


def chapters_of(place: Place, parameters: Mapping[str, Any], made_of: Any) -> list[Chapter]:
    """Every notebook of a book with the digest of its content and of all that it computes with.

    Parameters
    ----------
    place
        Where the book is built.
    parameters
        Parameters of the build; each must be declared by each notebook.
    made_of
        What else the results follow from, such as the whole scenario, as plain data.

    Raises
    ------
    ScenarioError
        If a notebook cannot be read, or does not declare a parameter, or with another type; or if
        its parameters cell holds anything but parameters with literals as their defaults.
    """
    shared = hashlib.sha256(to_json([made_of, dict(versions("book"))]).encode())
    for folder, pattern in ((_PACKAGE, "*.py"), (DATA, "*")):
        for path in sorted(folder.rglob(pattern)):
            if path.is_file() and "__pycache__" not in path.parts:
                shared.update(path.relative_to(folder).as_posix().encode())
                shared.update(hashlib.sha256(path.read_bytes()).digest())
    chapters = []
    for notebook in sorted((place.root / "notebooks").glob("*.ipynb")):
        chosen = changed_parameters(notebook, parameters)
        digest = shared.copy()
        digest.update(to_json(chosen).encode())
        digest.update(notebook.read_bytes())
        folder = place.chapters / notebook.stem
        chapters.append(Chapter(notebook, chosen, folder, digest.hexdigest()))
    return chapters


def execute(
    place: Place, chapters: Sequence[Chapter], *, jobs: int | None, echo: Echo, limit_s: float
) -> dict[str, Failure]:
    """Execute the chapters that are not kept, each in a process of its own; failures by name."""
    work = [chapter for chapter in chapters if not chapter.kept]
    for chapter in chapters:
        if chapter not in work:
            echo(f"{chapter.notebook.stem} is as it was")
    # the longest first, or else one of them is left for the end, with nothing beside it
    known_s = recorded("effort")["chapters_s"]
    work.sort(key=lambda chapter: known_s.get(chapter.notebook.stem, math.inf), reverse=True)
    if not work:
        return {}
    failures: dict[str, Failure] = {}
    console = beside()
    scratch = place.build / "scratch"
    scratch.mkdir()
    # one more than there are processors, as kernels start, and the one that trains waits for a link
    pool = ThreadPoolExecutor(max(1, min(jobs or (os.cpu_count() or 1) + 1, len(work))))
    try:
        with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
            bar = progress.add_task("Executing notebooks", total=len(work))
            futures = {pool.submit(_watched, one, place, scratch, limit_s): one for one in work}
            for future in as_completed(futures):
                name = futures[future].notebook.stem
                failure = future.result()
                if failure:
                    failures[name] = failure
                progress.advance(bar)
                echo(f"{name} {'failed' if failure else 'executed'}")
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        end_descendants()  # also a chapter that began just now
        raise
    finally:
        pool.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)
    return failures


def _watched(chapter: Chapter, place: Place, scratch: Path, limit_s: float) -> Failure | None:
    """Execute a chapter in a process of its own, which others outlive; what went wrong, or None."""
    program = "import sys; from card.book.executor import execute_one; execute_one(sys.argv[1])"
    log = place.logs / f"{chapter.notebook.stem}.log"
    told = {
        "notebook": str(chapter.notebook),
        "parameters": dict(chapter.parameters),
        "folder": str(chapter.folder),
        "log": str(log),
        "beside": str(place.source / "notebooks"),
    }
    command = python_child(program, json.dumps(told))
    environment = {**os.environ, **_KERNEL_ENVIRONMENT, "TMPDIR": str(scratch)}
    shutil.rmtree(chapter.folder, ignore_errors=True)
    try:
        done = run(command, environment=environment, limit_s=limit_s)
    except StandstillError as error:
        return _noted(chapter, log, f"It made {error} and was stopped.")
    report = chapter.folder / REPORT
    if report.is_file():
        return Failure(*json.loads(report.read_text(encoding="utf-8")))
    if done.returncode:
        said = f"{done.stderr[-1000:]}\n{ended('process', done.returncode)}".strip()
        return _noted(chapter, log, said)
    _keep(chapter)
    return None


def _noted(chapter: Chapter, log: Path, report: str) -> Failure:
    """Failure of a chapter whose process could not report it, which its log gets, too."""
    where = last_begun(chapter.folder / chapter.notebook.name)
    failure = Failure(where, report, naming(report, ""))
    with log.open("a", encoding="utf-8") as file:
        file.write(f"It stopped in {failure.where}.\n{report}\n")
    return failure


def _keep(chapter: Chapter) -> None:
    """Save the figures of a chapter that has been executed, and mark it as kept."""
    notebook = chapter.folder / chapter.notebook.name
    _forget_run(notebook)
    lift_figures(notebook, chapter.folder / "results/figures")
    mark = sealed(chapter.key, chapter.folder)
    (chapter.folder / "key").write_text(mark, encoding="utf-8")


def _forget_run(notebook: Path) -> None:
    """Drop what differs from run to run: clock times, machine paths, random cell names."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    tell_once(content)
    for number, cell in enumerate(content["cells"]):
        cell["id"] = f"cell-{number}"
        tags = cell["metadata"].get("tags", [])
        if "injected-parameters" in tags:  # folded like every other code cell
            tags.append("hide-input")
    for owner in (content, *content["cells"]):
        for key in ("papermill", "execution"):
            owner["metadata"].pop(key, None)
    write(notebook, to_json(content))


def stage(place: Place, chapters: Sequence[Chapter], failures: Mapping[str, Failure]) -> None:
    """Put chapters with their results into the staged book; those that failed say so there."""
    for chapter in chapters:
        target = place.source / "notebooks" / chapter.notebook.name
        failure = failures.get(chapter.notebook.stem)
        if failure:
            write(target, _failed(chapter.notebook, failure))
            continue
        executed = json.loads((chapter.folder / chapter.notebook.name).read_text("utf-8"))
        write(target, to_json(page(for_pages(executed))))
        write(place.offered / chapter.notebook.name, to_json(for_readers(executed)))
        shutil.copytree(chapter.folder / "results", place.results, dirs_exist_ok=True)


def _failed(notebook: Path, failure: Failure) -> str:
    """A chapter's first cell, with its title, and what went wrong in place of the rest."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    fence = "`" * (3 + max(map(len, re.findall("`+", failure.report)), default=0))
    text = (
        f"{fence}`{{admonition}} This chapter failed\n:class: danger\n\nThe book was built without "
        f"it; it stopped in {failure.where}.\n\n{fence}text\n{failure.report}\n{fence}\n{fence}`"
    )
    said = {"cell_type": "markdown", "id": "failed", "metadata": {}, "source": text}
    return to_json(page({**content, "cells": [*content["cells"][:1], said]}))
