"""Reads text and JSON files that others wrote, with bounds, and errors that name the file.

Also says what JSON of our own holds for a number that is not known.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

from card.base.errors import ScenarioError, repeated, shortened
from card.base.letters import odd_text

LARGEST_BYTES = 2**20
"""Size of a file at most [byte]."""
DEEPEST = 32
"""Levels of lists and mappings within each other at most."""
MOST_DIGITS = 1000
"""Digits of a whole number at most."""


OUTPUTS: dict[tuple[int, int], str] = {}
"""Files that the running command will replace, by device and number, and the option for each."""


def identity(path: Path | str) -> tuple[int, int]:
    """Device and number of a file, which it has by every name and through every link.

    Raises
    ------
    OSError
        If there is none.
    """
    found = Path(path).stat()
    return found.st_dev, found.st_ino


def check_kept(path: Path) -> None:
    """Refuse to read what the running command would replace afterwards."""
    if OUTPUTS and (option := OUTPUTS.get(identity(path))):
        raise ScenarioError(f"{path} is read and would be lost to {option}; name another output.")


def read_text(path: Path, largest: int = LARGEST_BYTES) -> str:
    """Text of a file in UTF-8, with or without a byte order mark, of some size at most [byte].

    Raises
    ------
    ScenarioError
        If it cannot be read, is no regular file, no such text, or larger.
    """
    content = _content(path, largest)
    if len(content) > largest:
        raise ScenarioError(
            f"{path} is larger than {largest:,} bytes, which is not allowed; give a smaller file."
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScenarioError(
            f"{path} is not UTF-8 text (byte {error.start + 1}); save it as UTF-8."
        ) from error


def check_regular(path: Path) -> None:
    """Refuse what is there and neither a file nor a folder: a pipe would be waited for."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ScenarioError(f"{path} is a pipe, a socket or a device; give a regular file.")


def _content(path: Path, largest: int) -> bytes:
    """What a file begins with, a byte more than is allowed at most."""
    try:
        check_regular(path)
        check_kept(path)
        with path.open("rb") as file:
            return file.read(largest + 1)
    except ScenarioError:
        raise
    except (OSError, ValueError) as error:  # ValueError is a path with a null character
        reason = getattr(error, "strerror", None) or error
        raise ScenarioError(f"{path} cannot be read: {reason}.") from error


def read_json_object(path: Path, remedy: str, *, shown: bool = False) -> dict[str, Any]:
    """Mapping in a JSON file as RFC 8259 has it: no key twice, no NaN.

    Parameters
    ----------
    path
        The file.
    remedy
        What the reader of a refusal can do, e.g. "download it again".
    shown
        Whether what it says is shown, and so may hold no character that is no letter.

    Raises
    ------
    ScenarioError
        If it cannot be read, is not such a document, or nested deeper than `DEEPEST`.
    """
    text = read_text(path)
    try:
        content = json.loads(
            text, object_pairs_hook=_once, parse_int=_whole, parse_constant=_not_a_number
        )
        _check_depth(content)
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise ScenarioError(f"{path} holds {half!a}, which is no whole letter; {remedy}.") from None
    except (ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        what = f"nested deeper than {DEEPEST} levels" if deep else _one_line(error)
        raise ScenarioError(f"{path} is not a whole JSON document: {what}; {remedy}.") from error
    if not isinstance(content, dict):
        raise ScenarioError(f"{path} holds {shortened(content)}, not a mapping; {remedy}.")
    if shown and (odd := odd_text(content)):
        raise ScenarioError(f"{path} holds {shortened(odd)}, which cannot be printed; {remedy}.")
    return content


def known(node: Any) -> Any:
    """The same plain values with None, which is null in JSON, for numbers not known (NaN)."""
    if isinstance(node, dict):
        return {key: known(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [known(value) for value in node]
    return None if isinstance(node, float) and isnan(node) else node


def _one_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = repeated(key for key, _ in pairs)
        raise ValueError(f"the key {twice!r:.40} is written twice")
    return found


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(
            f"the number {digits[:6]}… has {len(digits):,} digits, more than {MOST_DIGITS:,}"
        )
    return int(digits)


def _not_a_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _check_depth(content: Any) -> None:
    """Refuse what later code, which calls itself level by level, could not walk through."""
    level = [content]
    for _ in range(DEEPEST + 1):
        level = [
            item
            for node in level
            if isinstance(node, (dict, list))
            for item in (node.values() if isinstance(node, dict) else node)
        ]
    if level:
        raise RecursionError
