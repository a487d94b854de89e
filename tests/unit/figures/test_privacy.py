"""`card.figures.privacy`: steps are at the limits, and hold until the next one."""

import pytest
from drawing import drawn

from card.figures.privacy import accepted_leakage
from card.figures.style import WIDTH_IN
from card.studies.privacy import Limited, Mean, Setting


def mean(value):
    return Mean(value, 0.9 * value, 1.1 * value)


def limited(threat, limit, delay_s, energy_j):
    return Limited(threat, limit, mean(delay_s), mean(energy_j), mean(1.0), 0.5)


FOUND = [
    limited("weak", 0.0, 4.0, 0.0),
    limited("weak", 0.4, 3.0, 1.0),
    limited("weak", 0.8, 2.0, 5.0),
    limited("strong", 0.0, 4.0, 0.0),
    limited("strong", 1.0, 2.0, 5.0),
]
SENT = Setting("labels sent", mean(1.0), mean(9.0), mean(1.0), {})


@pytest.mark.parametrize("width_in", [WIDTH_IN, 3.5])
def test_lines_step_at_limits_and_go_on_to_the_end(width_in):
    figure = accepted_leakage(FOUND, SENT, width_in)
    for axes, values, star in zip(
        figure.axes, ([4.0, 3.0, 2.0, 2.0], [0.0, 1.0, 5.0, 5.0]), (1.0, 9.0), strict=True
    ):
        lines = [line.tolist() for line in drawn(axes)]
        assert [list(point) for point in zip([0.0, 0.4, 0.8, 1.0], values, strict=True)] in lines
        assert [[1.0, star]] in lines
        steps = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
        assert len(steps) == 2
    (legend,) = figure.legends
    told = [text.get_text() for text in legend.get_texts()]
    assert told == ["weak", "strong", "labels sent"]


def test_without_labels_sent_there_is_no_star():
    impossible = Setting("labels sent", None, None, None, None, "no memory")
    for sent in (None, impossible):
        (legend,) = accepted_leakage(FOUND, sent).legends
        assert [text.get_text() for text in legend.get_texts()] == ["weak", "strong"]
