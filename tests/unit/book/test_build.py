"""`card.book.build`: the pipeline, on a book of two tiny notebooks and one page."""

import filecmp
import json
import math
import re
import shutil
import tempfile
from html import unescape
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from filelock import FileLock
from machines import study
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from own_llms import own_llm_study
from pypdf import PdfReader
from typer.testing import CliRunner

import card
from card.base.errors import ScenarioError
from card.base.llm_configs import llm_title, public_config
from card.book import pages, provenance
from card.book.build import ROOT, build_book, make, portable
from card.book.chapters import Chapter, chapters_of, sealed
from card.book.executor import naming
from card.book.explorer_page import element
from card.book.explorer_panel import document
from card.book.markdown import to_json, write
from card.book.notebook import save_figure, save_result
from card.book.one_document import one_document
from card.book.pdf import _run, chromium, to_pdf
from card.book.place import BookError, Place
from card.cli import app
from card.studies.export import read_results, with_digest
from card.studies.study_file import load_study

PARAMETERS = 'scenario: str = "nominal"\nseed: int = 0\nquick: bool = False'
GIVEN = {"scenario": "nominal", "seed": 7, "quick": False}
SAVE = """
import os
from card.book.explorer_page import element
from card.book.explorer_panel import document
from card.book.markdown import to_json, write
from card.book.notebook import save_result
save_result("first", {"seed": seed, "threads": os.environ["OMP_NUM_THREADS"]})
"""


def notebook(path: Path, *sources: str, parameters: str = PARAMETERS) -> None:
    cells = [new_markdown_cell(f"# {path.stem}")]
    cells += [new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    for source in map(str.strip, sources):
        tags = ["prose"] if source.startswith("prose(") else []
        cells.append(new_code_cell(source, metadata={"tags": tags}))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return tiny(tmp_path)


def tiny(tmp_path: Path) -> Place:
    """A book whose first notebook saves its seed; the page quotes a computed number."""
    notebook(tmp_path / "notebooks/first.ipynb", SAVE, "seed + 1")
    notebook(tmp_path / "notebooks/second.ipynb", "print('quick' if quick else 'full')")
    (tmp_path / "book").mkdir(exist_ok=True)
    (tmp_path / "book/index.md").write_text("# Tiny\n\nThe number is {{ number }}.\n")
    chapters = [{"file": "notebooks/first"}, {"file": "notebooks/second"}]
    toc = {"format": "jb-book", "root": "index", "chapters": chapters}
    config = {
        "title": "Tiny",
        "only_build_toc_files": True,
        "execute": {"execute_notebooks": "off"},
        "parse": {"myst_enable_extensions": ["substitution"]},
    }
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc))
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(config))
    return Place.of(tmp_path, "tiny")


REPOSITORY = {
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "someone/card",
    "GITHUB_SHA": "0123abc",
}


def build(place: Place, parameters: dict[str, object] = GIVEN, **options: object) -> Path:
    def conclude() -> dict[str, dict[str, object]]:
        saved = json.loads((place.results / "first.json").read_text())
        return {"parse": {"myst_substitutions": {"number": saved["seed"] * 6}}}

    with pytest.MonkeyPatch.context() as patch:
        for name, value in REPOSITORY.items():
            patch.setenv(name, value)
        return make(place, parameters, conclude=conclude, **options)  # type: ignore[arg-type]


