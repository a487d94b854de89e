"""Variations bend exactly the assumed numbers, by the stated steps; slopes need torch only here."""

import subprocess
import sys

import pytest
import xarray as xr

import card
from card.base.data_files import DATA
from card.base.errors import ScenarioError
from card.base.yaml_files import read_yaml
from card.studies.calibration import Target
from card.studies.sensitivity import (
    ALTERNATIVES,
    CONTINUOUS,
    REDUCTIONS,
    Effect,
    Variation,
    alternatives,
    effects,
    gradients,
    side_by_side,
    tangents,
    variations,
)
from card.studies.sensitivity.variations import numbers

TARGETS = (Target("delay_s", "device_only", 0.7), Target("energy_j", "server_only", 0.5))


@pytest.fixture(scope="module")
def scenario() -> card.Scenario:
    return card.load_scenario("nominal")


@pytest.fixture(scope="module")
def found(scenario: card.Scenario) -> dict[tuple[str, int], Variation]:
    return {(item.parameter, item.side): item for item in variations(scenario)}


@pytest.mark.parametrize(
    ("parameter", "side", "change", "path", "value"),
    [
        ("link.bandwidth_hz", 1, "+20 %", "link.bandwidth_hz", 12e6),
        ("link.shadowing_db", -1, "−3 dB", "link.shadowing_db", 3.0),
        ("link.uplink_power_dbm", 1, "+3 dB", "link.uplink_power_dbm", 26.0),
        ("link.noise_dbm_per_hz", -1, "−3 dB", "link.noise_dbm_per_hz", -177.0),
        ("objective.delay_weight", -1, "−0.1", "objective.delay_weight", 0.4),
        ("devices.utilisation", -1, "−0.1", "devices.device-5.utilisation", 0.9),
        ("devices.distance_m", 1, "+20 %", "devices.device-2.distance_m", 72.0),
        (
            "channel_states.path_loss_exponent",
            1,
            "+0.2",
            "channel_states.poor.path_loss_exponent",
            4.2,
        ),
        ("training.activation_bits", 1, "doubled", "training.activation_bits", 32),
        ("training.local_iterations", -1, "−20 %", "training.local_iterations", 16),
        ("training.batch_size", 1, "+1", "training.batch_size", 2),
    ],
)
def test_steps(
    found: dict[tuple[str, int], Variation],
    parameter: str,
    side: int,
    change: str,
    path: str,
    value: float,
) -> None:
    item = found[parameter, side]
    assert item.change == change
    assert item.overrides[path] == pytest.approx(value)


def test_what_is_zero_has_no_step_unless_it_is_counted(
    scenario: card.Scenario, found: dict[tuple[str, int], Variation]
) -> None:
    assert scenario.devices[0].block_overhead_s == 0
    assert [name for name, _ in found if name.endswith(("_s", "_w"))] == []


def test_all_devices_move_together(found: dict[tuple[str, int], Variation]) -> None:
    assert len(found["devices.distance_m", 1].overrides) == 5


def test_what_cannot_move_has_no_variation(found: dict[tuple[str, int], Variation]) -> None:
    assert ("server.utilisation", 1) not in found, "already 1"
    assert ("training.batch_size", -1) not in found, "already 1"
    assert ("server.static_power_w", 1) not in found, "0 has no 20 %"


def test_only_assumed_and_calibrated_numbers_are_varied(
    scenario: card.Scenario, found: dict[tuple[str, int], Variation]
) -> None:
    assert ("training.weight_bits", 1) not in found, "a fact of the checkpoint"
    assert not any(parameter.startswith("simulation") for parameter, _ in found)
    assert ("lora.alpha", 1) not in found, "changes no cost"
    calibrated = {item.parameter for item in variations(card.load_scenario("calibrated"))}
    assert {"objective.delay_weight", "link.bandwidth_hz"} <= calibrated
    kinds = {scenario.source_of(path).kind for item in found.values() for path in item.overrides}
    assert kinds == {"assumed"}


def test_every_variation_is_a_valid_scenario(
    scenario: card.Scenario, found: dict[tuple[str, int], Variation]
) -> None:
    for item in found.values():
        scenario.updated(item.overrides)


def test_alternatives_leave_out_what_the_scenario_already_is(scenario: card.Scenario) -> None:
    changes = {(item.parameter, item.change) for item in alternatives(scenario)}
    assert ("training.topology", "vanilla") not in changes
    assert len(changes) == len(ALTERNATIVES) - 1


