"""`card.solver.parallel`: shares by hand, and every choice of a few devices counted out."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from handmade import DOWN, UP, handmade
from scipy.optimize import minimize
from strategies import Layers, Real, make_system

import card
from card.base.errors import ScenarioError
from card.channel import state_rates
from card.costs import System
from card.solver.parallel import Parallel, _meets, least_makespan

NOMINAL = card.load_scenario("nominal")


def asked(system: System, device: np.ndarray, option: np.ndarray, up, down):
    """Own time, time on the whole band and on the whole server, written out once more [s]."""
    p, count = system.profile, system.local_iterations
    trips = count * p.messages[option] + 2 * (p.adapter_bit[option] > 0)
    own = count * p.device_flop[option] / system.throughput_flops[device]
    own = own + count * system.device_overhead_s[device, option] + trips * system.round_trip_s
    sent = (count * p.uplink_bit[option] + p.adapter_bit[option]) / up
    sent = sent + (count * p.downlink_bit[option] + p.adapter_bit[option]) / down
    rate = system.flops_per_hz * system.frequency_max_hz
    return own, sent, count * (p.server_flop[option] / rate + system.server_overhead_s[option])


def through_s(found: Parallel, system: System, device, up, down) -> np.ndarray:
    """When each device is through, by its option and shares."""
    own, sent, served = asked(system, np.asarray(device), found.option, up, down)
    on_band = np.divide(sent, found.band_share, out=np.zeros_like(sent), where=sent > 0)
    on_server = np.divide(served, found.server_share, out=np.zeros_like(served), where=served > 0)
    return own + on_band + on_server


def least_of(own: np.ndarray, sent: np.ndarray, served: np.ndarray) -> float:
    """Least makespan of given options by bisection on it.

    Within a deadline t the least server share of a band share x is B x / (t x - S). All slopes in x
    are equal at the least sum of server shares, which leaves
    (1 - ΣS/t) (1 - ΣB/t) >= (Σ√(SB)/t)² for what is feasible.
    """
    low, high = (own + sent + served).max(), (own + len(own) * (sent + served)).max()
    for _ in range(100):
        middle = (low + high) / 2
        left = middle - own
        band, server = (sent / left).sum(), (served / left).sum()
        both = (np.sqrt(sent * served) / left).sum()
        feasible = band <= 1 and server <= 1 and (1 - band) * (1 - server) >= both**2
        low, high = (low, middle) if feasible else (middle, high)
    return high


def random_instance(rng: np.random.Generator):
    """Two or three devices, two to four blocks, links and processors of any speed."""
    count, devices = int(rng.integers(1, 4)), int(rng.integers(2, 4))
    layers = Layers(
        block_flop=(10 ** rng.uniform(10, 12, count)).astype(np.int64).tolist(),
        block_adapter_bit=(10 ** rng.uniform(4, 8, count)).astype(np.int64).tolist(),
        head_flop=int(10 ** rng.uniform(9, 12)),
        hidden_bit=int(10 ** rng.uniform(6, 9)),
        label_bit=int(10 ** rng.uniform(3, 6)),
        ushaped=bool(rng.random() < 0.5),
    )
    feasible = rng.random((devices, count + 1)) < 0.8
    feasible[np.arange(devices), rng.integers(count + 1, size=devices)] = True
    real = Real(
        server_part_s=tuple(10 ** rng.uniform(-4, -1, 4)),
        launch_part_s=tuple(10 ** rng.uniform(-4, -1, 4)),
        device_part_s=tuple(10 ** rng.uniform(-4, -1, 4)),
        round_trip_s=float(10 ** rng.uniform(-3, -1)),
    )
    system = make_system(
        layers,
        throughput_flops=(1e12 * 10 ** rng.uniform(-1, 1, devices)).tolist(),
        flops_per_hz=4e3,
        gpu_clock_hz=2.5e9,
        peak_power_w=160.0,
        feasible=feasible.tolist(),
        local_iterations=int(rng.integers(1, 20)),
        real=real,
    )
    up, down = 10 ** rng.uniform(6, 9, (2, devices))
    return system, np.arange(devices), up, down


def test_by_hand():
    """Two equal devices that only send and are served: each has half of both.

    Cut 0: 2 s up on the whole band and 60 cycles at 20 Hz, 3 s on the whole server; so twice that.
    """
    system = handmade(feasible=np.array([[True, False, False]] * 2))
    found = least_makespan(system, [1, 1], UP, DOWN)
    assert found.makespan_s == pytest.approx(2 * 2 + 2 * 3)
    assert found.bound_s == found.makespan_s
    assert found.band_share == pytest.approx([0.5, 0.5])
    assert found.server_share == pytest.approx([0.5, 0.5])
    assert found.busy_s == pytest.approx(2 * 3)


def test_one_device_has_the_whole_band_and_server():
    system = card.system(NOMINAL)
    up, down = (rate[1] for rate in state_rates(NOMINAL))
    for device in range(5):
        alone = least_makespan(system, [device], up[device], down[device])
        turn = card.solve(system, device, up[device], down[device], 1.0)
        assert alone.makespan_s == pytest.approx(turn.delay_s, rel=1e-9)
        assert alone.option == turn.option


def test_two_hundred_instances_counted_out():
    """Every choice of options of two or three devices, each at its own best shares."""
    rng, taken = np.random.default_rng(20261129), set()
    for _ in range(200):
        system, device, up, down = random_instance(rng)
        found = least_makespan(system, device, up, down)
        every = [
            least_of(*asked(system, device, np.array(choice), up, down))
            for choice in product(*(np.flatnonzero(row) for row in system.feasible))
        ]
        assert found.makespan_s == pytest.approx(min(every), rel=1e-9)
        assert found.bound_s == found.makespan_s, "proved"
        assert system.feasible[device, found.option].all()
        assert found.band_share.sum() <= 1 + 1e-12
        assert found.server_share.sum() <= 1 + 1e-12
        through = through_s(found, system, device, up, down)
        assert through.max() == pytest.approx(found.makespan_s, rel=1e-12)
        taken.add(tuple(found.option.tolist()))
    assert len(taken) > 30


def test_a_general_optimiser_finds_no_better_shares():
    """SLSQP on shares and makespan together, for the options taken."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        system, device, up, down = random_instance(rng)
        found = least_makespan(system, device, up, down)
        own, sent, served = asked(system, device, found.option, up, down)
        count = len(device)

        def late(x, own=own, sent=sent, served=served, count=count):
            return x[-1] - own - sent / x[:count] - served / x[count:-1]

        start = np.append(np.full(2 * count, 1 / count), 3 * found.makespan_s)
        best = minimize(
            lambda x, unit=found.makespan_s: x[-1] / unit,
            start,
            method="SLSQP",
            bounds=[(1e-6, 1)] * (2 * count) + [(0, None)],
            constraints=[
                {"type": "ineq", "fun": late},
                {"type": "ineq", "fun": lambda x, count=count: 1 - x[:count].sum()},
                {"type": "ineq", "fun": lambda x, count=count: 1 - x[count:-1].sum()},
            ],
            options={"maxiter": 500, "ftol": 1e-12},
        )
        # SLSQP keeps its constraints to about 1e-6 of the makespan
        assert best.fun >= 1 - 1e-5


