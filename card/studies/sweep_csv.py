"""A sweep as a table for other programs."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from math import isnan
from typing import Any


def as_table(points: Sequence[Mapping[str, Any]], rounds: int, seed: int) -> str:
    """CSV with a row per point of a grid and policy, in SI units.

    Each row says the rounds and the seed of all points, unless these are swept.

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
    of_all = {"rounds": rounds, "seed": seed}
    told = {k: v for k, v in of_all.items() if f"simulation.{k}" not in points[0]}  # if not swept
    writer.writerow([*points[0], *told])
    for point in points:
        writer.writerow([*map(_cell, point.values()), *told.values()])
    return text.getvalue()


def _cell(value: Any) -> Any:
    return "" if isinstance(value, float) and isnan(value) else value
