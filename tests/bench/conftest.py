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

    decisions: dict[str, int] = field(default_factory=dict)
    """How many decisions one of a benchmark's rounds makes."""
    gaps: dict[str, float] = field(default_factory=dict)
    """Worst objective above CARD's on the same instances."""
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
    rates = {
        bench.name: notes.decisions[bench.name] / bench.stats.median
        for bench in (session.benchmarks if session else ())
        if bench.name in notes.decisions and bench.stats.data
    }
    if not (rates or notes.facts):
        return
    slowest, width = min(rates.values(), default=0), max(map(len, rates), default=0)
    terminalreporter.section("decisions per second (median), times the slowest, worst gap")
    for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
        gap = f"{notes.gaps[name]:10.1e}" if name in notes.gaps else ""
        terminalreporter.write_line(f"{name:{width}} {rate:14,.1f} {rate / slowest:14,.0f} x {gap}")
    for fact in notes.facts:
        terminalreporter.write_line(fact)
    if path := config.getoption("--record", default=None):
        write_record(path, session.benchmarks, notes)
