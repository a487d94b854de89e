"""Text of the book: numbers, tables and files as its pages write them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unicodedata import category

from card.base.text_files import known
from card.base.units import RAISED

_SIGN = re.compile(r"""["$&'*<>\[\\\]_`{|}~]|^[#%+=:(-]""")
_ONE = r"[-+\u2212]?\d[\d.,]*(?:e[-+]\d+)?"
_NUMBER = re.compile(rf"(?:{_ONE} to )?{_ONE}(?:\s?%)?|\u2013")


def plain(text: str) -> str:
    """A user's text for Markdown, MyST and HTML alike: it reads as it stands, and means nothing.

    Signs become references to characters, which make no markup in any of the three; spaces and line
    breaks become single spaces, other control characters nothing.
    """
    line = "".join(sign for sign in " ".join(text.split()) if sign == " " or category(sign) != "Cc")
    line = _SIGN.sub(lambda sign: f"&#{ord(sign[0])};", line)
    # or else it begins a list
    return re.sub(r"^(\d+)([.)])(?= |$)", lambda at: f"{at[1]}&#{ord(at[2])};", line)


def code(text: str) -> str:
    """A text in one line as code, whatever signs it holds."""
    line = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    room = " " if line[:1] == "`" or line[-1:] == "`" else ""
    return f"{fence}{room}{line}{room}{fence}"


def percent(value: float | None, digits: int = 1) -> str:
    """Fraction in per cent; a dash if it is undefined."""
    return "–" if value is None else f"{100 * value:z.{digits}f} %".replace("-", "−")


def settled(reduction: Mapping[str, float | None]) -> str:
    """A reduction in per cent with the digits that its 95 % interval settles, or else its ends.

    Parameters
    ----------
    reduction
        `value`, `low` and `high` [1], as `card.studies.bootstrap.reductions` has them. Tenths are
        written where both ends round to the same one, whole per cents where they round to the same
        of those, which is neither none nor all. Otherwise the ends are: in tenths where they are
        closer than one per cent, or where one would be written as zero.

    Examples
    --------
    >>> settled({"value": 0.5810, "low": 0.5808, "high": 0.5813})
    '58.1 %'
    >>> settled({"value": 0.5810, "low": 0.5803, "high": 0.5817})
    '58 %'
    >>> settled({"value": 0.0252, "low": 0.0227, "high": 0.0277})
    '2.3 to 2.8 %'
    """
    value, low, high = (reduction[key] for key in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return percent(value)
    for digits, bare in ((1, ()), (0, ("0 %", "100 %"))):
        if (end := percent(low, digits)) == percent(high, digits) and end not in bare:
            return percent(value, digits)
    digits = int(high - low < 0.01 or "0 %" in (percent(low, 0), percent(high, 0)))
    ends = sorted((low, high), key=abs) if high <= 0 else (low, high)
    return " to ".join(percent(end, digits) for end in ends).replace(" %", "", 1)


def reproduced(claim: Mapping[str, Any], scenario: str) -> str:
    """What a scenario gives for a claim of `card.claims`, with the digits that are settled."""
    low, high = claim["intervals"][scenario]
    return settled({"value": claim[scenario], "low": low, "high": high})


def scientific(value: float, digits: int = 1) -> str:
    """Number as a power of ten with some significant digits, such as 2 × 10⁻¹⁵."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}\u00a0×\u00a010{str(int(exponent)).translate(RAISED)}".replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """Interval of fractions in per cent; a dash if it is undefined."""
    if low is None or high is None:
        return "–"
    return f"{percent(low, 2)} to {percent(high, 2)}".replace(" %", "\u00a0%")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers_right: bool = True) -> str:
    """Markdown table; columns of numbers alone stand right, unless told not to.

    So their digits line up. Units, of which some are 1, have none to line up.
    """
    body = list(rows)
    columns = zip(head, *body, strict=True)
    rule = [
        "---:" if numbers_right and cells and all(map(_NUMBER.fullmatch, cells)) else "---"
        for _, *cells in columns
    ]
    lines = [head, rule, *body]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def to_json(obj: Any) -> str:
    """JSON text with a fixed order and layout; numbers keep all their digits, NaN is null."""
    return json.dumps(
        known(obj), sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False, default=_plain
    )


def _plain(obj: Any) -> Any:
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return known(dataclasses.asdict(obj))
    if hasattr(obj, "tolist"):
        return known(obj.tolist())
    raise TypeError(f"{type(obj).__name__} cannot be saved as JSON; give plain values.")


def write(path: Path, text: str) -> None:
    """Write a text file, with its folder and a last newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
