"""Builds the book of a study: stages it, executes its notebooks, renders its pages.

One path serves the default book and a user's study.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import Progress

from card.base.data_files import DATA
from card.base.yaml_files import label, read_yaml
from card.book import pages, provenance
from card.book.command_pages import commands_page
from card.book.downloads import downloads_page, lift_figures, link_figures
from card.book.indexes import indexes, pages_of, pictures
from card.book.markdown import to_json, write
from card.book.publish import buttons, repository_of, trim
from card.book.walkthrough import walkthrough
from card.costs import load_scenario
from card.hardware.catalogue import is_file
from card.scenario import Scenario
from card.studies.claims import applied
from card.studies.study_file import load_study

ROOT = Path(__file__).resolve().parents[2]
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
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class BookError(RuntimeError):
    """The book could not be built; the message says where, and which log holds the rest."""


class Place(NamedTuple):
    """Where one book is built; `html` exists only once a build has succeeded."""

    root: Path
    """Folder with the pages and notebooks that are staged."""
    build: Path
    """Folder of everything below."""
    source: Path
    """Staged pages and executed notebooks."""
    results: Path
    """Results as data."""
    logs: Path
    """What the steps of the build said."""
    html: Path
    """Rendered pages."""

    @classmethod
    def of(cls, root: Path, name: str) -> Place:
        """Place of a book in `_build/<name>` below the root that has its pages and notebooks."""
        build = root / "_build" / name
        return cls(root, build, build / "source", build / "results", build / "logs", build / "html")


def build_book(
    study: str | Path = "nominal",
    *,
    commands: Any,
    quick: bool = False,
    jobs: int | None = None,
    echo: Echo = print,
) -> Path:
    """Build the book of a scenario or study from nothing.

    Parameters
    ----------
    study
        Name of a shipped scenario or study, or path of a scenario or study file.
    commands
        The command `card`, a group of Click's, which a page of the book describes.
    quick
        Ask the notebooks for fewer Monte Carlo rounds: to look at a study, not to report it.
    jobs
        Notebooks executed at the same time; the number of processors if None.
    echo
        Receives a line per step.

    Returns
    -------
    Path
        First page of the book.

    Raises
    ------
    ScenarioError
        If the study is refused; nothing has run then.
    BookError
        If a notebook or the rendering fails.
    """
    asked = load_study(study)
    name, scenario = asked.name, asked.scenario
    if not (ROOT / "_toc.yml").is_file():
        raise BookError(
            "The book's pages are not installed; run this in a clone of the repository."
        )
    if asked.shipped and scenario != load_scenario(name):
        raise BookError(f"{study} has the name of a shipped scenario but other values; rename it.")
    place = Place.of(ROOT, name)
    values, profiles = portable(scenario)
    parameters = {
        "scenario": name if asked.shipped else f"../{name}.yml",
        "seed": scenario.simulation.seed,
        "quick": quick,
    }
    default = name == "nominal"

    def prepare() -> None:
        shutil.copytree(DATA, place.source / "data")
        shutil.copy(ROOT / "CITATION.cff", place.source)
        if not asked.shipped:
            write(place.source / f"{name}.yml", label(values))
        for file, content in profiles.items():
            (place.source / file).write_bytes(content)

    def conclude() -> Mapping[str, Any]:
        claims = json.loads((place.results / "claims.json").read_text(encoding="utf-8"))
        scenarios = {key: load_scenario(key) for key in ("nominal", "calibrated")}
        own = None if name in scenarios else applied(scenario)
        scenarios.setdefault(name, scenario)
        generated = place.source / "_generated"
        write(generated / "claims.md", pages.claims_page(claims, own))
        write(generated / "provenance.md", provenance.provenance_page(scenarios))
        write(generated / "commands.md", commands_page(commands))
        indexes(ROOT, place.source, claims)
        walkthrough(generated, place.results)
        write(place.results / "provenance.json", to_json(provenance.provenance(values, ROOT)))
        if own is not None:
            write(place.results / "study_claims.json", to_json(own))
        contents = read_yaml(ROOT / "_toc.yml")
        found = pictures(place.source, pages_of(contents))
        listed = downloads_page(place.source / "notebooks", place.results, found)
        write(generated / "downloads.md", listed)
        if not default:
            pages.note_on_every_page(place.source, pages.study_note(asked))
        return pages.settings(scenario, claims, quick=quick, study=not default)

    return make(place, parameters, prepare=prepare, conclude=conclude, jobs=jobs, echo=echo)


def portable(scenario: Scenario) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Values of a scenario with its profile files under names that follow from their content."""
    values = scenario.model_dump(mode="json")
    files: dict[str, bytes] = {}
    for part in (values["server"], *values["devices"]):
        if is_file(part["hardware"]):
            content = Path(part["hardware"]).read_bytes()
            part["hardware"] = f"profile-{hashlib.sha256(content).hexdigest()[:16]}.json"
            files[part["hardware"]] = content
    return values, files


