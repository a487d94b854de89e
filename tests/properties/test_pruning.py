"""Why a search over a few cuts suffices, and how ties are settled."""

from dataclasses import replace

import numpy as np
import pytest
from families import narrow
from hypothesis import given
from hypothesis import strategies as st
from strategies import Layers, layer_stacks, make_system, powers, rounds, subsets, systems

import card
from card.costs import evaluate
from card.scenario import Known
from card.solver import extreme_cuts, extremes, solve, solve_exhaustive


@given(st.data())
def test_pruned_and_exhaustive_search_decide_alike(data):
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system))
    pruned = solve(system, device, up, down)
    exhaustive = solve_exhaustive(system, device, up, down)
    np.testing.assert_array_equal(pruned.option, exhaustive.option)
    np.testing.assert_allclose(pruned.frequency_hz, exhaustive.frequency_hz, rtol=1e-12)


@given(st.data())
def test_pruning_moves_no_extreme(data):
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system))
    pruned = extremes(system, device, up, down)
    every = solve_exhaustive(system, device, up, down).extremes
    for name, value in pruned._asdict().items():
        np.testing.assert_allclose(value, getattr(every, name), rtol=1e-14, err_msg=name)


@given(st.data())
def test_no_dropped_cut_is_strictly_best_at_any_prices(data):
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system, size=1))
    row = system.feasible[device[0]]
    kept = extreme_cuts(system.profile, row, system.server_launch_s)
    dropped = [cut for cut in np.flatnonzero(row) if cut not in kept]
    frequency = data.draw(st.floats(system.frequency_min_hz[device[0]], system.frequency_max_hz))
    joule_price = data.draw(powers(-6, 6))

    def price(cuts):
        costs = evaluate(system, device[0], np.array(cuts), frequency, up[0], down[0])
        return costs.delay_s + joule_price * costs.energy_j

    if dropped:
        # at neither end of the scale is a dropped cut an extreme
        assert price(dropped).min() >= price(kept).min() * (1 - 1e-13)
        assert price(dropped).max() <= price(kept).max() * (1 + 1e-13)


MIXED = narrow("qwen3_moe-mixed") | {"num_hidden_layers": 12}
NOMINAL = card.load_scenario("nominal")


def mixed(step, dense, **changes):
    """The nominal scenario with an LLM in which some blocks have experts."""
    llm = MIXED | {"decoder_sparse_step": step, "mlp_only_layers": dense}
    shape = {"training.sequence_length": 32, "lora.targets": ["q_proj"]}
    return NOMINAL.updated({"llm": "mixed", **shape, **changes}, known=Known(llms={"mixed": llm}))


@given(
    st.integers(1, 4),
    st.lists(st.integers(0, 11), unique=True),
    st.floats(0.0, 1.0),
    powers(3, 9),
    powers(3, 9),
)
def test_pruning_is_exact_where_only_some_blocks_have_experts(step, dense, weight, up, down):
    arrays = card.system(mixed(step, dense, **{"objective.delay_weight": weight}))
    pruned = solve(arrays, 0, up, down)
    exhaustive = solve_exhaustive(arrays, 0, up, down)
    assert pruned.cut == exhaustive.cut
    np.testing.assert_allclose(pruned.frequency_hz, exhaustive.frequency_hz, rtol=1e-12)


def test_a_cut_between_blocks_of_two_kinds_is_kept():
    profile = card.cut_profile(mixed(1, [0, 1, 2, 3]))
    assert extreme_cuts(profile, np.full(13, True)) == [0, 1, 4, 11, 12]


@given(layer_stacks(equal=True))
def test_equal_blocks_leave_at_most_four_cuts(layers):
    profile = layers.profile()
    count = len(layers.block_flop)
    kept = extreme_cuts(profile, np.full(count + 1, True))
    assert set(kept) <= {0, 1, count - 1, count}
    assert {0, count} <= set(kept)


@given(layer_stacks(equal=False), st.data())
def test_kept_cuts_are_feasible_and_hold_both_ends(layers, data):
    count = len(layers.block_flop) + 1
    row = np.array(data.draw(subsets(count)))
    kept = extreme_cuts(layers.profile(), row)
    feasible = np.flatnonzero(row)
    assert kept == sorted(set(kept))
    assert set(kept) <= set(feasible)
    assert (kept[0], kept[-1]) == (feasible[0], feasible[-1])


@given(st.data())
def test_ties_go_to_the_smaller_cut(data):
    """Every cut has a twin right above it; the twin is never chosen."""
    system = data.draw(systems())
    device, up, down = data.draw(rounds(system))
    profile = system.profile
    twins = {
        name: np.repeat(getattr(profile, name), 2, axis=0)
        for name in vars(profile)
        if name != "cut"
    }
    overheads = {
        name: np.repeat(getattr(system, name), 2, axis=-1)
        for name in ("server_overhead_s", "server_launch_s", "device_overhead_s", "device_launch_s")
    }
    doubled = replace(
        system,
        **overheads,
        profile=replace(profile, cut=np.arange(2 * len(profile.cut)), **twins),
        feasible=np.repeat(system.feasible, 2, axis=1),
    )
    decision, single = solve(doubled, device, up, down), solve(system, device, up, down)
    np.testing.assert_array_equal(decision.option, 2 * single.option)
    np.testing.assert_array_equal(decision.frequency_hz, single.frequency_hz)
    np.testing.assert_array_equal(solve_exhaustive(doubled, device, up, down).cut, decision.cut)


@pytest.mark.parametrize("topology", [False, True], ids=["vanilla", "u-shaped"])
def test_exact_ties_along_a_run_of_cuts_survive_rounding(topology):
    """One clock, w = 1/2, equal blocks, a lost link: every cut of the run has U = 1/2 exactly.

    The link's minutes hide the blocks' milliseconds in the last digits of the delay.
    """
    system = make_system(
        Layers([10**12] * 15, [10**4] * 15, 10**12, 10**9, 10**5, topology),
        throughput_flops=[1e13],
        flops_per_hz=4000.0,
        gpu_clock_hz=2.5e9,
        peak_power_w=160.0,
        clock_shares=[1.0],
        feasible=[[2 <= cut <= 13 for cut in range(16)]],
        local_iterations=50,
        delay_weight=0.5,
    )
    up, down = 10 ** np.random.default_rng(0).uniform(3, 5, (2, 1000))
    pruned, exhaustive = solve(system, 0, up, down), solve_exhaustive(system, 0, up, down)
    assert (pruned.cut == 2).all()
    assert (exhaustive.cut == 2).all()
