"""How fast CARD decides, beside a general optimiser that decides the same."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import card
from card.costs import fixed_parts, server_cycles
from card.simulate import draw
from card.solver import extremes, prices

MILLION = 1_000_000
SAMPLE = 20


@pytest.fixture(scope="module")
def case():
    """A million device-rounds of the shipped scenario."""
    scenario = card.load_scenario("nominal")
    system = card.system(scenario)
    draws = draw(system, scenario, rounds=-(-MILLION // 15), seed=0)
    parts = (draws.device, draws.uplink_bps, draws.downlink_bps)
    return system, *(part.ravel()[:MILLION].copy() for part in parts)


def by_scipy(system, device, up, down):
    """Best cut, clock and objective by a bounded scalar minimisation for every cut."""
    bounds = extremes(system, device[None], up[None], down[None])
    delay_price, energy_price = (float(price[0]) for price in prices(bounds, system.delay_weight))
    shortest, least = float(bounds.delay_min_s[0]), float(bounds.energy_min_j[0])
    static, cubic = system.static_power_w, system.power_coefficient
    low, high = float(system.frequency_min_hz[device]), system.frequency_max_hz
    cuts = np.arange(system.num_blocks + 1)
    # plain floats, so that the optimiser is timed and not numpy's handling of single numbers
    fixed = sum(fixed_parts(system, device, cuts, up, down)).tolist()
    cycles = server_cycles(system, cuts).tolist()

    def value(cut, frequency):
        busy = cycles[cut] / frequency
        delay, energy = fixed[cut] + busy, busy * (static + cubic * frequency**3)
        return delay_price * (delay - shortest) + energy_price * (energy - least)

    found = []
    for cut in np.flatnonzero(system.feasible[device]):
        best = minimize_scalar(
            lambda frequency, cut=cut: value(cut, frequency), bounds=(low, high), method="bounded"
        )
        found.append((float(best.fun), int(cut), float(best.x)))
    return min(found)


@pytest.mark.parametrize("search", ["solve", "solve_exhaustive"])
def test_million_decisions_in_one_call(benchmark, decisions, case, search):
    system, device, up, down = case
    decisions[benchmark.name] = MILLION
    decision = benchmark.pedantic(
        getattr(card, search), (system, device, up, down), rounds=3, warmup_rounds=1
    )
    assert decision.cut.shape == (MILLION,)


def test_decisions_by_a_scipy_loop(benchmark, decisions, case):
    system, device, up, down = case
    sample = np.linspace(0, MILLION - 1, SAMPLE).astype(int)
    decisions[benchmark.name] = SAMPLE

    def loop():
        return [by_scipy(system, *(part[i] for part in (device, up, down))) for i in sample]

    found = benchmark.pedantic(loop, rounds=3, warmup_rounds=1)
    ours = card.solve(system, device[sample], up[sample], down[sample])
    values, cuts, clocks = map(np.array, zip(*found, strict=True))
    np.testing.assert_allclose(ours.objective, values, atol=1e-6)
    assert (ours.objective <= values + 1e-9).all()
    np.testing.assert_array_equal(ours.cut, cuts)
    # scipy stops within 1e-5 Hz or where U is flat to rounding, which is far wider
    works = ours.cut < system.num_blocks
    np.testing.assert_allclose(ours.frequency_hz[works], clocks[works], rtol=1e-3)


def test_hundred_single_decisions(benchmark, decisions, case):
    """What a caller pays who asks one device-round at a time."""
    system, device, up, down = case
    decisions[benchmark.name] = 100

    def loop():
        return [card.solve(system, device[i], up[i], down[i]) for i in range(100)]

    benchmark.pedantic(loop, rounds=3, warmup_rounds=1)


def test_simulation_of_the_shipped_scenario(benchmark):
    scenario = card.load_scenario("nominal")
    results = benchmark.pedantic(card.simulate, (scenario,), rounds=3, warmup_rounds=1)
    assert results.sizes["round"] == scenario.simulation.rounds
