"""`card.figures.beyond`: lines lie where the numbers are."""

import numpy as np
import pytest
from losing import losing

from card.figures.beyond import fronts, loss_by_bits, priced, reductions_by_bits, saved
from card.scenario.penalties import PenaltyTable


def test_reductions_are_drawn_by_bits_with_the_published_pair():
    lines = {
        "16 bits": (np.array([0.1, 0.5]), np.array([0.9, 0.4])),
        "16, 8 bits": (np.array([0.2, 0.6]), np.array([0.95, 0.5])),
    }
    axes = reductions_by_bits(lines, (0.7, 0.5)).axes[0]
    *drawn, star = axes.lines
    assert [line.get_label() for line in drawn] == list(lines)
    for line, (delay, energy) in zip(drawn, lines.values(), strict=True):
        assert line.get_xdata() == pytest.approx(delay)
        assert line.get_ydata() == pytest.approx(energy)
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (0.7, 0.5)
    assert len({line.get_linestyle() for line in drawn}) == len(lines)


@pytest.mark.parametrize("joules", [[9.0, 1.0], [np.nan, np.nan]])
def test_every_mean_has_a_panel_that_holds_all_of_it(joules):
    means = {"delay_s": [1.0, 2.0], "energy_j": [3.0, 5.0], "device_energy_j": joules}
    panels = priced(np.array([0.1, 10.0]), {k: np.array(v) for k, v in means.items()}).axes
    for axes, values in zip(panels, means.values(), strict=True):
        assert axes.lines[0].get_ydata() == pytest.approx(values, nan_ok=True)
        bottom, top = axes.get_ylim()
        assert bottom == 0 < top
        assert not np.any(np.array(values) > top)


def test_fronts_have_their_lines_points_and_savings():
    lines = {
        "CARD": (np.array([1.0, 2.0]), np.array([9.0, 5.0])),
        "budget": (np.array([1.0, 2.0]), np.array([8.0, 4.0])),
    }
    online = np.array([1.5]), np.array([6.0])
    spared = np.array([9.0, 5.0]), np.array([0.1, 0.2])
    left, right = fronts(lines, online, spared).axes
    *drawn, points = left.lines
    assert [line.get_label() for line in drawn] == list(lines)
    assert [line.get_ydata().tolist() for line in drawn] == [[9.0, 5.0], [8.0, 4.0]]
    assert points.get_xdata().tolist() == [1.5]
    assert points.get_linestyle() == "None"
    assert right.lines[0].get_ydata().tolist() == [0.1, 0.2]
    assert right.get_ylim()[0] == 0


def test_every_extension_has_its_row_with_marks_and_intervals():
    none = {"value": None, "low": None, "high": None}
    reached = {
        "CARD": {
            "delay": {"value": 0.5, "low": 0.4, "high": 0.6},
            "energy": {"value": 0.9, "low": None, "high": None},
        },
        "16 or 8 bits": {"delay": {"value": 0.7, "low": 0.7, "high": 0.8}, "energy": none},
    }
    left, right = saved(reached, (0.7, 0.5)).axes
    assert [label.get_text() for label in left.get_yticklabels()] == list(reached)
    level, first_ends, first, second_ends, second = left.lines
    assert level.get_xdata()[0] == 0.7
    assert list(first_ends.get_xdata()) == [0.4, 0.6]
    assert (first.get_xdata()[0], first.get_ydata()[0]) == (0.5, 0)
    assert list(second_ends.get_xdata()) == [0.7, 0.8]
    assert (second.get_xdata()[0], second.get_ydata()[0]) == (0.7, 1)
    assert [line.get_xdata()[0] for line in right.lines] == [0.5, 0.9], "nothing that is unknown"


def test_penalties_have_a_mark_and_an_interval_for_every_pair_and_cut():
    def row(cut, up, down):
        return cut / up, cut / up - 0.1, cut / up + 0.2

    table = PenaltyTable.model_validate(losing(row, cuts=[1, 2]))
    (axes,) = loss_by_bits(table.penalties).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["cut 1", "cut 2"]
    assert len(axes.get_xticks()) == 9
    for cut, drawn in zip((1, 2), axes.containers, strict=True):
        marks, _, (bars,) = drawn
        means = [cut / up for up in (16, 8, 4) for _ in range(3)]
        assert marks.get_ydata() == pytest.approx(means)
        for bar, mean in zip(bars.get_segments(), means, strict=True):
            assert bar[:, 1] == pytest.approx([mean - 0.1, mean + 0.2])
