"""Budgets of energy: the least mean delay within them, against every combination of decisions."""

import numpy as np
import pytest
from strategies import Layers, make_system

import card
from card.base.errors import ScenarioError
from card.simulation import draw
from card.solver import least_delay, round_by_round, solve

NOMINAL = card.load_scenario("nominal")
ROUNDS = 3
"""Device-rounds of a small instance, so that all combinations can be counted out."""


def small(rng):
    """Two devices with up to three blocks and a list of three clocks, and some rounds of theirs."""
    count = int(rng.integers(1, 4))
    layers = Layers(
        block_flop=(10 ** rng.uniform(11, 12, count)).astype(np.int64).tolist(),
        block_adapter_bit=[10**6] * count,
        head_flop=int(10 ** rng.uniform(10, 12)),
        hidden_bit=int(10 ** rng.uniform(6, 8)),
        label_bit=10**4,
        ushaped=bool(rng.random() < 0.5),
    )
    system = make_system(
        layers,
        throughput_flops=(10 ** rng.uniform(11.5, 12.5, 2)).tolist(),
        flops_per_hz=8000.0,
        gpu_clock_hz=2e9,
        peak_power_w=160.0,
        static_share=float(rng.choice([0.0, 0.2])),
        clock_shares=[0.4, 0.7, 1.0],
    )
    device = rng.integers(0, 2, ROUNDS)
    return system, device, 10 ** rng.uniform(6.5, 8, ROUNDS), 10 ** rng.uniform(7, 8.5, ROUNDS)


def combined(values):
    """Mean over device-rounds of every combination of their decisions."""
    return sum(np.meshgrid(*values, indexing="ij")) / len(values)


def counted_out(system, device, up, down):
    """Mean delay, server energy and device energy of every combination."""
    each = [[], [], []]
    for index, *rates in zip(device, up, down, strict=True):
        clocks = system.clocks_hz[system.clocks_hz >= system.frequency_min_hz[index]]
        cut, clock = (part.ravel() for part in np.meshgrid(system.profile.cut, clocks))
        costs = card.evaluate(system, index, cut, clock, *rates)
        for part, value in zip(
            each, (costs.delay_s, costs.energy_j, costs.device_energy_j), strict=True
        ):
            part.append(value)
    return map(combined, each)


@pytest.mark.parametrize("seed", range(200))
def test_no_combination_within_the_budgets_is_quicker_by_more_than_the_gap(seed):
    rng = np.random.default_rng(seed)
    system, *rounds = small(rng)
    delay, energy, device_energy = counted_out(system, *rounds)
    # what some prices lead to, and up to half as much again
    paid = {
        "energy_price": 10 ** rng.uniform(-3, 1),
        "device_energy_price": 10 ** rng.uniform(-3, 1),
    }
    some = card.solve(system, *rounds, delay_price=1.0, **paid)
    spent = card.evaluate(system, rounds[0], some.option, some.frequency_hz, *rounds[1:])
    budget = float(spent.energy_j.mean()) * rng.uniform(1.0, 1.5)
    device_budget = (
        float(spent.device_energy_j.mean()) * rng.uniform(1.0, 1.5) if seed % 2 else None
    )
    allowed = energy <= budget
    if device_budget is not None:
        allowed &= device_energy <= device_budget
    found = least_delay(system, *rounds, budget, device_budget)
    spent = card.evaluate(
        system, rounds[0], found.decision.option, found.decision.frequency_hz, *rounds[1:]
    )
    assert spent.energy_j.mean() <= budget
    assert device_budget is None or spent.device_energy_j.mean() <= device_budget
    least, reached = delay[allowed].min(), spent.delay_s.mean()
    assert least * (1 - 1e-12) <= reached <= (least + found.gap_s) * (1 + 1e-12)


def test_a_tighter_budget_never_shortens_the_delay():
    system = card.system(NOMINAL)
    draws = draw(system, NOMINAL, rounds=20, seed=1)
    rounds = draws.device, draws.uplink_bps, draws.downlink_bps
    found = [least_delay(system, *rounds, budget) for budget in (400.0, 100.0, 30.0, 5.0, 0.5)]
    delays = [one.decision.delay_s.mean() for one in found]
    assert delays == sorted(delays)
    assert found[0].energy_price == 0.0
    prices = [one.energy_price for one in found]
    assert prices == sorted(prices)


