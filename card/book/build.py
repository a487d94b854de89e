"""Builds the book of a study: stages it, executes its notebooks, renders its pages.

One path serves the default book and a user's study.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from card.base.data_files import DATA
from card.base.errors import ScenarioError, needs
from card.base.functions import is_function
from card.base.llm_configs import is_llm_file, llm_title, said
from card.base.processes import STANDSTILL_S, StandstillError, python_child, run
from card.base.yaml_files import label, read_yaml
from card.book import pages, provenance
from card.book.chapters import Echo, chapters_of, execute, stage
from card.book.citation import bibtex
from card.book.command_pages import commands_page
from card.book.downloads import downloads_page, link_figures
from card.book.explorer_page import element
from card.book.explorer_panel import document
from card.book.indexes import indexes, pages_of, pictures
from card.book.markdown import to_json, write
from card.book.place import BookError, Place
from card.book.publish import buttons, repository_of, trim
from card.book.tables import extensions_table
from card.book.walkthrough import walkthrough
from card.costs import System, check_one_in_flight, load_scenario
from card.hardware.catalogue import is_file
from card.scenario import Scenario
from card.scenario.tables import is_table_file
from card.scenario.traces import is_trace_file
from card.studies.claims import applied
from card.studies.study_file import Study, load_study

ROOT = Path(__file__).resolve().parents[2]
_LIBRARIES = (
    *("filelock", "ipykernel", "ipywidgets", "jupyter_book", "matplotlib", "pandas", "papermill"),
    *("PIL", "sympy"),
)
"""What the build and its notebooks import of the `book` extra."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

QUOTED = ("nominal", "calibrated", "realistic", "realistic-8b", "measured-server")
"""Scenarios that the default book's chapters compute with; chapter 7 has one of its own."""


def asked_for(study: str | Path) -> Study:
    """A study that can be a book, or what `build_book` raises of one that cannot."""
    needs("book", "card book", *_LIBRARIES)
    asked = load_study(study)
    check_one_in_flight(System.of(asked.scenario), "a book")
    if not (ROOT / "_toc.yml").is_file():
        raise ScenarioError(
            "The book's pages are not installed; run this in a clone of the repository."
        )
    if asked.shipped and asked.scenario != load_scenario(asked.name):
        raise ScenarioError(
            f"{study} has the name of a shipped scenario but other values; rename it."
        )
    return asked


def build_book(
    study: str | Path = "nominal",
    *,
    commands: Any,
    quick: bool = False,
    jobs: int | None = None,
    echo: Echo = print,
) -> Path:
    """Build the book of a scenario or study; chapters that are as they were are not run again.

    Parameters
    ----------
    study
        Name of a shipped scenario or study, or path of a scenario or study file.
    commands
        The command `card`, a group of Click's, which a page of the book describes.
    quick
        Ask the notebooks for fewer Monte Carlo rounds: to look at a study, not to report it.
    jobs
        Notebooks executed at the same time; one more than there are processors if None.
    echo
        Receives a line per step.

    Returns
    -------
    Path
        First page of the book.

    Raises
    ------
    ScenarioError
        If the study, a notebook's parameters or the place is refused; nothing has run then.
    BookError
        If a notebook or the rendering fails. After a failed notebook the book is there, and says
        on that chapter's page what went wrong.
    """
    asked = asked_for(study)
    name, scenario = asked.name, asked.scenario
    place = Place.of_study(ROOT, asked)
    values, files = portable(scenario)
    called = name if asked.shipped else f"../{name}.yml"
    parameters = {
        "scenario": called,
        "seed": scenario.simulation.seed,
        "quick": quick,
    }
    default = name == "nominal"

    def prepare() -> None:
        shutil.copytree(DATA, place.source / "data")
        write(place.results / "card.bib", bibtex(read_yaml(ROOT / "CITATION.cff")))
        if not asked.shipped:
            write(place.source / f"{name}.yml", label(values))
        for file, content in files.items():
            (place.source / file).write_bytes(content)

    def conclude() -> Mapping[str, Any]:
        found_claims = place.results / "claims.json"
        computed = found_claims.is_file()  # or else the chapter that does has failed
        claims = json.loads(found_claims.read_text(encoding="utf-8")) if computed else []
        scenarios = {key: load_scenario(key) for key in QUOTED}
        own = applied(scenario) if computed and name not in ("nominal", "calibrated") else None
        scenarios.setdefault(name, scenario)
        generated = place.source / "_generated"
        write(generated / "claims.md", pages.claims_page(claims, own) if computed else "")
        beyond = place.results / "extensions.json"
        rows = json.loads(beyond.read_text(encoding="utf-8")) if beyond.is_file() else {}
        write(generated / "extensions.md", extensions_table(rows) if rows else "")
        small = document(called, scenario, whole=False)
        write(generated / "explorer.html", element(small, "small"))
        write(generated / "provenance.md", provenance.provenance_page(scenarios))
        write(generated / "commands.md", commands_page(commands))
        indexes(ROOT, place.source, claims)
        walkthrough(generated, place.results)
        write(place.results / "provenance.json", to_json(provenance.provenance(values, ROOT)))
        if own is not None:
            write(place.results / "study_claims.json", to_json(own))
        contents = read_yaml(ROOT / "_toc.yml")
        found = pictures(place.source, pages_of(contents))
        listed = downloads_page(place.offered, place.results, found)
        write(generated / "downloads.md", listed)
        if not default:
            pages.note_on_every_page(place.source, pages.study_note(asked))
        kept = applied(load_scenario("labels-kept"))
        return pages.settings(scenario, claims, kept, quick=quick, study=not default)

    words = ["card", "book", str(study), *(["--quick"] if quick else [])]
    words += [] if jobs is None else ["--jobs", str(jobs)]
    return make(
        place,
        parameters,
        prepare=prepare,
        conclude=conclude,
        made_of=contents_of(values, files, quick=quick),
        again=shlex.join(words),
        jobs=jobs,
        echo=echo,
    )


