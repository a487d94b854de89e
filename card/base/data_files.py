"""Where the shipped data lie, in the package or beside it, and what scenarios, LLMs are there."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from card.base.errors import ScenarioError, nearest, shortened
from card.base.letters import no_letter
from card.base.text_files import check_regular, read_json_object

_ENDINGS = (".yml", ".yaml")
_PACKAGE = Path(__file__).parents[1]

DATA = next(f for f in (_PACKAGE / "data", _PACKAGE.parent / "data") if f.is_dir())
"""Folder of the shipped data; `data/README.md` says what is in it.

:meta hide-value:
"""

_BYTES = "".join(map(chr, range(0xDC80, 0xDD00)))  # as Python writes them in names of files


def read_json(name: str) -> dict[str, Any]:
    """Mapping in a shipped JSON file, such as `runs/speed`."""
    return read_json_object(DATA / f"{name}.json", "mend it, or restore it if it was shipped")


def cache_folder() -> Path | None:
    """Folder for what could be computed again, in the user's own; None where there is no place."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(named if Path(named).is_absolute() else "~/.cache")
    try:
        return home.expanduser() / "card"
    except RuntimeError:  # a user without a home
        return None


@lru_cache
def llm_names() -> tuple[str, ...]:
    """Names of the shipped LLM configurations."""
    return tuple(sorted(path.stem for path in (DATA / "llms").glob("*.json")))


def scenario_names() -> tuple[str, ...]:
    """Names of the shipped scenarios."""
    return tuple(sorted(path.stem for path in (DATA / "scenarios").glob("*.yml")))


def study_names() -> tuple[str, ...]:
    """Names of the shipped studies."""
    return tuple(sorted(path.stem for path in (DATA / "scenarios" / "studies").glob("*.yml")))


def scenario_file(name_or_path: str | Path, beside: Path | None = None) -> Path:
    """File of a scenario or study given by name or path; a base is looked for beside its study.

    A shipped name wins; the ending of any other file may be left out.
    """
    text = str(name_or_path)
    for names, folder in ((scenario_names(), "."), (study_names(), "studies")):
        if text in names:
            return DATA / "scenarios" / folder / f"{text}.yml"
    what = "scenario" if beside is None else "base"
    # would command a terminal, or break a message; bytes of names that no encoding knows do not
    if no_letter(text, _BYTES):
        raise ScenarioError(f"{what} = {shortened(text)} cannot be printed; rename the file.")
    path = Path(text) if beside is None else beside / text
    for file in (path, *(Path(f"{path}{ending}") for ending in _ENDINGS)):
        # unlike Path's, these say no to names that no file can have
        if os.path.exists(file) and not os.path.isdir(file):  # noqa: PTH110, PTH112
            check_regular(file)
            return file.resolve()
    known = (*scenario_names(), *study_names())
    if path.suffix in _ENDINGS or "/" in text:
        wrong = "is a directory" if os.path.isdir(path) else "does not exist"  # noqa: PTH112
        raise ScenarioError(f"{what} {path} {wrong}; give a file or one of {', '.join(known)}.")
    folder = "this folder" if beside is None else "the folder of its study"
    raise ScenarioError(
        f"{what} = {shortened(text)} is neither shipped nor the name of a .yml file in {folder}; "
        f"{nearest(text, known)}"
    )
