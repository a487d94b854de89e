"""CARD's closed form against general optimisers, which know nothing of its structure."""

from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import differential_evolution, minimize_scalar
from strategies import Layers, Plain, Real, make_system

import card
from card.costs import System
from card.simulation import draw
from card.solver import Decision, extremes, objective, solve, solve_exhaustive
from card.solver import prices as unit_prices

GAP = 1e-9
"""How far above another optimiser's objective CARD's may lie: rounding, no more."""


def random_real(rng: np.random.Generator) -> Real:
    """Each of a real machine's terms, or not; overheads from a thousandth of the work to all."""

    def some(low: float, high: float, size: int | None = None) -> np.ndarray:
        return (rng.random() < 0.6) * 10 ** rng.uniform(low, high, size)

    return Real(
        linear_share=float(rng.choice([0.0, 0.3, 0.9])),
        waiting_power_w=float(some(-1, 2)),
        device_waiting_power_w=float(some(-1, 1)),
        server_part_s=tuple(some(-4, 0, 4)),
        launch_part_s=tuple(some(-4, 0, 4)),
        device_part_s=tuple(some(-4, 0, 4)),
        round_trip_s=float(some(-3, 0)),
    )


def random_system(
    rng: np.random.Generator,
    real: Real | None = None,
    wire: tuple[tuple[int, ...], tuple[int, ...]] = ((16,), (16,)),
) -> System:
    """One device and a server; in turn both topologies, static power, clocks at every bound."""
    count = int(rng.integers(1, 9))
    equal = rng.random() < 0.5

    def work(size: int) -> list[int]:
        drawn = (10 ** rng.uniform(9, 13, size)).astype(np.int64)
        return (np.full(size, drawn[0]) if equal else drawn).tolist()

    layers = Layers(
        block_flop=work(count),
        block_adapter_bit=(np.full(count, 10 ** rng.uniform(4, 8)).astype(np.int64)).tolist(),
        head_flop=int(10 ** rng.uniform(8, 13)),
        hidden_bit=int(10 ** rng.uniform(5, 9)),
        label_bit=int(10 ** rng.uniform(3, 6)),
        ushaped=bool(rng.random() < 0.5),
        wire=wire,
    )
    feasible = rng.random(count + 1) < rng.choice([0.5, 1.0])
    feasible[rng.integers(count + 1)] = True
    return make_system(
        layers,
        # from a thousandth of the server's highest rate to twice that rate, where F_min is capped
        throughput_flops=[1e13 * 10 ** rng.uniform(-3, 0.3)],
        flops_per_hz=1e13 / 2.5e9,
        gpu_clock_hz=2.5e9,
        peak_power_w=160.0,
        static_share=float(rng.choice([0.0, 0.1, 0.5])),
        minimum_share=float(rng.choice([0.0, 0.3])),
        feasible=[feasible.tolist()],
        local_iterations=int(rng.integers(1, 50)),
        delay_weight=float(rng.choice([0.0, 1.0, rng.random()], p=[0.05, 0.05, 0.9])),
        real=real,
    )


def random_rates(rng: np.random.Generator) -> tuple[float, float]:
    """From a link that is all but lost to an excellent one."""
    up, down = 10 ** rng.uniform(3, 10, 2)
    return float(up), float(down)


def rounding(decision: Decision) -> float:
    """Error of an objective whose delay is known to a few units in the 16th digit."""
    longest, shortest = decision.extremes.delay_max_s, decision.extremes.delay_min_s
    spread = float(longest - shortest)
    return 1e-12 + (1e-15 * float(longest) / spread if spread > 0 else 0.0)


def yardstick(system: System, model: Plain, cuts: list[int]) -> tuple[float, float, float, float]:
    """Extremes of delay and energy found without any closed form: (D_min, ΔD, E_min, ΔE)."""
    low, high = float(system.frequency_min_hz[0]), system.frequency_max_hz
    delays, energies = [], []
    for cut in cuts:
        found = minimize_scalar(
            lambda share, cut=cut: model.energy_j(cut, share * high),
            bounds=(low / high, 1.0),
            method="bounded",
            options={"xatol": 1e-12},
        )
        delays += [model.delay_s(cut, f) for f in (low, high)]
        energies += [model.energy_j(cut, f) for f in (low, float(found.x) * high, high)]
    return min(delays), max(delays) - min(delays), min(energies), max(energies) - min(energies)


