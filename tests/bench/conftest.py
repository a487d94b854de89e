"""Ends a run with what the times mean: decisions per second, and the ratio within the run."""

import pytest

DECISIONS = pytest.StashKey[dict[str, int]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[DECISIONS] = {}


@pytest.fixture
def decisions(request: pytest.FixtureRequest) -> dict[str, int]:
    """Where a benchmark notes how many decisions one of its rounds makes."""
    return request.config.stash[DECISIONS]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    counts, session = config.stash[DECISIONS], getattr(config, "_benchmarksession", None)
    if session is None or not counts:
        return
    rates = {
        bench.name: counts[bench.name] / bench.stats.median
        for bench in session.benchmarks
        if bench.name in counts
    }
    if not rates:
        return
    slowest, width = min(rates.values()), max(map(len, rates))
    terminalreporter.section("decisions per second")
    for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
        terminalreporter.write_line(f"{name:{width}} {rate:14,.0f} {rate / slowest:12,.0f} x")
