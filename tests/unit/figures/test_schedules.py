"""`card.figures.schedules`: the picture shows the times that it is given."""

import numpy as np
import pytest

import card
from card.figures.schedules import rounds_by_schedule
from card.studies.schedules import by_devices, by_micro_batches, in_micro_batches

NOMINAL = card.load_scenario("nominal")
COUNTS = [1, 2, 4]


@pytest.fixture(scope="module")
def drawn():
    turns = by_micro_batches(NOMINAL, COUNTS)
    crowd = by_devices(in_micro_batches(NOMINAL, 4), [1, 5, 10], rounds=2)
    return turns, crowd, rounds_by_schedule(COUNTS, turns, crowd)


def test_lines_are_the_times(drawn):
    turns, crowd, figure = drawn
    left, right = figure.axes
    for line, times in zip(left.get_lines(), turns.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), times)
    means = crowd.round_s.mean(("state", "round"))
    for line, schedule in zip(right.get_lines(), crowd.schedule.values, strict=True):
        np.testing.assert_allclose(line.get_ydata(), means.sel(schedule=schedule), rtol=1e-12)
        assert line.get_xdata().tolist() == [1, 5, 10]


def test_every_schedule_is_named_beside_its_line(drawn):
    left, right = drawn[2].axes
    assert [text.get_text() for text in left.texts] == ["in turns", "pipelined"]
    assert [text.get_text() for text in right.texts][-1] == "all at once"
    colours = [line.get_color() for line in right.get_lines()]
    assert [text.get_color() for text in right.texts] == colours
    assert len(set(colours)) == 3


def test_bands_hold_most_rounds(drawn):
    _, crowd, figure = drawn
    band = figure.axes[1].collections[0].get_paths()[0].vertices[:, 1]
    first = crowd.round_s.sel(schedule="alternate")
    assert band.min() == pytest.approx(first.quantile(0.05, ("state", "round")).min())
    assert band.max() == pytest.approx(first.quantile(0.95, ("state", "round")).max())
