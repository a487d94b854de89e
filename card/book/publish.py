"""What a book needs to stand on the web: buttons that run it elsewhere, and no dead weight."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from card.book.provenance import git

_HTTPS = re.compile(r"https://(?:[^@/]+@)?github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?")
_SSH = re.compile(r"(?:ssh://)?git@github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?")

# Maps and translations serve who develops the theme; a style sheet draws its icons, in place of its
# script and fonts; nothing links to the index of sources, which is incomplete
_DEAD_WEIGHT = (
    "_static/**/*.map",
    "_static/locales/*/*/*",
    "_static/vendor/fontawesome/**/*.*",
    "_static/scripts/fontawesome.js*",
    "_modules/index.html",
)
_ICON_SCRIPT = re.compile(
    r"\s*<!--[^>]*custom icons -->\s*<script[^>]*fontawesome\.js[^>]*></script>"
)
_MATH_SCRIPT = re.compile(
    r"\s*<script>window\.MathJax = .*?</script>|\s*<script[^>]*mathjax/startup\.js[^>]*></script>"
)
# A list of pages is folded where no page of it is shown, and then stands in full: nothing to toggle
_FOLD = re.compile(
    r'<details[^>]*><summary><span class="toctree-toggle".*?</summary>(.*?)</details>', re.DOTALL
)
# Code is full of names, signs and spaces, which both themes leave in the colour of plain text
_CODE = re.compile("<pre>.*?</pre>", re.DOTALL)
_PLAIN = re.compile('<span class="[npw]">([^<]*)</span>')
# The index of the search outweighs most pages, and is read where results are shown
_SEARCH_SCRIPT = re.compile(
    r"\s*<script[^>]*\b(?:searchtools|language_data|searchindex)\.js[^>]*></script>"
)
_EXPLORER_SCRIPT = re.compile(r"\s*<script[^>]*/explorer(?:-\w+)?\.js[^>]*></script>")
_EXPLORER = re.compile(r'class="explorer\b')
# Indents and comments of a line in scripts, which on the first page are read by machines alone
_SPARE = re.compile(r"^ */\*\*.*\*/\n|^ +", re.MULTILINE)
_MATH = re.compile(r'class="[^"]*\bmath\b')


class Repository(NamedTuple):
    """Public address of the repository, and the branch or commit that the book was built from."""

    url: str
    """Address of its page."""
    reference: str
    """Branch or commit."""


def repository(
    environment: Mapping[str, str], remote: str | None = None, reference: str | None = None
) -> Repository | None:
    """Public repository behind a book, or None if it is not known.

    Parameters
    ----------
    environment
        Environment variables. GITHUB_REPOSITORY with GITHUB_SERVER_URL and GITHUB_SHA, as GitHub's
        runners set them, go before what a clone says.
    remote
        Address of the clone's remote; only one on GitHub counts, since Colab opens no other.
    reference
        Branch or commit of the clone.
    """
    name = environment.get("GITHUB_REPOSITORY")
    if name:
        server = environment.get("GITHUB_SERVER_URL", "https://github.com")
        return Repository(f"{server}/{name}", environment.get("GITHUB_SHA") or reference or "HEAD")
    found = _HTTPS.fullmatch(remote or "") or _SSH.fullmatch(remote or "")
    return Repository(f"https://github.com/{found[1]}", reference or "HEAD") if found else None


def repository_of(root: Path, environment: Mapping[str, str]) -> Repository | None:
    """Public repository that a folder is a clone of, or None if it is not known."""
    branch = git(root, "rev-parse", "--abbrev-ref", "HEAD")
    reference = git(root, "rev-parse", "HEAD") if branch == "HEAD" else branch
    return repository(environment, git(root, "remote", "get-url", "origin"), reference)


def buttons(found: Repository | None) -> dict[str, Any]:
    """What the book's configuration adds for links to the repository, to Binder and to Colab."""
    if found is None:
        return {}
    return {
        "repository": {"url": found.url, "branch": quote(found.reference), "path_to_book": ""},
        "html": {"use_repository_button": True},
        "launch_buttons": {
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
            "notebook_interface": "jupyterlab",
        },
    }


def trim(html: Path) -> None:
    """Drop from a rendered book the files that no reader's browser needs, and what loads them."""
    for pattern in _DEAD_WEIGHT:
        for path in html.glob(pattern):
            path.unlink()
    for script in html.glob("_static/explorer*.js"):
        script.write_text(_SPARE.sub("", script.read_text(encoding="utf-8")), encoding="utf-8")
    for page in html.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        lean = _FOLD.sub(r"\1", _ICON_SCRIPT.sub("", text))
        lean = _CODE.sub(lambda code: _PLAIN.sub(r"\1", code[0]), lean)
        if not _MATH.search(lean):
            lean = _MATH_SCRIPT.sub("", lean)
        if not _EXPLORER.search(lean):
            lean = _EXPLORER_SCRIPT.sub("", lean)
        if page.name != "search.html":
            lean = _SEARCH_SCRIPT.sub("", lean)
        page.write_text(lean, encoding="utf-8")
