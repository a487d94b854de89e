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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.progress import Progress

from card.base.data_files import DATA
from card.base.letters import printable
from card.base.processes import StandstillError, end_descendants, python_child, run
from card.base.terminals import beside
from card.book.downloads import for_pages, for_readers, lift_figures
from card.book.markdown import to_json, write
from card.book.place import BookError, Place
from card.book.provenance import versions
from card.book.references import page
from card.book.warned import tell_once

if TYPE_CHECKING:
    from papermill.exceptions import PapermillExecutionError

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
_ERROR = re.compile(r"[\w.]*(?:Error|Exception|Exit|Interrupt|Iteration|Warning)\b")
_CELL = re.compile(r"Cell In\[(\d+)\]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_REPORT = "report.json"
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
        """Whether it has been executed from what it is made of now, and all it left is there."""
        mark = self.folder / "key"
        return mark.is_file() and mark.read_text(encoding="utf-8") == sealed(self.key, self.folder)


class Failure(NamedTuple):
    """A chapter that failed."""

    where: str
    """Where it did, such as `code cell 3`."""
    report: str
    """What it said last."""
    error: str
    """The line that names the error, or else the last one."""


def naming(report: str, name: str) -> str:
    """The line of a report that names an error, or else its last one, as for no name."""
    lines = [line.strip() for line in report.split("\n") if line.strip()] or [""]
    named = [line for line in lines if line.startswith(name)]
    return (named or [line for line in lines if _ERROR.match(line)] or lines)[-1]


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
    BookError
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


def changed_parameters(notebook: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that differ from a notebook's own defaults; each is declared and of its type."""
    import nbformat  # part of the `book` extra, as papermill; the command line starts without it
    from papermill.utils import nb_kernel_name, nb_language

    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        nbformat.validate(content, version=4, relax_add_props=True)
        for needed in (nb_kernel_name, nb_language):
            needed(SimpleNamespace(metadata=content["metadata"]))
    except (ValueError, AttributeError, nbformat.ValidationError):
        raise BookError(
            f"{notebook} is no notebook, for its JSON lacks what nbformat 4 asks for, or a kernel; "
            "mend it."
        ) from None
    defaults = _defaults(notebook.name, content["cells"])
    for name, value in parameters.items():
        if name not in defaults:
            known = ", ".join(defaults) or "none"
            raise BookError(f"{notebook.name} does not declare parameter {name!r}; it has {known}.")
        wanted = type(defaults[name])
        if type(value) is not wanted:
            raise BookError(
                f"{notebook.name}: parameter {name} = {value!r} must be of type {wanted.__name__}, "
                f"as its default {defaults[name]!r} is; change either."
            )
    return {name: value for name, value in parameters.items() if value != defaults[name]}


def _defaults(name: str, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Parameters of a notebook of this name with their defaults, all that their cell may hold.

    For papermill gives them other values after that cell, which code there would not see.
    """
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    source = "".join(tagged[0]["source"]) if tagged else ""
    defaults: dict[str, Any] = {}
    line = ""
    try:
        for statement in ast.parse(source).body:
            line = ast.get_source_segment(source, statement) or ""
            defaults |= [_default(statement)]
    except (SyntaxError, TypeError, ValueError) as error:
        line = (error.text if isinstance(error, SyntaxError) else line) or ""
        line = printable(line.strip().partition("\n")[0])
        raise BookError(
            f"{name}: `{line}` in the parameters cell does not give a parameter a literal, as "
            "`seed: int = 0` does; mend it, or move it to a later cell."
        ) from None
    return defaults


def _default(statement: ast.stmt) -> tuple[str, Any]:
    """Name and literal that a statement assigns; `ValueError` or `TypeError` if it does not."""
    match statement:
        case (
            ast.AnnAssign(target=ast.Name(name), value=ast.expr() as value)
            | ast.Assign(targets=[ast.Name(name)], value=value)
        ):
            return name, ast.literal_eval(value)
    raise ValueError("no assignment to one name")


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
    program = "import sys; from card.book.chapters import execute_one; execute_one(sys.argv[1])"
    log = place.logs / f"{chapter.notebook.stem}.log"
    told = {
        "notebook": str(chapter.notebook),
        "parameters": dict(chapter.parameters),
        "folder": str(chapter.folder),
        "key": chapter.key,
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
    if chapter.kept:
        return None
    report = chapter.folder / _REPORT
    if report.is_file():
        return Failure(*json.loads(report.read_text(encoding="utf-8")))
    said = f"{done.stderr[-1000:]}\n{_ended('process', done.returncode)}".strip()
    return _noted(chapter, log, said)


def _noted(chapter: Chapter, log: Path, report: str) -> Failure:
    """Failure of a chapter whose process could not report it, which its log gets, too."""
    where = _last_begun(chapter.folder / chapter.notebook.name)
    failure = Failure(where, report, naming(report, ""))
    with log.open("a", encoding="utf-8") as file:
        file.write(f"It stopped in {failure.where}.\n{report}\n")
    return failure


def _last_begun(executed: Path) -> str:
    """The code cell that began last, as kernels count, from what papermill notes of each."""
    notes = [one["metadata"].get("papermill", {}) for one in _counted(executed)]
    begun = [number for number, note in enumerate(notes, 1) if note.get("start_time")]
    return f"code cell {begun[-1]}" if begun else "its process, before any cell"


def _counted(executed: Path) -> list[dict[str, Any]]:
    """Cells that kernels count, without the parameters that papermill injects."""
    try:
        cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):  # not there yet, or half written
        return []
    run = [one for one in cells if one["cell_type"] == "code" and "".join(one["source"]).strip()]
    return [one for one in run if "injected-parameters" not in one["metadata"].get("tags", [])]


def _number(cells: Sequence[Mapping[str, Any]], count: int) -> int:
    """Number among these cells of the one that IPython counted so, the injected one with them."""
    return sum(bool(cell["execution_count"]) and cell["execution_count"] <= count for cell in cells)


def _ended(what: str, code: int | None) -> str:
    """What is known of the end of a process: the signal, or its exit code."""
    if code is None or code >= 0:
        return f"The {what} ended with exit code {code or 0}."
    name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
    remedy = " A system without free memory sends it; fewer jobs need less." * (name == "SIGKILL")
    return f"{name} ended the {what}.{remedy}"


def execute_one(told: str) -> None:
    """Execute the notebook that JSON tells of, and keep it or a report of what went wrong."""
    import papermill
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import DeadKernelError  # what papermill raises
    from papermill.exceptions import PapermillExecutionError

    codes: list[int | None] = []  # the first is of the kernel's own end, not of its removal

    class Kernel(AsyncKernelManager):
        """A kernel whose exit code is kept."""

        async def _async_is_alive(self) -> bool:
            alive = await super()._async_is_alive()
            if not alive and self.provisioner:
                codes.append(await self.provisioner.poll())
            return alive

    job = json.loads(told)
    notebook, folder, log = (Path(job[key]) for key in ("notebook", "folder", "log"))
    name = notebook.name
    # Ctrl-C reaches the whole terminal. A handler, since kernels would inherit an ignored signal.
    signal.signal(signal.SIGINT, lambda *_: None)
    (folder / "results").mkdir(parents=True)
    shutil.copyfile(notebook, folder / name)
    with log.open("a", encoding="utf-8") as chatter:  # a kernel may still write once this is killed
        for stream in (1, 2):
            os.dup2(chatter.fileno(), stream)
    os.environ["CARD_RESULTS"] = str(folder / "results")
    os.chdir(folder)  # papermill is given plain names, since it would fill in a path's braces
    try:
        papermill.execute_notebook(
            name,
            name,
            job["parameters"],
            kernel_name="python3",
            progress_bar=False,
            cwd=job["beside"],
            start_timeout=_NEVER_S,
            iopub_timeout=_NEVER_S,
            kernel_manager_class=Kernel,
        )
    except PapermillExecutionError as error:
        number = partial(_number, _counted(folder / name))
        where = f"code cell {number(error.exec_count)}"
        report, named = _said(error, folder / name), error.ename
        report = _CELL.sub(lambda at: f"Cell In[{number(int(at[1]))}]", _COLOUR.sub("", report))
    except DeadKernelError:
        where, report, named = _last_begun(folder / name), _ended("kernel", codes[0]), ""
    except Exception as error:  # whatever it is, the log has the traceback
        where, report = _last_begun(folder / name), traceback.format_exc()
        named = type(error).__name__
    else:
        if not _is_left_early(folder / name):
            _forget_run(folder / name)
            lift_figures(folder / name, folder / "results/figures")
            (folder / "key").write_text(sealed(job["key"], folder), encoding="utf-8")
            return
        where, named = _last_begun(folder / name), ""
        report = "SystemExit left cells that did not run."
    report = "\n".join(map(printable, _COLOUR.sub("", report).split("\n")))
    said = f"It stopped in {where}.\n{report}\n"
    write(log, log.read_text(encoding="utf-8", errors="replace") + said)
    last = report.split("\n")[-6:]
    line = naming(report, named)
    last = last if line in map(str.strip, last) else [line, "…", *last]
    write(folder / _REPORT, json.dumps([where, "\n".join(last), line]))


def _said(error: PapermillExecutionError, executed: Path) -> str:
    """The traceback of a cell that failed; without one what it wrote to stderr, or its name."""
    cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    failed = [one for one in cells if one["metadata"].get("papermill", {}).get("exception")]
    wrote = [out["text"] for one in failed for out in one["outputs"] if out.get("name") == "stderr"]
    named = f"{error.ename}: {error.evalue}" if error.evalue else error.ename
    said = ("\n".join(error.traceback), "".join(map("".join, wrote)), named)
    return next(text.strip() for text in said if text.strip())


def _is_left_early(executed: Path) -> bool:
    """Whether a cell ended the notebook without an error, as `sys.exit(0)` does."""
    noted = json.loads(executed.read_text(encoding="utf-8"))["metadata"].get("papermill", {})
    return bool(noted.get("exception"))


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
