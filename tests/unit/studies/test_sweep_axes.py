"""Swept values have one name, unit and scale wherever they are shown."""

import numpy as np
import pytest
import xarray as xr

import card
from card.base.units import engineering
from card.studies.sweep_axes import axes


def axis(path, values, unit=""):
    sweep = xr.Dataset(
        {"delay_s": ((path, "policy"), np.ones((len(values), 1)))},
        coords={path: (path, values, {"units": unit} if unit else {})},
    )
    return axes(sweep)[path]


@pytest.mark.parametrize(
    ("path", "values", "unit", "title", "labels", "first"),
    [
        (
            "link.bandwidth_hz", [5e6, 2e7], "Hz",
            "bandwidth [MHz]", ["5", "20"], "bandwidth = 5 MHz",
        ),
        (
            "server.clocks_hz", ["null", "[1000000000.0, 2000000000.0]"], "Hz",
            "server clocks [GHz]", ["none", "1, 2"], "server clocks = none",
        ),
        (
            "devices.device-1.distance_m", [50.0], "m",
            "device-1 distance [m]", ["50"], "device-1 distance = 50 m",
        ),
        (
            "server.static_power_w", [0.0, 1500.0], "W",
            "server static power [kW]", ["0", "1.5"], "server static power = 0 kW",
        ),
        (
            "link.round_trip_s", [0.001, 0.05], "s",
            "link round trip [ms]", ["1", "50"], "link round trip = 1 ms",
        ),
        (
            "server.linear_power_w_per_hz", [1e-8], "W/Hz",
            "server linear power [nW/Hz]", ["10"], "server linear power = 10 nW/Hz",
        ),
        (
            "objective.energy_budget_j", [5.0, 20.0], "J",
            "objective energy budget [J]", ["5", "20"], "objective energy budget = 5 J",
        ),
        ("llm", ["gpt2", "llama"], "", "llm", ["gpt2", "llama"], "llm = gpt2"),
        ("a.b_c", ["true", "false"], "", "a b c", ["yes", "no"], "a b c = yes"),
        ("a.b", ["[1", "{x: 1}"], "", "a b", ["[1", "{x: 1}"], "a b = [1"),
    ],
)  # fmt: skip
def test_title_labels_and_single_values_agree(path, values, unit, title, labels, first):
    found = axis(path, values, unit)
    assert (found.title, found.labels, found.at(0)) == (title, labels, first)


@pytest.mark.parametrize(
    ("values", "unit", "expected"),
    [
        ([1e3], "Hz", (1e3, "kHz")),
        ([999.0], "W", (1.0, "W")),
        ([0.002], "s", (1e-3, "ms")),
        ([0.1, 0.2, 0.5, 100.0], "W", (1.0, "W")),
        ([20e3, 9e6], "Hz", (1e3, "kHz")),
        ([5000.0], "s", (1.0, "s")),
        ([1e30], "J", (1e12, "TJ")),
        ([-174.0], "dBm/Hz", (1.0, "dBm/Hz")),
        ([0.0, float("nan")], "J", (1.0, "J")),
    ],
)
def test_a_prefix_suits_the_values(values, unit, expected):
    assert engineering(values, unit) == expected


def test_a_device_is_called_by_its_name_however_the_path_counts_it():
    sweep = card.sweep(
        card.load_scenario("nominal"), {"devices.1.distance_m": [10, 150]}, ["card"], rounds=2
    )
    axis = axes(sweep)["devices.1.distance_m"]
    assert (axis.words, axis.unit) == ("device-2 distance", "m")
