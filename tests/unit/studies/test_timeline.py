"""`card.studies.timeline`: a round's true timing, and its energy as time goes by."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

import card
from card.base.errors import ScenarioError
from card.studies.explorer import explore
from card.studies.timeline import (
    ADAPTERS,
    busy,
    costs_of,
    mini_batch_frames,
    mini_batch_steps,
    round_steps,
    spent,
)

RATES = (5e7, 8e7)


@cache
def steps_of(topology, cut):
    scenario = card.load_scenario("nominal", **{"training.topology": topology})
    system = card.system(scenario)
    steps = round_steps(scenario, system, 2, cut, 1e9, *RATES)
    return steps, card.evaluate(system, 2, cut, 1e9, *RATES)


@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
@pytest.mark.parametrize("cut", [0, 1, 8, 15, 16])
class TestRoundSteps:
    def test_follow_each_other_without_gap_or_overlap(self, topology, cut):
        steps, _ = steps_of(topology, cut)
        assert steps[0].start_s == 0
        for before, after in pairwise(steps):
            assert after.start_s == before.start_s + before.duration_s

    def test_end_with_the_delay_of_the_round(self, topology, cut):
        steps, costs = steps_of(topology, cut)
        assert steps[-1].start_s + steps[-1].duration_s == pytest.approx(costs.delay_s, rel=1e-12)

    def test_spend_each_part_of_the_costs_in_its_lane(self, topology, cut):
        steps, costs = steps_of(topology, cut)

        def busy(lane):
            return sum(step.duration_s for step in steps if step.lane == lane)

        assert busy("device") == pytest.approx(costs.device_compute_s)
        assert busy("server") == pytest.approx(costs.server_compute_s)
        assert busy("uplink") == pytest.approx(costs.uplink_s + costs.adapter_up_s)
        assert busy("downlink") == pytest.approx(costs.downlink_s + costs.adapter_down_s)


def test_a_round_has_the_traffic_of_the_bits_decided():
    scenario = card.load_scenario("nominal", **{"wire.uplink_bits": [16, 8]})
    found = explore(scenario, ["device-2"], ["good"], [10e6], [60.0], [0.5]).isel(link=0)
    one = found.sel(policy="card", delay_weight=0.5)
    assert (one.cut, one.option) == (0, 17)
    steps = busy(scenario, found, 0.5)
    assert steps[-1].start_s + steps[-1].duration_s == pytest.approx(float(one.delay_s), rel=1e-12)
    assert {step.lane for step in steps} == {"device", "uplink", "server"} - {"device"}


def test_labels_go_up_only_in_the_topology_that_sends_them():
    assert "head, loss" not in {step.label for step in steps_of("vanilla", 8)[0]}
    assert "head, loss" in {step.label for step in steps_of("u-shaped", 8)[0]}


@cache
def played():
    """A round of CARD and its steps."""
    scenario = card.load_scenario("nominal")
    found = explore(scenario, ["device-3"], ["normal"], [10e6], [140.0], [0.5]).isel(link=0)
    return costs_of(scenario, found, 0.5), busy(scenario, found, 0.5)


def test_energy_is_spent_as_the_round_goes_on():
    one, steps = played()
    end_s = steps[-1].start_s + steps[-1].duration_s
    at_s = np.linspace(0.0, end_s, 500)
    by_then = spent(one, steps, at_s)
    # sums of a hundred steps
    np.testing.assert_allclose(by_then.delay_s, at_s, rtol=1e-12, atol=1e-12 * end_s)
    for name in ("energy_j", "device_energy_j"):
        joules = getattr(by_then, name)
        assert joules[0] == 0.0
        assert joules[-1] == pytest.approx(float(getattr(one, name)), rel=1e-12)
        assert (np.diff(joules) >= 0).all()


def test_a_side_spends_only_while_it_is_busy():
    one, steps = played()
    for step in steps:
        by_then = spent(one, steps, [step.start_s, step.start_s + step.duration_s])
        assert (np.diff(by_then.energy_j) > 1e-9) == (step.lane == "server")
        assert (np.diff(by_then.device_energy_j) > 1e-9) == (step.lane in ("device", "uplink"))


def test_a_server_that_waits_at_power_spends_all_the_time():
    scenario = card.load_scenario("nominal", **{"server.waiting_power_w": 50.0})
    system = card.system(scenario)
    at = 2, 15, 1e9, *RATES
    steps, costs = round_steps(scenario, system, *at), card.evaluate(system, *at)
    for step in steps:
        energy = spent(costs, steps, [step.start_s, step.start_s + step.duration_s]).energy_j
        power_w = float(np.diff(energy)[0]) / step.duration_s
        watts = float(costs.server_power_w) if step.lane == "server" else 50.0
        # a difference of sums of a hundred terms
        assert power_w == pytest.approx(watts, rel=1e-8), step


@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
def test_an_uncut_llm_trains_on_the_device_alone(topology):
    steps, costs = steps_of(topology, 16)
    assert {step.lane for step in steps if step.label != ADAPTERS} == {"device"}
    assert {"forward", "head, loss", "backward"} < {step.label for step in steps}
    assert costs.server_compute_s == 0


@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
@pytest.mark.parametrize("cut", [0, 1, 8, 15, 16])
def test_shares_of_a_lane_make_a_whole(topology, cut):
    scenario = card.load_scenario("nominal", **{"training.topology": topology})
    shares = {}
    for lane, _, share in mini_batch_steps(scenario, card.system(scenario), cut):
        assert share >= 0
        shares[lane] = shares.get(lane, 0.0) + share
    assert list(shares.values()) == pytest.approx([1.0] * len(shares), rel=1e-12)


class TestMiniBatchFrames:
    @pytest.mark.parametrize("cut", [1, 2, 3])
    @pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
    def test_frames_add_up_to_the_models_traffic(self, cut, topology):
        profile = card.cut_profile(
            card.load_scenario("test-bed", **{"training.topology": topology})
        )
        frames = mini_batch_frames(profile, cut, topology)
        assert sum(f.bit for f in frames if f.up) == profile.uplink_bit[cut]
        assert sum(f.bit for f in frames if not f.up) == profile.downlink_bit[cut]

    def test_labels_go_up_only_where_the_server_computes_the_loss(self):
        profile = card.cut_profile(card.load_scenario("test-bed"))
        vanilla = mini_batch_frames(profile, 2, "vanilla")
        assert [(f.up, f.text) for f in vanilla[:2]] == [
            (True, "smashed data, labels"),
            (False, "loss"),
        ]
        shaped = mini_batch_frames(profile, 2, "u-shaped")
        assert not any("labels" in f.text for f in shaped)
        assert [f.up for f in shaped if f.text == "loss"] == [True]


def test_steps_that_overlap_have_no_timeline():
    system = replace(card.system(card.load_scenario("nominal")), in_flight=2)
    with pytest.raises(ScenarioError) as refusal:
        round_steps(card.load_scenario("nominal"), system, 2, 1, 1e9, *RATES)
    assert str(refusal.value) == (
        "training.schedule = 'pipelined' is not allowed for a timeline, where one thing happens "
        "after the other; give alternate."
    )
