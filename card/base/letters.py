"""Characters that are no letters: they command a terminal, end a line, or turn it around.

Those of Unicode's general categories Cc, Cf, Cs, Zl and Zp. The two joiners are letters here, for
Persian, Hindi and others are not written without them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from unicodedata import category

_KINDS = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = {"\u200c", "\u200d"}
_BYTE = re.compile("[\udc80-\udcff]")
"""What Python reads a byte as, in the name of a file, that is none of UTF-8."""


def _is_none(sign: str) -> bool:
    return category(sign) in _KINDS and sign not in _JOINERS


def no_letter(text: str, spared: str = "") -> str | None:
    """First character of a text that is no letter, or None.

    Parameters
    ----------
    text
        Any text.
    spared
        Characters that are allowed there, such as line breaks.
    """
    if text.isprintable():  # which takes next to no time
        return None
    return next((sign for sign in text if _is_none(sign) and sign not in spared), None)


def not_utf8(path: str) -> str | None:
    """First of the names in a path that is not UTF-8, as a file system may have them, or None."""
    return next(filter(_BYTE.search, re.split(r"[/\\]", path)), None)


def remedy_for(text: str) -> str:
    """What helps where a text has what is no letter."""
    odd = not_utf8(text)
    return f"rename {odd!a}, which is not UTF-8" if odd else "give letters that can be printed"


def odd_text(node: Any) -> str | None:
    """First text among values and their keys that has what is no letter, or None.

    Tabs and line breaks are allowed.
    """
    if isinstance(node, str):
        return node if no_letter(node, "\t\n") else None
    if isinstance(node, Mapping):
        node = [*node, *node.values()]
    found = map(odd_text, node) if isinstance(node, (list, tuple)) else ()
    return next(filter(None, found), None)


def printable(text: str, written: Callable[[str], str] = ascii) -> str:
    """One line with an escape for each character that is no letter.

    Parameters
    ----------
    text
        Any text.
    written
        Writes a character in quotes, as Python does or as JSON does.
    """
    if text.isprintable():
        return text
    return "".join(written(sign)[1:-1] if _is_none(sign) else sign for sign in text)
