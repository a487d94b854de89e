"""`card.solver.decision`: decisions by hand, at the bounds, and where nothing can be gained."""

import numpy as np
import pytest
from handmade import DOWN, UP, handmade

import card
from card.solver import extremes, objective, prices
from card.solver.decision import Extremes

SLOW = 1
# Slow device, f in [5, 20] Hz, 80 bit/s up, 40 bit/s down:
#   cut 0: D = 2 + 60/f          E = 60/f (1 + f³/1000)
#   cut 1: D = 4 + 2 + 2 + 0.225 + 40/f   E = 40/f (1 + f³/1000)
#   cut 2: D = 12 + 0.45         E = 0
DELAY_MIN, DELAY_MAX = 2 + 60 / 20, 8.225 + 40 / 5
ENERGY_MIN, ENERGY_MAX = 0.0, 60 / 20 * 9
DELAY_SPAN, ENERGY_SPAN = DELAY_MAX - DELAY_MIN, ENERGY_MAX - ENERGY_MIN


def weight_for(frequency: float) -> float:
    """Weight at which the clock is stationary: w ΔE / ((1 - w) ΔD) + P_0 = 2 ξ f³."""
    ratio = (2 * 0.001 * frequency**3 - 1.0) * DELAY_SPAN / ENERGY_SPAN
    return ratio / (1 + ratio)


def test_interior_decision_by_hand():
    """At 15 Hz cut 0 takes 2 + 4 s and 4 s x 4.375 W."""
    weight = weight_for(15.0)
    decision = card.solve(handmade(), "slow", UP, DOWN, weight)
    assert decision.frequency_hz == pytest.approx(15.0)
    assert decision.cut == 0
    assert decision.delay_s == pytest.approx(6.0)
    assert decision.energy_j == pytest.approx(17.5)
    assert decision.objective == pytest.approx(
        weight * (6 - DELAY_MIN) / DELAY_SPAN + (1 - weight) * 17.5 / ENERGY_SPAN
    )
    assert (decision.frequency_min_hz, decision.frequency_max_hz) == (5.0, 20.0)
    assert decision.bound == 0
    assert decision.extremes == pytest.approx((DELAY_MIN, DELAY_MAX, ENERGY_MIN, ENERGY_MAX))


@pytest.mark.parametrize(
    ("weight", "cut", "frequency", "bound"),
    [
        # all for delay: full clock, everything on the server
        (1.0, 0, 20.0, 1),
        # all for energy: nothing on the server; the clock is where P(f)/f is least, cbrt(1/0.002)
        (0.0, 2, 500 ** (1 / 3), 0),
        # beyond the weight at which 20 Hz is stationary
        (weight_for(20.0) + 0.01, 0, 20.0, 1),
    ],
)
def test_end_weights_and_upper_bound(weight, cut, frequency, bound):
    decision = card.solve(handmade(), SLOW, UP, DOWN, weight)
    assert decision.cut == cut
    assert decision.frequency_hz == pytest.approx(frequency)
    assert decision.bound == bound


def test_lower_bound_binds_without_static_power():
    """P = ξ f³: the least energy is at the lowest clock."""
    decision = card.solve(handmade(static_power_w=0.0), SLOW, UP, DOWN, 0.0)
    assert decision.frequency_hz == 5.0
    assert decision.bound == -1


