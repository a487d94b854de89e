"""One core on any array library: torch and Dask decide as NumPy does, and torch has gradients."""

from dataclasses import replace
from functools import cache, partial
from shutil import which

import numpy as np
import pytest

import card
import card.base.arrays
from card.base.errors import ScenarioError
from card.channel import awgn_rate_bps, ergodic_rate_bps, mean_gain, snr
from card.policies import POLICIES
from card.simulation import draw
from card.solver import best_frequency, compiled, extremes, prices

torch = pytest.importorskip("torch")
da = pytest.importorskip("dask.array")

CASES = {
    "shipped": {},
    "u-shaped": {"training.topology": "u-shaped"},
    "list of clocks": {"server.clocks_hz": [0.7e9, 1.1e9, 1.6e9, 2.2e9, 2.5e9]},
    "static power": {"server.static_power_w": 30.0},
    # so that devices have unlike candidates
    "little memory": {"devices.device-4.memory_share": 0.2, "training.cut_range": [1, 15]},
    "bits": {"wire.uplink_bits": [16, 4, 8], "wire.downlink_bits": [8, 16]},
}
FIELDS = ("frequency_hz", "delay_s", "energy_j", "objective", "frequency_min_hz")
WEIGHTS = np.array([0.0, 0.2, 0.5, 0.9, 1.0])[:, None]

SAME = 1e-12
"""Libraries differ in the last digits of logarithms and exponentials, nothing else."""


@cache
def case(name, rounds=100):
    """System, devices and link rates of a scenario's draws, in one row."""
    scenario = card.load_scenario("nominal").updated(CASES[name])
    system = card.system(scenario)
    draws = draw(system, scenario, rounds=rounds, seed=1)
    parts = (draws.device, draws.uplink_bps, draws.downlink_bps)
    return system, *(part.ravel().copy() for part in parts)


def assert_same(found, expected, number):
    """Equal cuts, and all else within rounding; `number` makes NumPy arrays."""
    for name in ("option", "cut", "uplink_bits", "downlink_bits"):
        np.testing.assert_array_equal(number(getattr(found, name)), getattr(expected, name))
    np.testing.assert_array_equal(number(found.bound), expected.bound)
    for name in FIELDS:
        values = number(getattr(found, name))
        np.testing.assert_allclose(values, getattr(expected, name), rtol=SAME, atol=SAME)
    for one, other in zip(found.extremes, expected.extremes, strict=True):
        np.testing.assert_allclose(number(one), other, rtol=SAME)


@pytest.mark.parametrize("search", [card.solve, card.solve_exhaustive])
@pytest.mark.parametrize("name", CASES)
def test_torch_decides_as_numpy_does(name, search):
    system, *request = case(name)
    found = search(system, *map(torch.tensor, request), torch.tensor(WEIGHTS))
    assert found.cut.dtype == found.uplink_bits.dtype == torch.int64
    assert {getattr(found, field).dtype for field in FIELDS} == {torch.float64}
    assert_same(found, search(system, *request, WEIGHTS), lambda tensor: tensor.numpy())


@pytest.mark.parametrize("wrap", [torch.tensor, lambda row: da.from_array(row, chunks=700)])
def test_prices_are_the_same(wrap):
    system, *request = case("shipped")
    prices_of = {
        "delay_price": np.array([0.0, 1.0])[:, None],
        "energy_price": np.array([0.1, 0.0])[:, None],
        "device_energy_price": np.array([[0.2]]),
    }
    found = card.solve(system, *map(wrap, request), **prices_of)
    assert_same(found, card.solve(system, *request, **prices_of), np.asarray)


@pytest.mark.parametrize("search", [card.solve, card.solve_exhaustive])
@pytest.mark.parametrize("name", CASES)
def test_dask_decides_as_numpy_does(name, search):
    """Blocks that do not line up, and a weight that broadcasts."""
    system, device, up, down = case(name)
    found = search(
        system, device, da.from_array(up, chunks=400), da.from_array(down, chunks=700), WEIGHTS
    )
    assert isinstance(found.cut, da.Array)
    assert found.cut.shape == found.delay_s.shape == (5, up.size)
    assert_same(found, search(system, device, up, down, WEIGHTS), np.asarray)


def assert_same_means(found, expected, single):
    """Equal means but for rounding; with a single round they are the decisions themselves."""
    if single:
        np.testing.assert_array_equal(found.cut, expected.cut)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=SAME, atol=SAME, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_torch_simulates_as_numpy_does(name):
    scenario = card.load_scenario("nominal").updated(CASES[name])
    by_torch = card.simulate(scenario, rounds=50, library="torch")
    by_numpy = card.simulate(scenario, rounds=50)
    assert by_torch.attrs == by_numpy.attrs
    assert_same_means(by_torch, by_numpy, single=True)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, 200])
