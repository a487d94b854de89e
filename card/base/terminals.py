"""What is shown beside results: bars and states on a terminal, plain lines anywhere else."""

from __future__ import annotations

import io
import sys
from typing import Any

from rich.console import Console

from card.base.letters import printable


def tell(*lines: object, err: bool = False) -> None:
    """Print lines, on stdout or on stderr; no name in them commands a terminal or begins a line."""
    for line in lines:
        print(printable(str(line)), file=sys.stderr if err else sys.stdout, flush=True)


def beside(**options: Any) -> Console:
    """A console on stderr, which is a terminal only if stderr is one.

    Other signs of one, such as the variable FORCE_COLOR, are for colours that somebody wants, and
    would put the bars of a terminal into a file.

    Parameters
    ----------
    options
        As `rich.console.Console` takes them.
    """
    shown = getattr(sys.stderr, "isatty", bool)()
    return Console(stderr=True, force_terminal=None if shown else False, **options)


class _Lossy(io.FileIO):
    """A file that loses what there is no room for; that its reader has left is told as ever."""

    def write(self, data: Any) -> int:
        """Write what can be."""
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError:
            return len(data)


def spare_results() -> None:
    """Let a full stderr cost what is said there and nothing else: no result, and no exit code."""
    if isinstance(sys.stderr, io.TextIOWrapper):
        raw = _Lossy(sys.stderr.fileno(), "w", closefd=False)
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(raw), sys.stderr.encoding, sys.stderr.errors, line_buffering=True
        )
