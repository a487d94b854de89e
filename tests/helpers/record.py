"""A run of the benchmarks as a file: machine, date, versions, and what the book shows."""

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path

import card
from card.book.markdown import to_json, write

SOFTWARE = ("numpy", "scipy", "torch", "pymoo", "dask", "xarray")


def write_record(path, benchmarks, notes):
    """Write the medians of a run's benchmarks and what was measured beside them.

    Parameters
    ----------
    path
        JSON file to write.
    benchmarks
        Benchmarks of pytest-benchmark's session.
    notes
        What they left beside their times.
    """
    write(
        path,
        to_json(
            {
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
                "machine": {
                    "processor": _processor(),
                    "processors": os.cpu_count(),
                    "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
                    "load_before": notes.load,
                },
                "software": {
                    "python": platform.python_version(),
                    "card": card.__version__,
                    **{name: metadata.version(name) for name in SOFTWARE},
                },
                "benchmarks": {
                    bench.extra_info.get("method", bench.name): {
                        "median_s": bench.stats.median,
                        "rounds": bench.stats.rounds,
                        "decisions": bench.extra_info.get("decisions"),
                        "gap": bench.extra_info.get("gap"),
                    }
                    for bench in benchmarks
                    if bench.stats.data
                },
                **notes.figures,
            }
        ),
    )


def _processor():
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
