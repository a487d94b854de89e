"""How a swept path and its values are read: one name, unit and scale wherever they stand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from card.base.errors import ScenarioError
from card.base.units import engineering
from card.base.yaml_files import parse_value
from card.studies.scenario_values import show

if TYPE_CHECKING:
    import xarray as xr

_OWN = ("policy", "state", "device")
_WORDS = {"link.bandwidth_hz": "bandwidth", "objective.delay_weight": "delay weight w"}


class Axis(NamedTuple):
    """One swept path as a reader meets it."""

    path: str
    """What it varies, a dimension of the sweep."""
    words: str
    """What it is called."""
    unit: str
    """Unit that its values are shown in, such as MHz; empty where they have none."""
    values: tuple[Any, ...]
    """Numbers, words, None, yes and no, or lists of such, in that unit."""

    @property
    def title(self) -> str:
        """What stands along an axis or above a column, such as `bandwidth [MHz]`."""
        return f"{self.words} [{self.unit}]" if self.unit else self.words

    @property
    def labels(self) -> list[str]:
        """Each value as it stands below that title."""
        return [show(value) for value in self.values]

    def at(self, position: int) -> str:
        """One value as a legend or a title names it, such as `bandwidth = 5 MHz`."""
        value = self.values[position]
        unit = f" {self.unit}" if self.unit and _numbers([value]) else ""
        return f"{self.words} = {show(value)}{unit}"

    @property
    def numeric(self) -> bool:
        """Whether every value is one number."""
        return all(map(_is_number, self.values))


def axes(sweep: xr.Dataset) -> dict[str, Axis]:
    """Axes of a sweep, by path.

    Parameters
    ----------
    sweep
        Dataset of `card.sweep`.
    """
    return {str(dim): _axis(sweep, str(dim)) for dim in sweep.delay_s.dims if dim not in _OWN}


def _axis(sweep: xr.Dataset, path: str) -> Axis:
    values = [_value(coordinate) for coordinate in sweep[path].values.tolist()]
    scale, unit = engineering(_numbers(values), sweep[path].attrs.get("units", ""))
    units = "hz|w|j|m|s|db|dbm|dbm_per_hz|w_per_hz"
    name = sweep[path].attrs.get("long_name", path)
    words = re.sub(rf"_({units})$|^(devices|channel_states)\.(\*\.)?", "", name)
    words = _WORDS.get(name, re.sub(r"[._]", " ", words))
    return Axis(path, words, unit, tuple(_scaled(value, scale) for value in values))


def _value(coordinate: Any) -> Any:
    """The value behind a coordinate, which is text where values are not all numbers."""
    try:
        value = parse_value(coordinate) if isinstance(coordinate, str) else coordinate
    except ScenarioError:
        return coordinate
    return coordinate if isinstance(value, dict) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _numbers(value: Any) -> list[float]:
    """Every number in a value, or in the lists it holds."""
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    return [value] if _is_number(value) else []


def _scaled(value: Any, scale: float) -> Any:
    if isinstance(value, list):
        return [_scaled(item, scale) for item in value]
    return value / scale if scale != 1 and _is_number(value) else value