def test_one_sweep_on_numpy_torch_and_a_dask_cluster(rounds):
    """Every policy on 36 points; every worker is a process of its own."""
    distributed = pytest.importorskip("distributed")
    over = {
        "objective.delay_weight": np.linspace(0, 1, 12).tolist(),
        "link.bandwidth_hz": [2e6, 10e6, 50e6],
    }
    run = partial(card.sweep, card.load_scenario("nominal"), over, list(POLICIES), rounds)
    expected = run()
    assert_same_means(run(library="torch"), expected, rounds == 1)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert run(client=client).identical(expected)


@pytest.mark.slow
def test_one_request_on_numpy_torch_and_a_dask_cluster():
    """Weights by draws; every worker is a process of its own."""
    distributed = pytest.importorskip("distributed")
    system, *request = case("shipped", rounds=2000)
    weights = np.linspace(0, 1, 21)[:, None]
    expected = card.solve(system, *request, weights)
    tensors = card.solve(system, *map(torch.tensor, request), torch.tensor(weights))
    assert_same(tensors, expected, lambda tensor: tensor.numpy())
    blocks = (da.from_array(part, chunks=10_000) for part in request)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        assert_same(card.solve(system, *blocks, weights), expected, np.asarray)


@pytest.mark.parametrize("name", CASES)
def test_costs_are_the_same(name):
    system, device, up, down = case(name)
    cut, clock = np.array([[1], [7], [15]]), 1.5e9
    expected = card.evaluate(system, device, cut, clock, up, down)
    by_torch = card.evaluate(system, device, torch.tensor(cut), clock, torch.tensor(up), down)
    by_dask = card.evaluate(system, device, cut, clock, da.from_array(up, chunks=400), down)
    for field in ("delay_s", "energy_j", "device_energy_j", "adapter_s"):
        values = getattr(expected, field)
        assert isinstance(getattr(by_torch, field), torch.Tensor)
        assert isinstance(getattr(by_dask, field), da.Array)
        np.testing.assert_allclose(getattr(by_torch, field).numpy(), values, rtol=SAME)
        whole = np.broadcast_to(values, getattr(by_dask, field).shape)
        np.testing.assert_array_equal(getattr(by_dask, field), whole)


def test_single_precision_goes_in_and_double_comes_out():
    system, device, up, down = case("shipped")
    single = torch.tensor(up, dtype=torch.float32)
    found = card.solve(system, device, single, down)
    assert found.delay_s.dtype == torch.float64
    assert_same(found, card.solve(system, device, single.numpy(), down), lambda t: t.numpy())


# torch's compiler imports what torch itself warns of
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.skipif(which("g++") is None, reason="torch's compiler needs g++")
@pytest.mark.slow
def test_one_fused_kernel_decides_as_numpy_does():
    system, *request = case("shipped")
    weights = np.full(request[0].shape, system.delay_weight)
    found = compiled(system)(*map(torch.tensor, (*request, weights)))
    assert_same(found, card.solve(system, *request), lambda tensor: tensor.numpy())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_decides_as_the_processor_does():
    system, *request = case("shipped")
    device, up, down = (torch.tensor(part, device="cuda") for part in request)
    found = card.solve(system, device, up, down)
    assert found.delay_s.device.type == "cuda"
    assert_same(found, card.solve(system, *request), lambda tensor: tensor.cpu().numpy())


def test_threads_and_chunks_change_no_bit(monkeypatch):
    system, *request = case("shipped")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    whole = card.solve(system, *request)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(card.base.arrays, "_CHUNK", 97)
    parts = card.solve(system, *request)
    for name in ("cut", *FIELDS):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_bad_tensors_are_refused_in_the_same_words():
    system, *_ = case("shipped")
    rate = torch.tensor([1e6, -2.0])
    with pytest.raises(ScenarioError, match=r"uplink_bps = -2 is not allowed; give numbers from"):
        card.solve(system, 0, rate, 1e6)
    with pytest.raises(ScenarioError, match=r"device = 5 is out of range; give 0 to 4"):
        card.solve(system, torch.tensor([0, 5]), 1e6, 1e6)
    with pytest.raises(ScenarioError, match=r"cut = tensor.* is not allowed; give whole numbers"):
        card.evaluate(system, 0, torch.tensor([1.0]), 1e9, 1e6, 1e6)
    with pytest.raises(ScenarioError, match=r"uplink_bps \(2,\), downlink_bps \(3,\)"):
        card.solve(system, 0, rate.abs(), torch.ones(3))


def test_bad_blocks_are_refused_when_they_are_computed():
    system, *_ = case("shipped")
    lazy = card.solve(system, 0, da.from_array(np.array([1e6, np.nan]), chunks=1), 1e6)
    with pytest.raises(ScenarioError, match="uplink_bps = nan is not allowed"):
        lazy.cut.compute()


SPECIAL = {"static_power_w": 20.0, "delay_weight": 0.4}
"""Values away from 0 and from the one half at which delay and energy mirror each other."""

FIELDS_WITH_SLOPES = (
    "throughput_flops",
    "device_power_w",
    "uplink_power_w",
    "flops_per_hz",
    "static_power_w",
    "power_coefficient",
    "frequency_min_hz",
    "frequency_max_hz",
    "delay_weight",
)


