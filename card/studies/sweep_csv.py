"""A sweep as a table for other programs."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from math import isnan
from typing import Any


def as_table(points: Sequence[Mapping[str, Any]], rounds: int, seed: int) -> str:
    """CSV with a row per point of a grid and policy, and the rounds and seed of all, in SI units.

    Parameters
    ----------
    points
        What each row says, by column; an end of an interval that is NaN is left empty.
    rounds
        Rounds of every point.
    seed
        Seed of every point.
    """
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*points[0], "rounds", "seed"])
    for point in points:
        writer.writerow([*map(_cell, point.values()), rounds, seed])
    return text.getvalue()


def _cell(value: Any) -> Any:
    return "" if isinstance(value, float) and isnan(value) else value
