"""Slopes by automatic differentiation are those of `card.simulation` on the same draws."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import xarray as xr

import card
from card.base.errors import ScenarioError
from card.simulation import means, reduction
from card.studies.sensitivity import CONTINUOUS, REDUCTIONS, gradients

torch = pytest.importorskip("torch")

CASES = {
    "shipped": {},
    "u-shaped, no fading": {
        "training.topology": "u-shaped",
        "link.fading": "none",
        "server.static_power_w": 20.0,
        "server.waiting_power_w": 10.0,
        # above what some devices ask for, below what others do
        "server.minimum_frequency_hz": 1e8,
    },
    "block fading, inside every range": {
        "link.fading": "block",
        "link.fading_draws": 4,
        "server.utilisation": 0.6,
        "objective.delay_weight": 0.8,
        "devices.device-1.utilisation": 0.5,
    },
    "list of clocks, little memory": {
        "server.clocks_hz": [0.7e9, 1.1e9, 1.6e9, 2.2e9, 2.5e9],
        "devices.device-4.memory_share": 0.2,
    },
    "a link that is not Shannon's": {
        "link.noise_figure_db": 5.0,
        "link.gap_db": 3.0,
        "link.spectral_efficiency_max": 5.5,
        "link.overhead_share": 0.2,
    },
    "a machine that is not a formula": {
        "server.static_power_w": 20.0,
        "server.linear_power_w_per_hz": 1e-8,
        "server.waiting_power_w": 15.0,
        "server.power_cap_w": 120.0,
        "server.block_overhead_s": 2e-3,
        "server.head_overhead_s": 1e-3,
        "devices.device-1.block_overhead_s": 1e-3,
        "devices.device-1.head_overhead_s": 3e-3,
        "link.round_trip_s": 0.01,
    },
    "all for energy": {"objective.delay_weight": 0.0, "link.shadowing_db": 0.0},
    "all for delay": {"objective.delay_weight": 1.0},
}
POLICIES = ("card", *(benchmark for _, benchmark in REDUCTIONS.values()))
ROUNDS, SEED = 10, 1

NULL = ("link.spectral_efficiency_max", "server.power_cap_w")

STEP = 1e-6
"""Relative, so small that no cut changes; rounding of a difference is then 1e-16 / 1e-6."""

UNITS_OF_ZERO = {
    "static_power_w": 10.0,
    "linear_power_w_per_hz": 1e-8,
    "minimum_frequency_hz": 1e6,
    "shadowing_db": 1.0,
    "block_overhead_s": 1e-2,
    "head_overhead_s": 1e-2,
}
"""What a step is relative to where the parameter is 0."""

RANGES = {
    "utilisation": (0.0, 1.0),
    "delay_weight": (0.0, 1.0),
    "static_power_w": (0.0, np.inf),
    "minimum_frequency_hz": (0.0, np.inf),
    "shadowing_db": (0.0, np.inf),
    "noise_figure_db": (0.0, np.inf),
    "gap_db": (0.0, np.inf),
    "overhead_share": (0.0, 1.0),
    "linear_power_w_per_hz": (0.0, np.inf),
    "waiting_power_w": (0.0, np.inf),
    "block_overhead_s": (0.0, np.inf),
    "head_overhead_s": (0.0, np.inf),
    "round_trip_s": (0.0, np.inf),
}


def paths() -> list[str]:
    names = {
        "devices": [f"device-{number}" for number in range(1, 6)],
        "channel_states": ["good", "normal", "poor"],
    }
    found = []
    for generic in CONTINUOUS:
        part, key = generic.split(".")
        found += [f"{part}.{name}.{key}" for name in names.get(part, [])] or [generic]
    return found


def value_at(scenario: card.Scenario, path: str) -> float:
    part, *name, key = path.split(".")
    node = getattr(scenario, part)
    if name:
        is_list = part == "devices"
        node = node[scenario.device_index(name[0])] if is_list else node[name[0]]
    return float(getattr(node, key))


def simulated(scenario: card.Scenario) -> tuple[np.ndarray, np.ndarray]:
    """CARD's cuts, and the quantities that have slopes."""
    results = card.simulate(scenario, POLICIES, ROUNDS, SEED)
    mean = means(results)["card"]
    reached = [
        reduction(results[quantity].sel(policy="card"), results[quantity].sel(policy=benchmark))
        for quantity, benchmark in REDUCTIONS.values()
    ]
    values = [mean["delay_s"], mean["energy_j"], *reached]
    return results.cut.sel(policy="card").values, np.array(values)


@dataclass(frozen=True)
class Case:
    scenario: card.Scenario
    slopes: xr.Dataset
    cuts: np.ndarray
    values: np.ndarray


@cache
def case(name: str) -> Case:
    scenario = card.load_scenario("nominal").updated(CASES[name])
    return Case(scenario, gradients(scenario, ROUNDS, SEED), *simulated(scenario))


@pytest.mark.parametrize("name", CASES)
def test_values_are_the_simulators(name: str) -> None:
    # the libraries' exponentials differ in the last digits
    np.testing.assert_allclose(case(name).slopes.value, case(name).values, rtol=1e-12)


def test_every_parameter_has_a_slope_in_some_case() -> None:
    steep = {
        (path, quantity)
        for name in CASES
        for path, row in zip(case(name).slopes.parameter.values, reductions_of(name), strict=True)
        for quantity, slope in zip(REDUCTIONS, row, strict=True)
        if slope
    }
    assert steep == {(path, quantity) for path in paths() for quantity in REDUCTIONS}


