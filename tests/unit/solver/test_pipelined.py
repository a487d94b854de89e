"""`card.solver.pipelined`: by hand, and alike in every array library."""

from dataclasses import replace

import numpy as np
import pytest
from handmade import DEVICE_SLOW, DOWN, UP, handmade

import card
from card.solver import extreme_cuts, solve, solve_exhaustive
from card.solver.pruning import pruned_options

NOMINAL = card.load_scenario("nominal")
REALISTIC = replace(card.system(card.load_scenario("realistic")), in_flight=8)
PRICES = {"delay_price": 1.0, "energy_price": 0.02, "device_energy_price": 0.3}


def test_shortest_and_longest_delay_by_hand():
    """Slow device, two in flight, 5 to 20 Hz; cut 1 in turns takes 4 + 2 + 2 + 40/f + 0.225 s.

    At 20 Hz its slowest stage is the device with 4 of 10 s: 5 + 2 + 0.225. Cut 0 has 2 s up and
    60/f: at 20 Hz 5/2 + 3/2, and 14/2 + 12/2 at 5 Hz. Cut 2 is the device alone, 12.45 s.
    """
    bounds = solve(handmade(in_flight=2), DEVICE_SLOW, UP, DOWN).extremes
    assert bounds.delay_min_s == pytest.approx(4)
    assert bounds.delay_max_s == pytest.approx(13)


def test_any_cut_may_win():
    """Between the ends of equal blocks, too: where device and server are in balance."""
    assert extreme_cuts(REALISTIC.profile, REALISTIC.feasible[0]) == [0, 1, 15, 16]
    assert pruned_options(REALISTIC).tolist() == [list(range(17))] * 5
    balanced = replace(
        REALISTIC,
        throughput_flops=np.full(5, REALISTIC.flops_per_hz * REALISTIC.frequency_max_hz / 2),
    )
    found = solve(balanced, np.arange(5), 1e12, 1e12, 1.0)
    assert ((found.cut > 1) & (found.cut < 15)).all()
    np.testing.assert_array_equal(
        found.cut, solve_exhaustive(balanced, np.arange(5), 1e12, 1e12, 1.0).cut
    )


@pytest.mark.parametrize("cost", [{"delay_weight": 0.6}, PRICES], ids=["weight", "prices"])
@pytest.mark.parametrize("library", ["torch", "dask.array"])
def test_other_libraries_decide_alike(library, cost):
    xp = pytest.importorskip(library)
    rng = np.random.default_rng(4)
    device, up, down = np.arange(50) % 5, *(10 ** rng.uniform(6, 8, (2, 50)))
    plain = solve(REALISTIC, device, up, down, **cost)
    found = solve(REALISTIC, device, xp.asarray(up), xp.asarray(down), **cost)
    np.testing.assert_array_equal(np.asarray(found.option), plain.option)
    for name in ("frequency_hz", "delay_s", "energy_j", "objective"):
        np.testing.assert_allclose(
            np.asarray(getattr(found, name)), getattr(plain, name), rtol=1e-12, atol=1e-12
        )


def test_slopes_are_those_of_differences():
    torch = pytest.importorskip("torch")
    up = torch.tensor(2e7, dtype=torch.float64, requires_grad=True)
    found = solve(REALISTIC, 3, up, 5e7, 0.6)
    (slope,) = torch.autograd.grad(found.delay_s, up)
    step = 1e2
    ends = [float(solve(REALISTIC, 3, 2e7 + way * step, 5e7, 0.6).delay_s) for way in (-1, 1)]
    assert float(slope) == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-5)


def test_every_policy_runs_and_none_beats_card():
    study = {"training.batch_size": 4, "training.accumulation": 4}
    scenario = NOMINAL.updated({**study, "training.schedule": "pipelined"})
    results = card.simulate(scenario, [*card.policies.POLICIES, "clock_only", "cut_only"], 3, 1)
    ours = results.objective.sel(policy="card")
    assert (ours <= results.objective.min("policy") + 1e-9).all()
    assert (results.device_energy_j > 0).all()