def differing(left: Path, right: Path) -> list[str]:
    names = {path.relative_to(root) for root in (left, right) for path in root.rglob("*.*")}
    files = sorted(str(name) for name in names if not (left / name).is_dir())
    _, mismatch, missing = filecmp.cmpfiles(left, right, files, shallow=False)
    return mismatch + missing


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A book that is only looked at."""
    place, lines = tiny(tmp_path_factory.mktemp("built")), []
    assert build(place, echo=lines.append) == place.root / "_build/tiny/html/index.html"
    assert {"first executed", "second executed", "Rendering the pages"} == set(lines)
    return place


@pytest.mark.slow
def test_a_book_is_executed_and_rendered(built: Place) -> None:
    assert "The number is 42." in (built.html / "index.html").read_text()
    assert "full" in (built.html / "notebooks/second.html").read_text()
    saved = json.loads((built.html / "results/first.json").read_text())
    assert saved == {"seed": 7, "threads": "1"}

    executed = (built.source / "notebooks/first.ipynb").read_text()
    assert "seed = 7" in executed, "a changed parameter is injected"
    assert 'scenario = "nominal"' not in executed, "an unchanged one is not"
    assert str(built.root) not in executed, "no machine path in what readers download"
    assert "papermill" not in json.loads(executed)["metadata"]


@pytest.mark.slow
def test_the_same_book_elsewhere_is_the_same_to_the_last_byte(built: Place, place: Place) -> None:
    build(place, jobs=1)
    assert differing(built.html, place.html) == []


@pytest.mark.slow
def test_a_chapter_of_a_known_repository_opens_elsewhere_at_the_same_commit(built: Place) -> None:
    for name in ("first", "second"):
        page = (built.html / f"notebooks/{name}.html").read_text()
        file = f"notebooks/{name}.ipynb"
        colab = f"https://colab.research.google.com/github/someone/card/blob/0123abc/{file}"
        binder = f"https://mybinder.org/v2/gh/someone/card/0123abc?urlpath=lab/tree/{file}"
        assert f'href="{colab}"' in page
        assert f'href="{binder}"' in page
        assert 'href="https://github.com/someone/card"' in page
        assert (built.root / file).is_file(), "what the buttons open"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {**GIVEN, "rounds": 3},
            "first.ipynb does not declare parameter 'rounds'; it has scenario",
        ),
        (
            {**GIVEN, "seed": "7"},
            "first.ipynb: parameter seed = '7' must be of type int, as its default 0 is",
        ),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_runs(
    place: Place, parameters: dict[str, object], message: str
) -> None:
    with pytest.raises(ScenarioError, match=message):
        build(place, parameters)
    assert not place.build.exists()


@pytest.mark.parametrize(
    ("replaced", "line", "said"),
    [
        (
            "quick: bool = False",
            "quick: bool = False\nassert quick is None",
            "assert quick is None",
        ),
        ("seed: int = 0", "seed: int = 0\nprint(seed)", "print(seed)"),
        ("seed: int = 0", "seed: int = 0\nseed += 1", "seed += 1"),
        ("seed: int = 0", "seed: int = int(1e3)", "seed: int = int(1e3)"),
        ("seed: int = 0", "seed: int = 2**4", "seed: int = 2**4"),
        ("seed: int = 0", "N = 3; seed: int = N", "seed: int = N"),
        ("seed: int = 0", "seed: int", "seed: int"),
        ("seed: int = 0", "seed = other = 0", "seed = other = 0"),
        ("seed: int = 0", "seed: set = {[]}", "seed: set = {[]}"),
        ('"nominal"', 'os.environ.get("S")', 'scenario: str = os.environ.get("S")'),
        ("quick: bool = False", "%matplotlib inline", "%matplotlib inline"),
    ],
)
def test_a_parameters_cell_with_anything_but_literals_is_refused_before_anything_runs(
    place: Place, replaced: str, line: str, said: str
) -> None:
    notebook(
        place.root / "notebooks/first.ipynb", SAVE, parameters=PARAMETERS.replace(replaced, line)
    )
    with pytest.raises(ScenarioError) as refusal:
        build(place)
    assert str(refusal.value) == (
        f"first.ipynb: `{said}` in the parameters cell does not give a parameter a literal, as "
        "`seed: int = 0` does; mend it, or move it to a later cell."
    )
    assert not place.build.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  seed: int = 0", "`  seed: int = 0` in the parameters cell has a wrong indentation (un"),
        ("seed: int = 0\n\tb = 1", "`\\tb = 1` in the parameters cell has a wrong indentation (un"),
        (
            "if True:\nseed = 1",
            "`seed = 1` in the parameters cell has a wrong indentation (expected",
        ),
        (
            "seed: int = 0\nquick =",
            "`quick =` in the parameters cell is not Python (invalid syntax); m",
        ),
        ("seed: str = 'a", "`seed: str = 'a` in the parameters cell is not Python (unterminated s"),
        (
            "seed: list = [1",
            "`seed: list = [1` in the parameters cell is not Python ('[' was never",
        ),
        ("seed: str = '\0'", "the parameters cell holds '\\x00', which Python does not read; give"),
        (
            "seed: str = '\ud800'",
            "the parameters cell holds '\\ud800', which Python does not read;",
        ),
        ("seed: int = " + "-" * 3000 + "1", "the parameters cell is nested deeper than Python"),
        ("seed: list = " + "[" * 3000, "the parameters cell is nested deeper than Python"),
        ("seed: int = " + "1 + " * 3000 + "1", "the parameters cell is nested deeper than Python"),
    ],
)
def test_a_parameters_cell_that_python_does_not_read_is_refused_with_the_reason(
    place: Place, text: str, said: str
) -> None:
    path = place.root / "notebooks/first.ipynb"
    content = json.loads(path.read_text())
    content["cells"][1]["source"] = text
    path.write_text(json.dumps(content))
    with pytest.raises(ScenarioError) as refusal:
        build(place)
    assert str(refusal.value).startswith(f"first.ipynb: {said}")
    assert "\n" not in str(refusal.value)
    assert "later cell" not in str(refusal.value)
    assert not place.build.exists()


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ("str = 0", "str"),
        ("bool = 0", "bool"),
        ("int = True", "int"),
        ("str | None = 0", "str | None"),
    ],
)
def test_a_default_that_is_not_of_its_type_is_refused(place: Place, wrong: str, kind: str) -> None:
    text = PARAMETERS.replace("int = 0", wrong)
    notebook(place.root / "notebooks/first.ipynb", SAVE, parameters=text)
    with pytest.raises(ScenarioError) as refusal:
        build(place)
    assert str(refusal.value) == (
        f"first.ipynb: parameter seed = {wrong.split()[-1]} must be of type {kind}, as it is "
        "annotated; change either."
    )


def test_a_default_may_be_of_any_type_that_its_annotation_allows(place: Place) -> None:
    more = "a: float = 0\nb: int | None = None\nc: None | str = 'c'\nd: list[int] = ['d']"
    text = f"{PARAMETERS}\n{more}"
    notebook(place.root / "notebooks/first.ipynb", SAVE, parameters=text)
    assert len(chapters_of(place, GIVEN, None)) == 2


def test_a_notebook_without_parameters_is_told_how_to_declare_them(place: Place) -> None:
    path = place.root / "notebooks/first.ipynb"
    path.write_text(path.read_text().replace('"parameters"', '"others"'))
    with pytest.raises(ScenarioError) as refusal:
        build(place)
    assert str(refusal.value) == (
        "first.ipynb does not declare parameter 'scenario'; it has none. Give it a default in a "
        "code cell with the tag `parameters`, as `seed: int = 0` does."
    )


def test_a_copy_of_the_parameters_cell_is_refused(place: Place) -> None:
    path = place.root / "notebooks/first.ipynb"
    content = json.loads(path.read_text())
    content["cells"].insert(3, {**content["cells"][1], "id": "copy"})
    path.write_text(json.dumps(content))
    with pytest.raises(ScenarioError, match="several code cells have the tag"):
        build(place)
    assert not place.build.exists()


@pytest.mark.parametrize("kind", ["markdown", "raw"])
def test_a_cell_of_text_is_not_taken_for_the_parameters(place: Place, kind: str) -> None:
    path = place.root / "notebooks/first.ipynb"
    content = json.loads(path.read_text())
    told = {"cell_type": kind, "id": "told", "metadata": {"tags": ["parameters"]}, "source": "# P"}
    content["cells"].insert(2, told)
    path.write_text(json.dumps(content))
    assert [one.parameters for one in chapters_of(place, GIVEN, None)] == [{"seed": 7}] * 2
    content["cells"][1:3] = reversed(content["cells"][1:3])
    path.write_text(json.dumps(content))
    with pytest.raises(
        ScenarioError, match=f"first.ipynb: a {kind} cell has the tag `parameters`; le"
    ):
        build(place)
    assert not place.build.exists()


def test_parameters_may_go_without_types_and_over_lines(place: Place) -> None:
    text = 'scenario = (  # of "card scenarios"\n    "nominal"\n)\nseed = -1\nquick = False  # =\n'
    notebook(place.root / "notebooks/first.ipynb", SAVE, parameters=text)
    first, second = chapters_of(place, {**GIVEN, "seed": -1}, None)
    assert (first.parameters, second.parameters) == ({}, {"seed": -1})


@pytest.mark.parametrize("content", ["{}", "no JSON", None])
def test_what_is_refused_before_any_work_ends_the_command_with_2(
    monkeypatch: pytest.MonkeyPatch, place: Place, content: str | None
) -> None:
    monkeypatch.setattr("card.book.build.ROOT", place.root)
    path = place.root / "notebooks/first.ipynb"
    path.write_text(content or path.read_text().replace("seed: int = 0", "seed: int = int(0)"))
    result = CliRunner().invoke(app, ["book"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(r"Error: .*first\.ipynb.*mend it.*\n", result.stderr)
    assert not (place.root / "_build").exists()


@pytest.mark.slow
def test_a_failed_chapter_says_so_and_only_it_is_run_again(place: Place) -> None:
    notebook(
        place.root / "notebooks/second.ipynb",
        "1 + 1",
        "raise KeyError('missing <b>key', '\\x1b[2J')",
    )
    with pytest.raises(BookError) as failure:
        build(place, again="card book tiny")
    failed, rest = str(failure.value).splitlines()
    assert "second.ipynb failed in code cell 3" in failed, "the injected parameters do not count"
    assert "KeyError: ('missing <b>key'" in failed
    assert rest.endswith("repeat those that failed with: card book tiny")
    assert "Traceback" in (place.logs / "second.log").read_text()
    page = (place.html / "notebooks/second.html").read_text()
    assert '<div class="danger admonition">' in page
    assert '<p class="admonition-title">This chapter failed</p>' in page
    assert "KeyError: ('missing &lt;b&gt;key'" in page.replace("&#39;", "'")
    assert "\x1b" not in page
    assert "The number is 42." in (place.html / "index.html").read_text()

    notebook(place.root / "notebooks/second.ipynb", "print('mended')")
    lines: list[str] = []
    build(place, echo=lines.append)
    assert lines == ["first is as it was", "second executed", "Rendering the pages"]
    assert "mended" in (place.html / "notebooks/second.html").read_text()
    assert "The number is 42." in (place.html / "index.html").read_text()


@pytest.mark.slow
def test_a_page_says_that_what_a_failed_chapter_computes_is_missing(place: Place) -> None:
    shutil.copy(ROOT / "_config.yml", place.root)
    shutil.copytree(ROOT / "book/_assets", place.root / "book/_assets")
    shutil.copy(ROOT / "book/references.bib", place.root / "book")
    figure = "```{figure} results/second.svg\n:alt: Two marks.\n\nA caption.\n```\n"
    included = "```{include} _generated/claims.md\n```\n\nBy {eq}`eq-second`.\n"
    with (place.root / "book/index.md").open("a") as page:
        page.write(f"Another is {{{{ other }}}}.\n\n{figure}\n{included}")
    notebook(place.root / "notebooks/second.ipynb", "1 / 0")

    def conclude() -> dict[str, object]:
        write(place.source / "_generated/claims.md", "")
        return {"parse": {"myst_substitutions": {"number": 42}}}

    with pytest.raises(BookError, match=r"second\.ipynb failed in code cell 2 \(ZeroDivision"):
        make(place, GIVEN, conclude=conclude)
    shown = (place.html / "index.html").read_text()
    assert '<p class="admonition-title">Parts of this page are missing</p>' in shown
    assert 'href="notebooks/second.html"' in shown
    assert "The number is 42." in shown
    assert "Another is –." in shown
    assert "eq-second" not in shown
    assert "(missing)</abbr>" in shown
    assert (place.html / "_images/second.svg").is_file()


@pytest.mark.slow
def test_a_kernel_that_the_system_kills_costs_its_chapter_alone(place: Place) -> None:
    notebook(place.root / "notebooks/second.ipynb", "import os\nos.kill(os.getpid(), 9)")
    with pytest.raises(BookError) as failure:
        build(place)
    failed, _ = str(failure.value).splitlines()
    assert "second.ipynb failed in code cell 2 (SIGKILL ended the kernel." in failed
    assert "This chapter failed" in (place.html / "notebooks/second.html").read_text()
    notebook(place.root / "notebooks/second.ipynb", "print('mended')")
    lines: list[str] = []
    build(place, echo=lines.append)
    assert lines == ["first is as it was", "second executed", "Rendering the pages"]


@pytest.mark.slow
def test_a_chapter_that_stands_still_is_stopped_and_says_so(place: Place) -> None:
    notebook(place.root / "notebooks/second.ipynb", "import time; time.sleep(3600)")
    with pytest.raises(BookError, match=r"failed in code cell 2 .* made no progress for 5 s"):
        build(place, limit_s=5)
    assert (place.chapters / "first/key").is_file()


STOPPING = """
import os, psutil, signal
os.kill(psutil.Process().ppid(), signal.{signal})
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"),
    [("SIGSTOP", "made no progress for 5 s"), ("SIGKILL", "SIGKILL ended the process")],
)
def test_a_worker_that_is_stopped_costs_its_own_chapter_alone(
    place: Place, name: str, said: str
) -> None:
    notebook(place.root / "notebooks/second.ipynb", STOPPING.format(signal=name))
    with pytest.raises(BookError, match=rf"second.ipynb failed in code cell 2 .*{said}"):
        build(place, limit_s=5)
    assert (place.chapters / "first/key").is_file()
    assert "This chapter failed" in (place.html / "notebooks/second.html").read_text()