def contents_of(
    values: Mapping[str, Any], files: Mapping[str, bytes], *, quick: bool = False
) -> dict[str, Any]:
    """What the pages of a book follow from, to tell it from others: `portable`, and rounds."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return {"values": values, "files": digests, "quick": quick}


def portable(scenario: Scenario) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Values of a scenario with the files that it names, which are called after their content."""
    values = scenario.model_dump(mode="json")
    files: dict[str, bytes] = {}

    def carried(kind: str, content: bytes, suffix: str) -> str:
        name = f"{kind}-{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
        files[name] = content
        return name

    for part in (values["server"], *values["devices"]):
        if isinstance(part["hardware"], str) and is_file(part["hardware"]):
            file = Path(part["hardware"])
            part["hardware"] = carried("hardware", file.read_bytes(), file.suffix)
    for place, name in enumerate(values["link"]["trace"]):
        if is_trace_file(name):  # under its own name, which that of a state is
            files[Path(name).name] = Path(name).read_bytes()
            values["link"]["trace"][place] = Path(name).name
    table = scenario.privacy.leakage
    if table and is_table_file(table):
        values["privacy"]["leakage"] = carried("leakage", Path(table).read_bytes(), ".json")
    table = scenario.wire.loss_penalty
    if table and is_table_file(table):
        values["wire"]["loss_penalty"] = carried("penalty", Path(table).read_bytes(), ".json")
    for place, policy in enumerate(values["policies"]):
        if is_function(policy):
            source, _, function = policy.rpartition(":")
            name = carried("policy", Path(source).read_bytes(), ".py")
            values["policies"][place] = f"{name}:{function}"
    if is_llm_file(scenario.llm):
        title = llm_title(scenario.llm, scenario.llm_config)
        content = json.dumps({**said(scenario.llm_config), "_card": {"title": title}}).encode()
        values["llm"] = carried("llm", content, ".json")
    return values, files


