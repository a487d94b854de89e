"""What happened in a run, one JSON object per line."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from card.base.whole_files import write_whole

Report = Callable[[str, Mapping[str, Any]], None]
"""Takes the name of what happened, and its particulars, as `Journal.write` does."""


class Journal:
    """A file of events that is appended to, line by line.

    Parameters
    ----------
    path
        The file; made if it is missing.
    done
        Rounds that are completed. What an earlier server wrote of later ones goes: they are played
        again.
    """

    def __init__(self, path: Path, done: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [event for event in read_journal(path) if event.get("round", 0) <= done]
        write_whole(path, "".join(map(_line, kept)))
        self._file = path.open("a", encoding="utf-8")

    def write(self, event: str, fields: Mapping[str, Any]) -> None:
        """Append an event with the time of day, and hand it to the system at once.

        Raises
        ------
        OSError
            If it cannot be written, with the name of the file.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        try:
            self._file.write(_line({"event": event, "time": now, **fields}))
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._file.name) from None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Events in a file, oldest first; a last line that was cut short is left out."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return


def _line(event: Mapping[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False) + "\n"
