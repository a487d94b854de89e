"""Executes a notebook, in a process of its own that imports little since each has one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from card.base.letters import printable
from card.book.markdown import write

if TYPE_CHECKING:
    from papermill.exceptions import PapermillExecutionError

REPORT = "report.json"
"""Where a process leaves the `Failure` of its notebook, in the folder of the chapter."""
_ERROR = re.compile(r"[\w.]*(?:Error|Exception|Exit|Interrupt|Iteration|Warning)\b")
_CELL = re.compile(r"Cell In\[(\d+)\]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_NEVER_S = 10**7  # whether a kernel still works is judged by what it does, not by a clock


class Failure(NamedTuple):
    """A chapter that failed."""

    where: str
    """Where it did, such as `code cell 3`."""
    report: str
    """What it said last."""
    error: str
    """The line that names the error, or else the last one."""


def spare_grammar() -> None:
    """Let jsonschema do without a grammar of addresses, which takes it seconds to make.

    For what imports it next, as nbformat does: no notebook is checked for the form of addresses.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


def naming(report: str, name: str) -> str:
    """The line of a report that names an error, or else its last one, as for no name."""
    lines = [line.strip() for line in report.split("\n") if line.strip()] or [""]
    named = [line for line in lines if line.startswith(name)]
    return (named or [line for line in lines if _ERROR.match(line)] or lines)[-1]


def last_begun(executed: Path) -> str:
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


def ended(what: str, code: int | None) -> str:
    """What is known of the end of a process: the signal, or its exit code."""
    if code is None or code >= 0:
        return f"The {what} ended with exit code {code or 0}."
    name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
    remedy = " A system without free memory sends it; fewer jobs need less." * (name == "SIGKILL")
    return f"{name} ended the {what}.{remedy}"


def execute_one(told: str) -> None:
    """Execute the notebook that JSON tells of in its folder; a report says what went wrong."""
    spare_grammar()
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
        where, report, named = last_begun(folder / name), ended("kernel", codes[0]), ""
    except Exception as error:  # whatever it is, the log has the traceback
        where, report = last_begun(folder / name), traceback.format_exc()
        named = type(error).__name__
    else:
        if not _is_left_early(folder / name):
            return
        where, named = last_begun(folder / name), ""
        report = "SystemExit left cells that did not run."
    report = "\n".join(map(printable, _COLOUR.sub("", report).split("\n")))
    said = f"It stopped in {where}.\n{report}\n"
    write(log, log.read_text(encoding="utf-8", errors="replace") + said)
    last = report.split("\n")[-6:]
    line = naming(report, named)
    last = last if line in map(str.strip, last) else [line, "…", *last]
    write(folder / REPORT, json.dumps([where, "\n".join(last), line]))


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
