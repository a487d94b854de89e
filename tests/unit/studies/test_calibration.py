"""Two targets that hold together on a grid: reductions of it, and the point where they meet."""

import numpy as np
import pytest
import xarray as xr

from card.studies import calibration


def test_reduction_map_is_a_ratio_of_means_and_undefined_where_nothing_is_spent() -> None:
    delay = np.array([[[1.0, 3.0]], [[4.0, 4.0]], [[0.0, 0.0]]])  # policy, state, device
    sweep = xr.Dataset(
        {"delay_s": (("policy", "state", "device"), delay)},
        coords={"policy": ["card", "device_only", "energy_optimal"]},
    )
    assert float(calibration.reduction_map(sweep, "delay_s", "device_only")) == pytest.approx(0.5)
    assert np.isnan(calibration.reduction_map(sweep, "delay_s", "energy_optimal"))


def test_crossing_of_two_planes_is_exact() -> None:
    """x + y = 1 and y - x = 0.2 meet at (0.4, 0.6); both maps are linear, so no error remains."""
    x, y = np.linspace(0, 1, 8), np.linspace(0, 1, 6)
    across, up = np.meshgrid(x, y)
    assert calibration.crossing(x, y, (across + up, up - across), (1.0, 0.2)) == pytest.approx(
        (0.4, 0.6)
    )


def test_no_crossing_is_none() -> None:
    x = y = np.linspace(0, 1, 5)
    across, up = np.meshgrid(x, y)
    assert calibration.crossing(x, y, (across + up, across + up), (1.0, 1.5)) is None
    assert calibration.crossing(x, y, (across + up, up), (5.0, 0.5)) is None
