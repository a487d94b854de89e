"""What a researcher reads after a wrong argument: its name, its value, what is allowed."""

import pytest

import card

NAN, INFINITY = float("nan"), float("inf")

RATE = "is not allowed; give finite numbers above 0."
DECISIONS = [
    ({"uplink_bps": -1}, f"uplink_bps = -1 {RATE}"),
    ({"uplink_bps": True}, f"uplink_bps = True {RATE}"),
    ({"downlink_bps": [1e6, NAN]}, f"downlink_bps = nan {RATE}"),
    ({"frequency_hz": 0}, f"frequency_hz = 0 {RATE}"),
    ({"frequency_hz": INFINITY}, f"frequency_hz = inf {RATE}"),
    ({"frequency_hz": "1e9"}, f"frequency_hz = '1e9' {RATE}"),
    ({"frequency_hz": None}, f"frequency_hz = None {RATE}"),
    ({"cut": 17}, "cut = 17 is out of range; give 0 to 16."),
    ({"cut": -1}, "cut = -1 is out of range; give 0 to 16."),
    ({"cut": 1.5}, "cut = 1.5 is not allowed; give whole numbers."),
    ({"cut": True}, "cut = True is not allowed; give whole numbers."),
    ({"cut": [[1], [1, 2]]}, "cut = [[1], [1, 2]] is not allowed; give whole numbers."),
    ({"device": 5}, "device = 5 is out of range; give 0 to 4."),
    (
        {"device": [0, 1], "cut": [1, 2, 3]},
        "the shapes do not broadcast together: "
        "device (2,), cut (3,), frequency_hz (), uplink_bps (), downlink_bps ().",
    ),
]


@pytest.mark.parametrize(("changes", "message"), DECISIONS)
def test_decision_to_evaluate(changes, message):
    decision = {"device": 0, "cut": 1, "frequency_hz": 1e9, "uplink_bps": 1e6, "downlink_bps": 1e6}
    with pytest.raises(card.ScenarioError) as refusal:
        card.evaluate(card.load_scenario("nominal"), **{**decision, **changes})
    assert str(refusal.value) == message


REQUESTS = [
    ({"device": "device-6"}, "device = 'device-6' is unknown; did you mean 'device-5'?"),
    ({"device": 0.5}, "device = 0.5 is not allowed; give whole numbers."),
    ({"uplink_bps": 0}, f"uplink_bps = 0 {RATE}"),
    ({"downlink_bps": INFINITY}, f"downlink_bps = inf {RATE}"),
    ({"delay_weight": 1.5}, "delay_weight = 1.5 is not allowed; give numbers from 0 to 1."),
    ({"delay_weight": NAN}, "delay_weight = nan is not allowed; give numbers from 0 to 1."),
    ({"delay_weight": "half"}, "delay_weight = 'half' is not allowed; give numbers from 0 to 1."),
    (
        {"device": [0, 1], "uplink_bps": [1e6, 2e6, 3e6]},
        "the shapes do not broadcast together: "
        "device (2,), uplink_bps (3,), downlink_bps (), delay_weight ().",
    ),
]


@pytest.mark.parametrize("solve", [card.solve, card.solve_exhaustive])
@pytest.mark.parametrize(("changes", "message"), REQUESTS)
def test_request_to_solve(solve, changes, message):
    request = {"device": 0, "uplink_bps": 1e6, "downlink_bps": 1e6}
    with pytest.raises(card.ScenarioError) as refusal:
        solve(card.load_scenario("nominal"), **{**request, **changes})
    assert str(refusal.value) == message


POLICIES = (
    "card, device_only, server_only, random_cut, static_cut, delay_optimal, energy_optimal, "
    "exhaustive"
)
SIMULATIONS = [
    (
        {"policies": ["card", "device_olny"]},
        "policies = 'device_olny' is unknown; did you mean 'device_only'?",
    ),
    ({"policies": "card"}, f"policies = 'card' is not allowed; give a list of {POLICIES}."),
    ({"policies": []}, f"policies = [] is not allowed; give a list of {POLICIES}."),
    ({"rounds": 0}, "rounds = 0 is not allowed; give a whole number from 1."),
    ({"rounds": 2.5}, "rounds = 2.5 is not allowed; give a whole number from 1."),
    ({"rounds": True}, "rounds = True is not allowed; give a whole number from 1."),
    ({"seed": -1}, "seed = -1 is not allowed; give a whole number from 0."),
]


@pytest.mark.parametrize(("changes", "message"), SIMULATIONS)
def test_simulation(changes, message):
    with pytest.raises(card.ScenarioError) as refusal:
        card.simulate(card.load_scenario("nominal"), **changes)
    assert str(refusal.value) == message