def test_a_chapter_is_known_by_content_alone(place: Place, tmp_path: Path) -> None:
    def keys(place: Place, seed: int = 7, made_of: object = None) -> list[str]:
        return [one.key for one in chapters_of(place, {**GIVEN, "seed": seed}, made_of)]

    before = keys(place)
    (place.root / "notebooks/first.ipynb").touch()
    moved = tmp_path / "elsewhere"
    shutil.copytree(place.root / "notebooks", moved / "notebooks")
    assert keys(place) == before == keys(Place.of(moved, "other"))
    assert keys(place, seed=8) != before
    assert keys(place, made_of={"title": "another"}) != before
    notebook(place.root / "notebooks/second.ipynb", "print('other')")
    assert [a == b for a, b in zip(keys(place), before, strict=True)] == [True, False]


def test_a_kept_chapter_counts_as_long_as_all_that_it_left_is_there(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    left = tmp_path / "results/first.json"
    left.write_text("{}")
    (tmp_path / "key").write_text(sealed("abc", tmp_path))
    chapter = Chapter(tmp_path / "first.ipynb", {}, tmp_path, "abc")
    assert chapter.kept
    assert not chapter._replace(key="abd").kept
    left.write_text("{")
    assert not chapter.kept
    left.unlink()
    assert not chapter.kept


BARE = {"cells": [{**new_code_cell("1"), "metadata": {"tags": ["parameters"]}}]}
NO_KERNEL = {**BARE, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}


@pytest.mark.parametrize(
    "content",
    ["<<<<<<<", "[]", '{"cells": 3}', "", json.dumps(BARE), json.dumps(NO_KERNEL)],
    ids=["conflict", "list", "no list of cells", "empty", "cells alone", "no kernel"],
)
def test_what_is_no_notebook_is_refused_before_anything_runs(place: Place, content: str) -> None:
    (place.root / "notebooks/first.ipynb").write_text(content)
    with pytest.raises(ScenarioError, match=r"first\.ipynb is no notebook.*; mend it\."):
        build(place)
    assert not place.build.exists()


@pytest.mark.parametrize(
    ("name", "report", "said"),
    [
        ("ValueError", "Traceback\nValueError: first\nand a second line", "ValueError: first"),
        ("Stop", "Stop   Traceback\nStop: one\ntwo", "Stop: one"),
        (
            "CellExecutionError",
            "UsageError: no such magic\nTry another.",
            "UsageError: no such magic",
        ),
        ("OddError", "a.b.OddError\n\n", "a.b.OddError"),
        ("OddError", "nothing known", "nothing known"),
        ("", "OddError\nTraceback\nThe remedy.", "The remedy."),
    ],
)
def test_a_failed_cell_is_told_by_the_name_of_its_error(name: str, report: str, said: str) -> None:
    assert naming(report, name) == said


NAME = "[x]{y} *?#%&;'\"é\n-"


@pytest.mark.slow
def test_a_folder_may_have_any_name(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("any") / NAME / ("l" * 200)
    made = tiny(root)
    assert "The number is 42." in build(made).read_text()
    page = made.build / "print me.html"
    page.write_text("<p>Printed.</p>")
    if shutil.which("chromium"):
        to_pdf(page, made.build / "card.pdf", chromium())
        assert "Printed." in PdfReader(made.build / "card.pdf").pages[0].extract_text()


def test_a_temporary_folder_that_is_a_pattern_is_refused_before_work(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "[x]").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "[x]"))
    with pytest.raises(ScenarioError, match=r"TMPDIR = .*\[x\]"):
        build(place)
    assert not place.build.exists()


