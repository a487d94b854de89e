"""`pytest --without-torch` tests what needs no torch, whether it is installed or not."""

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