def test_a_cut_that_fits_alone_still_has_its_best_clock():
    """Cut 1 alone: D = 8.225 + 40/f, so ΔD = 6; E from 8 W·s at 5 Hz ... to 18 at 20 Hz."""
    system = handmade(feasible=np.array([[False, True, False]] * 2))
    energy = {f: 40 / f * (1 + f**3 / 1000) for f in (5.0, 500 ** (1 / 3), 20.0)}
    decision = card.solve(system, SLOW, UP, DOWN, 0.3)
    span = energy[20.0] - energy[500 ** (1 / 3)]
    assert decision.cut == 1
    assert decision.extremes.energy_min_j == pytest.approx(energy[500 ** (1 / 3)])
    assert decision.frequency_hz == pytest.approx(((0.3 / 0.7 * span / 6 + 1) / 0.002) ** (1 / 3))


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_nothing_to_gain_gives_objective_zero(weight):
    """Everything on the device: one delay, no server energy, whatever the clock."""
    system = handmade(feasible=np.array([[False, False, True]] * 2))
    decision = card.solve(system, SLOW, UP, DOWN, weight)
    assert (decision.cut, decision.objective, decision.energy_j) == (2, 0, 0)
    assert decision.frequency_hz == 20.0


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_single_clock_leaves_only_the_cut(weight):
    """At 20 Hz: cut 0 (5 s, 27 J), cut 1 (10.225 s, 18 J), cut 2 (12.45 s, 0 J)."""
    system = handmade(clocks_hz=np.array([20.0]), frequency_min_hz=np.array([20.0, 20.0]))
    decision = card.solve(system, SLOW, UP, DOWN, weight)
    assert decision.frequency_hz == 20.0
    table = {
        0: (1 - weight) * 1.0,
        1: weight * 5.225 / 7.45 + (1 - weight) * 18 / 27,
        2: weight * 1.0,
    }
    assert decision.cut == min(table, key=lambda cut: (round(table[cut], 12), cut))
    assert decision.objective == pytest.approx(min(table.values()))
    assert decision.bound == 1


def test_pinned_clock_and_single_cut_leave_nothing_to_choose():
    system = handmade(
        feasible=np.array([[True, False, False]] * 2), frequency_min_hz=np.array([20.0, 20.0])
    )
    decision = card.solve(system, SLOW, UP, DOWN, 0.5)
    assert (decision.cut, decision.frequency_hz, decision.objective) == (0, 20.0, 0.0)
    assert decision.extremes == (5.0, 5.0, 27.0, 27.0)


def test_prices_are_weights_per_span_and_zero_without_one():
    bounds = Extremes(*map(np.array, ([1.0, 1.0], [3.0, 1.0], [0.0, 5.0], [10.0, 5.0])))
    delay_price, energy_price = prices(bounds, 0.25)
    np.testing.assert_allclose(delay_price, [0.25 / 2, 0])
    np.testing.assert_allclose(energy_price, [0.75 / 10, 0])
    np.testing.assert_allclose(objective(bounds, 0.25, [2.0, 1.0], [5.0, 5.0]), [0.5, 0])


def test_extremes_swap_on_a_lost_link():
    """At 1 bit/s the slowest decision is cut 1, the fastest is everything on the device."""
    bounds = extremes(handmade(), np.array([SLOW]), np.array([1.0]), np.array([1.0]))
    assert bounds.delay_max_s[0] == pytest.approx(4 + 160 + 80 + 12 + 40 / 5)
    assert bounds.delay_min_s[0] == pytest.approx(12 + 24)


def test_device_by_name_position_or_array():
    system = handmade()
    by_name = card.solve(system, "slow", UP, DOWN)
    by_array = card.solve(system, np.array([0, 1]), UP, DOWN)
    assert by_name.delay_s == card.solve(system, 1, UP, DOWN).delay_s == by_array.delay_s[1]
    assert by_array.frequency_min_hz.tolist() == [10.0, 5.0]


def test_scenario_weight_holds_unless_another_is_given():
    system = handmade(delay_weight=1.0)
    assert card.solve(system, SLOW, UP, DOWN).frequency_hz == 20.0
    assert card.solve(system, SLOW, UP, DOWN, 0.0).cut == 2


def test_no_request_no_decision():
    decision = card.solve(handmade(), SLOW, np.array([]), DOWN)
    assert decision.cut.shape == decision.frequency_hz.shape == (0,)


@pytest.mark.parametrize("rate", [1e-3, 1e15])
@pytest.mark.parametrize("static", [0.0, 120.0])
@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
def test_lost_and_ideal_links(rate, static, topology):
    """A lost link keeps all on the device; an ideal one leaves compute alone to decide."""
    scenario = card.load_scenario("nominal").updated(
        {"server.static_power_w": static, "training.topology": topology}
    )
    decision = card.solve(scenario, np.arange(5), rate, rate, np.array([[0.3], [1.0]]))
    assert np.isfinite(decision.objective).all()
    if rate < 1:
        assert (decision.cut[0] == 16).all()
        # adapters of all blocks cross the lost link too, and there are none at cut 0
        assert np.isin(decision.cut[1], [0, 16]).all()
    else:
        assert (decision.cut[1] == 0).all()