def make(
    place: Place,
    parameters: Mapping[str, Any],
    *,
    prepare: Callable[[], object] = lambda: None,
    conclude: Callable[[], Mapping[str, Any]] = dict,
    jobs: int | None = None,
    echo: Echo = print,
) -> Path:
    """Build any book of this layout; `conclude` runs on the results and returns configuration."""
    notebooks = sorted((place.root / "notebooks").glob("*.ipynb"))
    work = {notebook: changed_parameters(notebook, parameters) for notebook in notebooks}
    shutil.rmtree(place.build, ignore_errors=True)
    shutil.copytree(place.root / "book", place.source)
    for folder in (place.source / "notebooks", place.results, place.logs):
        folder.mkdir(parents=True)
    prepare()
    execute(place, work, jobs=jobs, echo=echo)
    added = buttons(repository_of(place.root, os.environ)), conclude()
    shutil.copy(place.root / "_toc.yml", place.source)
    config = read_yaml(place.root / "_config.yml")
    for key, more in (item for settings in added for item in settings.items()):
        config[key] = {**config.get(key, {}), **more} if isinstance(more, Mapping) else more
    # JSON is YAML of any version; Jupyter Book reads 1.1, which takes some words for numbers
    write(place.source / "_config.yml", to_json(config))
    shutil.copytree(place.results, place.source / "results")
    echo("Rendering the pages")
    render(place)
    return place.html / "index.html"


def changed_parameters(notebook: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that differ from a notebook's own defaults; each is declared and of its type."""
    import papermill  # part of the `book` extra; the command line starts without it

    declared = papermill.inspect_notebook(notebook)
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
    place: Place, work: Mapping[Path, Mapping[str, Any]], *, jobs: int | None, echo: Echo
) -> None:
    """Execute notebooks into the staged tree, each in a process of its own."""
    console = Console(stderr=True)
    problems = []
    with (
        ProcessPoolExecutor(
            max_workers=max(1, min(jobs or os.cpu_count() or 1, len(work))),
            mp_context=get_context("spawn"),
        ) as pool,
        Progress(console=console, disable=not console.is_terminal, transient=True) as progress,
    ):
        bar = progress.add_task("Executing notebooks", total=len(work))
        futures = {
            pool.submit(_execute, notebook, place, dict(parameters)): notebook
            for notebook, parameters in work.items()
        }
        for future in as_completed(futures):
            try:
                problem = future.result()
            except BrokenExecutor:
                problem = (
                    "The system stopped a notebook, perhaps for want of memory; use fewer jobs."
                )
            problems += [problem] if problem else []
            progress.advance(bar)
            echo(f"{futures[future].stem} {'failed' if problem else 'executed'}")
    if problems:
        raise BookError("\n".join(sorted(set(problems))))


def _execute(notebook: Path, place: Place, parameters: dict[str, Any]) -> str | None:
    """Execute one notebook; what went wrong, or None."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    target = place.source / "notebooks" / notebook.name
    log = place.logs / f"{notebook.stem}.log"
    with log.open("w") as chatter:
        os.dup2(chatter.fileno(), 2)
    os.environ.update(_KERNEL_ENVIRONMENT, CARD_RESULTS=str(place.results))
    try:
        papermill.execute_notebook(
            notebook,
            target,
            parameters,
            kernel_name="python3",
            progress_bar=False,
            cwd=target.parent,
        )
    except PapermillExecutionError as error:
        where, report = f"code cell {error.exec_count}", "\n".join(error.traceback)
    except Exception:  # whatever it is, the other notebooks go on and the log has the traceback
        where, report = "the kernel", traceback.format_exc()
    else:
        _forget_run(target)
        lift_figures(target, place.results / "figures")
        return None
    report = _COLOUR.sub("", report)
    write(log, log.read_text(encoding="utf-8") + report)
    last = "\n".join(f"  {line}" for line in report.splitlines()[-6:])
    return f"{notebook.name} failed in {where}; the whole traceback is in {log}:\n{last}"


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


def render(place: Place) -> None:
    """Run Jupyter Book on the staged tree; any warning is an error."""
    program = "from jupyter_book.cli.main import main; main()"
    output = place.build / "sphinx"
    options = ["--path-output", str(output), "--nitpick", "--warningiserror", "--keep-going"]
    done = subprocess.run(
        [sys.executable, "-c", program, "build", str(place.source), *options],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )
    log = place.logs / "jupyter-book.log"
    write(log, _COLOUR.sub("", done.stdout + done.stderr).replace(f"{place.source}/", ""))
    if done.returncode:
        lines = log.read_text(encoding="utf-8").splitlines()
        problems = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-6:]
        raise BookError("\n  ".join([f"The pages were not rendered; see {log}:", *problems[:20]]))
    trim(output / "_build/html")
    shutil.copytree(place.results, output / "_build/html/results")
    link_figures(output / "_build/html")
    (output / "_build/html").rename(place.html)
    shutil.rmtree(output)
