"""What is shown beside results: bars and states on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console


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
