"""`card.figures.speed`: the rates drawn are the record's."""

import pytest

from card.figures.speed import decision_speed
from card.studies.speed import BASELINE


def test_bars_end_at_the_rates_and_say_them_with_the_ratio():
    rates = {"CARD, NumPy, 1 thread": 2000.0, BASELINE: 10.0, "slow": 5.0}
    axes = decision_speed(rates).axes[0]
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
    assert ends == pytest.approx(list(rates.values()))
    assert [text.get_text() for text in axes.texts] == [
        "2,000/s, 200 ×",
        "10/s, 1 ×",
        "5/s, 0.5 ×",
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(rates)
    assert axes.get_xscale() == "log"
