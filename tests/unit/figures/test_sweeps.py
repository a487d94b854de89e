"""`card.figures.sweeps`: a picture of a sweep shows its numbers, or says why it cannot."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr

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
    assert columns[:, 1].tolist() == ["delay weight w = 0.2", "delay weight w = 0.8", ""]


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


def means(path, values, by=None):
    """A sweep's Dataset of any values, as its grid shapes it, without the time to compute it."""
    shape = {"policy": ["card", "server_only"], "state": ["s"], "device": ["d"], path: values}
    shape |= by or {}
    sizes = [len(each) for each in shape.values()]
    data = np.linspace(1, 2, int(np.prod(sizes))).reshape(sizes)
    return xr.Dataset({name: (list(shape), data) for name in ("delay_s", "energy_j")}, shape)


def labels_apart(axes):
    """Whether the drawn labels of a horizontal axis leave each other room."""
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    return all(not one.overlaps(other) for one, other in pairwise(boxes))


TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([1e5 * 1.4**step for step in range(20)], id="logarithmic"),
        pytest.param([1e5 * 1.04**step for step in range(200)], id="200 values"),
        pytest.param([1e5, 1.01e5, 1.02e5, 9e5, 1e6, 1e8], id="in two heaps"),
        pytest.param([0.05 + 0.04 * step for step in range(20)], id="20 of a linear axis"),
        pytest.param([-174.125, -173.875, -160.0], id="negative"),
        pytest.param([1.25e-15, 1e30], id="tiny and huge"),
        pytest.param([100000001.0, 100000002.0, 100000003.0], id="close together"),
        pytest.param([0.2, 0.2], id="equal"),
        pytest.param([7.0], id="one"),
        pytest.param([f"[{', '.join(TARGETS[: n + 1])}]" for n in range(7)], id="lists"),
        pytest.param([f"llm-{n}" for n in range(200)], id="200 words"),
        pytest.param([f"{{hardware: some-board-of-many, share: 0.{n}}}" for n in range(1, 9)],
                     id="mappings"),
        pytest.param([f"/far/away/some/measurements/of/machine-{n}.json" for n in range(9)],
                     id="files"),
    ],
)  # fmt: skip
def test_labels_of_an_axis_leave_each_other_room_and_the_panels_theirs(values):
    figure = along(means("x", values), "x")
    figure.draw_without_rendering()
    for panel in figure.axes:
        assert labels_apart(panel)
        size = panel.get_window_extent()
        assert size.width > 0.3 * figure.bbox.width
        assert size.height > 2 * figure.dpi
    words = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert len(set(words)) == len(words) >= 1


@pytest.mark.parametrize("length", [20, 28, 31, 32, 33, 200])
def test_a_legend_tells_name_and_value_apart_however_long_the_name(length):
    path = f"devices.{'n' * length}.share"
    figure = along(means("x", [1.0, 2.0], {path: ["one", "two"]}), "x", by=path)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [one.partition(" = ")[2] for one in words if "n" * 9 in one] == ["one", "two"]
    figure = along(means("x", [1.0, 2.0], {path: ["one"]}), "x")
    assert figure.legends[0].get_title().get_text().endswith(" = one")


def test_a_long_legend_makes_the_figure_taller_and_says_what_differs():
    boards = [f"{{hardware: some-board-of-many, share: 0.{n}}}" for n in range(1, 5)]
    figure = along(means("x", [1.0, 2.0], {"devices.first": boards}), "x", by="devices.first")
    figure.draw_without_rendering()
    assert all(panel.get_window_extent().height > 2 * figure.dpi for panel in figure.axes)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "first = …share: 0.1}" in words
    box = figure.legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width


def test_a_logarithmic_axis_of_means_writes_numbers_as_the_other_axis_does():
    swept = means("x", [10.0, 10_000.0])
    swept["delay_s"] *= xr.DataArray([1.0, 20_000.0], {"x": swept.x})
    delay, _ = pickle.loads(pickle.dumps(along(swept, "x"))).axes  # as for its phone version
    written = delay.yaxis.get_major_formatter()
    numbers = np.array([0.1, 1000.0, 10_000.0])  # as Matplotlib has them
    assert [written(number) for number in numbers] == ["0.1", "1,000", "10,000"]
    assert delay.get_xticklabels()[-1].get_text() == "10,000"


def test_numbers_of_the_means_stand_whole_on_their_axis():
    swept = card.sweep(NOMINAL, {"training.local_iterations": [1_000_000, 3_000_000]}, rounds=2)
    figure = along(swept, "training.local_iterations")
    figure.draw_without_rendering()
    for panel in figure.axes:
        assert panel.yaxis.get_offset_text().get_text() == ""
        assert any(label.get_text().endswith("00,000") for label in panel.get_yticklabels())


def test_lines_of_tiny_means_are_told_apart():
    paths = {"training.batch_size": [1, 2], "server.waiting_power_w": [1e-12, 2e-12]}
    swept = card.sweep(NOMINAL, paths, ["device_only"], rounds=2)
    _, energy = along(swept, "training.batch_size", "server.waiting_power_w").axes
    assert len(energy.lines) == 2


def test_a_seed_is_written_to_its_last_digit():
    seeds = [20261130094501, 20261130094502]
    paths = {"objective.delay_weight": [0.2, 0.8], "simulation.seed": seeds}
    figure = along(card.sweep(NOMINAL, paths, rounds=2), *paths)
    (legend,) = figure.legends
    said = " ".join(text.get_text() for text in legend.get_texts())
    assert all(f"{seed:,}" in said for seed in seeds)
