"""`card.figures.sweeps`: a picture of a sweep shows its numbers, or says why it cannot."""

import numpy as np
import pytest

import card
from card.base.errors import ScenarioError
from card.figures.sweeps import along

NOMINAL = card.load_scenario("nominal")
WEIGHT, BAND = "objective.delay_weight", "link.bandwidth_hz"


@pytest.fixture(scope="module")
def grid():
    return card.sweep(NOMINAL, {BAND: [2e6, 10e6, 50e6], WEIGHT: [0.2, 0.8]}, rounds=4)


def test_lines_are_the_means_of_every_policy(grid):
    delay, _ = along(grid, BAND, by=WEIGHT).axes
    lines = [line for line in delay.get_lines() if len(line.get_xdata()) == 3]
    # CARD follows the weight; the two benchmarks' delays do not
    assert len(lines) == 2 + 1 + 1
    ours = grid.delay_s.sel(policy="card").mean(("state", "device"))
    np.testing.assert_array_equal(lines[0].get_ydata(), ours.isel({WEIGHT: 0}).values)
    np.testing.assert_array_equal(lines[1].get_ydata(), ours.isel({WEIGHT: 1}).values)
    assert lines[0].get_linestyle() != lines[1].get_linestyle()
    np.testing.assert_allclose(lines[0].get_xdata(), [2, 10, 50])
    assert delay.get_xlabel() == "bandwidth [MHz]"


def test_a_line_runs_along_the_axis_in_whatever_order_values_are_given():
    grid = card.sweep(NOMINAL, {BAND: [20e6, 5e6, 10e6]}, ["card"], rounds=2)
    delay, _ = along(grid, BAND).axes
    (line,) = (line for line in delay.get_lines() if len(line.get_xdata()) == 3)
    assert line.get_xdata().tolist() == [5, 10, 20]
    ours = grid.sortby(BAND).delay_s.sel(policy="card").mean(("state", "device"))
    np.testing.assert_array_equal(line.get_ydata(), ours.values)


def test_line_styles_have_a_row_of_their_own_in_the_legend(grid):
    names = [text.get_text() for text in along(grid, BAND, by=WEIGHT).legends[0].get_texts()]
    columns = np.reshape(names, (-1, 2))  # a legend is filled column by column
    assert columns[:, 0].tolist() == ["CARD", "device only", "server only"]
    assert columns[:, 1].tolist() == ["weight of delay w = 0.2", "weight of delay w = 0.8", ""]


def test_a_legend_shows_values_in_the_unit_of_an_axis():
    grid = card.sweep(
        NOMINAL, {"llm": ["llama-3.2-1b", "qwen2.5-0.5b"], BAND: [5e6, 10e6, 20e6]}, rounds=1
    )
    names = [text.get_text() for text in along(grid, "llm", by=BAND).legends[0].get_texts()]
    assert [name for name in names if "=" in name] == [
        "bandwidth = 5 MHz", "bandwidth = 10 MHz", "bandwidth = 20 MHz",
    ]  # fmt: skip


def test_a_path_of_one_value_is_named_above_instead_of_drawn():
    grid = card.sweep(NOMINAL, {WEIGHT: [0.2, 0.8], BAND: [5e6], "lora.rank": [4]}, rounds=1)
    figure = along(grid, WEIGHT, by=BAND)
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "bandwidth = 5 MHz\nlora rank = 4"
    assert [text.get_text() for text in legend.get_texts()] == [
        "CARD",
        "device only",
        "server only",
    ]
    assert along(grid, BAND, by=WEIGHT).axes[0].get_xlabel() == "bandwidth [MHz]"


def test_of_many_values_along_an_axis_some_are_named():
    rates = [1e5 * 1.2**step for step in range(40)]
    delay, _ = along(card.sweep(NOMINAL, {BAND: rates}, ["card"], rounds=1), BAND).axes
    assert 5 < len(delay.get_xticklabels()) <= 12
    assert delay.get_xlabel() == "bandwidth [MHz]"
    assert delay.get_lines()[0].get_xdata()[0] == pytest.approx(0.1)


def test_words_and_lists_stand_on_the_axis_as_they_are():
    over = {"lora.targets": [["q_proj"], ["q_proj", "v_proj"]]}
    delay, _ = along(card.sweep(NOMINAL, over, rounds=2), "lora.targets").axes
    assert [tick.get_text() for tick in delay.get_xticklabels()] == [
        "q_proj", "q_proj, v_proj",
    ]  # fmt: skip


def test_what_no_picture_can_show_is_refused(grid):
    with pytest.raises(ScenarioError, match=r"no path 'link\.bandwith_hz'; did you mean"):
        along(grid, "link.bandwith_hz")
    with pytest.raises(ScenarioError, match=r"shows two paths; choose one value of objective"):
        along(grid, BAND)
    many = card.sweep(NOMINAL, {BAND: [1e7], WEIGHT: [0.1, 0.2, 0.3, 0.4, 0.5]}, rounds=1)
    with pytest.raises(ScenarioError, match="has 5 values, and a picture can tell 4 apart"):
        along(many, BAND, by=WEIGHT)
