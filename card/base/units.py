"""Conversions between the units people write and the SI units the model computes in."""

from __future__ import annotations

from collections.abc import Iterable
from math import floor, isfinite, log10

import numpy as np
from numpy.typing import ArrayLike, NDArray

from card.base.arrays import backend_of

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BITS_PER_BYTE = 8
BYTES_PER_GB = 1e9
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
"""Digits of exponents, as `str.translate` takes them.

:meta hide-value:
"""


_PREFIXES = {-9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_PREFIXED = {"Hz": 12, "W": 12, "J": 12, "bit/s": 12, "FLOP/s": 12, "s": 0, "W/Hz": 0}
"""Units that take a prefix, and the largest power of ten of theirs: no kiloseconds."""


def engineering(values: Iterable[float], unit: str) -> tuple[float, str]:
    """Scale [1] and name of the unit in which values in an SI unit are easy to read.

    Parameters
    ----------
    values
        Any number of values, which share the scale that suits the geometric mean of the least and
        the greatest, if it leaves the greatest below 10,000.
    unit
        Their unit; one that takes no prefix is left as it is.

    Examples
    --------
    >>> engineering([5e6, 20e6], "Hz")
    (1000000.0, 'MHz')
    """
    # what rounding takes from an exact power must not cost it its prefix
    sizes = [log10(abs(value)) + 1e-9 for value in values if value and isfinite(value)]
    if unit not in _PREFIXED or not sizes:
        return 1.0, unit
    least, most = min(sizes), max(sizes)
    power = 3 * max(floor((least + most) / 6), floor((most - 1) / 3))
    power = min(max(power, min(_PREFIXES)), _PREFIXED[unit])
    return 10.0**power, _PREFIXES[power] + unit


def counted(number: int, thing: str) -> str:
    """How many of what, such as `1 round` and `2 mini-batches`; `thing` is one of them."""
    several = "es" if thing.endswith("ch") else "s"
    return f"{number:,} {thing}{'' if number == 1 else several}"


def db_to_linear(value_db: ArrayLike) -> FloatArray:
    """Power ratio [1] of a level in decibel [dB], :math:`10^{x/10}`."""
    ratio: FloatArray = 10.0 ** (backend_of(value_db).floats(value_db) / 10.0)
    return ratio


def dbm_to_w(level_dbm: ArrayLike) -> FloatArray:
    """Power [W] of a level in decibel-milliwatt [dBm]."""
    return db_to_linear(level_dbm) * 1e-3


def gb_to_bit(size_gb: float) -> float:
    """Size [bit] of a size in gigabyte [GB], 1 GB = 10⁹ byte."""
    return size_gb * BYTES_PER_GB * BITS_PER_BYTE
