"""Ends a run with what the times mean: decisions per second, gaps, and what was measured beside.

`pytest tests/bench/test_bench.py --benchmark-only --record FILE` writes what the book shows.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from record import write_record


@dataclass
class Notes:
    """What benchmarks know beside their times."""

    facts: list[str] = field(default_factory=list)
    """Sentences for the end."""
    figures: dict[str, Any] = field(default_factory=dict)
    """What the sentences say, as numbers for a record."""
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    """Processors that others kept busy in the minute before the run."""


NOTES = pytest.StashKey[Notes]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", type=Path, metavar="FILE", help="write the run's numbers as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[NOTES] = Notes()


@pytest.fixture
def notes(request: pytest.FixtureRequest) -> Notes:
    """Where a benchmark leaves what the summary shows."""
    return request.config.stash[NOTES]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    notes, session = config.stash[NOTES], getattr(config, "_benchmarksession", None)
    deciding = {
        bench.extra_info["method"]: (
            bench.extra_info["decisions"] / bench.stats.median,
            bench.extra_info.get("gap"),
        )
        for bench in (session.benchmarks if session else ())
        if "method" in bench.extra_info and bench.stats.data
    }
    if not (deciding or notes.facts):
        return
    slowest = min((rate for rate, _ in deciding.values()), default=0)
    width = max(map(len, deciding), default=0)
    terminalreporter.section("decisions per second (median), times the slowest, worst gap")
    for method, (rate, gap) in sorted(deciding.items(), key=lambda item: -item[1][0]):
        line = f"{method:{width}} {rate:14,.1f} {rate / slowest:14,.0f} x "
        terminalreporter.write_line(line + ("" if gap is None else f"{gap:10.1e}"))
    for fact in notes.facts:
        terminalreporter.write_line(fact)
    if path := config.getoption("--record", default=None):
        write_record(path, session.benchmarks, notes)