def test_effects_leave_out_what_cannot_be(scenario: card.Scenario) -> None:
    impossible = Variation("llm", "GPT-2", 0, {"llm": "gpt-2"})  # has no q_proj to adapt
    weight = Variation("objective.delay_weight", "1", 1, {"objective.delay_weight": 1.0})
    (effect,) = effects(scenario, [impossible, weight], TARGETS, rounds=5, seed=0)
    assert (effect.parameter, effect.side) == ("objective.delay_weight", 1)
    assert effect.reached[0] > 0.6, "all weight on delay shortens it"


def test_effects_stand_beside_those_of_the_slopes_with_their_distance_from_the_base() -> None:
    moved = [Effect("w", "+0.1", 1, (0.6, 0.5)), Effect("llm", "another", 0, (0.4, 0.9))]
    frame = side_by_side(moved, [Effect("w", "+0.1", 1, (0.7, 0.4))], (0.5, 0.6), ("C1", "C2"))
    assert frame.columns.tolist() == [
        "parameter", "change", "C1", "C2", "C1_shift", "C2_shift", "C1_by_slope", "C2_by_slope",
    ]  # fmt: skip
    first, second = frame.to_numpy().tolist()
    assert first == ["w", "+0.1", 0.6, 0.5, pytest.approx(0.1), pytest.approx(-0.1), 0.7, 0.4]
    assert frame.loc[1, ["C1_by_slope", "C2_by_slope"]].isna().all(), "no slope, nothing beside it"
    assert second[:4] == ["llm", "another", 0.4, 0.9]


STEPWISE = {
    "training.batch_size",
    "training.accumulation",
    "training.sequence_length",
    "training.local_iterations",
    "training.activation_bits",
    "training.weight_bits",
    "wire.group",
    "objective.queue_weight",
    "lora.rank",
    "lora.alpha",
    "lora.adapter_bits",
    "devices.memory_share",
    "devices.waiting_power_w",
    "link.fading_draws",
    "link.shadowing_coherence_rounds",
    "simulation.rounds",
    "simulation.seed",
}
"""Numbers without a slope: counts, bit widths, what lets cuts in or out, or is not optimised."""


def test_every_number_either_has_a_slope_or_goes_in_steps(scenario: card.Scenario) -> None:
    # null is no number
    limited = scenario.updated({"link.spectral_efficiency_max": 7.4, "server.power_cap_w": 150})
    assert {generic for generic, *_ in numbers(limited)} == STEPWISE | set(CONTINUOUS)


def test_reductions_are_read_as_the_claims_are() -> None:
    claims = read_yaml(DATA / "claims.yml")["claims"].values()
    unit = {"delay": "delay_s", "energy": "energy_j"}
    assert list(REDUCTIONS.values()) == [(unit[c["quantity"]], c["benchmark"]) for c in claims]


@pytest.fixture
def slopes() -> xr.Dataset:
    """A metre of device 2 takes 0.01 from one reduction and gives 0.02; of device 1, twice that."""
    paths = ["devices.device-1.distance_m", "devices.device-2.distance_m"]
    return xr.Dataset(
        {
            "derivative": (
                ("parameter", "quantity"),
                [[5.0, -0.02, 0.04], [5.0, -0.01, 0.02]],
            ),
            "value": ("quantity", [13.0, 0.6, 0.9]),
        },
        coords={"parameter": paths, "quantity": ["delay_s", *REDUCTIONS]},
    )


def test_tangents_add_up_the_steps_of_all_devices(
    scenario: card.Scenario, slopes: xr.Dataset
) -> None:
    """Device 1 stands at 200 m and moves by 2 m, device 2 at 60 m and moves by -1 m."""
    both = {"devices.device-1.distance_m": 202.0, "devices.device-2.distance_m": 59.0}
    (effect,) = tangents(scenario, [Variation("devices.distance_m", "moved", 1, both)], slopes)
    assert effect == Effect("devices.distance_m", "moved", 1, effect.reached)
    assert effect.reached == pytest.approx((0.6 - 0.04 + 0.01, 0.9 + 0.08 - 0.02))


def test_what_has_no_slope_has_no_tangent(scenario: card.Scenario, slopes: xr.Dataset) -> None:
    rank = Variation("lora.rank", "+20 %", 1, {"lora.rank": 10})
    mixed = {"devices.device-1.distance_m": 202.0, "link.fading": "none"}
    assert tangents(scenario, [rank, Variation("link.fading", "none", 0, mixed)], slopes) == []


def test_gradients_without_torch_are_refused_with_the_remedy(
    scenario: card.Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ScenarioError, match=r"gradients needs torch.*'card-split-learning.lab.'"):
        gradients(scenario)


def test_torch_is_loaded_by_gradients_alone() -> None:
    code = (
        "import sys, card, card.studies.sensitivity as s; n = card.load_scenario('nominal');"
        "s.variations(n), s.alternatives(n); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
