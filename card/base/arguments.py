"""Arguments of the model's functions, as arrays, or an error that names value and allowed range."""

from __future__ import annotations

from typing import Any

import numpy as np

from card.base.arrays import NUMPY, Backend
from card.base.errors import LARGEST_COUNT, LARGEST_WHOLE, ScenarioError, argument

SMALLEST, LARGEST = 1e-100, 1e100
"""Rates and clocks at least and at most, in any unit, so that what follows is finite."""
GREATEST_COST = 1e30
"""Seconds or joules of a round at most."""


def check_index(name: str, value: Any, size: int, backend: Backend = NUMPY) -> Any:
    """Whole numbers from 0 to `size - 1`, or an error that names the value."""
    array = check_numbers(name, value, backend, ("integral",), "whole numbers")
    if _within(backend, array, 0, size - 1):
        return backend.xp.astype(array, backend.xp.int64, copy=False)
    wrong = int(array[(array < 0) | (array >= size)][0])
    raise ScenarioError(f"{name} = {wrong} is out of range; give 0 to {size - 1}.")


def check_positive(name: str, value: Any, backend: Backend = NUMPY) -> Any:
    """Numbers from `SMALLEST` to `LARGEST`, or an error that names the value."""
    allowed = f"numbers from {SMALLEST:g} to {LARGEST:g}"
    return _between(name, value, backend, SMALLEST, LARGEST, allowed)


def check_share(name: str, value: Any, backend: Backend = NUMPY) -> Any:
    """Numbers from 0 to 1, or an error that names the value."""
    return _between(name, value, backend, 0, 1, "numbers from 0 to 1")


def check_price(name: str, value: Any, backend: Backend = NUMPY) -> Any:
    """Numbers from `SMALLEST` to `LARGEST`, or 0, or an error that names the value."""
    allowed = f"0, or numbers from {SMALLEST:g} to {LARGEST:g}"
    prices = _between(name, value, backend, 0, LARGEST, allowed)
    _between(
        name, backend.xp.where(prices == 0, SMALLEST, prices), backend, SMALLEST, LARGEST, allowed
    )
    return prices


def check_numbers(
    name: str, value: Any, backend: Backend, kinds: tuple[str, ...], allowed: str
) -> Any:
    """Numbers of some kinds, as the array API names them, or an error that names the value."""
    if np.ma.is_masked(value):
        raise ScenarioError(f"{name} has masked values; give {allowed} in place of each.")
    try:
        array = backend.array(value)
    except (ValueError, TypeError):
        array = np.asarray(None)
    if not backend.xp.isdtype(array.dtype, kinds):
        raise ScenarioError(f"{name} = {argument(value)} is not allowed; give {allowed}.")
    return array


def check_rounds(value: int) -> int:
    """A number of rounds, or an error that names the value."""
    return _whole("rounds", value, 1, LARGEST_COUNT)


def check_seed(value: int) -> int:
    """A seed, or an error that names the value."""
    return _whole("seed", value, 0, LARGEST_WHOLE)


def check_shapes(**arrays: Any) -> tuple[int, ...]:
    """Broadcast shape of the arrays, or an error that names them all."""
    named = {name: tuple(array.shape) for name, array in arrays.items()}
    try:
        return np.broadcast_shapes(*named.values())
    except ValueError:
        shapes = ", ".join(f"{name} {shape}" for name, shape in named.items())
        raise ScenarioError(f"the shapes do not broadcast together: {shapes}.") from None


def _whole(name: str, value: int, least: int, most: int) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        raise ScenarioError(
            f"{name} = {argument(value)} is not allowed; give a whole number from {least} to "
            f"{most}."
        )
    return int(value)


def _within(backend: Backend, array: Any, least: float, most: float) -> bool:
    """Whether no number of the array lies outside or is none; two passes and no copy."""
    if 0 in array.shape:
        return True
    xp = backend.xp
    return bool((xp.min(array) >= least) & (xp.max(array) <= most))


def _between(
    name: str, value: Any, backend: Backend, least: float, most: float, allowed: str
) -> Any:
    array = backend.floats(
        check_numbers(name, value, backend, ("integral", "real floating"), allowed)
    )
    if _within(backend, array, least, most):
        return array
    wrong = float(array[~((array >= least) & (array <= most))][0])
    raise ScenarioError(f"{name} = {wrong:g} is not allowed; give {allowed}.")