def make(
    place: Place,
    parameters: Mapping[str, Any],
    *,
    prepare: Callable[[], object] = lambda: None,
    conclude: Callable[[], Mapping[str, Any]] = dict,
    made_of: Any = None,
    again: str = "card book",
    jobs: int | None = None,
    echo: Echo = print,
    limit_s: float = STANDSTILL_S,
) -> Path:
    """Build any book of this layout; `conclude` runs on the results and returns configuration.

    Chapters whose content, parameters, package, data and `made_of` are as they were when they were
    last executed are taken from then. One that makes no progress for `limit_s` [s] is stopped. A
    chapter that fails says so on its page, and the others are kept; `again` is the command that the
    error then names.
    """
    chapters = chapters_of(place, parameters, made_of)
    with _plain_folder() as folder, _alone(place):
        _clear(place)
        shutil.copytree(place.root / "book", place.source)
        for made in (place.source / "notebooks", place.offered, place.results, place.logs):
            made.mkdir(parents=True)
        prepare()
        failures = execute(place, chapters, jobs=jobs, echo=echo, limit_s=limit_s)
        stage(place, chapters, failures)
        added = buttons(repository_of(place.root, os.environ)), conclude()
        shutil.copy(place.root / "_toc.yml", place.source)
        config = read_yaml(place.root / "_config.yml")
        for key, more in (item for settings in added for item in settings.items()):
            config[key] = {**config.get(key, {}), **more} if isinstance(more, Mapping) else more
        if failures:
            sphinx = config.setdefault("sphinx", {})
            sphinx["config"] = {**sphinx.get("config", {}), pages.CHAPTERS_FAILED: True}
        # JSON is YAML of any version; Jupyter Book reads 1.1, which takes some words for numbers
        write(place.source / "_config.yml", to_json(config))
        shutil.copytree(place.results, place.source / "results")
        if failures:
            numbers = config.get("parse", {}).get("myst_substitutions", {})
            pages.tell_missing(place.source, numbers, sorted(failures))
        echo("Rendering the pages")
        render(place, folder, strict=not failures)
        write(place.made_of, to_json(made_of))
    index = place.html / "index.html"
    if failures:
        lines = [
            f"{name}.ipynb failed in {failure.where} ({failure.error}); "
            f"more is in {place.logs / name}.log"
            for name, failure in sorted(failures.items())
        ]
        kept = f"The other chapters are kept, in {index}; repeat those that failed with: {again}"
        raise BookError("\n".join([*lines, kept]))
    return index


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """Context in which no other process builds the same book."""
    from filelock import FileLock, Timeout  # part of the `book` extra

    place.build.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(place.build / "lock", timeout=0):
            yield
    except Timeout:
        raise ScenarioError(
            f"Another process builds a book in {place.build}; wait for it, or rename the study."
        ) from None


def _clear(place: Place) -> None:
    """Remove what a build before has left, but for its chapters and, until new ones are, pages."""
    for path in (place.source, place.offered, place.results, place.logs, place.build / "scratch"):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _plain_folder() -> Iterator[Path]:
    """Temporary folder whose path is no pattern: Jupyter Book and Sphinx read paths as such."""
    with tempfile.TemporaryDirectory(prefix="card-book-") as name:
        if glob.escape(name) != name or not re.fullmatch(r"[\w./+-]+", name):
            raise ScenarioError(
                f"TMPDIR = {tempfile.gettempdir()!r}: use a folder of letters and digits."
            )
        yield Path(name)


def render(place: Place, folder: Path, *, strict: bool = True) -> None:
    """Run Jupyter Book on a copy of the staged tree; if strict, any warning is an error."""
    source, output = folder / "source", folder / "sphinx"
    shutil.copytree(place.source, source)
    options = ["--path-output", str(output), "--keep-going"]
    options += ["--nitpick", "--warningiserror"] if strict else []
    # Sphinx keeps all it reads until it ends: to look for garbage there takes a third of the time;
    # and it looks for the search page's script where it runs
    program = (
        "import gc, os, sys; from card.book.executor import spare_grammar; spare_grammar(); "
        "gc.disable(); from jupyter_book.cli.main import main; "
        "os.chdir(sys.argv[2]); main()"
    )
    command = python_child(program, "build", str(source), *options)
    try:
        done = run(command, environment={**os.environ, "NO_COLOR": "1"})
    except StandstillError as error:
        raise BookError(f"The pages were not rendered: {error}.") from None
    log = place.logs / "jupyter-book.log"
    write(log, _COLOUR.sub("", done.stdout + done.stderr).replace(f"{source}/", ""))
    if done.returncode:
        lines = log.read_text(encoding="utf-8").splitlines()
        problems = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-6:]
        raise BookError("\n  ".join([f"The pages were not rendered; see {log}:", *problems[:20]]))
    trim(output / "_build/html")
    shutil.copytree(place.results, output / "_build/html/results")
    link_figures(output / "_build/html")
    shutil.copytree(place.offered, output / "_build/html/_sources/notebooks", dirs_exist_ok=True)
    fresh = place.build / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.move(output / "_build/html", fresh)
    for printed in (place.pdf, place.report):
        printed.unlink(missing_ok=True)
    place.made_of.unlink(missing_ok=True)
    shutil.rmtree(place.html, ignore_errors=True)
    fresh.rename(place.html)
