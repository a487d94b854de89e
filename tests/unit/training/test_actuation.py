"""A GPU's clock is locked for a round and released whatever ends it, or refused with the reason.

NVML is a recording fake: what is tested is what it is asked, not what a GPU does then.
"""

import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_nvml import UUID, fake_nvml, locks

from card.base.errors import ScenarioError

torch = pytest.importorskip("torch")

from card.training import actuation
from card.training.actuation import actuator, check_compute, locking
from card.training.gpu import Gpu

LOCKED_HZ = 1500e6


@pytest.fixture
def nvml(monkeypatch):
    """Puts a fake in place of NVML, and a GPU of its in place of torch's."""

    def put(**options):
        made = fake_nvml(**options)
        monkeypatch.setitem(sys.modules, "pynvml", made)
        found = SimpleNamespace(uuid=UUID.removeprefix("GPU-"))
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: found)
        return made

    return put


@pytest.mark.parametrize(
    ("wanted_hz", "mhz"), [(1.6e9, 1500), (1.9e9, 1965), (9e9, 1980), (1.0, 345)]
)
def test_the_nearest_clock_that_is_offered_is_set_and_told(nvml, wanted_hz, mhz):
    asked = nvml()
    with locking(Gpu(UUID))(wanted_hz, 1.0) as setting:
        assert locks(asked) == [("lock", mhz, mhz)]
        assert (setting.clock_hz, setting.stretch) == (1e6 * mhz, 1.0)
    assert locks(asked) == [("lock", mhz, mhz), ("release",)]


@pytest.mark.parametrize("end", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_the_clock_is_released_whatever_ends_the_round(nvml, end):
    asked = nvml()
    with pytest.raises(end), locking(Gpu(UUID))(LOCKED_HZ, 1.0):
        raise end
    assert locks(asked)[-1] == ("release",)


SERVER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from fake_nvml import UUID, fake_nvml, locks
from card.base.processes import end_on_signals
from card.training.actuation import locking
from card.training.gpu import Gpu

end_on_signals()
sys.modules["pynvml"] = nvml = fake_nvml()
try:
    with locking(Gpu(UUID))(1.5e9, 1.0):
        print("locked", flush=True)
        time.sleep(600)
finally:
    print(locks(nvml), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_clock_is_released_when_a_signal_ends_the_process(number):
    helpers = Path(__file__).parents[2] / "helpers"
    command = [sys.executable, "-c", SERVER, helpers]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert said == b"[('lock', 1500, 1500), ('release',)]\n"
    assert process.returncode == 128 + number


def test_a_signal_just_after_the_lock_leaves_it_not_locked(nvml, monkeypatch):
    asked, gpu = nvml(), None
    gpu = Gpu(UUID)
    lock = gpu.lock

    def interrupted(frequency_hz):
        lock(frequency_hz)
        raise SystemExit(143)

    monkeypatch.setattr(gpu, "lock", interrupted)
    with pytest.raises(SystemExit), locking(gpu)(LOCKED_HZ, 1.0):
        pass
    assert locks(asked) == [("lock", 1500, 1500), ("release",)]


def test_a_trial_at_the_start_leaves_the_clock_free(nvml):
    asked = nvml()
    actuator("clock", "cuda", 1.98e9)
    assert locks(asked) == [("lock", 1980, 1980), ("release",)]


def test_without_permission_it_is_refused_and_nothing_is_released(nvml):
    asked = nvml(refuses={"nvmlDeviceSetGpuLockedClocks"})
    with pytest.raises(ScenarioError) as refusal:
        actuator("clock", "cuda", 1.98e9)
    assert str(refusal.value) == (
        "--actuate clock: the GPU cannot have its clock locked: NVML says Insufficient "
        "Permissions; give --actuate pace, which needs no GPU, or none."
    )
    assert locks(asked) == [("lock", 1980, 1980)]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"refuses": {"nvmlInit"}}, "the GPU cannot be reached: NVML says"),
        ({"offered_mhz": {}}, "the GPU lists no clocks that it could be locked to"),
    ],
)
def test_a_gpu_that_offers_no_clocks_is_refused(nvml, options, reason):
    nvml(**options)
    with pytest.raises(ScenarioError, match=reason):
        actuator("clock", "cuda", 1.98e9)


def test_without_the_package_it_is_refused_with_the_command_that_brings_it(nvml, monkeypatch):
    nvml()
    monkeypatch.setitem(sys.modules, "pynvml", None)  # cannot be imported
    with pytest.raises(ScenarioError, match=r"nvidia-ml-py is not installed; pip install .*energy"):
        actuator("clock", "cuda", 1.98e9)


def test_a_processor_s_clock_is_not_locked():
    with pytest.raises(ScenarioError, match=r"add --compute cuda, or give --actuate pace"):
        actuator("clock", "cpu", 1.98e9)


def test_a_gpu_that_is_not_here_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ScenarioError, match=r"torch finds no NVIDIA GPU here; give --compute cpu"):
        check_compute("cuda")
    check_compute("cpu")


def test_a_span_on_a_gpu_ends_when_all_is_computed(monkeypatch):
    """Kernels are only queued; without waiting for them, their energy would be that of waiting."""
    order = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("synchronised"))
    sensor = actuation.Sensor(lambda: order.append("read") or 0.0, "a list")
    work = actuation.Work(actuation.Setting(), sensor, "cuda")
    with work.computing():
        order.append("queued")
    assert order == ["read", "read", "queued", "synchronised", "read"]


class Clock:
    """Time that passes only in spans and sleeps, each sleep a tenth too long."""

    def __init__(self):
        self.now_s = 0.0

    def perf_counter(self):
        return self.now_s

    def sleep(self, time_s):
        self.now_s += 1.1 * time_s


@pytest.mark.parametrize("stretch", [1.0, 1.5, 4.0])
def test_spans_last_as_long_as_at_the_clock_and_late_pauses_are_made_up(stretch, monkeypatch):
    clock, spans_s = Clock(), (1.0, 0.2, 3.0)
    monkeypatch.setattr(actuation, "time", clock)
    work = actuation.Work(actuation.Setting(stretch=stretch), actuation.UNMETERED, "cpu")
    for span_s in spans_s:
        with work.computing():
            clock.now_s += span_s
    paused_s = work.noted()["server_paused_s"]
    due_s = (stretch - 1) * sum(spans_s)
    assert clock.now_s == pytest.approx(sum(spans_s) + paused_s)
    # the last pause alone is late, by a tenth of what was due then
    assert due_s <= paused_s <= due_s + 0.1 * (stretch - 1) * spans_s[-1]


def test_a_span_that_fails_is_not_paced(monkeypatch):
    monkeypatch.setattr(actuation, "time", Clock())
    work = actuation.Work(actuation.Setting(stretch=2.0), actuation.UNMETERED, "cpu")
    with pytest.raises(RuntimeError), work.computing():
        raise RuntimeError
    assert work.noted()["server_paused_s"] == 0