def test_many_devices_have_a_bound_close_by():
    system = card.system(NOMINAL)
    up, down = (rate[1] for rate in state_rates(NOMINAL))
    device = np.arange(300) % 5
    spread = np.random.default_rng(2).uniform(20, 60, 300)
    found = least_makespan(system, device, up[device] * spread, down[device] * spread)
    assert 1 - 1e-3 < found.bound_s / found.makespan_s <= 1
    assert found.band_share.sum() == pytest.approx(1)


def test_equal_devices_may_take_different_options():
    """Some keep the whole LLM, so that the others have more of band and server."""
    system = card.system(NOMINAL)
    up, down = (5 * rate[0, 1] for rate in state_rates(NOMINAL))
    found = least_makespan(system, [1] * 6, up, down)
    assert found.option.tolist().count(16) == 1
    assert found.bound_s == found.makespan_s


def test_the_search_ends_where_the_cost_is_one():
    asked = []

    def cost(deadline_s: float) -> tuple[float, float]:
        asked.append(deadline_s)
        return 4.0 / deadline_s, 4.0 / deadline_s**2

    assert _meets(cost, 1.0, 1e6) == 4.0
    assert len(asked) < 5


def test_what_it_cannot_take_is_refused():
    system = handmade()
    with pytest.raises(ScenarioError, match=r"device of shape \(\) is not allowed; give a list"):
        least_makespan(system, 0, UP, DOWN)
    with pytest.raises(ScenarioError, match="uplink_bps"):
        least_makespan(system, [0], 0.0, DOWN)
    with pytest.raises(ScenarioError, match="device = 2 is out of range; give 0 to 1"):
        least_makespan(system, [2], UP, DOWN)
    with pytest.raises(ScenarioError) as refusal:
        least_makespan(replace(system, in_flight=2), [0], UP, DOWN)
    assert str(refusal.value) == (
        "training.schedule = 'pipelined' is not allowed for devices that train at once, where one "
        "thing happens after the other; give alternate."
    )
