"""`card.base.arguments`: which library is asked for. Others have tests where they are used."""

import sys

import numpy as np
import pytest

from card.base.arrays import LIBRARIES, NUMPY, check_library
from card.base.errors import ScenarioError
from card.solver import compiled


def test_numpy_is_numpy():
    assert check_library("numpy") is NUMPY


def test_torch_gives_doubles_that_go_back_to_numpy():
    torch = pytest.importorskip("torch")
    backend = check_library("torch")
    tensor = backend.floats([1, 2])
    assert isinstance(tensor, torch.Tensor)
    assert tensor.dtype == torch.float64
    np.testing.assert_array_equal(backend.numpy(tensor), [1.0, 2.0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("numppy", "did you mean 'numpy'"),
        ("", "choose one of numpy"),
        ("torchcuda", "did you mean"),
        ("torch:gpu", "no device 'gpu' here. Give one of numpy, torch"),
        ("torch:cuda:99", "no device 'cuda:99' here"),
    ],
)
def test_another_library_is_refused(name, message):
    pytest.importorskip("torch")
    with pytest.raises(ScenarioError, match=message):
        check_library(name)


@pytest.mark.parametrize("gpu", [False, True])
def test_a_gpu_is_offered_where_one_is(monkeypatch, gpu):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    with pytest.raises(ScenarioError) as refusal:
        check_library("torch:gpu")
    offered = "numpy, torch, torch:cuda." if gpu else "numpy, torch."
    assert str(refusal.value).endswith(f"Give one of {offered}")


def test_a_missing_library_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ScenarioError, match=r"pip install 'card-split-learning\[lab\]'"):
        check_library("torch")


def test_only_torch_fuses():
    with pytest.raises(ScenarioError, match="give torch or torch:cuda"):
        compiled(None, LIBRARIES[0])