def reductions_of(name: str) -> np.ndarray:
    """Slopes of the two reductions in a case, a row per parameter."""
    return case(name).slopes.derivative.sel(quantity=list(REDUCTIONS)).values


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (name, path)
        for name, changes in CASES.items()
        for path in paths()
        # null, unless a case sets it
        if path not in NULL or path in changes
    ],
)
def test_slopes_are_those_of_the_simulator(name: str, path: str) -> None:
    """Central differences; at an end of the range, one-sided ones of the same order."""
    here = case(name)
    value, key = value_at(here.scenario, path), path.rpartition(".")[2]
    step = STEP * (abs(value) or UNITS_OF_ZERO.get(key, 1.0))
    low, high = RANGES.get(key, (-np.inf, np.inf))
    places, weights = np.array([-1, 1]), np.array([-0.5, 0.5])
    if not low <= value - step < value + step <= high:
        side = 1 if value - step < low else -1
        places, weights = side * np.arange(3), side * np.array([-1.5, 2.0, -0.5])
    runs = [simulated(here.scenario.updated({path: value + place * step})) for place in places]
    for cuts, _ in runs:
        np.testing.assert_array_equal(cuts, here.cuts, "a smaller step is needed")
    expected = weights @ np.array([values for _, values in runs]) / step
    found = here.slopes.derivative.sel(parameter=path).values
    # rounding of a mean per relative step is about 1e-10 of it; a reduction is 1 less a ratio
    rounding = 1e-9 * np.array([*here.values[:2], 1.0, 1.0]) * STEP / step
    assert (np.abs(found - expected) <= rounding + 1e-6 * np.abs(expected)).all()


def test_elasticities_are_relative_but_per_decibel_for_levels() -> None:
    found = case("shipped").slopes
    band, loss = (found.sel(parameter=f"link.{key}") for key in ("bandwidth_hz", "shadowing_db"))
    relative = found.derivative / found.value
    np.testing.assert_allclose(
        band.elasticity, 10e6 * relative.sel(parameter="link.bandwidth_hz"), rtol=1e-15
    )
    np.testing.assert_allclose(
        loss.elasticity, relative.sel(parameter="link.shadowing_db"), rtol=1e-15
    )
    assert (band.per.item(), loss.per.item()) == ("1", "dB")
    still = found.elasticity.sel(parameter="server.static_power_w")
    np.testing.assert_array_equal(still, 0.0)


def test_only_the_ratio_of_signal_and_noise_matters() -> None:
    """A decibel of noise costs what one of loss does, and both powers together give it back."""
    per_db = case("shipped").slopes.derivative
    noise, loss, up, down = (
        per_db.sel(parameter=f"link.{key}").values
        for key in (
            "noise_dbm_per_hz",
            "reference_loss_db",
            "uplink_power_dbm",
            "downlink_power_dbm",
        )
    )
    np.testing.assert_allclose(noise, loss, rtol=1e-9)
    for name in ("noise_figure_db", "gap_db"):
        np.testing.assert_allclose(per_db.sel(parameter=f"link.{name}"), loss, rtol=1e-9)
    np.testing.assert_allclose(up + down, -loss, rtol=1e-9)


def test_a_measured_gpu_has_slopes() -> None:
    found = gradients(card.load_scenario("measured-server"), ROUNDS, SEED)
    assert np.isfinite(found.derivative).all()
    slope = found.derivative.sel(parameter="server.waiting_power_w", quantity="energy_j")
    assert slope > 0


def test_a_quantity_that_is_nothing_has_no_elasticity() -> None:
    """All for energy: every device trains alone, and the server spends nothing."""
    found = case("all for energy").slopes
    assert found.value.sel(quantity="energy_j") == 0
    assert found.elasticity.sel(quantity="energy_j").isnull().all()
    assert found.elasticity.sel(quantity="delay_s").notnull().all()


def test_where_a_cut_changes_only_the_objective_is_continuous() -> None:
    """The bandwidth at which a device-round moves its cut, closed in on by bisection."""

    def solved(bandwidth_hz: float) -> xr.Dataset:
        scenario = card.load_scenario("nominal").updated({"link.bandwidth_hz": bandwidth_hz})
        run = card.simulate(scenario, ["card"], rounds=1, seed=SEED)
        return run.sel(state="poor", device="device-2").squeeze()

    low, high = 1e5, 1e8
    first = solved(low).cut
    assert solved(high).cut != first
    while high - low > 1e-9 * low:
        middle = (low + high) / 2
        low, high = (middle, high) if solved(middle).cut == first else (low, middle)
    before, after = solved(low), solved(high)
    # slopes of U in the logarithm of the bandwidth are about 1, the interval is 1e-9
    assert float(after.objective) == pytest.approx(float(before.objective), abs=1e-8)
    assert abs(float(after.delay_s / before.delay_s) - 1) > 0.01
    assert abs(float(after.energy_j - before.energy_j)) > 1.0


@pytest.mark.parametrize(("rounds", "seed"), [(0, 0), (5, -1)])
def test_bad_rounds_and_seeds_are_refused(rounds: int, seed: int) -> None:
    with pytest.raises(ScenarioError, match="is not allowed; give a whole number from"):
        gradients(card.load_scenario("nominal"), rounds, seed)