@pytest.mark.slow
def test_a_warning_of_a_page_is_an_error_that_names_the_line(place: Place) -> None:
    place.html.mkdir(parents=True)
    (place.html / "index.html").write_text("the book of before")
    place.pdf.write_text("its print")
    shutil.rmtree(place.root / "notebooks")
    (place.root / "_toc.yml").write_text("{format: jb-book, root: index}")
    (place.root / "book/index.md").write_text("# Tiny\n\nSee {ref}`nowhere`.\n")
    with pytest.raises(BookError, match=r"index\.md:3: WARNING: undefined label: 'nowhere'"):
        make(place, GIVEN)
    assert (place.html / "index.html").read_text() == "the book of before"
    assert place.pdf.read_text() == "its print"


def test_a_book_that_another_process_builds_is_left_alone(place: Place) -> None:
    place.build.mkdir(parents=True)
    with (
        FileLock(place.build / "lock"),
        pytest.raises(ScenarioError, match=r"Another process builds a book in .*; wait for it"),
    ):
        build(place)
    assert not place.chapters.exists()


_OWN = "document['documentElement']['dataset']['owned']=1"
NAMED = (
    f'''</script><script>{_OWN}</script><img/src=x/onerror="{_OWN}">{{doc}}`x`{{{{C1}}}}$x^2$|*c*'''
)
TITLED = f"</title>{NAMED} [a](javascript:alert(1)) {{raw}}`html` \\(y\\) 'q' &\n# heading"


