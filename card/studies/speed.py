"""What deciding was recorded to cost, and what that makes of a plan which nobody has run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from card.base.data_files import DATA, read_json
from card.base.errors import ScenarioError, nearest
from card.scenario import Scenario
from card.simulation import means, simulate

BASELINE = "scipy, bounded search per cut"
"""What ratios refer to."""
FLOOR = "copying as many bytes"
"""What decides nothing, and only moves what a decision reads and writes."""
BULK = "CARD, NumPy, 2 threads"
"""How CARD decides without torch when it has many decisions to make."""
SINGLE = "CARD, one call at a time"
"""How CARD decides when it is asked for one."""
KEPT_BYTE = 16 * 8
"""One decision if all of it were kept [byte], device and two rates in, thirteen results out."""


def recorded(name: str) -> dict[str, Any]:
    """A run on record in `data/runs`, such as `speed` or `delay-by-cut`.

    Raises
    ------
    ScenarioError
        If there is no such record.
    """
    path = DATA / "runs" / f"{name}.json"
    if not path.is_file():
        known = [other.stem for other in path.parent.glob("*.json")]
        raise ScenarioError(
            f"no run is recorded as {name!r}; {nearest(name, known)}; take data/runs/{name}.json "
            "from the repository."
        )
    return read_json(f"runs/{name}")


def decision_rates(record: Mapping[str, Any]) -> dict[str, float]:
    """Decisions per second of every method in a record, the fastest first [1/s].

    Parameters
    ----------
    record
        What `pytest tests/bench --benchmark-only --record FILE` wrote.
    """
    rates = {
        method: found["decisions"] / found["median_s"]
        for method, found in record["benchmarks"].items()
        if found["decisions"]
    }
    return dict(sorted(rates.items(), key=lambda item: -item[1]))


def worst_gaps(record: Mapping[str, Any]) -> dict[str, float | None]:
    """Largest objective above CARD's, by method [1]; None where none was compared."""
    found = record["benchmarks"].items()
    return {method: one["gap"] for method, one in found if one["decisions"]}


def serial_share(speed_up: float, workers: int) -> float:
    """Share of the work that more workers do not shorten, by Amdahl's law [1].

    Parameters
    ----------
    speed_up
        Measured ratio of the time of one worker to that of `workers` [1].
    workers
        More than one.
    """
    if workers < 2 or speed_up <= 0:
        raise ValueError(
            f"workers = {workers}, speed_up = {speed_up:g} is not allowed; "
            "give 2 workers or more and a ratio above 0."
        )
    return min(1.0, max(0.0, (workers / speed_up - 1) / (workers - 1)))


def amdahl(share: float, workers: int) -> float:
    """Speed-up of `workers` with a serial share of the work [1]; one worker has 1."""
    return 1 / (share + (1 - share) / workers)


def plan_times(record: Mapping[str, Any], decisions: int, workers: int) -> dict[str, float]:
    """Time that many decisions would take by the measured cost of one [s], by way of making them.

    Parameters
    ----------
    record
        What `pytest tests/bench --benchmark-only --record FILE` wrote.
    decisions
        Decisions to make.
    workers
        Workers of a Dask cluster, each with a processor of its own.
    """
    rates, swept, dask = decision_rates(record), record["sweep"], record["dask"]
    one_s = decisions / dask["decisions"] * dask["wall_s"][0]
    share = serial_share(dask["wall_s"][0] / dask["wall_s"][1], dask["workers"][1])
    return {
        BASELINE: decisions / rates[BASELINE],
        "one call at a time": decisions / rates[SINGLE],
        "`card.sweep`, this machine": decisions / swept["decisions"] * swept["wall_s"],
        "stream of decisions, one Dask worker": one_s,
        "decisions alone, this machine": decisions / rates[BULK],
        f"{workers} Dask workers, Amdahl's law": one_s / amdahl(share, workers),
        f"{workers} Dask workers, ideal": one_s / workers,
    }


def shared_band(
    scenario: Scenario, parts: Sequence[int], rounds: int, seed: int
) -> dict[int, dict[str, float]]:
    """Means of CARD's round when so many devices share the band in equal parts.

    Fading in blocks has an infinite mean delay for few draws, which no part of the band should
    be judged by: the ergodic rate takes its place.

    Parameters
    ----------
    scenario
        The scenario; its bandwidth is divided.
    parts
        Numbers of devices, 1 for the whole band.
    rounds
        Rounds of the simulations, which share their draws.
    seed
        Their seed.

    Returns
    -------
    dict[int, dict[str, float]]
        Means as `card.simulation.means` has them, by number of devices.
    """
    blocks = scenario.link.fading == "block"
    base = scenario.updated({"link.fading": "ergodic"}) if blocks else scenario
    found = {}
    for part in parts:
        narrow = base.updated({"link.bandwidth_hz": base.link.bandwidth_hz / part})
        found[part] = means(simulate(narrow, ["card"], rounds=rounds, seed=seed))["card"]
    return found