class Problem:
    """U of one device-round, written out anew; delays count from what the first cut must spend."""

    def __init__(self, system: System, up: float, down: float) -> None:
        self.cuts = np.flatnonzero(system.feasible[0]).tolist()
        self.low = float(system.frequency_min_hz[0]) / system.frequency_max_hz
        self.high_hz, self.weight = system.frequency_max_hz, system.delay_weight
        self.model = Plain.of(system, 0, up, down, origin=self.cuts[0])
        self.delay_min, self.delay_span, self.energy_min, self.energy_span = yardstick(
            system, self.model, self.cuts
        )

    def __call__(self, cut: int, share: float) -> float:
        """U at a cut and a share of the highest clock."""
        clock, value = share * self.high_hz, 0.0
        if self.delay_span > 0:
            gap = self.model.delay_s(cut, clock) - self.delay_min
            value += self.weight * gap / self.delay_span
        if self.energy_span > 0:
            gap = self.model.energy_j(cut, clock) - self.energy_min
            value += (1 - self.weight) * gap / self.energy_span
        return value

    def minimum(self) -> float:
        """Lowest U of a bounded scalar minimisation per cut, and of both end points."""
        values = [self(cut, share) for cut in self.cuts for share in (self.low, 1.0)]
        if self.low < 1:
            values += [
                minimize_scalar(
                    lambda share, cut=cut: self(cut, share),
                    bounds=(self.low, 1.0),
                    method="bounded",
                    options={"xatol": 1e-9},
                ).fun
                for cut in self.cuts
            ]
        return float(min(values))


@pytest.mark.slow
@pytest.mark.parametrize(("machine", "instances"), [("textbook", 3_000), ("real", 7_000)])
def test_card_is_never_above_scipy_on_ten_thousand_instances(machine, instances, capsys):
    rng = np.random.default_rng(20250118)
    gaps, bounds = [], []
    for _ in range(instances):
        real = random_real(rng) if machine == "real" else None
        system, (up, down) = random_system(rng, real), random_rates(rng)
        decision = solve(system, 0, up, down)
        every = solve_exhaustive(system, 0, up, down)
        assert (decision.cut, decision.frequency_hz) == (every.cut, every.frequency_hz)
        problem = Problem(system, up, down)
        ours = problem(int(decision.cut), float(decision.frequency_hz) / problem.high_hz)
        assert float(decision.objective) == pytest.approx(ours, abs=rounding(decision))
        gaps.append(ours - problem.minimum())
        bounds.append(int(decision.bound))
    with capsys.disabled():
        print(
            f"\n{instances:,} instances: CARD minus scipy at worst {max(gaps):.1e}, at best "
            f"{min(gaps):.1e}; clock at F_min {bounds.count(-1)}, between {bounds.count(0)}, "
            f"at F_max {bounds.count(1)} times"
        )
    assert max(gaps) <= GAP
    # scipy stops 1e-9 from its minimiser at worst, so it must come close: the problems are the same
    assert min(gaps) >= -1e-6
    assert min(map(bounds.count, (-1, 0, 1))) > instances / 20


def golden_section(value, low_hz, high_hz, steps=50):
    """Least value of each cut and device-round over the clock, by an interval that shrinks."""
    golden = (np.sqrt(5) - 1) / 2
    left = np.broadcast_to(low_hz, np.shape(value(low_hz))).copy()
    right = np.full_like(left, high_hz)
    for _ in range(steps):
        inner, outer = right - golden * (right - left), left + golden * (right - left)
        lower = value(inner) <= value(outer)
        left, right = np.where(lower, left, inner), np.where(lower, outer, right)
    return value((left + right) / 2)


@pytest.mark.slow
@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
def test_golden_section_finds_nothing_better_on_the_shipped_scenario(topology):
    """All cuts of a real LLM, at rates as they are drawn, by interval search through `evaluate`."""
    scenario = card.load_scenario("nominal", **{"training.topology": topology})
    system = card.system(scenario)
    draws = draw(system, scenario, rounds=100, seed=3)
    device, up, down = (
        part.ravel() for part in (draws.device, draws.uplink_bps, draws.downlink_bps)
    )
    decision = solve(system, device, up, down)
    cuts = np.arange(system.num_blocks + 1)[:, None]

    def value(frequency):
        costs = card.evaluate(system, device, cuts, frequency, up, down)
        return objective(decision.extremes, system.delay_weight, costs.delay_s, costs.energy_j)

    least = golden_section(value, system.frequency_min_hz[device], system.frequency_max_hz)
    best = np.where(system.feasible[device].T, least, np.inf).min(axis=0)
    assert (decision.objective <= best + GAP).all()
    np.testing.assert_allclose(best, decision.objective, atol=1e-9)


