"""What is decided for a round is what `card simulate` decides by the rates of the trace."""

import pytest

pytest.importorskip("torch")

import card
from card.base.errors import ScenarioError
from card.policies import named
from card.training.agreement import Job
from card.training.deciding import decide, traced
from card.training.wire.link_probe import LinkRates

RATES = [(1e5, 1e6), (1e6, 1e7), (1e7, 1e8), (1e9, 1e9), (3e5, 1e9)]


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """The test bed with a trace of five rounds, from links that rule to links that do not."""
    path = tmp_path_factory.mktemp("traces") / "trace.csv"
    names = [device.name for device in card.load_scenario("test-bed").devices]
    rows = [
        f"{name},{number},{up * (1 + place)},{down}"
        for place, name in enumerate(names)
        for number, (up, down) in enumerate(RATES, start=1)
    ]
    path.write_text("\n".join(["device,round,uplink_bps,downlink_bps", *rows]))
    return Job.open(card.load_scenario("test-bed", **{"link.trace": [str(path)]}))


def test_round_of_a_run_is_that_of_the_simulation(job):
    rounds = len(RATES) + 2  # a trace that ends begins anew
    simulated = card.simulate(job.scenario, ["card"], rounds=rounds).squeeze()
    ((policy, function),) = named(["card"]).items()
    for place, device in enumerate(job.scenario.devices):
        for number in range(1, rounds + 1):
            rates = traced(job.scenario, number, device.name)
            plan = decide(job, (policy, function), (), number, device.name, rates)
            there = simulated.isel(device=place, round=number - 1)
            assert plan.round_trip_s is None
            assert plan.uplink_bps == there.uplink_bps == RATES[(number - 1) % 5][0] * (1 + place)
            assert plan.downlink_bps == there.downlink_bps
            assert (plan.cut, plan.frequency_hz) == (there.cut, there.frequency_hz)
            assert plan.predicted_delay_s == there.delay_s
            assert plan.predicted_energy_j == there.energy_j
    assert len(set(simulated.cut.to_numpy().ravel())) > 1


def test_measured_rates_decide_whatever_the_trace_says(job):
    device, (pair,) = job.scenario.devices[0].name, named(["card"]).items()
    slow, fast = (decide(job, pair, (), 1, device, LinkRates(r, r, 0.1)) for r in (1e4, 1e10))
    assert (slow.uplink_bps, fast.uplink_bps) == (1e4, 1e10)
    assert slow.cut != fast.cut


def test_cuts_of_a_run_go_through_their_list(job):
    device, (pair,) = job.scenario.devices[0].name, named(["card"]).items()
    rates = LinkRates(1e7, 1e7, None)
    cuts = [decide(job, pair, (3, 1), number, device, rates).cut for number in (1, 2, 3)]
    assert cuts == [3, 1, 3]


def test_scenario_without_a_trace_is_refused():
    with pytest.raises(
        ScenarioError, match=r"takes one trace in link\.trace, and this scenario has"
    ):
        traced(card.load_scenario("test-bed"), 1, "device-1")
