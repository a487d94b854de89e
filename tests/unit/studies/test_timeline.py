"""`card.studies.timeline`: a round's true timing, and its energy as time goes by."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

import card
from card.base.errors import ScenarioError
from card.studies.explorer import explore
from card.studies.timeline import busy, mini_batch_frames, round_steps, spent_j

RATES = (5e7, 8e7)


@cache
def steps_of(topology, cut):
    scenario = card.load_scenario("nominal", **{"training.topology": topology})
    system = card.system(scenario)
    steps = round_steps(scenario, system, 2, cut, 1e9, *RATES)
    return steps, card.evaluate(system, 2, cut, 1e9, *RATES)


@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
@pytest.mark.parametrize("cut", [0, 1, 8, 15])
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
    return found.sel(policy="card", delay_weight=0.5), busy(scenario, found, 0.5)


def test_energy_is_spent_as_the_round_goes_on():
    one, steps = played()
    end_s = steps[-1].start_s + steps[-1].duration_s
    server, device = spent_j(one, steps, np.linspace(0.0, end_s, 500))
    assert (server[0], device[0]) == (0.0, 0.0)
    # sums of a hundred steps
    whole = float(one.energy_j), float(one.device_energy_j)
    assert (server[-1], device[-1]) == pytest.approx(whole, rel=1e-12)
    assert (np.diff(server) >= 0).all()
    assert (np.diff(device) >= 0).all()


def test_a_side_spends_only_while_it_is_busy():
    one, steps = played()
    for step in steps:
        server, device = spent_j(one, steps, [step.start_s, step.start_s + step.duration_s])
        assert (np.diff(server) > 1e-9) == (step.lane == "server")
        assert (np.diff(device) > 1e-9) == (step.lane in ("device", "uplink"))


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
