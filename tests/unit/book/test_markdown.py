"""`card.book.markdown`: numbers and tables as the pages write them."""

import json

import numpy as np
import pytest

from card.book import markdown


def test_an_undefined_reduction_is_a_dash() -> None:
    assert markdown.percent(None) == "–"
    assert markdown.percent(-0.05) == "−5.0 %"
    assert markdown.interval(0.7044, 0.7126) == "70.44\u00a0% to 71.26\u00a0%"
    assert markdown.interval(None, 0.7) == "–"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (2.4e-15, 1, "2 × 10⁻¹⁵"),
        (-6.02e23, 3, "−6.02 × 10²³"),
        (9.96, 2, "1.0 × 10¹"),
        (0.0, 1, "0"),
    ],
)
def test_scientific(value, digits, text):
    assert markdown.scientific(value, digits) == text.replace(" ", "\u00a0")


def test_a_table_keeps_its_columns_whatever_a_cell_says() -> None:
    assert markdown.table(("a", "b"), [("x|y", "z")]).splitlines()[2] == r"| x\|y | z |"


def test_columns_of_numbers_stand_right() -> None:
    rows = [
        ("1", "2,048.5", "70.8\u00a0%", "1e-15", "1"),
        ("2", "\u2013", "-3 %", "6e-06", "block"),
    ]
    assert markdown.table("abcde", rows).splitlines()[1] == "| ---: | ---: | ---: | ---: | --- |"
    assert markdown.table(["a"], [["1"]], numbers_right=False).splitlines()[1] == "| --- |"
    assert markdown.table("ab", []).splitlines()[1] == "| --- | --- |"


def test_json_keeps_every_digit_in_a_fixed_order() -> None:
    text = markdown.to_json({"b": np.float64(1 / 3), "a": np.arange(2), "µ": None})
    assert json.loads(text) == {"a": [0, 1], "b": 1 / 3, "µ": None}
    assert text.index('"a"') < text.index('"b"') < text.index('"µ"')