RATE = "is not allowed; give numbers from 1e-100 to 1e+100."
REQUESTS = [
    ({"device": "device-6"}, "device = 'device-6' is unknown; did you mean 'device-5'?"),
    ({"device": 0.5}, "device = 0.5 is not allowed; give whole numbers."),
    ({"uplink_bps": 0}, f"uplink_bps = 0 {RATE}"),
    ({"downlink_bps": np.inf}, f"downlink_bps = inf {RATE}"),
    ({"delay_weight": 1.5}, "delay_weight = 1.5 is not allowed; give numbers from 0 to 1."),
    ({"delay_weight": np.nan}, "delay_weight = nan is not allowed; give numbers from 0 to 1."),
    ({"delay_weight": "half"}, "delay_weight = 'half' is not allowed; give numbers from 0 to 1."),
    (
        {"device": [0, 1], "uplink_bps": [1e6, 2e6, 3e6]},
        "the shapes do not broadcast together: "
        "device (2,), uplink_bps (3,), downlink_bps (), delay_weight ().",
    ),
]


@pytest.mark.parametrize("solve", [card.solve, card.solve_exhaustive])
@pytest.mark.parametrize(("changes", "message"), REQUESTS)
def test_arguments_out_of_range_are_refused(solve, changes, message):
    request = {"device": 0, "uplink_bps": 1e6, "downlink_bps": 1e6}
    with pytest.raises(card.ScenarioError) as refusal:
        solve(card.load_scenario("nominal"), **{**request, **changes})
    assert str(refusal.value) == message


def test_prices_by_hand():
    """The slow device waits at no power; of 7 W and 0.5 W it pays for computing and sending."""
    cost = {"delay_price": 1.0, "energy_price": 0.5, "device_energy_price": 2.0}
    found = card.solve(handmade(), SLOW, UP, DOWN, **cost)
    # 0.001 f³ x 2 = 1 / 0.5 + 1
    assert found.frequency_hz == pytest.approx(1500 ** (1 / 3))
    assert found.cut == 0
    spent = 1.0 * found.delay_s + 0.5 * found.energy_j + 2.0 * (2 * 0.5)
    assert found.objective == pytest.approx(spent)


def test_a_device_that_waits_dearly_hurries_the_server():
    patient = card.solve(handmade(), SLOW, UP, DOWN, energy_price=1, device_energy_price=1)
    system = handmade(device_waiting_power_w=np.array([5.0, 5.0]))
    hurried = card.solve(system, SLOW, UP, DOWN, energy_price=1, device_energy_price=1)
    assert patient.frequency_hz == pytest.approx(500 ** (1 / 3))
    assert hurried.frequency_hz == pytest.approx(3000 ** (1 / 3))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_prices_of_a_weight_decide_as_the_weight_does(weight):
    scenario = card.load_scenario("nominal")
    rates = np.array([2e6, 20e6, 200e6])[:, None], np.array([5e6, 500e6])
    by_weight = card.solve(scenario, "device-3", *rates, weight)
    delay_price, energy_price = prices(by_weight.extremes, weight)
    found = card.solve(
        scenario, "device-3", *rates, delay_price=delay_price, energy_price=energy_price
    )
    np.testing.assert_array_equal(found.cut, by_weight.cut)
    np.testing.assert_allclose(found.frequency_hz, by_weight.frequency_hz)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"delay_weight": 0.5, "delay_price": 1}, "comes with prices"),
        ({"delay_price": -1}, "delay_price = -1"),
        ({"energy_price": float("nan")}, "energy_price = nan"),
        ({"energy_price": 1e-300}, "energy_price = 1e-300 is not allowed; give 0, or"),
        ({"delay_price": [1, 2], "energy_price": [1, 2, 3]}, "do not broadcast"),
        ({"device_energy_price": "dear"}, "device_energy_price = 'dear'"),
        ({"device_energy_price": 1}, "needs the power of slow"),
    ],
)
def test_prices_that_are_none_are_refused(given, said):
    system = handmade(device_power_w=np.array([30.0, np.nan]))
    with pytest.raises(card.ScenarioError, match=said):
        card.solve(system, SLOW, UP, DOWN, **given)


def test_a_device_of_unknown_power_may_still_pay_nothing():
    system = handmade(device_power_w=np.array([30.0, np.nan]))
    found = card.solve(system, [0, SLOW], UP, DOWN, delay_price=1, device_energy_price=[1, 0])
    assert np.isfinite(found.objective).all()
