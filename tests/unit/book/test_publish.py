"""`card.book.publish`: whose repository a book is, and what it can do without."""

import re
from pathlib import Path

import pytest

from card.book.publish import Repository, buttons, repository, trim

RUNNER = {
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "someone/card",
    "GITHUB_SHA": "0123abc",
}


@pytest.mark.parametrize(
    "remote",
    [
        "https://github.com/someone/card",
        "https://github.com/someone/card.git",
        "https://someone:secret@github.com/someone/card.git",
        "git@github.com:someone/card.git",
        "ssh://git@github.com/someone/card.git",
    ],
)
def test_a_clone_of_github_tells_its_public_address_and_nothing_else(remote: str) -> None:
    found = repository({}, remote, "main")
    assert found == Repository("https://github.com/someone/card", "main")


@pytest.mark.parametrize(
    "remote",
    [None, "", "/srv/git/card.git", "https://example.org/someone/card", "https://github.com/card"],
)
def test_no_address_is_made_up(remote: str | None) -> None:
    assert repository({}, remote, "main") is None
    assert buttons(None) == {}


def test_a_runner_knows_better_than_its_clone() -> None:
    found = repository(RUNNER, "https://github.com/fork/card", "main")
    assert found == Repository("https://github.com/someone/card", "0123abc")


def test_scripts_of_the_first_page_lose_what_no_machine_reads(tmp_path: Path) -> None:
    script = tmp_path / "_static/explorer-solver.js"
    script.parent.mkdir()
    script.write_text("/* The solver. */\n{\n  /** Twice. */\n  two = (x) => 2 * x; /* so */\n}\n")
    trim(tmp_path)
    assert script.read_text() == "/* The solver. */\n{\ntwo = (x) => 2 * x; /* so */\n}\n"


def test_a_page_loads_only_what_it_shows(tmp_path: Path) -> None:
    icons = '<script defer src="_static/scripts/fontawesome.js?digest=1"></script>'
    head = (
        f"<!-- So that users can add custom icons -->\n{icons}"
        '<script>window.MathJax = {"tex": {}}</script>'
        '<script defer="defer" src="_static/mathjax/startup.js?v=1"></script>'
        '<script src="_static/searchtools.js"></script><script src="searchindex.js"></script>'
        '<script defer="defer" src="_static/explorer-solver.js?v=1"></script>'
        '<script src="_static/theme.js"></script>'
    )
    (tmp_path / "plain.html").write_text(head + "<p>No equation.</p>")
    (tmp_path / "math.html").write_text(head + '<div class="math notranslate">x</div>')
    (tmp_path / "search.html").write_text(head + '<div class="explorer ex-small"></div>')
    for name in ("scripts/fontawesome.js", "scripts/theme.js.map", "scripts/theme.js"):
        file = tmp_path / "_static" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    trim(tmp_path)

    names = ("plain", "math", "search")
    plain, math, search = ((tmp_path / f"{name}.html").read_text() for name in names)
    assert plain == '<script src="_static/theme.js"></script><p>No equation.</p>'
    assert re.findall(r"(\w+)\.js", search) == ["searchtools", "searchindex", "solver", "theme"]
    assert "MathJax" in math
    assert "mathjax/startup.js" in math
    assert "fontawesome" not in math
    assert [path.name for path in tmp_path.rglob("*.js*")] == ["theme.js"]


def test_code_loses_the_marks_of_what_no_theme_colours(tmp_path: Path) -> None:
    keyword, name = '<span class="k">if</span>', '<span class="n">x</span>'
    code = f'{keyword}<span class="w"> </span>{name}<span class="p">:</span>'
    (tmp_path / "page.html").write_text(f"<pre>{code}</pre><p>{name}</p><pre>{name}</pre>")
    trim(tmp_path)
    assert (
        tmp_path / "page.html"
    ).read_text() == f"<pre>{keyword} x:</pre><p>{name}</p><pre>x</pre>"


def test_a_list_of_pages_that_stands_open_has_nothing_to_toggle(tmp_path: Path) -> None:
    icon = '<span class="toctree-toggle" role="presentation"><i class="fa-chevron-down"></i></span>'
    fold = (
        f'<a>Code</a><details open="open"><summary>{icon}</summary><ul><li>One</li></ul></details>'
    )
    cell = "<details><summary>Show code</summary><pre>1</pre></details>"
    (tmp_path / "page.html").write_text(fold + cell)
    trim(tmp_path)
    assert (tmp_path / "page.html").read_text() == "<a>Code</a><ul><li>One</li></ul>" + cell
