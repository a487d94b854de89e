"""`card.figures.training`: the data drawn are the data given."""

import numpy as np
import pytest
from drawing import contains, drawn
from matplotlib.colors import to_hex

from card.figures import training as pictures
from card.figures.style import COLOURS
from card.studies.timeline import Frame


def texts(axes):
    return [text.get_text() for text in axes.texts]


class TestLadders:
    def test_draws_an_arrow_per_frame_with_its_direction_and_size(self):
        up, down = Frame(True, "data", 8000), Frame(False, "loss", 0)
        left, right = pictures.ladders({"one": [up], "two": [up, down]}).axes
        assert (len(left.patches), len(right.patches)) == (1, 2)
        assert texts(right) == ["device", "server", "data, 1.0 kB", "loss"]
        ends = [patch._posA_posB for patch in right.patches]
        assert [start[0] < end[0] for start, end in ends] == [True, False]
        assert all(start[1] < end[1] for start, end in ends), "time runs down"


def round_event(number, device, cut, loss):
    place = {"event": "round", "round": number, "device": device, "cut": cut}
    return {**place, "loss": 9.0, "validation_loss": loss}


class TestLossByRound:
    def test_draws_a_line_per_device_and_the_cut_at_each_point(self):
        rounds = [
            round_event(1, "a", 0, 5.0),
            round_event(2, "b", 4, 4.0),
            round_event(3, "a", 2, 3.0),
            round_event(4, "b", 4, None),
            round_event(5, "c", 4, None),
        ]
        (axes,) = pictures.loss_by_round(rounds).axes
        assert contains(drawn(axes), [1, 3], [5.0, 3.0])
        assert contains(drawn(axes), [2], [4.0])
        assert [(t.get_text(), *t.xy) for t in axes.texts] == [
            ("0", 1, 5.0),
            ("2", 3, 3.0),
            ("4", 2, 4.0),
        ]
        assert [t.get_text() for t in axes.get_legend().get_texts()] == ["a", "b"]

    def test_digits_stand_on_the_side_away_from_the_nearest_other_line(self):
        rounds = [
            round_event(1, "a", 0, 4.0),
            round_event(2, "b", 0, 3.0),
            round_event(4, "a", 0, 2.0),
            round_event(6, "b", 0, 3.0),
            round_event(7, "a", 0, 2.3),
        ]
        (axes,) = pictures.loss_by_round(rounds).axes
        sides = {(*text.xy, text.get_va()) for text in axes.texts}
        assert {(2, 3.0, "top"), (4, 2.0, "top"), (6, 3.0, "bottom")} <= sides
        assert {(1, 4.0, "bottom"), (7, 2.3, "bottom")} <= sides, "no other line has that round"


class TestCoinciding:
    def test_shifts_no_curve_and_draws_later_ones_thinner(self):
        losses = [3.0, 2.0, 1.5]
        (axes,) = pictures.coinciding({"unsplit": losses, "cut 0": losses, "CARD": losses}).axes
        assert all(np.array_equal(line, drawn(axes)[0]) for line in drawn(axes))
        assert contains(drawn(axes), [1, 2, 3], losses)
        widths = [line.get_linewidth() for line in axes.lines]
        assert widths == sorted(widths, reverse=True)
        assert len({line.get_color() for line in axes.lines}) == 3


def series(rate_bps, *rounds):
    keys = ("cut", "delay_s", "predicted_delay_s")
    return {"rate_bps": rate_bps, "rounds": [dict(zip(keys, r, strict=True)) for r in rounds]}


RECORD = {
    "rates": [
        series(2e6, (0, 11.0, 10.0), (0, 9.0, 10.0), (1, 30.0, 24.0)),
        series(8e6, (0, 4.0, 4.0), (1, 6.0, 8.0)),
    ]
}


class TestDelayByCut:
    def test_draws_every_measurement_and_the_predicted_line_of_each_rate(self):
        delays, _ = pictures.delay_by_cut(RECORD).axes
        assert contains(drawn(delays), [0, 0, 1], [11.0, 9.0, 30.0])
        assert contains(drawn(delays), [0, 1], [10.0, 24.0])
        assert contains(drawn(delays), [0, 1], [4.0, 6.0])
        assert contains(drawn(delays), [0, 1], [4.0, 8.0])
        assert texts(delays) == ["2 Mbit/s", "8 Mbit/s"]
        assert delays.get_ylabel().endswith("[s]")

    def test_draws_the_relative_error_below(self):
        _, errors = pictures.delay_by_cut(RECORD).axes
        assert contains(drawn(errors), [0, 0, 1], [10.0, -10.0, 25.0])
        assert contains(drawn(errors), [0, 1], [0.0, -25.0])

    def test_a_slower_round_than_predicted_is_a_positive_error(self):
        rounds = RECORD["rates"][0]["rounds"]
        assert pictures.relative_errors(rounds) == pytest.approx([0.1, -0.1, 0.25])


def told(second, event, **fields):
    return {"event": event, "time": f"2026-01-01T00:00:{second:02}.500+00:00", **fields}


class TestTurns:
    def test_rounds_are_bars_and_a_lost_one_is_a_cross(self):
        events = [
            told(0, "listening", address="127.0.0.1:1"),
            told(2, "joined", device="a"),
            told(3, "joined", device="b"),
            told(4, "planned", round=1, device="a"),
            told(6, "round", round=1, device="a"),
            told(6, "planned", round=2, device="b"),
            told(9, "lost", round=2, device="b"),
            told(12, "joined", device="b"),
        ]
        (axes,) = pictures.turns(events).axes
        (bar,) = axes.patches
        assert (bar.get_x(), bar.get_width()) == pytest.approx((2, 2))
        assert bar.get_y() + bar.get_height() / 2 == pytest.approx(0)
        assert texts(axes) == ["1"]
        marks = [(line.get_marker(), *map(tuple, line.get_data())) for line in axes.lines]
        assert (">", (0,), (0,)) in marks
        assert (">", (10,), (1,)) in marks
        assert ("X", (7,), (1,)) in marks
        (cross,) = [line for line in axes.lines if line.get_marker() == "X"]
        assert to_hex(cross.get_color()) == COLOURS["vermillion"].lower()
