"""Conversions between the units people write and the SI units the model computes in."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from card.base.arrays import backend_of

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BITS_PER_BYTE = 8
BYTES_PER_GB = 1e9
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
"""Digits of exponents, as `str.translate` takes them.

:meta hide-value:
"""


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
