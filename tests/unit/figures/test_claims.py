"""Figures of the claims draw the levels, crossings and effects they are given."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes

from card.figures import claims
from card.studies.sensitivity import Effect

PUBLISHED = {"C1": 0.7, "C2": 0.5}
WEIGHT, BAND = "objective.delay_weight", "link.bandwidth_hz"


def plane(values: np.ndarray, weights: np.ndarray, bands: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=(WEIGHT, BAND), coords={WEIGHT: weights, BAND: bands})


def title(axes: Axes) -> str:
    """Title wherever the style puts it."""
    return axes.get_title() or axes.get_title(loc="left")


def test_map_marks_scenarios_and_crossing() -> None:
    weights, bands = np.linspace(0.2, 0.9, 5), np.geomspace(5e6, 4e7, 4)
    across, up = np.meshgrid(np.log10(bands / 5e6), weights)
    maps = {
        "C1": plane(0.3 + 0.5 * across, weights, bands),
        "C2": plane(1.2 - up, weights, bands),
    }
    points = {"nominal": (1e7, 0.5), "calibrated": (2e7, 0.8)}
    figure = claims.claims_map(maps, PUBLISHED, points, (3e7, 0.7))
    assert [title(axes) for axes in figure.axes] == ["C1 [%]", "C2 [%]"]
    for axes in figure.axes:
        places = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.get_lines()]
        assert places == [(10.0, 0.5), (20.0, 0.8), (30.0, 0.7)]
        assert axes.get_xlabel() == "bandwidth [MHz]"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["C1 = 70.0 %", "C2 = 50.0 %"]
    assert labels[2:] == ["nominal", "calibrated", "both hold on this grid"]


def test_names_of_levels_keep_away_from_marks() -> None:
    band, weight = np.geomspace(5e6, 50e6, 11), np.linspace(0.2, 1.0, 9)
    rising = xr.DataArray(
        np.tile(np.linspace(0.05, 0.95, 9)[:, None], 11),
        dims=("objective.delay_weight", "link.bandwidth_hz"),
        coords={"objective.delay_weight": weight, "link.bandwidth_hz": band},
    )
    # the level of 60 % is a level line; its middle, where a name would stand, is taken
    middle = (float(np.sqrt(5e6 * 50e6)), 0.2 + 0.8 * 0.55 / 0.9)
    figure = claims.claims_map({"C1": rising, "C2": rising}, PUBLISHED, {"nominal": middle}, None)
    for axes in figure.axes:
        (name,) = (text for text in axes.texts if text.get_text() == "60 %")
        assert abs(np.log10(name.get_position()[0] * 1e6 / middle[0])) > 0.16
        assert name.get_position()[1] == pytest.approx(middle[1], abs=0.01)


def test_seeds_are_drawn_with_their_intervals() -> None:
    rows = {
        "C1": np.array([[0.7, 0.69, 0.72], [0.71, 0.7, 0.72]]),
        "C2": np.array([[0.5, 0.4, 0.6], [0.5, 0.4, 0.6]]),
    }
    first = claims.claims_over_seeds(rows, PUBLISHED, [5, 6]).axes[0]
    marks, _, (bars,) = first.containers[0]
    np.testing.assert_allclose(marks.get_ydata(), [70.0, 71.0])
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, [[69.0, 72.0], [70.0, 72.0]])
    assert [label.get_text() for label in first.get_xticklabels()] == ["5", "6"]
    assert first.get_lines()[0].get_ydata()[0] == pytest.approx(70.0)


@pytest.fixture
def effects() -> list[Effect]:
    return [
        Effect("weak", "−20 %", -1, (0.61, 0.9)),
        Effect("weak", "+20 %", 1, (0.59, 0.9)),
        Effect("strong", "halved", -1, (0.8, 0.9)),
        Effect("strong", "doubled", 1, (0.7, 0.9)),
        Effect("llm", "other", 0, (0.6, 0.95)),
    ]


def test_tornado_orders_rows_by_their_strongest_effect(effects: list[Effect]) -> None:
    left = claims.tornado(effects, (0.6, 0.9), PUBLISHED).axes[0]
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert labels == ["strong: halved, doubled", "llm: other", "weak: ±20 %"]


def test_tornado_bars_run_from_the_base_to_the_effect(effects: list[Effect]) -> None:
    figure = claims.tornado(effects, (0.6, 0.9), PUBLISHED)
    left, right = figure.axes
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in left.patches]
    np.testing.assert_allclose(ends, [(60, 80), (60, 70), (60, 60), (60, 61), (60, 59)])
    assert right.patches[2].get_width() == pytest.approx(5.0)
    # Both effects of `strong` lead the same way, so each has half the row
    assert [round(bar.get_height(), 2) for bar in left.patches[:2]] == [0.36, 0.36]
    published = [line.get_xdata()[0] for line in left.get_lines()]
    assert published == pytest.approx([60.0, 70.0])


def test_tornado_shows_the_strongest_rows_only(effects: list[Effect]) -> None:
    assert len(claims.tornado(effects, (0.6, 0.9), PUBLISHED, top=1).axes[0].patches) == 2


def test_tornado_marks_where_slopes_lead_on_the_bars_of_the_same_step(
    effects: list[Effect],
) -> None:
    """In the half row of a bar that shares its row; a tangent without a shown bar is not drawn."""
    tangents = [
        Effect("strong", "doubled", 1, (0.65, 0.85)),
        Effect("weak", "−20 %", -1, (0.62, 0.91)),
        Effect("unknown", "+1", 1, (0.0, 0.0)),
    ]
    figure = claims.tornado(effects, (0.6, 0.9), PUBLISHED, tangents)
    left, right = ([line for line in axes.get_lines() if line.get_marker() == "D"]
                   for axes in figure.axes)  # fmt: skip
    np.testing.assert_allclose([line.get_xdata()[0] for line in left], [65, 62])
    np.testing.assert_allclose([line.get_xdata()[0] for line in right], [85, 91])
    bar = figure.axes[0].patches[1]
    assert left[0].get_ydata()[0] == pytest.approx(bar.get_y() + bar.get_height() / 2)
    assert figure.legends[0].get_texts()[-1].get_text() == "by slope"


def test_tornado_without_slopes_speaks_of_none(effects: list[Effect]) -> None:
    figure = claims.tornado(effects, (0.6, 0.9), PUBLISHED)
    assert "by slope" not in [text.get_text() for text in figure.legends[0].get_texts()]
