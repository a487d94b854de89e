"""Fixtures that several modules ask for by name."""

import resource
import signal
import threading
import time

import pytest
import xarray as xr
from machines import NO_POWER

import card

_PATIENCE_S = 10.0


@pytest.fixture(scope="session")
def simulated() -> xr.Dataset:
    """Some rounds of CARD and of benchmarks."""
    names = ["card", "device_only", "server_only", "static_cut"]
    return card.simulate(card.load_scenario("nominal"), names, rounds=20, seed=3)


@pytest.fixture(scope="session")
def one_unknown() -> xr.Dataset:
    """The same where the power of one device is not known."""
    names = ["card", "device_only", "server_only", "static_cut"]
    scenario = card.load_scenario("nominal", **{"devices.device-3.hardware": NO_POWER})
    return card.simulate(scenario, names, rounds=20, seed=3)


@pytest.fixture
def little_room():
    """A process that may write no more than 256 bytes into a file, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def no_thread_is_left():
    """Every thread that a stream starts has ended soon after the test."""
    before = set(_threads())
    yield
    deadline = time.monotonic() + _PATIENCE_S
    while set(_threads()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(_threads()) - before == set()


def _threads():
    return [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
