"""Words and numbers that a user chose, beside an axis: told apart, and no more than there is room.

Widths are those of the letters in the style's font, so that no picture need be drawn to know them.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from card.base.units import FloatArray

FONT = "DejaVu Sans"
"""The style's font."""
FONT_PT = 9.0
"""Size of the labels of ticks and legends [pt]."""
LETTERS = 32
"""Letters of one value in a picture at most."""
NAME_LETTERS = 20
"""Letters of a name beside or above a panel at most."""
_HANDLE_PT = 50.0
"""What a line in a legend and the gaps around it take [pt]."""
_GAP_PT = 8.0
_NEXT = 1e-9
"""Share of a number by which it may miss another and still be it."""
_PARTS = (r"[/\\\[{(]|, ", r"[-_ ]")
"""What ends a part of a path, a list or a mapping, or else of a name."""


def width_pt(text: str, size_pt: float | str = FONT_PT, weight: str = "normal") -> float:
    """Width of a text on one line [pt]; its size may be one of Matplotlib's, such as `smaller`."""
    width, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(family=FONT, size=size_pt, weight=weight), ismath=False
    )
    return float(width)


def fit(places_pt: Sequence[float] | FloatArray, labels: Sequence[str]) -> bool:
    """Whether labels that are centred at places along a line, in order [pt], leave gaps between."""
    half = np.array([width_pt(label) / 2 for label in labels])
    places = np.asarray(places_pt)
    return bool(np.all(np.diff(places) >= half[1:] + half[:-1] + _GAP_PT))


def columns_of(
    labels: Sequence[str], width_in: float, most: int, *, handle_pt: float = _HANDLE_PT
) -> int:
    """Columns of a legend that fit into a width [inch], at most so many and at least one.

    A line, and the gaps around it, take `handle_pt` [pt].
    """
    longest = max(map(width_pt, labels), default=0.0)
    return max(1, min(most, len(labels), int(72 * width_in // (longest + handle_pt))))


def in_legend(names: Sequence[str], width_in: float, written: str = "{}") -> list[str]:
    """Entries of a legend, each name in its words, shortened to what one column [inch] leaves."""
    room_pt = 72 * width_in - _HANDLE_PT
    for letters in range(max(map(len, names)), NAME_LETTERS, -1):
        found = [written.format(name) for name in apart(names, letters)]
        if max(map(width_pt, found)) <= room_pt:
            return found
    return [written.format(name) for name in apart(names, NAME_LETTERS)]


def short(text: str, letters: int = LETTERS) -> str:
    """A text of at most so many letters, its end left out where it has more."""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def apart(texts: Sequence[str], letters: int = LETTERS) -> list[str]:
    """Short forms of different texts that differ, too: what long ones begin with alike is left out.

    Texts that have room stay as they are.

    Parameters
    ----------
    texts
        As the user gave them.
    letters
        Letters of each at most; a few more where only a number tells them apart.
    """
    different = dict.fromkeys(texts)
    told = _told([text for text in different if len(text) > letters], letters)
    words = {text: told.get(text, text) for text in different}
    times = Counter(words.values())
    numbered = {text: f"{place}: {words[text]}" for place, text in enumerate(different, start=1)}
    found = {text: words[text] if times[words[text]] == 1 else numbered[text] for text in texts}
    if len({*found.values()}) < len(different):
        found = numbered
    return [found[text] for text in texts]


def _told(texts: Sequence[str], letters: int) -> dict[str, str]:
    """Long texts without what they begin with alike, and those that still look alike once more."""
    start = _start(texts, letters) if texts else 0
    words = {text: short(f"…{text[start:]}" if start else text, letters) for text in texts}
    for word, times in Counter(words.values()).items():
        if 1 < times < len(texts):
            words |= _told([text for text in texts if words[text] == word], letters)
    return words


def _start(texts: Sequence[str], letters: int) -> int:
    """Where a part begins up to which texts are alike: the first from which all have room."""
    columns = enumerate(zip(min(texts), max(texts), strict=False))
    unlike = (place for place, (one, other) in columns if one != other)
    alike = texts[0][: next(unlike, len(min(texts)) - 1)]
    ends = ([part.end() for part in re.finditer(pattern, alike)] for pattern in _PARTS)
    starts = next(filter(None, ends), [0])
    longest = max(map(len, texts))
    return next((start for start in starts if longest - start < letters), starts[-1])


def folded(text: str, letters: int) -> str:
    """A text on as many lines as it needs, none longer than so many letters."""
    return "\n".join(textwrap.wrap(text, letters)) or text


def ticks(
    values: Sequence[float], room_pt: float, written: Callable[[float], str], *, log: bool
) -> tuple[FloatArray, list[str]]:
    """Numbers to name along an axis of some length, and their labels, which do not meet.

    Parameters
    ----------
    values
        What is drawn over the axis, at least one; all above 0 if `log`. Where there is room for
        each, and there is one or `log`, these are named; otherwise round numbers between them,
        whole ones if all values are.
    room_pt
        Length of the axis [pt].
    written
        Label of a number.
    log
        Whether the scale is logarithmic.
    """
    own = np.unique(np.asarray(values, dtype=np.float64))
    low, high, whole = own[0], own[-1], np.all(own % 1 == 0)

    def at(numbers: NDArray[np.float64]) -> FloatArray:
        scaled = np.log([low, high, *numbers]) if log else np.array([low, high, *numbers])
        places: FloatArray = (scaled[2:] - scaled[0]) / ((scaled[1] - scaled[0]) or 1.0)
        return room_pt * places

    candidates = [own] if log or len(own) == 1 else []
    for numbers in [*candidates, *_round_numbers(low, high, log)]:
        # what was computed may be next to the round number that it stands for
        within = (numbers >= low - _NEXT * abs(low)) & (numbers <= high + _NEXT * abs(high))
        chosen = numbers[within & ((numbers % 1 == 0) | ~whole)]
        labels = [written(int(at) if whole else at) for at in chosen.tolist()]
        enough = len(chosen) >= min(2, len(own)) and len({*labels}) == len(labels)
        if enough and fit(at(chosen), labels):
            return np.clip(chosen, low, high), labels
    ends = own[[0, -1]] if len(own) > 1 else own
    return ends, [written(int(at) if whole else at) for at in ends.tolist()]


def _round_numbers(low: float, high: float, log: bool) -> Iterator[FloatArray]:
    """Round numbers of a range, fewer and fewer."""
    if log:
        powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.floor(np.log10(high)) + 1)
        for digits in ((1, 2, 5), (1, 3)):
            yield np.outer(powers, digits).ravel()
        for step in range(1, len(powers)):
            yield powers[::step]
        return
    for many in range(8, 1, -1):
        yield np.asarray(MaxNLocator(many, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))


def moved_apart(places: Sequence[float] | FloatArray, gap: float) -> list[float]:
    """Places moved until none are closer than `gap`; their order and mean are kept."""
    order = np.argsort(places, kind="stable")
    moved = np.asarray(places, dtype=np.float64)[order]
    for _ in range(200):
        if not (np.diff(moved) < gap - 1e-12).any():
            break
        for i in np.flatnonzero(np.diff(moved) < gap):
            push = (gap - (moved[i + 1] - moved[i])) / 2
            moved[i], moved[i + 1] = moved[i] - push, moved[i + 1] + push
    result = np.empty_like(moved)
    result[order] = moved
    return [float(place) for place in result]