@pytest.mark.slow
def test_a_hostile_study_is_shown_as_it_stands_and_runs_nothing(tmp_path: Path) -> None:
    place = tiny(tmp_path)
    shutil.copy(ROOT / "_config.yml", tmp_path)
    shutil.copytree(ROOT / "book/_assets", tmp_path / "book/_assets")
    shutil.copy(ROOT / "book/references.bib", tmp_path / "book")
    title = "# Tiny\n\nScenario: {{ title }}. {{ C1 }}.\n\n"
    included = "```{include} _generated/provenance.md\n```\n"
    (tmp_path / "book/index.md").write_text(title + included)
    origin = {"kind": "assumed", "source": TITLED, "note": TITLED, "url": "javascript:alert(1)"}
    device = {"name": NAMED, "hardware": "jetson-agx-orin-64gb", "utilisation": 1.0}
    study = {
        "base": "nominal",
        "title": TITLED,
        "devices": [{**device, "distance_m": 100}],
        "channel_states": {NAMED: {"path_loss_exponent": 3.0}},
        "sources": {"link.bandwidth_hz": origin},
    }
    (tmp_path / "a `b` {{ c }} <d>.yml").write_text(json.dumps(study))
    asked = load_study(tmp_path / "a `b` {{ c }} <d>.yml")
    (tmp_path / "panel.html").write_text(element(document("x", asked.scenario)))
    drawn = "from card.figures.style import use_style\nimport matplotlib.pyplot as p\n"
    drawn += f"use_style()\nfigure, axes = p.subplots()\naxes.set(title={NAMED!r}, xscale='log')"
    drawn += "\nfrom card.book.notebook import prose, quote\nfigure"
    said = "prose('Of *{{title}}*, and {{nobody}}.')"
    quoted = f"quote({{'title': {TITLED!r}}})"
    shown = f"from IPython.display import HTML\nHTML(open({str(tmp_path / 'panel.html')!r}).read())"
    notebook(tmp_path / "notebooks/first.ipynb", drawn, said, quoted)
    notebook(tmp_path / "notebooks/second.ipynb", shown)
    claim = {"id": "C1", "published": 0.7, "nominal": 0.6, "realistic": 0.1}
    claim |= {"intervals": {"nominal": (0.59, 0.61), "realistic": (0.09, 0.11)}}

    def conclude() -> dict[str, object]:
        page = provenance.provenance_page({asked.name: asked.scenario})
        write(place.source / "_generated/provenance.md", page)
        pages.note_on_every_page(place.source, pages.study_note(asked))
        record = provenance.provenance(asked.scenario.model_dump(mode="json"), ROOT)
        write(place.results / "provenance.json", to_json(record))
        return pages.settings(asked.scenario, [claim], [], quick=False, study=True)

    make(place, GIVEN, conclude=conclude)  # any warning is an error
    printed = place.build / "print.html"
    write(printed, one_document(place))
    for page in (*place.html.rglob("*.html"), printed):
        assert f"<script>{_OWN}" not in page.read_text(), page
        assert 'javascript:alert(1)"' not in page.read_text(), page
        if shutil.which("chromium"):
            after = _run(chromium(), "--virtual-time-budget=3000", "--dump-dom", page.as_uri())
            assert "data-owned" not in after.partition("<body")[0], page
    assert " ".join(TITLED.split()) in unescape((place.html / "index.html").read_text())
    read = (place.html / "notebooks/first.html").read_text()
    shown = unescape(re.sub("</?em>", "", read))
    assert f"Of {' '.join(TITLED.split())}, and …." in shown


