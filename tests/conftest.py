"""A failure says how to repeat it; `--without-torch` tests what needs none, installed or not."""

import shlex
import sys

import pytest


class NoTorch:
    """Answers `import torch` as a machine without it does, so that `importorskip` skips."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("torch is hidden by --without-torch", name=name)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--without-torch", action="store_true", help="skip what needs torch")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--without-torch"):
        sys.meta_path.insert(0, NoTorch)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    if report.failed:
        command = shlex.join([".venv/bin/python", "-m", "pytest", "-n0", item.nodeid])
        report.sections.append(("to repeat it", command))
    return report
