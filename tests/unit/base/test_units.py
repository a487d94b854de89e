"""Conversions, against values that are exact by definition."""

import numpy as np
import pytest

from card.base.units import counted, db_to_linear, dbm_to_w, gb_to_bit


@pytest.mark.parametrize(("level", "ratio"), [(0, 1), (10, 10), (-30, 1e-3), (3, 10**0.3)])
def test_decibel_is_ten_times_the_decimal_logarithm(level, ratio):
    assert db_to_linear(level) == pytest.approx(ratio, rel=1e-15)


@pytest.mark.parametrize(("level", "power"), [(30, 1.0), (0, 1e-3), (23, 10**2.3 * 1e-3)])
def test_dbm_counts_from_a_milliwatt(level, power):
    assert dbm_to_w(level) == pytest.approx(power, rel=1e-14)


def test_conversions_broadcast():
    levels = np.array([[0.0, 10.0], [20.0, -10.0]])
    assert db_to_linear(levels).shape == (2, 2)
    assert 10 * np.log10(db_to_linear(levels)) == pytest.approx(levels)


def test_gigabyte_is_a_billion_bytes_of_eight_bits():
    assert gb_to_bit(1) == 8e9
    assert gb_to_bit(0.5) == 4e9


@pytest.mark.parametrize(
    ("number", "thing", "said"),
    [
        (0, "round", "0 rounds"),
        (1, "round", "1 round"),
        (2000, "round", "2,000 rounds"),
        (1, "micro-batch", "1 micro-batch"),
        (8, "micro-batch", "8 micro-batches"),
    ],
)
def test_one_thing_is_not_several(number, thing, said):
    assert counted(number, thing) == said
