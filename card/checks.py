"""Arguments of the model's functions, as arrays, or an error that names value and allowed range."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from card.refusal import ScenarioError
from card.units import FloatArray, IntArray


def check_index(name: str, value: ArrayLike, size: int) -> IntArray:
    """Whole numbers from 0 to `size - 1`, or an error that names the value."""
    array = _numbers(name, value, "iu", "whole numbers")
    if array.size and (array.min() < 0 or array.max() >= size):
        wrong = array[(array < 0) | (array >= size)].flat[0]
        raise ScenarioError(f"{name} = {wrong} is out of range; give 0 to {size - 1}.")
    return array.astype(np.int64, copy=False)


def check_positive(name: str, value: ArrayLike) -> FloatArray:
    """Finite numbers above 0, or an error that names the value."""
    array = _numbers(name, value, "iuf", "finite numbers above 0").astype(np.float64, copy=False)
    wrong = ~((array > 0) & np.isfinite(array))
    if wrong.any():
        raise ScenarioError(
            f"{name} = {array[wrong].flat[0]:g} is not allowed; give finite numbers above 0."
        )
    return array


def check_share(name: str, value: ArrayLike) -> FloatArray:
    """Numbers from 0 to 1, or an error that names the value."""
    array = _numbers(name, value, "iuf", "numbers from 0 to 1").astype(np.float64, copy=False)
    wrong = ~((array >= 0) & (array <= 1))
    if wrong.any():
        raise ScenarioError(
            f"{name} = {array[wrong].flat[0]:g} is not allowed; give numbers from 0 to 1."
        )
    return array


def check_shapes(**arrays: NDArray[Any]) -> tuple[int, ...]:
    """Broadcast shape of the arrays, or an error that names them all."""
    try:
        return np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ScenarioError(f"the shapes do not broadcast together: {shapes}.") from None


def _numbers(name: str, value: ArrayLike, kinds: str, allowed: str) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in kinds:
        raise ScenarioError(f"{name} = {value!r} is not allowed; give {allowed}.")
    return array
