"""Holds a user's function to its one file: what else it would read while it runs is refused.

Results are known by the text of that file. Of a second one, data or module, no change would show.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from card.base.data_files import DATA
from card.base.errors import ScenarioError

_RUNNING: ContextVar[str | None] = ContextVar("running", default=None)
"""The file whose function runs in this context."""
HELD = "__one_file__"
"""What a module that is held to its file has among its names, wherever its code runs."""
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc", "/proc", "/sys")
_OF_LIBRARIES = (".cache", ".config", ".local", ".matplotlib", ".triton")
"""Folders of the home that libraries keep settings and caches in."""
_TIDYING = {"importlib", "pkgutil", "shutil", "tempfile"}
"""Modules that list folders for another reason than to know what is in them."""
_COMPILED = (".nbi", ".nbc")
"""What numba keeps of functions that it compiled, beside their files."""
_MADE: set[str] = set()
"""Files that were not there before a function that is held made them."""


@contextmanager
def only(file: str) -> Iterator[None]:
    """Context in which of a user's files no other one is read, as by `open` or `import`.

    It holds for the file's code in other threads, too. What is installed, the system's files and
    those in which libraries keep caches and settings are read as ever, and so are the lines that a
    traceback quotes. A user's folders are not listed, nor other programs started, but by a library.
    What the function itself made is its own. What Python tells nobody is not noticed: that it looks
    at the environment, the clock, the network, its standard input or the size of a file, or reads
    by code in C, as SQL does that attaches a database. Nor is a thread that runs none of the file's
    code.
    """
    _watch()
    before = _RUNNING.set(file)
    try:
        yield
    finally:
        _RUNNING.reset(before)


@cache  # a hook stays for good
def _watch() -> None:
    sys.addaudithook(_heed)


def _heed(event: str, arguments: tuple[Any, ...]) -> None:
    """Raise a `ScenarioError` where a function that is held does what it may not."""
    check = _CHECKS.get(event)
    file = check and (_RUNNING.get() or _held())
    if check and file:
        check(file, *arguments)


def _held() -> str | None:
    """File of the held module whose code is at work in this thread, if there is one."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and HELD not in frame.f_globals:
        frame = frame.f_back
    return frame and frame.f_globals[HELD]


def _check_open(file: str, opened: Any, _: Any, flags: int) -> None:
    reads = flags & (os.O_WRONLY | os.O_RDWR) != os.O_WRONLY and not flags & os.O_TRUNC
    if isinstance(opened, int):
        return
    if flags & os.O_CREAT and not os.path.lexists(opened):
        _MADE.add(os.path.realpath(os.fsdecode(opened)))
    elif os.path.isdir(opened):  # noqa: PTH112 - which takes bytes, too
        asking, own = _asking(file)
        if own and not _TIDYING & set(asking):  # or else files would be named from there
            raise _refusal(file, "opens", os.fsdecode(opened))
    elif reads and not _quoted(file):
        _check_file(file, opened)


def _forget_made(_: str, __: Any, replaced: Any, *___: Any) -> None:
    _MADE.discard(os.path.realpath(os.fsdecode(replaced)))


def _check_file(file: str, opened: Any) -> None:
    if isinstance(opened, int):
        return
    name = os.fsdecode(opened)
    if name.startswith("file:"):  # as sqlite takes it
        name = urlsplit(name).path
    place = os.path.realpath(name)
    own = place in _MADE or place == os.path.realpath(file)
    if Path(name).is_file() and not own and not is_installed(name):
        raise _refusal(file, "reads", name)


def _check_folder(file: str, listed: Any) -> None:
    asking, own = _asking(file)
    if isinstance(listed, int) or not own or _TIDYING & set(asking):
        return
    name = os.fsdecode(listed or ".")
    if not is_installed(name):
        raise _refusal(file, "lists", name)


def _check_program(file: str, started: Any, *_: Any) -> None:
    asking, own = _asking(file)
    if own and "platform" not in asking:  # which asks what machine it is
        raise _refusal(file, "starts", f"{started!r:.60}")


_CHECKS: dict[str, Callable[..., None]] = {
    "open": _check_open,
    "sqlite3.connect": _check_file,
    **dict.fromkeys(("os.rename", "os.link"), _forget_made),
    **dict.fromkeys(("os.listdir", "os.scandir"), _check_folder),
    **dict.fromkeys(
        ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn"),
        _check_program,
    ),
}
"""What is done at each event that Python tells of (`sys.addaudithook`)."""


def _refusal(file: str, does: str, what: str) -> ScenarioError:
    return ScenarioError(
        f"{file} {does} {what}, of which no result would show a change; results are known by "
        f"one file, so put what it says into {file}."
    )


def _asking(file: str) -> tuple[list[str], bool]:
    """Modules of the standard library that ask, the last first, and whether the file asks them."""
    asking: list[str] = []
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back
    while frame is not None and frame.f_globals.get(HELD) != file:
        module = str(frame.f_globals.get("__name__")).partition(".")[0]
        if module not in sys.stdlib_module_names:
            return asking, False
        asking.append(module)
        frame = frame.f_back
    return asking, frame is not None


def _quoted(file: str) -> bool:
    """Whether lines of source are read for a traceback or a warning, say, and not by themselves."""
    asking, own = _asking(file)
    return "linecache" in asking and not (own and asking[-1] == "linecache")


def is_installed(name: str) -> bool:
    """Whether a file, or a folder, is installed, the system's, or a library's cache or settings.

    By its own path, or by that which it leads to: some installers make links. So does the system
    in `/proc`, to whatever a process has at hand.
    """
    named, led = (Path(way(name)) for way in (os.path.abspath, os.path.realpath))
    return _is_known(led) or (named.parts[1:2] != ("proc",) and _is_known(named))


def _is_known(path: Path) -> bool:
    if path.parent.name == "__pycache__":
        return path.suffix in _COMPILED or _is_known(path.parent.parent)
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - which refuses a user without a home
    in_home = path.parts[len(home.parts) :] if path.is_relative_to(home) else ()
    return in_home[:1] in {(name,) for name in _OF_LIBRARIES} or any(
        map(path.is_relative_to, _places())
    )


@cache
def _places() -> list[Path]:
    """Folders of what is installed, of this package with its data, and of the system."""
    installed = [sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()]
    own = [str(Path(__file__).parents[1]), str(DATA)]
    own += [sys.pycache_prefix] if sys.pycache_prefix else []
    return [Path(os.path.realpath(place)) for place in (*installed, *own, *_SYSTEM)]
