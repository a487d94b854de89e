"""Traces: rates of links that were measured or computed elsewhere, for every device and round."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

from card.base.data_files import DATA
from card.base.errors import NUMBER, ScenarioError, nearest, shortened, unknown
from card.base.text_files import read_text

COLUMNS = ("device", "round", "uplink_bps", "downlink_bps")
"""Columns of a trace, in any order."""
SLOWEST_BPS, FASTEST_BPS = 1e3, 1e12
"""Rates of a trace at least and at most [bit/s], beyond which another unit was meant."""
LARGEST_BYTES = 2**24
"""Size of a trace at most [byte]."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Rates of every round, which repeat where a run is longer."""

    path: Path
    """Where it was read."""
    rates_bps: dict[str, tuple[tuple[float, float], ...]]
    """Uplink and downlink rate of each round [bit/s], by device or fleet."""
    rows: dict[str, int]
    """Row that first names each of them."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the rates, whatever the order of rows and wherever the file lies."""
        return hashlib.sha256(json.dumps(self.rates_bps, sort_keys=True).encode()).hexdigest()

    def of(self, device: str, fleet: str) -> tuple[tuple[float, float], ...]:
        """Rates of a device's rounds: its own, or those of its fleet."""
        return self.rates_bps[device if device in self.rates_bps else fleet]

    def check_devices(self, devices: Sequence[str], fleets: Sequence[str]) -> None:
        """Refuse a trace that is not of these devices, which have fleets each.

        Raises
        ------
        ScenarioError
            If one has no rows, or rows are of none.
        """
        for device, fleet in zip(devices, fleets, strict=True):
            if not {device, fleet} & self.rates_bps.keys():
                fleet_too = f" or of its fleet {fleet!r}" if fleet != device else ""
                raise ScenarioError(
                    f"{self.path} has no row of the device {device!r}{fleet_too}; add its rounds, "
                    f"or leave the device out."
                )
        known = dict.fromkeys((*devices, *fleets))
        for name, row in self.rows.items():
            if name not in known:
                raise ScenarioError(
                    f"{self.path}, row {row}: device = {name!r} is none of the scenario's; "
                    f"{nearest(name, known)}"
                )


@lru_cache
def trace_names() -> tuple[str, ...]:
    """Names of the shipped traces."""
    return tuple(sorted(path.stem for path in (DATA / "traces").glob("*.csv")))


def is_trace_file(name: str) -> bool:
    """Whether a name is that of a file."""
    return name.casefold().endswith(".csv")


def read_trace(key: str, name: str) -> Trace:
    """The trace that a scenario's key names: a shipped one, or a file.

    Raises
    ------
    ScenarioError
        If there is none, or with file and row if one is wrong.
    """
    if name in trace_names():
        return _read(DATA / "traces" / f"{name}.csv")
    if not is_trace_file(name):
        raise unknown(key, name, trace_names(), ".csv")
    path = Path(name)
    if not path.is_file():
        wrong = "is a folder" if path.is_dir() else "does not exist"
        raise ScenarioError(
            f"{key} = {shortened(name)} {wrong}; give a .csv file with the columns "
            f"{', '.join(COLUMNS)}, or one of {', '.join(trace_names())}."
        )
    return _read(path)


def _read(path: Path) -> Trace:
    found: dict[str, dict[int, tuple[int, float, float]]] = {}
    for row, device, number, up, down in _rows(path):
        rounds = found.setdefault(device, {})
        if number in rounds:
            raise ScenarioError(
                f"{path}, row {row}: {device} has round {number} already, in row "
                f"{rounds[number][0]}; remove one."
            )
        rounds[number] = row, up, down
    if not found:
        raise ScenarioError(f"{path} has no rows; add one for each device and round.")
    _check_gaps(path, found)
    rates = {
        device: tuple((up, down) for _, (_, up, down) in sorted(rounds.items()))
        for device, rounds in found.items()
    }
    first = {device: min(row for row, *_ in rounds.values()) for device, rounds in found.items()}
    return Trace(path, rates, first)


def _rows(path: Path) -> Iterator[tuple[int, str, int, float, float]]:
    """Row, device, round and rates of every row; a blank one is none."""
    reader = csv.reader(io.StringIO(read_text(path, LARGEST_BYTES), newline=""), strict=True)
    try:
        head = [cell.strip() for cell in next(reader, [])]
        _check_head(path, head)
        for cells in filter(None, reader):
            where = f"{path}, row {reader.line_num}"
            if len(cells) != len(head):
                raise ScenarioError(
                    f"{where} has {len(cells)} cells; give {len(head)}, as the first row has."
                )
            row = dict(zip(head, map(str.strip, cells), strict=True))
            if not row["device"]:
                raise ScenarioError(f"{where}: device is blank; give the name of a device.")
            number = row["round"]
            if not (number.isascii() and number.isdigit() and len(number) < 10):
                raise ScenarioError(
                    f"{where}: round = {shortened(number)} is not allowed; give a whole number, 0 "
                    f"or 1 for the first."
                )
            up, down = (_rate(where, name, row[name]) for name in COLUMNS[2:])
            yield reader.line_num, row["device"], int(number), up, down
    except csv.Error as error:
        raise ScenarioError(
            f"{path}, row {reader.line_num} is not valid CSV ({error}); mend it."
        ) from None


def _check_head(path: Path, head: Sequence[str]) -> None:
    if not any(head):
        raise ScenarioError(f"{path} is empty; begin it with the row {','.join(COLUMNS)}.")
    for name in COLUMNS:
        if head.count(name) != 1:
            often = "is there twice" if name in head else "is missing"
            raise ScenarioError(
                f"{path}, row 1: the column {name} {often}; give {','.join(COLUMNS)}."
            )
    for name in head:
        if name not in COLUMNS:
            raise ScenarioError(
                f"{path}, row 1: the column {shortened(name)} is not known; leave it out, and give "
                f"{','.join(COLUMNS)}."
            )


def _rate(where: str, name: str, text: str) -> float:
    if not NUMBER.fullmatch(text):
        raise ScenarioError(f"{where}: {name} = {shortened(text)} is not a number; give bit/s.")
    rate_bps = float(text)
    if not SLOWEST_BPS <= rate_bps <= FASTEST_BPS:
        raise ScenarioError(
            f"{where}: {name} = {rate_bps:g} is not allowed; give bit/s, from {SLOWEST_BPS:g} to "
            f"{FASTEST_BPS:g}."
        )
    return rate_bps


def _check_gaps(path: Path, found: dict[str, dict[int, tuple[int, float, float]]]) -> None:
    """Refuse rounds that are not all there, for each device, from 0 or 1 on."""
    every = sorted({number for rounds in found.values() for number in rounds})
    first = min(every[0], 1)
    missing = _gap(every, first)
    for device, rounds in found.items():
        number = (
            missing if missing is not None else next((n for n in every if n not in rounds), None)
        )
        if number is not None:
            raise ScenarioError(
                f"{path}: {device} (row {min(row for row, *_ in rounds.values())} and others) has "
                f"no round {number}; add it, for rounds count without a gap from 0 or 1."
            )


def _gap(numbers: Iterable[int], first: int) -> int | None:
    return next(
        (one + 1 for one, other in pairwise((first - 1, *numbers)) if other != one + 1), None
    )
