"""`card.studies.calibration`: it finds a known pair of values, or says why there is none."""

import importlib
import math

import numpy as np
import pytest
import xarray as xr

import card
from card.base.errors import ScenarioError
from card.studies import calibration
from card.studies.calibration import CalibrationError, Target, calibrate, reached

NOMINAL = card.load_scenario("nominal")
WEIGHT, BANDWIDTH = "objective.delay_weight", "link.bandwidth_hz"


DELAY = Target("delay_s", "device_only", 0.708)
ENERGY = Target("energy_j", "server_only", 0.531)


def test_target_reads_a_table_of_means():
    table = {"delay_s": np.array([[1.0, 3.0], [4.0, 12.0]]), "energy_j": np.zeros((2, 2))}
    assert Target("delay_s", "device_only", 0.5).reached(table) == 0.75
    assert math.isnan(Target("energy_j", "device_only", 0.5).reached(table))


def test_reached_agrees_with_reductions():
    results = card.simulate(NOMINAL, ["card", "device_only", "server_only"], 10, 4)
    mean = results.mean(("state", "device", "round"))

    def expected(target):
        values = mean[target.quantity]
        return 1 - float(values.sel(policy="card") / values.sel(policy=target.benchmark))

    found = reached(NOMINAL, (DELAY, ENERGY), 10, 4)
    assert found == pytest.approx((expected(DELAY), expected(ENERGY)), rel=1e-12)


@pytest.mark.slow
def test_calibration_recovers_a_known_pair():
    """Targets are what w = 0.8 and 12 MHz reach on the same draws, so that pair must come back."""
    known = NOMINAL.updated({WEIGHT: 0.8, BANDWIDTH: 12e6})
    delay, energy = reached(known, (DELAY, ENERGY), rounds=60, seed=1)
    targets = (
        Target("delay_s", "device_only", delay),
        Target("energy_j", "server_only", energy),
    )
    over = {WEIGHT: (0.6, 0.95), BANDWIDTH: (9e6, 20e6)}
    found = calibrate(NOMINAL, targets, over, rounds=60, seed=1, steps=4)
    assert list(found.values) == [WEIGHT, BANDWIDTH]
    assert found.values == pytest.approx({WEIGHT: 0.8, BANDWIDTH: 12e6}, rel=1e-3)
    assert found.reached == pytest.approx((delay, energy), abs=5e-4)
    again = reached(NOMINAL.updated(found.values), targets, rounds=60, seed=1)
    assert found.reached == again
    assert 16 < found.evaluations < 1000


def test_calibration_says_what_is_reached_where_no_pair_exists():
    """Delay can be met, but no such bandwidth saves 99.9 % of the server's energy with it."""
    over = {WEIGHT: (0.5, 0.99), BANDWIDTH: (10e6, 14e6)}
    targets = (DELAY, Target("energy_j", "server_only", 0.999))
    with pytest.raises(CalibrationError) as error:
        calibrate(NOMINAL, targets, over, rounds=20, steps=3)
    message = str(error.value)
    assert message.startswith(
        f"no {WEIGHT} in [0.5, 0.99] and {BANDWIDTH} in [1e+07, 1.4e+07] "
        "meet both 0.708 and 0.999; the second target then takes 0."
    )
    for width in ("1e+07", "1.2e+07", "1.4e+07"):
        assert f"at {BANDWIDTH} = {width}" in message
    assert message.endswith("Widen the ranges.")


@pytest.mark.parametrize(
    "first",
    [
        Target("delay_s", "device_only", 0.9999),
        # device_only spends no server energy, so this reduction is never defined
        Target("energy_j", "device_only", 0.5),
    ],
    ids=["out of reach", "undefined"],
)
def test_calibration_says_when_the_first_target_is_never_met(first):
    over = {WEIGHT: (0.5, 0.9), BANDWIDTH: (8e6, 16e6)}
    with pytest.raises(CalibrationError, match="the first target is never met") as error:
        calibrate(NOMINAL, (first, ENERGY), over, rounds=5, steps=2)
    assert isinstance(error.value, ScenarioError)


def with_reached(monkeypatch, law):
    """Calibration of a made-up law of weight and bandwidth in MHz instead of a simulation."""

    def stub(scenario, targets, rounds, seed):
        return law(scenario.objective.delay_weight, scenario.link.bandwidth_hz / 1e6)

    monkeypatch.setattr(importlib.import_module("card.studies.calibration"), "reached", stub)
    targets = (Target("delay_s", "device_only", 0.3), Target("energy_j", "server_only", 0.4))
    return calibrate(NOMINAL, targets, {WEIGHT: (0.1, 0.9), BANDWIDTH: (1e6, 9e6)}, steps=4)


def test_calibration_solves_two_equations(monkeypatch):
    """w y = 2 and w = 0.3 + y / 50 give y² + 15 y - 100 = 0, so y = 5 and w = 0.4."""
    found = with_reached(monkeypatch, lambda w, y: (0.1 + w * y / 10, w - y / 50 + 0.1))
    assert found.values == pytest.approx({WEIGHT: 0.4, BANDWIDTH: 5e6}, rel=1e-5)
    assert found.reached == pytest.approx((0.3, 0.4), abs=1e-5)


def test_calibration_refuses_a_jump_across_the_target(monkeypatch):
    with pytest.raises(CalibrationError) as error:
        with_reached(monkeypatch, lambda w, y: (w - 0.2, 0.1 if y < 4 else 0.9))
    assert str(error.value).startswith(
        f"the reductions jump across the targets near {WEIGHT} = 0.5, {BANDWIDTH} = "
    )
    assert str(error.value).endswith("raise rounds.")


@pytest.mark.parametrize("paths", [[], [WEIGHT], [WEIGHT, BANDWIDTH, "link.shadowing_db"]])
def test_calibration_takes_exactly_two_paths(paths):
    over = dict.fromkeys(paths, (0.1, 0.9))
    with pytest.raises(ScenarioError, match="give exactly two scenario paths"):
        calibrate(NOMINAL, (DELAY, ENERGY), over)


RANGES = {WEIGHT: (0.1, 0.9), BANDWIDTH: (1e6, 1e8)}


@pytest.mark.parametrize(
    ("targets", "over", "message"),
    [
        ((DELAY, ENERGY), None, "over = None is not allowed; give exactly two scenario paths, "),
        ((DELAY, ENERGY), 5, "over = 5 is not allowed; give exactly two scenario paths, "),
        ((DELAY, ENERGY), [WEIGHT, BANDWIDTH], f"over = ['{WEIGHT}', '{BANDWIDTH}'] is not"),
        ((DELAY, ENERGY), {**RANGES, WEIGHT: 0.5}, f"over.{WEIGHT} = 0.5 is not allowed; give two"),
        ((DELAY, ENERGY), {**RANGES, WEIGHT: "01"}, f"over.{WEIGHT} = '01' is not allowed; give"),
        ((DELAY, ENERGY), {**RANGES, WEIGHT: (0.9, 0.1)}, f"over.{WEIGHT} = (0.9, 0.1) is not "),
        (None, RANGES, "targets = None is not allowed; give two card.Target."),
        ((DELAY,), RANGES, "is not allowed; give two card.Target."),
        ((0.7, 0.5), RANGES, "targets = (0.7, 0.5) is not allowed; give two card.Target."),
    ],
)
def test_calibration_refuses_what_is_no_target_or_range(targets, over, message):
    with pytest.raises(ScenarioError) as refusal:
        calibrate(NOMINAL, targets, over)
    assert message in str(refusal.value)


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
