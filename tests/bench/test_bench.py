"""How fast CARD decides, beside general optimisers that decide the same and beside plain memory."""

import os
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from rivals import Instance, by_evolution, by_genetic, by_loop, by_scipy

import card
from card.base.arrays import _CHUNK as CHUNK
from card.base.arrays import backend_of
from card.simulation import draw
from card.solver import compiled, solve_exhaustive
from card.solver.clock import best_clock
from card.solver.optimum import Lines, decide, unit_prices
from card.solver.parallel import least_makespan
from card.solver.pruning import pruned_options
from card.studies.speed import BASELINE, FLOOR, SINGLE

MILLION = 1_000_000
BYTES = (3 + 10) * 8
"""What a decision's device and rates and its ten results take."""

RIVALS = {
    by_loop: ("CARD as a plain Python loop", 200),
    by_scipy: (BASELINE, 20),
    by_evolution: ("scipy, differential evolution", 5),
    by_genetic: ("pymoo, mixed-variable GA", 3),
}
"""Method and instances of each rival, out of the million; the slow ones get few."""

BITS = {"wire.uplink_bits": [16, 8, 4], "wire.downlink_bits": [16, 8, 4]}

STREAM = """
import sys
import numpy as np
import card
system, block = card.system(card.load_scenario("nominal")), 1 << 18
rng, spent_j = np.random.default_rng(0), 0.0
for start in range(0, int(sys.argv[1]), block):
    device = rng.integers(system.num_devices, size=block)
    spent_j += card.solve(system, device, *rng.uniform(1e6, 1e8, (2, block))).energy_j.sum()
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
"""Decides block by block and prints the peak of its own memory [kB]."""

SWEEP = """
import sys
import card
weights = [0.05 + 0.1 * place for place in range(10)]
bands = [4e6 * (place + 1) for place in range(20)]
over = {"objective.delay_weight": weights, "link.bandwidth_hz": bands}
rounds, output = int(sys.argv[1]), sys.argv[2]
card.sweep(card.load_scenario("nominal"), over, ["card"], rounds=rounds, output=output)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
"""Sweeps 200 points to disk and prints the peak of its own memory [kB]."""
SWEEP_POINTS = 200

KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": 1 << 25, "MALLOC_MMAP_THRESHOLD_": 1 << 25}
"""Dask's workers otherwise return every block to the system at once, most of their time."""


