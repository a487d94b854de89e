"""What parts add to a step, from times of chains; a GPU's own time; power while waiting."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

from card.base.errors import installing
from card.profiling import energy, timing
from card.profiling.chains import added, longest
from card.profiling.timing import told_apart


def chain_times(*, start, first, block, head, runs=9):
    """Times of chains of parts that take what is given, on a machine whose speed drifts."""
    drift = np.linspace(1.0, 3.0, runs)
    once = {
        "embedding": 0.1,
        "first": start + first,
        "blocks": start + first + 4 * block,
        "head": start + first + 4 * block + head,
        "inside": start + block + 0.05,
    }
    return {name: seconds * drift for name, seconds in once.items()}


def test_parts_add_what_chains_with_and_without_them_differ_by():
    found = added(chain_times(start=0.2, first=1.0, block=2.0, head=3.0), blocks=5)
    # the middle of the runs has twice the time
    expected = {"embedding": 0.2, "first_block": 2.4, "block": 4, "head": 6, "arrival": 0.5}
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected)


def test_only_times_of_one_run_are_compared():
    times = chain_times(start=0.0, first=1.0, block=2.0, head=0.01)
    assert added(times, blocks=5)["head"].value == pytest.approx(0.02)
    swapped = {**times, "head": times["head"][::-1]}
    assert added(swapped, blocks=5)["head"].value == pytest.approx(0.02)


def test_what_noise_hides_is_absent_with_its_reason():
    head = added(chain_times(start=0.0, first=1.0, block=2.0, head=-0.1), blocks=5)["head"]
    assert head.value is None
    assert head.reason.startswith("lost in noise: median of 9 runs")


@pytest.mark.parametrize(("free", "blocks"), [(1e9, 5), (1.5 * 14, 4), (1.5 * 14 - 1, 3), (0, 2)])
def test_the_longest_chain_fits_the_memory_that_is_free(free, blocks):
    # embedding and head take 4, a block 2
    memory = np.array([4 + 2 * cut for cut in range(16)] + [4 + 2 * 16 + 0])
    assert longest(memory, free) == blocks


def test_no_chain_is_longer_than_the_llm_and_none_shorter_than_two_blocks():
    for count, blocks in ((1, 2), (2, 2), (3, 3), (12, 5)):
        assert longest(np.arange(count + 1), 1e9) == blocks


def test_a_gpu_s_own_time_is_known_only_if_it_was_held_up_until_all_was_asked_for():
    device, launched = told_apart(0.5, 2.0, held_s=3.0)
    assert (device.value, launched.value) == (0.5, 2.0)
    for reading in told_apart(0.5, 3.0, held_s=3.0):
        assert reading.value is None
        assert reading.reason == "not all was asked for while the GPU was held up, 3 s"


class Gpu:
    """A GPU with a queue, which works off what it is asked for in order, on a clock of its own."""

    def __init__(self):
        self.now_s = self.free_s = 0.0

    def Event(self, **_):
        event = SimpleNamespace(at_s=None)
        event.record = lambda: setattr(event, "at_s", max(self.now_s, self.free_s))
        event.elapsed_time = lambda other: 1e3 * (other.at_s - event.at_s)
        return event

    def _sleep(self, cycles):
        self.free_s = max(self.now_s, self.free_s) + cycles / timing.FASTEST_HZ

    def synchronize(self):
        self.now_s = max(self.now_s, self.free_s)

    def run(self, kernels, *, waits=False):
        """Ask for kernels, which take 1 s to ask for and 0.25 s to work off each."""
        start_s = self.now_s
        for _ in range(kernels):
            self.now_s += 1.0
            self.free_s = max(self.now_s, self.free_s) + 0.25
        if waits:
            self.synchronize()
        return (self.now_s - start_s,)


def test_work_in_a_queue_has_no_gaps_though_asking_for_it_takes_longer(monkeypatch):
    gpu = Gpu()
    monkeypatch.setattr(timing, "torch", SimpleNamespace(cuda=gpu))
    device, launched = timing.queued("cuda", lambda: gpu.run(8), alone_s=8.25)
    assert (device.value, launched.value) == pytest.approx((8 * 0.25, 8.0))
    for reading in timing.queued("cuda", lambda: gpu.run(8, waits=True), alone_s=8.25):
        assert reading.value is None


def test_a_power_law_with_a_linear_part_is_recovered():
    clocks = [0.5e9, 1.0e9, 1.5e9, 2.0e9]
    powers = [20.0 + 3e-8 * clock + 9.0e-27 * clock**3 for clock in clocks]
    fit = energy.fit_power_law(clocks, powers, [1.0] * 4)
    # least squares in double precision
    found = fit.static_power_w, fit.linear_power_w_per_hz, fit.power_coefficient
    assert found == pytest.approx((20.0, 3e-8, 9.0e-27), rel=1e-6)
    assert fit.holds_from_hz == 0.5e9


def test_idle_power_is_that_of_a_pause_after_the_first(monkeypatch):
    events = []

    class Monitor:
        def __init__(self, **_):
            pass

        def begin_window(self, *_, **_more):
            events.append("begin")

        def end_window(self, *_, **_more):
            return SimpleNamespace(cpu_energy={0: 30.0}, soc_energy=None, time=2.0)

    monkeypatch.setattr(energy, "import_module", lambda _: SimpleNamespace(ZeusMonitor=Monitor))
    clock = iter(range(100))
    pauses = SimpleNamespace(perf_counter=lambda: next(clock), sleep=events.append)
    monkeypatch.setattr(energy, "time", pauses)
    found = energy.idle_power_w("cpu")
    assert found.value == 15.0
    assert events[:2] == [energy.WINDOW_S, "begin"]
    assert set(events[2:]) == {energy.WINDOW_S}


def test_idle_power_is_absent_with_its_reason(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(energy, "import_module", missing)
    assert energy.idle_power_w("cpu").reason == f"zeus is not installed; {installing('energy')}"