def test_a_study_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="nominal"):
        build_book("nominel", commands=None)
    impostor = tmp_path / "nominal.yml"
    impostor.write_text("base: nominal\nobjective: {delay_weight: 0.1}\n")
    with pytest.raises(ScenarioError, match="rename it"):
        build_book(impostor, commands=None)
    overlapping = tmp_path / "overlapping.yml"
    training = "{batch_size: 2, accumulation: 2, schedule: pipelined}"
    overlapping.write_text(f"base: nominal\ntraining: {training}\n")
    with pytest.raises(ScenarioError) as refusal:
        build_book(overlapping, commands=None)
    assert str(refusal.value) == (
        "training.schedule = 'pipelined' is not allowed for a book, where one thing happens after "
        "the other; give alternate."
    )


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CARD_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


TABLE = pd.DataFrame({"cut": [0, 16], "delay_s": [0.1, 1 / 3]})
DATASET = xr.Dataset({"delay_s": ("cut", [0.1, 1 / 3], {"units": "s"})}, {"cut": [0, 16]})


def test_results_are_saved_by_kind_without_loss(results: Path) -> None:
    save_result("plain", {"b": np.float64(1 / 3), "a": np.arange(2), "c": None})
    save_result("table", TABLE)
    save_result("indexed", TABLE.set_index("cut")["delay_s"])
    save_result("dataset", DATASET)

    text = (results / "plain.json").read_text()
    assert json.loads(text) == {"a": [0, 1], "b": 1 / 3, "c": None}
    assert text.index('"a"') < text.index('"b"')
    pd.testing.assert_frame_equal(pd.read_csv(results / "table.csv"), TABLE)
    assert (results / "indexed.csv").read_text().startswith("cut,delay_s\n0,0.1\n")
    with xr.open_dataset(results / "dataset.nc", engine="scipy") as loaded:
        xr.testing.assert_identical(loaded.load(), with_digest(DATASET))


