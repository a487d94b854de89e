"""Links of single devices: values in place of the cell's, everywhere that a link is used."""

import numpy as np
import pytest

import card
from card.base.errors import ScenarioError
from card.channel.rates import state_rates
from card.studies.explorer import explore
from card.studies.scenario_values import differences, parameters, with_unit

OTHER = {
    "bandwidth_hz": 5e6,
    "uplink_power_dbm": 10.0,
    "downlink_power_dbm": 20.0,
    "noise_dbm_per_hz": -170.0,
    "reference_loss_db": 40.0,
    "shadowing_db": 2.0,
    "noise_figure_db": 5.0,
    "gap_db": 3.0,
    "spectral_efficiency_max": 4.0,
    "overhead_share": 0.2,
    "round_trip_s": 0.01,
}
SMALL = {"llm": "tiny-llama-8m", "training.sequence_length": 64}
BASE = card.load_scenario("nominal", **SMALL)
QUANTITIES = ("uplink_bps", "downlink_bps", "cut", "frequency_hz", "delay_s", "device_energy_j")


def own(device, **values):
    return BASE.updated({f"devices.{device}.link.{key}": value for key, value in values.items()})


@pytest.mark.parametrize(("key", "value"), OTHER.items())
def test_a_value_of_every_device_is_that_of_the_cell(key, value):
    """The model has no other place for it, so all results are equal to the last bit."""
    cell = card.simulate(BASE.updated({f"link.{key}": value}), ["card", "random_cut"], rounds=5)
    each = card.simulate(own("*", **{key: value}), ["card", "random_cut"], rounds=5)
    assert all(np.array_equal(cell[name], each[name]) for name in QUANTITIES)


def test_an_exponent_of_a_device_is_that_of_every_state():
    states = {f"channel_states.{name}.path_loss_exponent": 2.5 for name in BASE.channel_states}
    cell, one = (
        state_rates(BASE.updated(states)),
        state_rates(own("device-2", path_loss_exponent=2.5)),
    )
    for whole, mixed, before in zip(cell, one, state_rates(BASE), strict=True):
        assert np.array_equal(mixed[:, 1], whole[:, 1])
        assert np.array_equal(mixed[:, [0, 2, 3, 4]], before[:, [0, 2, 3, 4]])


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_one_device_has_its_own_and_the_others_keep_draws_and_results(library):
    pytest.importorskip(library)
    cell = card.simulate(BASE.updated({f"link.{k}": v for k, v in OTHER.items()}), ["card"], 5)
    mixed = card.simulate(own("device-2", **OTHER), ["card"], 5, library=library)
    before = card.simulate(BASE, ["card"], 5)
    others = ["device-1", "device-3", "device-4", "device-5"]
    for name in QUANTITIES:
        for expected, devices in ((cell, "device-2"), (before, others)):
            np.testing.assert_allclose(
                mixed[name].sel(device=devices), expected[name].sel(device=devices), rtol=1e-12
            )


def test_the_solver_is_exact_with_links_of_every_kind():
    scenario = own("device-1", round_trip_s=0.02, uplink_power_dbm=30.0)
    system = card.system(scenario)
    assert system.round_trip_s.tolist() == [0.02, 0, 0, 0, 0]
    device = np.arange(5)[:, None]
    rates = np.geomspace(1e5, 1e9, 7)[None, :]
    found = card.solve(system, device, rates, rates)
    every = card.solver.solve_exhaustive(system, device, rates, rates)
    assert np.array_equal(found.cut, every.cut)
    assert np.array_equal(found.frequency_hz, every.frequency_hz)
    costs = card.evaluate(system, device, found.cut, found.frequency_hz, rates, rates)
    np.testing.assert_allclose(costs.delay_s, found.delay_s, rtol=1e-12)


def test_the_explorer_keeps_what_it_does_not_vary():
    scenario = own("device-2", uplink_power_dbm=10.0)
    arguments = (["device-1", "device-2"], ["good", "good"], [1e7, 1e7], [50.0, 50.0], [0.5])
    mixed, before = explore(scenario, *arguments), explore(BASE, *arguments)
    assert mixed.uplink_bps[0] == before.uplink_bps[0]
    assert mixed.uplink_bps[1] < before.uplink_bps[1]


def test_it_is_part_of_what_a_scenario_is_and_is_shown_with_unit_and_origin():
    scenario = own("device-2", bandwidth_hz=5e6)
    assert scenario.digest != BASE.digest
    assert scenario.updated({"devices.device-2.link": {"bandwidth_hz": None}}).digest == BASE.digest
    (shown,) = [item for item in parameters(scenario) if ".link." in item.path]
    assert (shown.path, shown.value, shown.unit) == (
        "devices.device-2.link.bandwidth_hz",
        5e6,
        "Hz",
    )
    assert shown.source.source == "set by the user"
    for first, second in ((BASE, scenario), (scenario, BASE)):
        (found,) = differences(first, second)
        assert found.path == "devices.device-2.link.bandwidth_hz"
        assert {found.first, found.second} == {None, 5e6}


def test_a_comparison_says_which_devices_have_their_own():
    """Few are named; of many, each device has its place in the list, also without a value."""
    every, three = own("*", bandwidth_hz=5e6), BASE
    for place in (1, 3, 4):
        three = three.updated({f"devices.device-{place}.link.bandwidth_hz": 5e6})
    for scenario, values in ((every, [5e6] * 5), (three, [5e6, None, 5e6, 5e6, None])):
        (found,) = differences(BASE, scenario)
        assert found == ("devices.link.bandwidth_hz", [None] * 5, values, "Hz")
        assert with_unit(found.first, found.unit) == "none"
    named = [found.path.split(".")[1] for found in differences(every, three)]
    assert named == ["device-2", "device-5"]


def test_a_sweep_varies_it():
    swept = card.sweep(BASE, {"devices.*.link.bandwidth_hz": [1e6, 2e7]}, ["card"], rounds=2)
    axis = swept["devices.*.link.bandwidth_hz"]
    assert axis.attrs["units"] == "Hz"
    cell = card.sweep(BASE, {"link.bandwidth_hz": [1e6, 2e7]}, ["card"], rounds=2)
    assert np.array_equal(swept.delay_s, cell.delay_s)


@pytest.mark.parametrize(
    ("link", "message"),
    [
        (
            {"bandwith_hz": 1},
            "devices.device-1.link.bandwith_hz is not a key of a scenario; did you mean "
            "'devices.device-1.link.bandwidth_hz'?",
        ),
        (
            {"bandwidth_hz": -1},
            "devices.device-1.link.bandwidth_hz = -1 is not allowed; give a number from 1000 "
            "to 1e+15. Bandwidth of each direction [Hz] (W).",
        ),
        ({"fading": "none"}, "devices.device-1.link.fading is not a key of a scenario; choose"),
        (7, "devices.device-1.link = 7 is not allowed; give a mapping of keys to values."),
        (
            {"uplink_power_dbm": -300},
            "devices.device-1: its link has a rate of",
        ),
    ],
)  # fmt: skip
def test_what_is_no_value_of_a_link_is_one_line(link, message):
    with pytest.raises(ScenarioError) as refusal:
        card.load_scenario("nominal", **{"devices.device-1.link": link})
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)
