"""`card.base.arrays`: whose library computes, and how work is shared out."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr

from card.base import arrays
from card.base.arrays import NUMPY, backend_of, by_blocks, by_rows

torch = pytest.importorskip("torch")
da = pytest.importorskip("dask.array")


@pytest.mark.parametrize(
    "values", [(), (1, 2.0, "device-1", None), ([1.0],), (np.ones(2), np.float64(3)), (True,)]
)
def test_plain_values_are_numpys(values):
    assert backend_of(*values) is NUMPY


def test_labelled_arrays_are_read_as_numpys():
    rates = xr.DataArray([1.0, 2.0], dims="round")
    assert backend_of(rates) is NUMPY
    assert NUMPY.floats(rates).tolist() == [1.0, 2.0]


def test_one_foreign_array_decides():
    backend = backend_of(np.ones(2), torch.ones(2), 3.0)
    assert backend.xp.__name__.endswith("torch")
    assert not backend.is_lazy
    assert backend_of(1.0, da.ones(2)).is_lazy


def test_two_foreign_libraries_do_not_mix():
    with pytest.raises(TypeError, match="Multiple namespaces"):
        backend_of(torch.ones(2), da.ones(2))


def test_numbers_become_doubles_and_tensors_keep_their_gradients():
    single = torch.ones(2, requires_grad=True)
    backend = backend_of(single)
    assert backend.floats([1, 2]).dtype == torch.float64
    (gradient,) = torch.autograd.grad(backend.floats(single).sum(), single)
    assert gradient.tolist() == [1.0, 1.0]


def test_arrays_that_must_not_be_written_to_are_copied():
    """torch warns of them, and a warning is an error here."""
    fixed = np.broadcast_to(1.0, (3,))
    assert backend_of(torch.ones(1)).array(fixed).tolist() == [1.0, 1.0, 1.0]


def total_and_rank(one, other):
    """Sum and which is larger, of rows."""
    return one + other, (one > other).astype(np.int64)


DTYPES = [np.float64, np.int64]


def test_rows_broadcast_and_keep_their_types():
    found = by_rows(total_and_rank, DTYPES, NUMPY, (np.array([[1.0], [5.0]]), np.array([2.0, 3.0])))
    assert found[0].tolist() == [[3.0, 4.0], [7.0, 8.0]]
    assert found[1].tolist() == [[0, 0], [1, 1]]
    assert [result.dtype for result in found] == DTYPES


@pytest.mark.parametrize("size", [0, 1, 9, 10])
def test_every_row_is_computed_once_whatever_the_chunks(monkeypatch, size):
    monkeypatch.setattr(arrays, "_CHUNK", 3)
    values = (np.arange(float(size)), np.full(size, 4.0))
    for threads in (1, 2):
        total, rank = by_rows(total_and_rank, DTYPES, NUMPY, values, threads)
        np.testing.assert_array_equal(total, np.arange(size) + 4)
        np.testing.assert_array_equal(rank, np.arange(size) > 4)


def test_two_threads_work_at_the_same_time(monkeypatch):
    monkeypatch.setattr(arrays, "_CHUNK", 1)
    both = threading.Barrier(2, timeout=10)

    def meet(row):
        both.wait()
        return (row,)

    assert by_rows(meet, [np.float64], NUMPY, (np.arange(2.0),), 2)[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("stated", "threads"), [("3", 3), ("2,1", 2), ("", 8), ("0", 8), ("many", 8), ("\u00b2", 8)]
)
def test_threads_are_as_many_as_stated_else_as_processors(monkeypatch, stated, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", stated)
    monkeypatch.setattr(arrays.os, "cpu_count", lambda: 8)
    assert arrays._threads() == threads
    monkeypatch.setattr(arrays.os, "cpu_count", lambda: 256)
    assert arrays._threads() <= 16


def test_a_caller_who_shares_out_the_processors_keeps_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with arrays.one_thread():
        with arrays.one_thread():
            assert arrays._threads() == 1
        assert arrays._threads() == 1
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(arrays._threads).result() == 3
    assert arrays._threads() == 3


def test_blocks_need_not_line_up():
    one, other = np.arange(10.0), np.full((2, 1), 4.0)
    total, rank = by_blocks(total_and_rank, DTYPES, da.from_array(one, chunks=3), other)
    assert total.shape == (2, 10)
    np.testing.assert_array_equal(total, one + other)
    np.testing.assert_array_equal(rank, one > other)