def random_prices(rng: np.random.Generator, size: int) -> dict[str, np.ndarray]:
    """Prices of delay and of both ends' energy, each 0 for some; from all for one to even."""
    names = ("delay_price", "energy_price", "device_energy_price")
    return {name: (rng.random(size) < 0.8) * 10 ** rng.uniform(-6, 3, size) for name in names}


@pytest.mark.slow
def test_prices_of_three_are_solved_exactly_on_ten_thousand_instances():
    rng, batch, cuts_taken = np.random.default_rng(20261129), 100, set()
    for _ in range(100):
        system = replace(
            random_system(rng, random_real(rng)),
            device_power_w=10 ** rng.uniform(-1, 2, 1),
            uplink_power_w=float(10 ** rng.uniform(-2, 1)),
        )
        up, down = 10 ** rng.uniform(3, 10, (2, batch))
        cost = random_prices(rng, batch)
        decision = solve(system, 0, up, down, **cost)
        every = solve_exhaustive(system, 0, up, down, **cost)
        np.testing.assert_array_equal(decision.cut, every.cut)
        np.testing.assert_array_equal(decision.frequency_hz, every.frequency_hz)
        cuts = np.arange(system.num_blocks + 1)[:, None]

        def priced(cut, clock, system=system, up=up, down=down, cost=cost):
            spent = card.evaluate(system, 0, cut, clock, up, down)
            return (
                cost["delay_price"] * spent.delay_s
                + cost["energy_price"] * spent.energy_j
                + cost["device_energy_price"] * spent.device_energy_j
            )

        np.testing.assert_allclose(
            decision.objective, priced(decision.cut, decision.frequency_hz), rtol=1e-12
        )
        low, high = system.frequency_min_hz, system.frequency_max_hz
        searched = golden_section(partial(priced, cuts), low, high)
        ends = [priced(cuts, low), priced(cuts, high)]
        least = np.min([searched, *ends], axis=0)[system.feasible[0]].min(axis=0)
        assert (decision.objective <= least * (1 + GAP)).all()
        np.testing.assert_allclose(decision.objective, least, rtol=1e-6)
        cuts_taken |= set((decision.cut / system.num_blocks).tolist())
    assert len(cuts_taken) > 10


def random_options(rng: np.random.Generator) -> System:
    """One device with two to nine pairs of bits and any of its options forbidden, any clocks."""
    up, down = (
        tuple(map(int, rng.permutation([16, 8, 4])[: rng.integers(1, 4)])) for _ in range(2)
    )
    wire = (up, down) if len(up) + len(down) > 2 else ((8, 16), (16, 4))
    system = random_system(rng, random_real(rng), wire)
    feasible = rng.random((1, system.num_options)) < rng.choice([0.5, 1.0])
    feasible[0, rng.integers(system.num_options)] = True
    changes = {
        "feasible": feasible,
        "device_power_w": 10 ** rng.uniform(-1, 2, 1),
        "uplink_power_w": float(10 ** rng.uniform(-2, 1)),
    }
    if rng.random() < 0.3:
        listed = np.sort(system.frequency_max_hz * rng.uniform(0.05, 1, rng.integers(1, 9)))
        floor = listed[min(np.searchsorted(listed, system.frequency_min_hz[0]), len(listed) - 1)]
        changes |= {
            "clocks_hz": listed,
            "frequency_min_hz": np.array([floor]),
            "frequency_max_hz": float(listed[-1]),
        }
    return replace(system, **changes)