def test_results_of_a_chapter_can_be_exported(results: Path) -> None:
    rounds = card.simulate(card.load_scenario("nominal"), ["card", "device_only"], rounds=3)
    save_result("comparison", rounds.mean("round", keep_attrs=True))
    save_result("rounds", rounds)
    for name in ("comparison", "rounds"):
        with read_results(results / f"{name}.nc") as loaded:
            assert loaded.policy.values.tolist() == ["card", "device_only"]


def test_equal_results_give_equal_bytes(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("agg")
    for folder in ("one", "two"):
        monkeypatch.setenv("CARD_RESULTS", str(results / folder))
        save_result("plain", {"x": [0.1, 0.2]})
        save_result("table", TABLE)
        save_result("dataset", DATASET)
        figure = Figure()
        figure.subplots().fill_between([0, 1], [1, 2])
        save_figure("picture", figure)
    assert differing(results / "one", results / "two") == []
    assert "<dc:date>" not in (results / "one/picture.svg").read_text()


def test_what_is_not_known_is_null_in_json(results: Path) -> None:
    unknown = [math.nan, np.array([math.nan, 1.0]), (np.float64("nan"), 2)]
    save_result("plain", {"joules": unknown})
    found = json.loads((results / "plain.json").read_text())
    assert found == {"joules": [None, [None, 1.0], [None, 2]]}


def test_a_result_that_json_cannot_hold_is_refused(results: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_result("plain", {"delay_s": float("inf")})
    with pytest.raises(TypeError, match="give plain values"):
        save_result("plain", {"when": object()})


def test_staged_scenario_names_its_files_by_content(tmp_path):
    (here, files), (there, _) = (portable(card.load_scenario(study(tmp_path / n))) for n in "ab")
    assert here == there
    assert list(files) == [here["devices"][0]["hardware"]]
    assert list(files.values()) == [(tmp_path / "a/mine.json").read_bytes()]
    changed, _ = portable(card.load_scenario(study(tmp_path / "a", slower=2.0)))
    assert changed != here


def test_staged_scenario_has_its_own_llm_with_it(tmp_path):
    (here, files), (there, _) = (
        portable(card.load_scenario(own_llm_study(tmp_path / n))) for n in "ab"
    )
    assert here == there
    (name,) = files
    assert here["llm"] == name
    (tmp_path / name).write_bytes(files[name])
    assert llm_title(name, public_config(str(tmp_path / name))) == "mine"
    assert (
        card.load_scenario("nominal", llm=str(tmp_path / name)).content["llm"]
        == (card.load_scenario("nominal").content["llm"])
    )
