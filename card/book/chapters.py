"""Executes the notebooks of a book side by side, and keeps each with its results.

A chapter that is kept counts as long as all that it is made of is the same, by content.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import Progress

from card.base.data_files import DATA
from card.base.processes import end_descendants, end_with_parent, when_still
from card.book.downloads import lift_figures
from card.book.markdown import to_json, write
from card.book.place import BookError, Place
from card.book.provenance import versions

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
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_KILLED = "The system stopped a notebook, perhaps for want of memory; use fewer jobs."
_NEVER_S = 10**7  # whether a kernel still works is judged by what it does, not by a clock


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
        """Whether it has been executed from what it is made of now."""
        mark = self.folder / "key"
        return mark.is_file() and mark.read_text(encoding="utf-8") == self.key


class Failure(NamedTuple):
    """A chapter that failed."""

    where: str
    """Where it did, such as `code cell 3`."""
    report: str
    """What it said last."""


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
    BookError
        If a notebook does not declare a parameter, or with another type.
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


def changed_parameters(notebook: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that differ from a notebook's own defaults; each is declared and of its type."""
    import papermill  # part of the `book` extra; the command line starts without it

    # papermill fills in braces, also those of folders
    declared = papermill.inspect_notebook(re.sub(r"([{}])", r"\1\1", str(notebook)))
    for name, value in parameters.items():
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise BookError(f"{notebook.name} does not declare parameter {name!r}; it has {known}.")
        wanted = declared[name]["inferred_type_name"]
        if type(value).__name__ != wanted:
            raise BookError(
                f"{notebook.name}: parameter {name} = {value!r} must be of type {wanted}."
            )
    defaults = {name: ast.literal_eval(item["default"]) for name, item in declared.items()}
    return {name: value for name, value in parameters.items() if value != defaults[name]}


def execute(
    place: Place, chapters: Sequence[Chapter], *, jobs: int | None, echo: Echo, limit_s: float
) -> dict[str, Failure]:
    """Execute the chapters that are not kept, each in a process of its own; failures by name."""
    work = [chapter for chapter in chapters if not chapter.kept]
    for chapter in chapters:
        if chapter not in work:
            echo(f"{chapter.notebook.stem} is as it was")
    if not work:
        return {}
    failures: dict[str, Failure] = {}
    unfinished: list[Chapter] = []
    console = Console(stderr=True)
    scratch = place.build / "scratch"
    scratch.mkdir()
    try:
        with (
            ProcessPoolExecutor(
                max_workers=max(1, min(jobs or os.cpu_count() or 1, len(work))),
                mp_context=get_context("spawn"),
                initializer=_begin,
                initargs=(os.getpid(), scratch),
            ) as pool,
            Progress(console=console, disable=not console.is_terminal, transient=True) as progress,
        ):
            bar = progress.add_task("Executing notebooks", total=len(work))
            with _interrupts_held():
                futures = {pool.submit(_execute, one, place, limit_s): one for one in work}
            for future in as_completed(futures):
                name = futures[future].notebook.stem
                try:
                    failure = future.result()
                except BrokenExecutor:
                    unfinished.append(futures[future])
                    continue
                if failure:
                    failures[name] = failure
                progress.advance(bar)
                echo(f"{name} {'failed' if failure else 'executed'}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if len(work) == 1 and unfinished:
        echo(f"{work[0].notebook.stem} failed")
        return {work[0].notebook.stem: Failure("its process", _KILLED)}
    for chapter in unfinished:  # one process took all others with it, so each now has its own
        failures |= execute(place, [chapter], jobs=1, echo=echo, limit_s=limit_s)
    return failures


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Context in which Ctrl-C waits, and the processes that are started until they handle it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def _begin(parent: int, scratch: Path) -> None:
    """Prepare a process that executes notebooks: it ends with its parent, and only with it."""
    end_with_parent(parent)
    # Ctrl-C reaches the whole terminal. A handler, since kernels would inherit an ignored signal.
    signal.signal(signal.SIGINT, lambda *_: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    os.environ.update(_KERNEL_ENVIRONMENT, TMPDIR=str(scratch))


def _execute(chapter: Chapter, place: Place, limit_s: float) -> Failure | None:
    """Execute one notebook and keep it; what went wrong, or None."""
    import papermill
    from nbclient.exceptions import DeadKernelError  # what papermill raises
    from papermill.exceptions import PapermillExecutionError

    name, folder = chapter.notebook.name, chapter.folder
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "results").mkdir(parents=True)
    shutil.copyfile(chapter.notebook, folder / name)
    log = place.logs / f"{chapter.notebook.stem}.log"
    with log.open("w", encoding="utf-8") as chatter:
        os.dup2(chatter.fileno(), 2)
    os.environ["CARD_RESULTS"] = str(folder / "results")
    os.chdir(folder)  # papermill is given plain names, since it would fill in a path's braces
    stalled: list[str] = []

    def give_up() -> None:
        stalled.append(f"It made no progress for {limit_s:g} s and was stopped.")
        end_descendants()

    watch = when_still(give_up, limit_s)
    try:
        papermill.execute_notebook(
            name,
            name,
            dict(chapter.parameters),
            kernel_name="python3",
            progress_bar=False,
            cwd=place.source / "notebooks",
            start_timeout=_NEVER_S,
            iopub_timeout=_NEVER_S,
        )
    except PapermillExecutionError as error:
        where, report = f"code cell {error.exec_count}", "\n".join(error.traceback)
    except DeadKernelError:
        where, report = "the kernel", traceback.format_exc()
        if not stalled:
            report += f"\n{_KILLED}"
    except Exception:  # whatever it is, the other notebooks go on and the log has the traceback
        where, report = "the kernel", traceback.format_exc()
    else:
        _forget_run(folder / name)
        lift_figures(folder / name, folder / "results/figures")
        (folder / "key").write_text(chapter.key, encoding="utf-8")
        return None
    finally:
        watch.set()
    report = "\n".join([_COLOUR.sub("", report), *stalled])
    write(log, log.read_text(encoding="utf-8", errors="replace") + report)
    return Failure(where, "\n".join(report.splitlines()[-6:]))


def _forget_run(notebook: Path) -> None:
    """Drop what differs from run to run: clock times, machine paths, random cell names."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
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
        shutil.copyfile(chapter.folder / chapter.notebook.name, target)
        shutil.copytree(chapter.folder / "results", place.results, dirs_exist_ok=True)


def _failed(notebook: Path, failure: Failure) -> str:
    """A chapter's first cell, with its title, and what went wrong in place of the rest."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    fence = "`" * (3 + max(map(len, re.findall("`+", failure.report)), default=0))
    text = (
        "::::{danger} This chapter failed\nThe book was built without it; it stopped in "
        f"{failure.where}.\n\n{fence}text\n{failure.report}\n{fence}\n::::"
    )
    said = {"cell_type": "markdown", "id": "failed", "metadata": {}, "source": text}
    return to_json({**content, "cells": [*content["cells"][:1], said]})