@pytest.fixture(scope="module")
def case():
    """A million device-rounds of the shipped scenario."""
    scenario = card.load_scenario("nominal")
    system = card.system(scenario)
    draws = draw(system, scenario, rounds=-(-MILLION // 15), seed=0)
    parts = (draws.device, draws.uplink_bps, draws.downlink_bps)
    return system, *(part.ravel()[:MILLION].copy() for part in parts)


@pytest.mark.parametrize(("threads", "said"), [(1, "1 thread"), (2, "2 threads")])
@pytest.mark.parametrize(
    ("search", "who"),
    [(card.solve, "CARD"), (solve_exhaustive, "every cut")],
    ids=["CARD", "every"],
)
def test_million_decisions(benchmark, case, search, who, threads, said, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
    benchmark.extra_info.update(method=f"{who}, NumPy, {said}", decisions=MILLION)
    decision = benchmark.pedantic(search, case, rounds=7, warmup_rounds=2)
    assert decision.cut.shape == (MILLION,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({}, "all terms"), (BITS, "all terms, 9 pairs of bits")],
    ids=["terms", "bits"],
)
def test_million_decisions_of_real_machines(benchmark, case, changes, said, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    system = card.system(card.load_scenario("realistic", **changes))
    benchmark.extra_info.update(method=f"CARD, NumPy, 1 thread, {said}", decisions=MILLION)
    decision = benchmark.pedantic(card.solve, (system, *case[1:]), rounds=7, warmup_rounds=2)
    assert decision.cut.shape == (MILLION,)


def test_copy_of_as_many_bytes(benchmark):
    """The floor: what a million decisions read and write, copied to fresh memory."""
    block = np.ones(MILLION * BYTES // 8)
    benchmark.extra_info.update(method=FLOOR, decisions=MILLION)
    copy = benchmark.pedantic(block.copy, rounds=7, warmup_rounds=2)
    assert copy.nbytes == MILLION * BYTES


# torch's compiler imports what torch itself warns of
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("how", ["eager", "compiled"])
def test_million_decisions_by_torch(benchmark, case, how):
    """The same core on tensors, and fused into one kernel by torch's compiler."""
    torch = pytest.importorskip("torch")
    system, *arrays = case
    tensors = [torch.tensor(part) for part in arrays]
    call = partial(card.solve, system, *tensors)
    if how == "compiled":
        weight = torch.full((MILLION,), system.delay_weight, dtype=torch.float64)
        call = partial(compiled(system), *tensors, weight)
    benchmark.extra_info.update(method=f"CARD, torch, {how}", decisions=MILLION)
    found = benchmark.pedantic(call, rounds=7, warmup_rounds=2)
    np.testing.assert_array_equal(found.cut.numpy(), card.solve(*case).cut)


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.__name__)
def test_same_decisions(benchmark, case, rival):
    system, device, up, down = case
    method, count = RIVALS[rival]
    sample = np.linspace(0, MILLION - 1, count).astype(int)
    instances = [Instance.of(system, *(part[i] for part in (device, up, down))) for i in sample]
    benchmark.extra_info.update(method=method, decisions=count)
    found = benchmark.pedantic(
        lambda: [rival(instance) for instance in instances], rounds=3, warmup_rounds=1
    )
    ours = card.solve(system, device[sample], up[sample], down[sample])
    values = [
        instance.value(cut, clock)
        for instance, cut, clock in zip(
            instances, ours.cut.tolist(), ours.frequency_hz.tolist(), strict=True
        )
    ]
    gaps = np.array([value for value, _, _ in found]) - values
    benchmark.extra_info["gap"] = float(gaps.max())
    # nothing beats CARD by more than rounding; a rival may stop short of it
    assert gaps.min() >= -1e-12
    if rival in (by_loop, by_scipy):
        assert gaps.max() <= 1e-9
        np.testing.assert_array_equal(ours.cut, [cut for _, cut, _ in found])


def test_hundred_single_decisions(benchmark, case):
    """What a caller pays who asks one device-round at a time."""
    system, device, up, down = case
    benchmark.extra_info.update(method=SINGLE, decisions=100)

    def loop():
        return [card.solve(system, device[i], up[i], down[i]) for i in range(100)]

    benchmark.pedantic(loop, rounds=5, warmup_rounds=1)


def test_thousand_devices_at_once(benchmark, notes):
    """Least makespan on a band that widens with the crowd, so that some of it is split."""
    system, count = card.system(card.load_scenario("nominal")), 1000
    rng = np.random.default_rng(0)
    device, rates = rng.integers(5, size=count), count / 5 * rng.uniform(5e6, 5e7, (2, count))
    found = benchmark.pedantic(least_makespan, (system, device, *rates), rounds=5, warmup_rounds=1)
    assert 0 < (found.option < system.num_blocks).sum() < count
    spent_s, gap = benchmark.stats.stats.median, 1 - found.bound_s / found.makespan_s
    notes.figures["parallel"] = {"devices": count, "wall_s": spent_s, "gap": gap}
    notes.facts.append(f"{count:,} devices at once: {spent_s:.2f} s, {gap:.0e} above the bound")
    assert spent_s < 1
    assert gap < 1e-3


def test_memory_stays_flat_from_a_million_to_a_hundred_million(benchmark, notes):
    """Each stream in a process of its own, which reports its peak."""

    def peak_mb(count):
        run = subprocess.run(
            [sys.executable, "-c", STREAM, str(count)], capture_output=True, text=True, check=True
        )
        return int(run.stdout) / 1024

    counts = [10**6, 10**7, 10**8]
    peaks = benchmark.pedantic(lambda: [peak_mb(count) for count in counts], rounds=1)
    notes.facts.append(
        "peak memory of a stream: "
        + ", ".join(f"{count:.0e} {peak:.0f} MB" for count, peak in zip(counts, peaks, strict=True))
    )
    notes.figures["stream"] = {
        "decisions": counts, "peak_mb": peaks, "wall_s": benchmark.stats.stats.median
    }  # fmt: skip
    # freed blocks leave gaps of some MB; decisions that were kept would add 8 GB
    assert max(peaks) < 1.25 * min(peaks)


def test_sweep_of_a_hundred_million_decisions_stays_below_two_gigabytes(benchmark, notes, tmp_path):
    """In a process of its own, means of every grid point to disk."""
    scenario = card.load_scenario("nominal")
    inner = SWEEP_POINTS * len(scenario.devices) * len(scenario.channel_states)
    rounds, output = -(-(10**8) // inner), tmp_path / "sweep.nc"
    words = [sys.executable, "-c", SWEEP, str(rounds), str(output)]
    run = benchmark.pedantic(
        lambda: subprocess.run(words, capture_output=True, text=True, check=True), rounds=1
    )
    peak_mb, spent_s = int(run.stdout) / 1024, benchmark.stats.stats.median
    notes.figures["sweep"] = {
        "points": SWEEP_POINTS, "rounds": rounds, "decisions": inner * rounds,
        "wall_s": spent_s, "peak_mb": peak_mb, "file_bytes": output.stat().st_size,
    }  # fmt: skip
    notes.facts.append(f"sweep of {inner * rounds:,} decisions: {spent_s:.0f} s, {peak_mb:.0f} MB")
    assert peak_mb < 2000


def test_where_the_time_goes(benchmark, notes, case):
    """The steps of a decision on one thread, chunk by chunk as the package takes them."""
    system, *arrays = case
    lines = Lines.of(system, pruned_options(system), backend_of(*arrays))
    chunks = [
        [part[start : start + CHUNK] for part in arrays] for start in range(0, MILLION, CHUNK)
    ]
    weights = [np.full(part.size, system.delay_weight) for part, *_ in chunks]

    def steps():
        spent = dict.fromkeys(("sending", "normalising", "clock", "whole"), 0.0)
        for chunk, weight in zip(chunks, weights, strict=True):
            marks = [time.perf_counter()]
            fixed = lines.waited_s(*chunk)
            marks.append(time.perf_counter())
            lowest = lines.at(lines.arrays.frequency_min_hz, chunk[0])
            prices = unit_prices(np, lines.extremes(chunk[0], fixed, lowest), weight)
            marks.append(time.perf_counter())
            best_clock(np, lines.arrays, lowest, *prices)
            marks.append(time.perf_counter())
            decide(lines, *chunk, weight)
            marks.append(time.perf_counter())
            for name, (begun, ended) in zip(spent, pairwise(marks), strict=True):
                spent[name] += ended - begun
        return spent

    steps()
    runs = benchmark.pedantic(lambda: [steps() for _ in range(7)], rounds=1)
    median = {name: float(np.median([run[name] for run in runs])) for name in runs[0]}
    whole = median.pop("whole")
    # the search over cuts and the costs of the best are what is left
    median["search"] = whole - sum(median.values())
    notes.figures["steps_s"] = median
    shares = ", ".join(f"{name} {spent / whole:.0%}" for name, spent in median.items())
    notes.facts.append(f"a decision's time: {shares}")
    assert min(median.values()) > 0


def test_two_dask_workers_share_the_work(benchmark, notes):
    """Rates are drawn and decisions summed where they are made, so that only sums travel."""
    da, distributed = (pytest.importorskip(name) for name in ("dask.array", "distributed"))
    config = pytest.importorskip("dask.config")
    system, count, block = card.system(card.load_scenario("nominal")), 2 * 10**7, MILLION

    def seconds(workers):
        with (
            config.set({"distributed.nanny.pre-spawn-environ": KEEP_MEMORY}),
            distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster),
        ):
            device = da.random.default_rng(0).integers(system.num_devices, size=count, chunks=block)
            rates = da.random.default_rng(1).uniform(1e6, 1e8, size=(2, count), chunks=(1, block))
            total = card.solve(system, device, *rates).energy_j.sum()
            times = []
            for _ in range(4):
                start = time.perf_counter()
                total.compute()
                times.append(time.perf_counter() - start)
            return min(times[1:])  # the first has the workers' imports

    one, two = benchmark.pedantic(lambda: [seconds(workers) for workers in (1, 2)], rounds=1)
    notes.figures["dask"] = {"decisions": count, "workers": [1, 2], "wall_s": [one, two]}
    notes.facts.append(
        f"Dask, {count:.0e} decisions: 1 worker {one:.2f} s, 2 workers {two:.2f} s, "
        f"{one / two:.2f} x on {os.cpu_count()} processors"
    )


def test_simulation_of_the_shipped_scenario(benchmark, notes):
    results = benchmark.pedantic(
        card.simulate, (card.load_scenario("nominal"),), {"rounds": 200}, rounds=3, warmup_rounds=1
    )
    notes.figures["study"] = {
        "rounds": results.sizes["round"], "policies": results.sizes["policy"],
        "wall_s": benchmark.stats.stats.median,
    }  # fmt: skip
    assert np.isfinite(results.delay_s).all()