def reported(system, device, up, down):
    """What a study reports: CARD's means, and its reductions against both benchmarks."""
    ours = card.solve(system, device, up, down)
    clock = best_frequency(system, device, *prices(ours.extremes, system.delay_weight))
    costs = card.evaluate(system, device, ours.option, clock, up, down)
    alone = card.evaluate(system, device, system.num_blocks, clock, up, down)
    remote = card.evaluate(system, device, 0, system.frequency_max_hz, up, down)
    return {
        "delay": ours.delay_s.mean(),
        "energy": ours.energy_j.mean(),
        "device energy": costs.device_energy_j.mean(),
        "objective": ours.objective.mean(),
        "reduction of delay": 1 - costs.delay_s.mean() / alone.delay_s.mean(),
        "reduction of energy": 1 - costs.energy_j.mean() / remote.energy_j.mean(),
    }


def reported_at(name, factor):
    """`reported` where one parameter is `factor` times its value; a tensor makes tensors."""
    system, device, *rates = case("shipped", rounds=10)
    system = replace(system, **SPECIAL)

    def scaled(value):
        return factor * (torch.tensor(value) if isinstance(factor, torch.Tensor) else value)

    if name in FIELDS_WITH_SLOPES:
        return reported(replace(system, **{name: scaled(getattr(system, name))}), device, *rates)
    position = ("uplink_bps", "downlink_bps").index(name)
    rates[position] = scaled(rates[position])
    return reported(system, device, *rates)


@pytest.mark.parametrize("name", [*FIELDS_WITH_SLOPES, "uplink_bps", "downlink_bps"])
def test_gradients_are_the_slopes_of_numpys_results(name):
    """Per relative change of the parameter, by autodiff and by central differences."""
    step = 1e-5
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    above, below = reported_at(name, 1 + step), reported_at(name, 1 - step)
    for quantity, value in reported_at(name, factor).items():
        slope = (above[quantity] - below[quantity]) / (2 * step)
        gradient = 0.0
        if value.requires_grad:
            (gradient,) = (
                part.item() for part in torch.autograd.grad(value, factor, retain_graph=True)
            )
        # rounding of the difference is 1e-16 / 1e-5, curvature some 1e-10
        assert gradient == pytest.approx(slope, rel=1e-6, abs=1e-8 * abs(value.item())), quantity


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", ["shipped", "list of clocks", "little memory"])
def test_gradients_are_finite_at_bounds_and_where_nothing_can_be_gained(name, weight):
    """No static power, all for one goal, a device that is faster than the server."""
    system, device, up, down = case(name, rounds=10)
    lowest = system.frequency_min_hz.copy()
    lowest[0] = system.frequency_max_hz
    feasible = system.feasible.copy()
    feasible[1] = np.arange(17) == 15
    numbers = {
        "frequency_min_hz": torch.tensor(lowest, requires_grad=True),
        "static_power_w": torch.zeros((), dtype=torch.float64, requires_grad=True),
        "power_coefficient": torch.tensor(
            system.power_coefficient, dtype=torch.float64, requires_grad=True
        ),
        "delay_weight": torch.tensor(weight, dtype=torch.float64, requires_grad=True),
    }
    found = card.solve(replace(system, feasible=feasible, **numbers), device, up, down)
    total = found.delay_s.sum() + found.energy_j.sum() + found.objective.sum()
    for gradient in torch.autograd.grad(total, numbers.values()):
        assert torch.isfinite(gradient).all()


def test_extremes_have_gradients():
    """On a lost uplink the longest delay is its airtime, whose slope is -S / R²."""
    system, *_ = case("shipped")
    rate = torch.tensor([1e3], dtype=torch.float64, requires_grad=True)
    bounds = extremes(system, np.array([0]), rate, np.array([1e9]))
    (slope,) = torch.autograd.grad(bounds.delay_max_s.sum(), rate)
    profile = system.profile
    sent_bit = system.local_iterations * profile.uplink_bit + profile.adapter_bit
    assert slope.item() == pytest.approx(-sent_bit.max() / 1e3**2, rel=SAME)


@pytest.mark.parametrize("law", [ergodic_rate_bps, awgn_rate_bps])
def test_rates_have_gradients_down_to_distance_and_power(law):
    """Over rates from a lost link to an excellent one, against NumPy's central differences."""
    exponents = np.linspace(2, 5, 13)

    def rates(distance_m, power_dbm, bandwidth_hz):
        gain = mean_gain(distance_m, exponents, 30.0)
        return law(bandwidth_hz, snr(gain, power_dbm, -174.0, bandwidth_hz))

    point = (150.0, 23.0, 1e7)
    numbers = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in point]
    found = rates(*numbers)
    np.testing.assert_allclose(found.detach().numpy(), rates(*point), rtol=SAME)
    for i, gradient in enumerate(torch.autograd.grad(found.sum(), numbers)):
        step = 1e-5 * point[i]
        above, below = (
            rates(*(value + sign * step * (i == j) for j, value in enumerate(point)))
            for sign in (1, -1)
        )
        slope = (above.sum() - below.sum()) / (2 * step)
        assert gradient.item() == pytest.approx(slope, rel=1e-7)