def test_a_budget_that_nothing_keeps_within_is_refused():
    realistic = card.load_scenario("realistic")
    system = card.system(realistic)
    draws = draw(system, realistic, rounds=2, seed=1)
    with pytest.raises(ScenarioError, match=r"energy_budget_j = 1 is not allowed; give at least"):
        least_delay(system, draws.device, draws.uplink_bps, draws.downlink_bps, 1.0)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize(
    "changes",
    [
        {"server.waiting_power_w": 80},
        {"training.schedule": "pipelined", "training.batch_size": 2, "training.accumulation": 2},
        {"devices.device-2.memory_share": 0.3},
    ],
)
def test_round_by_round_decides_as_solve_does(library, changes):
    if library == "torch":
        pytest.importorskip("torch")
    scenario = NOMINAL.updated(changes)
    system = card.system(scenario)
    draws = draw(system, scenario, rounds=3, seed=1, library=library)
    decided = round_by_round(system, draws.device, draws.uplink_bps, draws.downlink_bps)
    for now, price in enumerate([0.0, 0.1, np.linspace(0, 0.2, 15).reshape(3, 5)]):
        rates = draws.uplink_bps[..., now], draws.downlink_bps[..., now]
        given = {"delay_price": 1.0, "energy_price": price, "device_energy_price": 0.01}
        one = decided(now, *given.values())
        whole = solve(system, draws.device[..., now], *rates, **given)
        for name, value in vars(whole).items():
            assert np.array_equal(np.asarray(getattr(one, name)), np.asarray(value)), name


class TestPolicies:
    @pytest.mark.parametrize("name", ["nominal", "calibrated"])
    def test_at_cards_own_energy_the_delay_is_shorter(self, name):
        found = card.simulate(card.load_scenario(name), ["card", "budget"], rounds=200, seed=3)
        means = card.simulation.means(found)
        assert means["budget"]["energy_j"] <= means["card"]["energy_j"]
        assert means["budget"]["delay_s"] < 0.99 * means["card"]["delay_s"]

    def test_online_keeps_within_the_budget_but_for_its_queue(self):
        limit, rounds = 40.0, 600
        scenario = NOMINAL.updated({"objective.energy_budget_j": limit})
        found = card.simulate(scenario, ["budget", "budget_online"], rounds=rounds, seed=3)
        spent = found.energy_j.sel(policy="budget_online").mean(("state", "device")).values
        queue = 0.0
        for energy in spent.tolist():
            queue = max(queue + energy - limit, 0.0)
        assert 0 < queue < 10 * scenario.objective.queue_weight
        assert spent.mean() <= (limit + queue / rounds) * (1 + 1e-12)
        delay = found.delay_s.mean(("state", "device", "round"))
        online, offline = (float(delay.sel(policy=name)) for name in ("budget_online", "budget"))
        assert online == pytest.approx(offline, rel=0.05)

    @pytest.mark.parametrize("name", ["budget", "budget_online"])
    def test_a_budget_of_devices_needs_their_power(self, name):
        board = {"title": "B", "cores": 100, "flop_per_core_cycle": 2, "clock_hz": 1e9}
        scenario = NOMINAL.updated(
            {
                "objective.device_energy_budget_j": 5,
                "devices.device-2.hardware": board | {"memory_gb": 32},
            }
        )
        with pytest.raises(ScenarioError, match=r"device_energy_budget_j = 5 needs .*-2;"):
            card.simulate(scenario, [name], rounds=2)

    def test_devices_have_a_budget_too(self):
        scenario = NOMINAL.updated({"objective.device_energy_budget_j": 60.0})
        found = card.simulate(scenario, ["budget", "budget_online"], rounds=100, seed=3)
        means = card.simulation.means(found)
        assert means["budget"]["device_energy_j"] <= 60.0
        assert means["budget_online"]["device_energy_j"] == pytest.approx(60.0, rel=0.2)


def test_where_energy_alone_counts_what_card_takes_is_a_budget_that_can_be_kept():
    """It is the least there is, but for rounding, which once refused it."""
    thrifty = card.load_scenario("realistic").updated({"objective.delay_weight": 0.0})
    found = card.simulate(thrifty, ["card", "budget"], rounds=7, seed=0).energy_j
    ours, theirs = (float(found.sel(policy=name).mean()) for name in ("card", "budget"))
    assert theirs == pytest.approx(ours, rel=2e-12)  # a tie, in energy
