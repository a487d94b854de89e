"""The folder of a run, which one server at a time has to itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from card.base.errors import ScenarioError

LOCK = ".lock"
"""File in the folder whose lock a server holds, and in which its process id stands."""


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Context in which no other server may use a folder; it is made if it is missing.

    The system itself holds the lock and releases it when the process ends, however it ends. Windows
    has no such lock: there nothing stops a second server.

    Parameters
    ----------
    folder
        Where checkpoints and metrics go.

    Raises
    ------
    ScenarioError
        If another process has it, with its process id, or it is no folder that can be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        what = "it is a file" if folder.is_file() else str(error.strerror)
        raise ScenarioError(
            f"folder = {str(folder)!r} cannot be used ({what}); give a folder that this user may "
            f"write to."
        ) from None
    try:
        if sys.platform != "win32":
            _lock(file, folder)
        os.truncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)


def _lock(file: int, folder: Path) -> None:
    import fcntl  # which Windows does not have

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(file, 20, 0).decode("ascii", "replace").strip()
        raise ScenarioError(
            f"folder = {str(folder)!r} is in use by process {holder or 'unknown'}; wait for it to "
            f"end, or choose another folder."
        ) from None