def least_over_clocks(system: System, value) -> np.ndarray:
    """Least value of each option and device-round over the clocks, without a closed form."""
    low, high = system.frequency_min_hz, system.frequency_max_hz
    if system.clocks_hz is not None:
        return np.min([value(hz) for hz in system.clocks_hz if hz >= low[0]], axis=0)
    # a kink needs its clock to the last digit, unlike a smooth minimum
    return np.min([golden_section(value, low, high, steps=90), value(low), value(high)], axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("paid", ["weight", "prices"])
@pytest.mark.parametrize("in_flight", [1, 2, 16])
def test_options_are_chosen_exactly_on_five_thousand_instances(paid, in_flight):
    """Every option at its best clock, by search, with the extremes found the same way."""
    rng, batch, taken = np.random.default_rng(20261130), 50, Counter()
    for _ in range(100):
        system = replace(random_options(rng), in_flight=in_flight)
        up, down = 10 ** rng.uniform(3, 10, (2, batch))
        options = np.flatnonzero(system.feasible[0])[:, None]

        def spent(clock, system=system, options=options, up=up, down=down):
            return card.evaluate(system, 0, options, clock, up, down)

        if paid == "weight":
            cost = {"delay_weight": np.where(rng.random(batch) < 0.1, 1.0, rng.random(batch))}
        else:
            cost = random_prices(rng, batch)
        decision = solve(system, 0, up, down, **cost)
        every = solve_exhaustive(system, 0, up, down, **cost)
        np.testing.assert_array_equal(decision.option, every.option)
        np.testing.assert_array_equal(decision.frequency_hz, every.frequency_hz)
        assert system.feasible[0, decision.option].all()
        if paid == "weight":
            ends = system.frequency_max_hz, system.frequency_min_hz
            fast, slow = (spent(clock).delay_s for clock in ends)
            thrifty = least_over_clocks(system, lambda clock, spent=spent: spent(clock).energy_j)
            hungry = np.maximum(*(spent(clock).energy_j for clock in ends))
            bounds = fast.min(axis=0), slow.max(axis=0), thrifty.min(axis=0), hungry.max(axis=0)
            for ours, searched in zip(decision.extremes, bounds, strict=True):
                np.testing.assert_allclose(ours, searched, rtol=1e-9)
            weight = cost["delay_weight"]
            prices = [*unit_prices(decision.extremes, weight), 0.0]
            offset = prices[0] * decision.extremes.delay_min_s
            offset = offset + prices[1] * decision.extremes.energy_min_j
        else:
            prices, offset = list(cost.values()), 0.0

        def priced(clock, prices=prices, spent=spent):
            costs = spent(clock)
            parts = costs.delay_s, costs.energy_j, costs.device_energy_j
            return sum(price * part for price, part in zip(prices, parts, strict=True))

        least = least_over_clocks(system, priced).min(axis=0)
        ours = decision.objective + offset
        assert (ours <= least * (1 + GAP)).all()
        np.testing.assert_allclose(ours, least, rtol=1e-6)
        pairs = decision.uplink_bits.tolist(), decision.downlink_bits.tolist()
        taken.update(zip(*pairs, strict=True))
    # masks and ties leave every pair of bits to some
    assert len(taken) == 9, taken


@pytest.mark.slow
def test_evolution_over_cut_and_clock_together_finds_nothing_better():
    rng = np.random.default_rng(7)
    for _ in range(20):
        system, (up, down) = random_system(rng), random_rates(rng)
        system = replace(system, feasible=np.full_like(system.feasible, True))
        problem, decision = Problem(system, up, down), solve(system, 0, up, down)
        found = differential_evolution(
            lambda x, problem=problem: problem(round(x[0]), x[1]),
            bounds=[(0, system.num_blocks), (problem.low, max(1.0, problem.low + 1e-9))],
            integrality=[True, False],
            polish=False,
            tol=1e-10,
            rng=11,
        )
        ours = problem(int(decision.cut), float(decision.frequency_hz) / problem.high_hz)
        assert ours <= found.fun + GAP
        assert found.fun == pytest.approx(ours, abs=1e-4)


def test_objective_is_convex_in_the_clock_and_its_minimiser_is_the_same_for_every_cut():
    """The two facts that the decomposition rests on, on a grid."""
    rng = np.random.default_rng(5)
    for _ in range(50):
        system = random_system(rng)
        up, down = random_rates(rng)
        problem = Problem(system, up, down)
        grid = np.linspace(problem.low, 1.0, 101)
        if problem.low > 0.9:
            continue
        at = set()
        for cut in problem.cuts:
            if problem.model.cycles[cut] == 0:
                continue
            values = np.array([problem(cut, share) for share in grid])
            slopes = np.diff(values)
            assert all(b >= a - 1e-12 for a, b in pairwise(slopes))
            at.add(int(values.argmin()))
        assert len(at) <= 1 or max(at) - min(at) <= 1


def test_extremes_are_those_found_by_search():
    rng = np.random.default_rng(6)
    for _ in range(100):
        system = random_system(rng)
        up, down = random_rates(rng)
        bounds = extremes(system, np.array([0]), np.array([up]), np.array([down]))
        problem = Problem(system, up, down)
        span = bounds.delay_max_s[0] - bounds.delay_min_s[0]
        rounding_s = 1e-15 * bounds.delay_max_s[0]
        assert span == pytest.approx(problem.delay_span, rel=1e-12, abs=rounding_s)
        assert bounds.energy_min_j[0] == pytest.approx(problem.energy_min, rel=1e-12, abs=0)
        largest = problem.energy_min + problem.energy_span
        assert bounds.energy_max_j[0] == pytest.approx(largest, rel=1e-12)
