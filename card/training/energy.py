"""Joules of one end in a round, busy and waiting apart, where its machine has a counter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from card.base.errors import ScenarioError
from card.training.gpu import Gpu

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows the energy counters of processors.

:meta hide-value:
"""


@dataclass(frozen=True)
class Sensor:
    """A counter of energy, or why there is none."""

    read_j: Callable[[], float] | None
    """Energy since some time in the past [J]; None if the machine has no counter to read."""
    source: str
    """Which counter it is and what it counts, or why there is none."""

    @classmethod
    def of(cls, compute: str, powercap: Path = POWERCAP) -> Sensor:
        """Counter of the processor that computes, `cpu` or `cuda`."""
        try:
            if compute == "cuda":
                sensor = cls(Gpu.at_hand().read_j, "NVML, the whole GPU board")
            else:
                sensor = cls(Rapl(powercap).read_j, "RAPL, whole processors, whoever uses them")
            Meter(sensor)  # refuses a counter that may not be read
            return sensor
        except ScenarioError as absent:
            return cls(None, str(absent).removesuffix("."))


UNMETERED = Sensor(None, "nobody asked for it")
"""No counter is looked for.

:meta hide-value:
"""


class Rapl:
    """Energy of all processor packages, by Linux's powercap.

    Parameters
    ----------
    powercap
        Folder of the counters, `/sys/class/powercap` on a real machine.

    Raises
    ------
    ScenarioError
        If no counter of a package is there, or may be read; so does `read_j`.

    Notes
    -----
    A counter starts anew at `max_energy_range_uj`, after minutes to an hour of work; a package that
    gets around it more than once between two readings is counted too low.
    """

    def __init__(self, powercap: Path) -> None:
        self._packages = [_Package(zone) for zone in sorted(powercap.glob("intel-rapl:*"))]
        self._packages = [package for package in self._packages if package.counts]
        if not self._packages:
            raise ScenarioError(f"the system shows no RAPL counter of a processor in {powercap}.")

    def read_j(self) -> float:
        """Energy since the first reading [J]."""
        return 1e-6 * sum(package.read_uj() for package in self._packages)


class _Package:
    """The counter of one package; its parts, such as `core`, are within it and do not count."""

    def __init__(self, zone: Path) -> None:
        self._counter = zone / "energy_uj"
        self.counts = _read(zone / "name").startswith("package")
        self._range_uj = int(_read(zone / "max_energy_range_uj")) if self.counts else 0
        self._last_uj: int | None = None
        self._total_uj = 0

    def read_uj(self) -> int:
        now_uj = int(_read(self._counter))
        if self._last_uj is not None:
            self._total_uj += (now_uj - self._last_uj) % self._range_uj
        self._last_uj = now_uj
        return self._total_uj


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except PermissionError:
        raise ScenarioError(
            f"{path} may be read by root alone; let its owner allow it to be read."
        ) from None
    except OSError as error:
        raise ScenarioError(f"{path} cannot be read ({error.strerror}).") from None


class Meter:
    """Energy of one round, that of computing apart from the rest.

    Parameters
    ----------
    sensor
        What is read at both ends of each span of computing.

    Notes
    -----
    The sum is as exact as the counter. A span shorter than the counter's step gets the whole step
    or nothing, which only many spans even out.
    """

    def __init__(self, sensor: Sensor) -> None:
        self._read_j = sensor.read_j
        self._busy_j = self._waiting_j = 0.0
        self._last_j = self._read_j() if self._read_j else 0.0

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count what is spent inside as that of computing."""
        self._waiting_j += self._since_j()
        yield
        self._busy_j += self._since_j()

    def spent_j(self) -> tuple[float | None, float | None]:
        """Energy of computing and of the rest so far [J]; None twice where nothing counts it."""
        if self._read_j is None:
            return None, None
        self._waiting_j += self._since_j()
        return self._busy_j, self._waiting_j

    def _since_j(self) -> float:
        if self._read_j is None:
            return 0.0
        before_j, self._last_j = self._last_j, self._read_j()
        return self._last_j - before_j
