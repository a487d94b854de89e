"""Laws of the decision: optimality conditions, symmetries, and order in the weight."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import powers, rounds, subsets, systems, weights

import card.base.arrays
from card.costs import System, evaluate
from card.llm import CutProfile
from card.solver import best_frequency, extremes, objective, prices, solve, solve_exhaustive
from card.solver.clock import has_overhead
from card.solver.decision import Extremes

ROUNDING = 1e-9
"""What the search for a clock leaves of an objective between 0 and 1."""


def rounding(bounds: Extremes) -> np.ndarray:
    """How far two values of one objective may lie apart: what doubles lose of a delay or an energy,
    a few of their last digits, is divided by its range, which may be far smaller."""
    lost = np.full_like(bounds.delay_max_s, ROUNDING)
    for low, high in (bounds[:2], bounds[2:]):
        spread = np.where(high > low, high - low, np.inf)
        lost = lost + 32 * np.finfo(float).eps * high / spread
    return lost


def clocks_of(system: System, device: int, points: int = 400) -> np.ndarray:
    """The clocks on offer to a device, or a dense grid over its range."""
    low, high = system.frequency_min_hz[device], system.frequency_max_hz
    if system.clocks_hz is not None:
        return system.clocks_hz[system.clocks_hz >= low]
    grid = np.geomspace(low, high, points)
    return np.clip(grid, low, high)


def scores(system: System, device: int, up: float, down: float) -> tuple[np.ndarray, ...]:
    """Delay and energy of every feasible cut at every clock, with the cuts."""
    cuts = np.flatnonzero(system.feasible[device])
    costs = evaluate(system, device, cuts[:, None], clocks_of(system, device), up, down)
    return np.broadcast_arrays(costs.delay_s, costs.energy_j, cuts[:, None])


@given(st.data())
def test_clock_is_stationary_or_at_the_bound_that_blocks_it(data):
    system = data.draw(systems(clocks=False))
    device, up, down = data.draw(rounds(system))
    decision = solve(system, device, up, down)
    delay_price, energy_price = prices(decision.extremes, system.delay_weight)
    # dU/df is proportional to pull - push, both in W
    clock, cut = decision.frequency_hz, decision.option
    busy_s = system.server_overhead_s[cut] - system.server_launch_s[cut]
    ratio = busy_s * system.flops_per_hz / np.maximum(system.profile.server_flop[cut], 1)
    linear, cubic = system.linear_power_w_per_hz, system.power_coefficient
    push = delay_price + energy_price * system.static_power_w
    pull = energy_price * (
        2 * cubic * clock**3 + ratio * clock**2 * (3 * cubic * clock**2 + linear)
    )
    inner, high, low = (decision.bound == side for side in (0, 1, -1))
    np.testing.assert_allclose(pull[inner], push[inner], rtol=1e-12)
    pinned = decision.frequency_min_hz == system.frequency_max_hz
    assert (pull[high & ~pinned] <= push[high & ~pinned] * (1 + 1e-12)).all()
    assert (pull[low] >= push[low] * (1 - 1e-12)).all()


@given(st.data())
def test_no_clock_nearby_is_better(data):
    system = data.draw(systems(clocks=False))
    device, up, down = data.draw(rounds(system))
    decision = solve(system, device, up, down)
    for factor in (0.999, 1.001):
        moved = np.clip(
            decision.frequency_hz * factor, decision.frequency_min_hz, system.frequency_max_hz
        )
        costs = evaluate(system, device, decision.option, moved, up, down)
        value = objective(decision.extremes, system.delay_weight, costs.delay_s, costs.energy_j)
        assert (value >= decision.objective - rounding(decision.extremes)).all()


@given(st.data())
def test_decision_is_feasible_and_reports_its_own_costs(data):
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system))
    decision = solve(system, device, up, down)
    assert system.feasible[device, decision.option].all()
    for name in ("cut", "uplink_bits", "downlink_bits"):
        column = getattr(system.profile, name)
        np.testing.assert_array_equal(getattr(decision, name), column[decision.option])
    assert (decision.frequency_hz >= decision.frequency_min_hz).all()
    assert (decision.frequency_hz <= decision.frequency_max_hz).all()
    if system.clocks_hz is not None:
        assert np.isin(decision.frequency_hz, system.clocks_hz).all()
    costs = evaluate(system, device, decision.option, decision.frequency_hz, up, down)
    np.testing.assert_allclose(decision.delay_s, costs.delay_s, rtol=1e-14)
    np.testing.assert_allclose(decision.energy_j, costs.energy_j, rtol=1e-14)
    value = objective(decision.extremes, system.delay_weight, costs.delay_s, costs.energy_j)
    assert (abs(decision.objective - value) <= rounding(decision.extremes)).all()


@given(st.data())
def test_no_pair_of_cut_and_clock_is_better(data):
    """Brute force; with a clock list it is the whole feasible set."""
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system, size=2))
    decision = solve(system, device, up, down)
    for i, position in enumerate(device):
        delay, energy, _ = scores(system, position, up[i], down[i])
        bounds = Extremes(*(value[i] for value in decision.extremes))
        value = objective(bounds, system.delay_weight, delay, energy)
        assert decision.objective[i] <= value.min() + rounding(bounds)
        if system.clocks_hz is not None:
            assert decision.objective[i] >= value.min() - rounding(bounds)


@given(st.data())
def test_extremes_bound_every_cut_and_clock_and_are_attained(data):
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system, size=2))
    bounds = extremes(system, device, up, down)
    for i, position in enumerate(device):
        delay, energy, _ = scores(system, position, up[i], down[i])
        assert bounds.delay_min_s[i] == pytest.approx(delay.min(), rel=1e-13)
        assert bounds.delay_max_s[i] == pytest.approx(delay.max(), rel=1e-13)
        assert bounds.energy_max_j[i] == pytest.approx(energy.max(), rel=1e-13)
        assert bounds.energy_min_j[i] <= energy.min() * (1 + 1e-13)
        # the energy's flat minimum lies between grid points at most 3 % apart
        near = 1e-13 if system.clocks_hz is not None else 1e-2
        assert bounds.energy_min_j[i] == pytest.approx(energy.min(), rel=near)


@given(st.data())
def test_objective_lies_between_0_and_1(data):
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system))
    decision = solve(system, device, up, down)
    lost = rounding(decision.extremes)
    assert (decision.objective >= -lost).all()
    assert (decision.objective <= 1 + lost).all()


@given(st.data())
def test_optimum_never_exceeds_the_smaller_weight(data):
    """The fastest decision has U <= 1 - w, the thriftiest U <= w."""
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system))
    decision = solve(system, device, up, down)
    smaller = min(system.delay_weight, 1 - system.delay_weight)
    assert (decision.objective <= smaller + rounding(decision.extremes)).all()


@given(st.data())
def test_more_weight_on_delay_never_costs_delay_nor_saves_energy(data):
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system))
    ladder = np.linspace(0, 1, 21)[:, None]
    decision = solve(system, device, up, down, ladder)
    bounds = decision.extremes
    # two decisions that tie within 1e-12 may swap; over a step of 0.05 that moves D and E by 1e-10
    slack_s = ROUNDING * (bounds.delay_max_s[0] - bounds.delay_min_s[0])
    slack_j = ROUNDING * (bounds.energy_max_j[0] - bounds.energy_min_j[0])
    rounding_s = 1e-14 * bounds.delay_max_s[0]
    assert (np.diff(decision.delay_s, axis=0) <= slack_s + rounding_s).all()
    assert (np.diff(decision.energy_j, axis=0) >= -slack_j).all()
    # with overhead each option has a clock of its own
    one_clock = (np.diff(decision.option, axis=0) == 0) | (not has_overhead(system))
    assert (np.diff(decision.frequency_hz, axis=0)[one_clock] >= 0).all()


@given(st.data())
def test_end_weights_reach_the_extremes(data):
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system))
    fastest = solve(system, device, up, down, 1.0)
    thriftiest = solve(system, device, up, down, 0.0)
    np.testing.assert_allclose(fastest.delay_s, fastest.extremes.delay_min_s, rtol=1e-11)
    spread = thriftiest.extremes.energy_max_j
    np.testing.assert_allclose(
        thriftiest.energy_j / np.where(spread > 0, spread, 1.0),
        thriftiest.extremes.energy_min_j / np.where(spread > 0, spread, 1.0),
        atol=1e-11,
    )
    gains = fastest.extremes.delay_max_s > fastest.extremes.delay_min_s
    assert (fastest.frequency_hz[gains] == system.frequency_max_hz).all()


@given(st.data())
def test_clock_list_gives_the_best_clock_on_it(data):
    system = data.draw(systems(clocks=True))
    position = data.draw(st.integers(0, system.num_devices - 1))
    delay_price, energy_price = data.draw(weights), data.draw(weights)
    offered = clocks_of(system, position)

    cut = data.draw(st.sampled_from(np.flatnonzero(system.profile.server_flop).tolist()))
    busy_s = system.server_overhead_s[cut] - system.server_launch_s[cut]
    ratio = busy_s * system.flops_per_hz / system.profile.server_flop[cut]

    def price_per_cycle(clock):
        linear, cubic = system.linear_power_w_per_hz, system.power_coefficient
        power = system.static_power_w + linear * clock + cubic * clock**3
        return (delay_price + energy_price * power) * (1 / clock + ratio)

    found = best_frequency(system, np.array([position]), delay_price, energy_price, cut)[0]
    assert found in offered
    assert price_per_cycle(found) <= price_per_cycle(offered).min() * (1 + 1e-13)


@given(st.data())
def test_request_of_many_equals_many_requests(data):
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system, size=5))
    weight = np.array(data.draw(st.lists(weights, min_size=2, max_size=2)))[:, None]
    many = solve(system, device, up, down, weight)
    assert many.cut.shape == (2, 5)
    for i, j in np.ndindex(2, 5):
        one = solve(system, int(device[j]), float(up[j]), float(down[j]), float(weight[i, 0]))
        assert one.cut.shape == ()
        for name in ("option", "cut", "frequency_hz", "delay_s", "energy_j", "objective"):
            assert getattr(many, name)[i, j] == getattr(one, name)
        assert many.frequency_min_hz[i, j] == one.frequency_min_hz
        assert [value[i, j] for value in many.extremes] == list(one.extremes)


@given(st.data())
def test_chunks_leave_no_seam(data):
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system, size=7))
    whole = solve(system, device, up, down)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(card.base.arrays, "_CHUNK", 3)
        parts = solve(system, device, up, down)
    np.testing.assert_array_equal(parts.option, whole.option)
    np.testing.assert_array_equal(parts.frequency_hz, whole.frequency_hz)
    np.testing.assert_array_equal(parts.objective, whole.objective)


def scaled(profile: CutProfile, *, work: int = 1, data: int = 1) -> CutProfile:
    return replace(
        profile,
        device_flop=profile.device_flop * work,
        server_flop=profile.server_flop * work,
        uplink_bit=profile.uplink_bit * data,
        downlink_bit=profile.downlink_bit * data,
        adapter_bit=profile.adapter_bit * data,
    )


@given(st.data())
def test_unit_of_energy_changes_no_decision(data):
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system))
    in_milli = replace(
        system,
        static_power_w=1024 * system.static_power_w,
        linear_power_w_per_hz=1024 * system.linear_power_w_per_hz,
        power_coefficient=1024 * system.power_coefficient,
        waiting_power_w=1024 * system.waiting_power_w,
    )
    before, after = solve(system, device, up, down), solve(in_milli, device, up, down)
    np.testing.assert_array_equal(after.option, before.option)
    np.testing.assert_allclose(after.frequency_hz, before.frequency_hz, rtol=1e-13)
    np.testing.assert_allclose(after.delay_s, before.delay_s, rtol=1e-13)
    np.testing.assert_allclose(after.energy_j, 1024 * before.energy_j, rtol=1e-12)
    assert (abs(after.objective - before.objective) <= rounding(before.extremes)).all()


@given(st.data())
def test_unit_of_time_changes_no_decision(data):
    """Counting in units of 1/64 s: rates fall, delay grows, energy stays."""
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system))
    unit = 64.0
    slower = replace(
        system,
        throughput_flops=system.throughput_flops / unit,
        static_power_w=system.static_power_w / unit,
        power_coefficient=system.power_coefficient * unit**2,
        waiting_power_w=system.waiting_power_w / unit,
        server_overhead_s=system.server_overhead_s * unit,
        server_launch_s=system.server_launch_s * unit,
        device_overhead_s=system.device_overhead_s * unit,
        round_trip_s=system.round_trip_s * unit,
        frequency_min_hz=system.frequency_min_hz / unit,
        frequency_max_hz=system.frequency_max_hz / unit,
        clocks_hz=None if system.clocks_hz is None else system.clocks_hz / unit,
    )
    before = solve(system, device, up, down)
    after = solve(slower, device, up / unit, down / unit)
    np.testing.assert_array_equal(after.option, before.option)
    np.testing.assert_allclose(unit * after.frequency_hz, before.frequency_hz, rtol=1e-13)
    np.testing.assert_allclose(after.delay_s, unit * before.delay_s, rtol=1e-13)
    np.testing.assert_allclose(after.energy_j, before.energy_j, rtol=1e-12)
    assert (abs(after.objective - before.objective) <= rounding(before.extremes)).all()


@given(st.data())
def test_units_of_data_and_work_change_nothing(data):
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system))
    other = replace(
        system,
        profile=scaled(system.profile, work=4, data=8),
        throughput_flops=4 * system.throughput_flops,
        flops_per_hz=4 * system.flops_per_hz,
    )
    before, after = solve(system, device, up, down), solve(other, device, 8 * up, 8 * down)
    np.testing.assert_array_equal(after.option, before.option)
    np.testing.assert_array_equal(after.frequency_hz, before.frequency_hz)
    np.testing.assert_array_equal(after.delay_s, before.delay_s)
    np.testing.assert_array_equal(after.energy_j, before.energy_j)


@given(st.data())
def test_more_options_never_cost_more_at_given_prices(data):
    """Nor do they save anything if the best of them was there before."""
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system))
    names = ("delay_price", "energy_price", "device_energy_price")
    cost = {name: data.draw(st.one_of(st.just(0.0), powers(-6, 3))) for name in names}
    before = solve(system, device, up, down, **cost)
    more = np.array(data.draw(subsets(system.num_options)))
    wider = replace(system, feasible=system.feasible | more)
    after = solve(wider, device, up, down, **cost)
    assert (after.objective <= before.objective * (1 + 1e-12)).all()
    there = system.feasible[device, after.option]
    np.testing.assert_allclose(after.objective[there], before.objective[there], rtol=1e-11)


@given(st.data())
def test_fewest_bits_win_at_any_price_of_delay(data):
    """Whatever else is allowed: a decision sends more only where that costs nothing."""
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system))
    every = replace(system, feasible=np.full_like(system.feasible, True))
    found = solve(every, device, up, down, delay_price=1.0)
    profile = every.profile
    fewest = [getattr(profile, name).min() for name in ("uplink_bits", "downlink_bits")]
    least = (profile.uplink_bits == fewest[0]) & (profile.downlink_bits == fewest[1])
    alone = solve(
        replace(every, feasible=every.feasible & least), device, up, down, delay_price=1.0
    )
    np.testing.assert_allclose(found.objective, alone.objective, rtol=1e-11)


@given(st.data())
def test_fewer_choices_never_help_the_fixed_yardstick(data):
    """With the extremes held fixed, a smaller feasible set has no better optimum."""
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system))
    every = replace(system, feasible=np.full_like(system.feasible, True))
    yard = extremes(every, device, up, down)
    free = solve(every, device, up, down)
    bound = solve_exhaustive(system, device, up, down)
    value = objective(yard, system.delay_weight, bound.delay_s, bound.energy_j)
    assert (value >= free.objective - rounding(yard)).all()
