"""Fixtures that several modules ask for by name."""

import threading
import time

import pytest

_PATIENCE_S = 10.0


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
