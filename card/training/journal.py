"""What happened in a run, one JSON object per line.

The file only ever grows, and every line of it is JSON as the standard has it. A run that goes on
after an earlier round says so; whoever reads leaves out what is played again after that.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from card.base.whole_files import write_whole

Report = Callable[[str, Mapping[str, Any]], None]
"""Takes the name of what happened, and its particulars, as `Journal.write` does."""

RESUMED = "resumed"
"""Event of a server that goes on; of what came before, rounds after its `round` do not count."""
DAMAGED = ".damaged"
"""What the name of a journal ends with where lines of it that could not be read are kept."""

_LONGEST = 1000


class Journal:
    """A file of events that is appended to, line by line.

    While it cannot be written, as on a full disk, events are kept in memory, and are written before
    the next one that can be.

    Parameters
    ----------
    path
        The file; made if it is missing. Damaged lines of it move to a file beside it.
    done
        Rounds that are completed. What an earlier server wrote of later ones does not count any
        more: they are played again.

    Raises
    ------
    OSError
        If the file cannot be read or opened.
    """

    def __init__(self, path: Path, done: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._waiting, self._writing = path, b"", threading.Lock()
        self.damaged = _set_aside(path)
        """Lines that could not be read, which are kept beside the file."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        if path.stat().st_size:
            self.write(RESUMED, {"round": done})

    def write(self, event: str, fields: Mapping[str, Any]) -> str | None:
        """Append an event with the time of day, and hand it to the system at once.

        Parameters
        ----------
        event
            Its name.
        fields
            Its particulars. Numbers that are not finite become null, and texts are cut to 1,000
            letters.

        Returns
        -------
        str or None
            Why it could not be written and waits in memory; None if it was.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        with self._writing:  # devices come and go on threads of their own
            self._waiting += _line({"event": event, "time": now, **fields})
            return self._flush()

    def _flush(self) -> str | None:
        """Write all that waits, or nothing of it; then why."""
        end, rest = os.fstat(self._file).st_size, self._waiting
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            os.ftruncate(self._file, end)
            return str(error.strerror)
        self._waiting = b""
        return None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file.

        Raises
        ------
        OSError
            If events still wait that cannot be written, with the name of the file.
        """
        reason = self._flush()
        os.close(self._file)
        if reason and kind is None:
            raise OSError(None, f"the last events cannot be written ({reason})", str(self._path))


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Events in a file that count, oldest first; lines that cannot be read are left out."""
    events: list[dict[str, Any]] = []
    for line in path.read_bytes().split(b"\n") if path.is_file() else ():
        event = _parsed(line)
        if event and event["event"] == RESUMED:
            events = [earlier for earlier in events if earlier.get("round", 0) <= event["round"]]
        elif event:
            events.append(event)
    return events


def _set_aside(path: Path) -> int:
    """Move lines that cannot be read to a file beside; how many there were."""
    data = path.read_bytes() if path.exists() else b""
    lines = [line for line in data.split(b"\n") if line]
    damaged = [line for line in lines if not _parsed(line)]
    if damaged:
        with path.with_name(path.name + DAMAGED).open("ab") as file:
            file.writelines(line + b"\n" for line in damaged)
            file.flush()
            os.fsync(file.fileno())
    whole = b"".join(line + b"\n" for line in lines if _parsed(line))
    if whole != data:
        write_whole(path, whole)
    return len(damaged)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None if it is damaged."""
    try:
        event = json.loads(line.decode(), parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    named = isinstance(event, dict) and isinstance(event.get("event"), str)
    return event if named and type(event.get("round", 0)) is int else None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(_plain(event), allow_nan=False).encode() + b"\n"


def _plain(value: Any) -> Any:
    """A value as JSON has it, of bounded length."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return value[:_LONGEST]
    if isinstance(value, Mapping):
        return {str(key)[:_LONGEST]: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
