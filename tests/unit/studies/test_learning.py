"""`card.studies.learning`: sentences claim what intervals settle, and nothing else."""

import pytest
from losing import losing

from card.scenario.penalties import PenaltyTable
from card.studies.learning import learned_says, penalties_say


def table(penalty, **more):
    return PenaltyTable.model_validate(losing(penalty, cuts=[2], widths=[16, 4], **more))


def only(up, down, row):
    return lambda cut, *bits: row if bits == (up, down) else (0.0, -0.1, 0.1)


def test_what_the_seeds_cannot_tell_is_not_claimed():
    said = penalties_say(table(lambda *_: (0.05, -0.1, 0.2)))
    assert said == "Of the 3 settings with fewer bits, 3 show no clear difference from 16 bits."


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            (0.05, 0.01, 0.09),
            "Of the 3 settings with fewer bits, 2 show no clear difference from 16 bits; "
            "in 1 the loss is higher, most with 4 bits up and 16 down at cut 2, "
            "by 0.050 (0.010 to 0.090) nat.",
        ),
        (
            (-0.05, -0.09, -0.01),
            "Of the 3 settings with fewer bits, 2 show no clear difference from 16 bits; "
            "in 1 it is lower, most with 4 bits up and 16 down at cut 2, "
            "by 0.050 (0.010 to 0.090) nat.",
        ),
    ],
)
def test_what_they_settle_is(row, said):
    assert penalties_say(table(only(4, 16, row))) == said


def learned(text, mean, low):
    gain = {"mean": mean, "low": low, "high": 2 * mean - low}
    after = {"mean": 4 - mean, "low": 4 - mean, "high": 4 - mean}
    return {"text": text, "unigram": 5, "base": 4, "adapted": after, "gain": gain}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [("a", 0.5, 0.25), ("b", 0.6, -0.25), ("c", 0.75, 0.5)],
            "it is better on 2 of 3 texts, least on *a*, by 0.500 (0.250 to 0.750) nat",
        ),
        ([("a", 0.5, -0.25), ("b", -0.5, -0.75)], "it is better on 0 of 2 texts"),
    ],
)
def test_a_text_that_gains_nothing_does_not_count(rows, said):
    assert learned_says(table(lambda *_: 0.0, learned=[learned(*row) for row in rows])) == said
