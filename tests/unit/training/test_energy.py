"""Joules of a round, busy and waiting apart; a counter that is absent is told, and never 0."""

import itertools
import sys
from types import SimpleNamespace

import pytest
from fake_nvml import UUID, fake_nvml
from hypothesis import given
from hypothesis import strategies as st

from card.base.errors import ScenarioError

torch = pytest.importorskip("torch")

from card.training.energy import UNMETERED, Meter, Rapl, Sensor

RANGE_UJ = 262_143_328_850
"""As an Intel processor shows it."""


def zone(folder, name, uj, range_uj=RANGE_UJ):
    """A counter as Linux's powercap shows it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (folder / "energy_uj").write_text(f"{uj}\n")
    return folder / "energy_uj"


@pytest.fixture
def two_packages(tmp_path):
    """Counters of a machine of two packages, with the parts and the doubles that Linux shows."""
    counters = [zone(tmp_path / f"intel-rapl:{n}", f"package-{n}", 10**6 * n) for n in (0, 1)]
    zone(tmp_path / "intel-rapl:0:0", "core", 5)
    zone(tmp_path / "intel-rapl:2", "psys", 7)
    zone(tmp_path / "intel-rapl-mmio:0", "package-0", 9)
    (tmp_path / "intel-rapl").mkdir()
    return counters


def test_all_packages_are_counted_and_nothing_twice(two_packages, tmp_path):
    rapl = Rapl(tmp_path)
    assert rapl.read_j() == 0
    two_packages[0].write_text("2500000\n")
    two_packages[1].write_text("1250000\n")
    for counter in tmp_path.glob("intel-rapl*:*/energy_uj"):
        if counter not in two_packages:
            counter.write_text("999999999\n")
    assert rapl.read_j() == pytest.approx(2.75)


@given(steps=st.lists(st.integers(0, RANGE_UJ - 1), max_size=12), start=st.integers(0, RANGE_UJ))
def test_a_counter_that_starts_anew_goes_on(steps, start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("powercap")
    counter = zone(folder / "intel-rapl:0", "package-0", start)
    rapl = Rapl(folder)
    rapl.read_j()
    for total in itertools.accumulate(steps):
        counter.write_text(f"{(start + total) % RANGE_UJ}\n")
        assert rapl.read_j() == pytest.approx(1e-6 * total)


def test_a_machine_without_a_counter_says_so(tmp_path):
    sensor = Sensor.of("cpu", tmp_path / "powercap")
    assert sensor.read_j is None
    assert sensor.source.startswith("the system shows no RAPL counter of a processor in ")


def test_a_counter_that_may_not_be_read_says_so(two_packages, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "read_text", refuse)
    sensor = Sensor.of("cpu", tmp_path)
    assert sensor.read_j is None
    assert "may be read by root alone" in sensor.source


def test_energy_of_computing_is_told_from_the_rest():
    readings = iter([100.0, 103.0, 110.0, 111.0, 131.0, 136.0])
    meter = Meter(Sensor(lambda: next(readings), "a list"))
    for _ in range(2):
        with meter.busy():
            pass
    assert meter.spent_j() == (7 + 20, 3 + 1 + 5)


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=20))
def test_no_joule_is_lost_or_counted_twice(gains):
    totals = list(itertools.accumulate(gains, initial=0.0))
    spans = (len(totals) - 2) // 2
    readings = iter(totals)
    meter = Meter(Sensor(lambda: next(readings), "a list"))
    for _ in range(spans):
        with meter.busy():
            pass
    assert sum(meter.spent_j()) == pytest.approx(totals[2 * spans + 1])


def test_what_nobody_counts_is_absent_and_not_zero():
    meter = Meter(UNMETERED)
    with meter.busy():
        pass
    assert meter.spent_j() == (None, None)


@pytest.fixture
def gpu(monkeypatch):
    def put(**options):
        found = SimpleNamespace(uuid=UUID.removeprefix("GPU-"))
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: found)
        monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(**options))

    return put


def test_a_gpu_s_counter_is_in_millijoules(gpu):
    gpu(energy_mj=[11_000, 12_000, 12_500])
    meter = Meter(Sensor.of("cuda"))
    assert meter.spent_j() == (0.0, 0.5)


def test_a_gpu_without_a_counter_says_so(gpu):
    gpu(refuses={"nvmlDeviceGetTotalEnergyConsumption"})
    sensor = Sensor.of("cuda")
    assert sensor.read_j is None
    assert sensor.source == "the GPU cannot tell its energy: NVML says Insufficient Permissions"


def test_damaged_counters_are_refused_in_one_line(tmp_path):
    zone(tmp_path / "intel-rapl:0", "package-0", 1)
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    with pytest.raises(ScenarioError, match="cannot be read"):
        Rapl(tmp_path).read_j()
