"""Runs of processes of their own, stopped after the test."""

import pytest
from processes import Run, ends, kept_address


@pytest.fixture
def run(tmp_path):
    """A run on a port of its own, `run.server(...)`, `run.device(name, ...)`."""
    with ends() as start, kept_address() as address:
        yield Run(start, tmp_path / "run", address)


@pytest.fixture(scope="module")
def module_run(tmp_path_factory):
    """One run for all tests of a module."""
    with ends() as start, kept_address() as address:
        yield Run(start, tmp_path_factory.mktemp("module") / "run", address)
