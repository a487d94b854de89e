"""`card.figures.labels`: what stands beside an axis is told apart, and never meets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from card.figures.labels import (
    apart,
    columns_of,
    fit,
    folded,
    in_legend,
    moved_apart,
    short,
    ticks,
    width_pt,
)
from card.studies.scenario_values import show

ROOM_PT = 190.0
STARTS = "hall-of-the-northern", "cellar-of-the-southern"
NUMBERS = some.one_of(
    some.floats(-1e6, 1e6), some.floats(1e-30, 1e-20), some.floats(1e20, 1e30), some.integers(0, 9)
)


def test_a_legend_has_as_many_columns_as_fit():
    assert columns_of(["good"] * 4, 7, 3) == 3
    assert columns_of(["good", "poor"], 7, 3) == 2
    assert columns_of(["line-of-sight-suburban"] * 3, 3.5, 3) == 1
    assert columns_of([], 3.5, 3) == 1


@pytest.mark.parametrize("width_in", [3.5, 7.2])
def test_a_legend_shortens_names_no_more_than_its_column_needs(width_in):
    alone, *_ = in_legend(["line-of-sight-suburban-lane", "poor"], width_in, "{} channel")
    assert alone == "line-of-sight-suburban-lane channel"
    names = [f"{start}{'-very' * 30}" for start in ("far", "far too")]
    for label in in_legend(names, width_in):
        assert 72 * width_in - 70 < width_pt(label) <= 72 * width_in - 50


def test_a_long_text_ends_in_dots():
    assert short("x" * 32) == "x" * 32
    assert short("x" * 33) == "x" * 31 + "…"


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["q_proj", "q_proj, v_proj"], ["q_proj", "q_proj, v_proj"]),
        (
            [f"{{hardware: jetson-orin-nano-8gb, memory_share: {share}}}" for share in (0.51, 0.9)],
            ["…memory_share: 0.51}", "…memory_share: 0.9}"],
        ),
        (
            [f"/far/away/some/measurements/machine-{letter}.json" for letter in "ab"],
            ["…measurements/machine-a.json", "…measurements/machine-b.json"],
        ),
        (
            [f"workshop-of-the-northern-building-jetson-{number}" for number in (1, 2)],
            ["…the-northern-building-jetson-1", "…the-northern-building-jetson-2"],
        ),
        (["a" * 40 + "1", "a" * 40 + "2"], [f"1: {'a' * 31}…", f"2: {'a' * 31}…"]),
        (
            ["hub", *(f"raspberry-pi-on-the-shelf-of-the-{room}" for room in ("hall", "den"))],
            ["hub", "…pi-on-the-shelf-of-the-hall", "…pi-on-the-shelf-of-the-den"],
        ),
        (
            [f"{start}-building-jetson-{n}" for start in STARTS for n in (1, 2)],
            [
                f"…the-{side}-building-jetson-{n}"
                for side in ("northern", "southern")
                for n in (1, 2)
            ],
        ),
        (
            ["measured-along-the-bank-of-the-river", "measured-along-the-bank-of-the-river-2"],
            ["…along-the-bank-of-the-river", "…along-the-bank-of-the-river-2"],
        ),
        (
            ["hub", "a" * 40 + "1", "a" * 40 + "2"],
            ["hub", f"2: {'a' * 31}…", f"3: {'a' * 31}…"],
        ),
        (["x", "y" * 40], ["x", "y" * 31 + "…"]),
        (["y" * 40], ["y" * 31 + "…"]),
        ([], []),
    ],
)
def test_long_texts_are_shortened_where_they_are_alike(texts, found):
    assert apart(texts) == found


@given(some.lists(some.text("ab/, 1{:", min_size=1, max_size=90), unique=True, max_size=9))
def test_different_texts_stay_different_and_short(texts):
    found = apart(texts)
    assert len(set(found)) == len(texts)
    assert max(map(len, found), default=0) <= 32 + len("9: ")


def test_a_title_is_folded_at_its_words():
    assert folded("link spectral efficiency max [bit/s/Hz]", 28) == (
        "link spectral efficiency max\n[bit/s/Hz]"
    )


@pytest.mark.parametrize("log", [False, True])
@settings(deadline=None)  # the first width loads the font
@given(values=some.lists(NUMBERS, min_size=1, max_size=200))
def test_ticks_never_meet(values, log):
    if log:
        values = [abs(value) + 1e-30 for value in values]
    places, labels = ticks(values, ROOM_PT, show, log=log)
    assert 1 <= len(places) == len(labels)
    assert min(values) <= places[0] <= places[-1] <= max(values)
    if len(places) > 2:
        at = np.log(places) if log else places
        low, high = np.log([min(values), max(values)]) if log else (min(values), max(values))
        assert fit(ROOM_PT * (at - low) / (high - low), labels)


def test_few_values_of_a_logarithmic_axis_are_named_and_many_give_way_to_round_numbers():
    few = [1.0, 2.0, 7.0, 100.0]
    assert ticks(few, ROOM_PT, show, log=True)[0].tolist() == few
    many = [0.1 * 1.4**step for step in range(20)]
    _, labels = ticks(many, ROOM_PT, show, log=True)
    assert labels == ["0.1", "0.3", "1", "3", "10", "30"]


def test_whole_numbers_have_no_fractions_between_them():
    _, labels = ticks([1.0, 2.0, 4.0], ROOM_PT, show, log=False)
    assert labels == ["1", "2", "3", "4"]


def test_an_end_that_is_missed_by_a_rounding_is_named():
    at, words = ticks([0, 1.0, 5e-8 / 1e-9], 200, "{:g}".format, log=False)
    assert words[-1] == "50"
    assert at[-1] == pytest.approx(50)


def test_numbers_that_differ_late_are_written_out():
    _, labels = ticks([100.000001, 100.000002, 100.000003], ROOM_PT, show, log=False)
    assert len(set(labels)) == len(labels) >= 2


def test_a_width_grows_with_the_letters():
    assert width_pt("iii") < width_pt("mmm") < width_pt("mmm", 12)


class TestMovedApart:
    def test_leaves_places_that_are_apart(self):
        assert moved_apart([3.0, 1.0, 2.0], 0.5) == [3.0, 1.0, 2.0]

    def test_moves_close_places_in_order_around_their_mean(self):
        moved = moved_apart([1.1, 1.0, 1.0], 1.0)
        assert np.diff(sorted(moved)).min() > 1.0 - 1e-6
        assert np.argsort(moved).tolist() == [1, 2, 0]
        assert np.mean(moved) == pytest.approx(3.1 / 3)
