"""Holds a user's function to its one file: what else it would read while it runs is refused.

Results are known by the text of that file. Of a second one, data or module, no change would show.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from card.base.data_files import DATA
from card.base.errors import ScenarioError

_RUNNING: ContextVar[str | None] = ContextVar("running", default=None)
"""The file whose function runs in this context."""
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev")


@contextmanager
def only(file: str) -> Iterator[None]:
    """Context in which of a user's files no other one is read, as by `open` or `import`.

    What is installed, the system's files and those in hidden folders of the home, such as caches,
    are read as ever. A library that opens files without Python's help is not noticed.
    """
    _watch()
    before = _RUNNING.set(file)
    try:
        yield
    finally:
        _RUNNING.reset(before)


@cache  # a hook stays for good
def _watch() -> None:
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Raise a `ScenarioError` where a file is opened that the function may not read."""
    if event != "open" or (own := _RUNNING.get()) is None:
        return
    opened, _, flags = arguments
    if isinstance(opened, int) or flags & (os.O_WRONLY | os.O_CREAT):
        return
    path = Path(os.path.realpath(os.fsdecode(opened)))
    if path.is_file() and path != Path(os.path.realpath(own)) and not _known(path):
        raise ScenarioError(
            f"{own} reads {os.fsdecode(opened)}, of which no result would show a change; results "
            f"are known by one file, so put what it says into {own}."
        )


def _known(path: Path) -> bool:
    """Whether a file is installed, the system's, or in a cache."""
    if path.parent.name == "__pycache__":  # a library's own, or else what was compiled of a module
        return path.suffix != ".pyc" or _known(path.parent.parent)
    home = Path.home()
    in_home = path.parts[len(home.parts) :] if path.is_relative_to(home) else ("",)
    return in_home[0].startswith(".") or any(map(path.is_relative_to, _places()))


@cache
def _places() -> list[Path]:
    """Folders of what is installed, of this package with its data, and of the system."""
    installed = [sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()]
    own = [str(Path(__file__).parents[1]), str(DATA)]
    return [Path(os.path.realpath(place)) for place in (*installed, *own, *_SYSTEM)]
