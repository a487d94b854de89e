"""`card.figures.framework`: what is drawn is the framework, and a round's true timing."""

from functools import cache
from itertools import pairwise

import pytest
from matplotlib.figure import Figure

import card
from card.figures.framework import LANES, Step, framework, round_steps, timeline

RATES = (5e7, 8e7)


@cache
def steps_of(topology, cut):
    scenario = card.load_scenario("nominal", **{"training.topology": topology})
    system = card.system(scenario)
    steps = round_steps(scenario, system, 2, cut, 1e9, *RATES)
    return steps, card.evaluate(system, 2, cut, 1e9, *RATES)


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


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


def test_labels_go_up_only_in_the_topology_that_sends_them():
    assert "head, loss" not in {step.label for step in steps_of("vanilla", 8)[0]}
    assert "head, loss" in {step.label for step in steps_of("u-shaped", 8)[0]}


class TestTimeline:
    STEPS = (
        Step("downlink", "adapters", 0.0, 0.5),
        Step("device", "forward", 0.5, 1.0),
        Step("server", "backward", 1.5, 2.0),
        Step("device", "forward", 3.5, 1.0),
        Step("server", "backward", 4.5, 2.0),
    )

    def test_draws_every_step_of_the_round_where_it_happens(self):
        whole, _ = timeline(self.STEPS, 2).axes
        bars = [(patch.get_x(), patch.get_width()) for patch in whole.patches]
        assert bars == [(step.start_s, step.duration_s) for step in self.STEPS]

    def test_enlarges_the_adapters_and_the_first_mini_batch(self):
        _, zoom = timeline(self.STEPS, 2).axes
        assert len(zoom.patches) == 3
        assert [text.get_text() for text in zoom.texts] == ["adapters", "forward", "backward"]

    def test_names_lanes_and_unit(self):
        for axes in timeline(self.STEPS, 2).axes:
            assert [label.get_text() for label in axes.get_yticklabels()] == list(LANES)
            assert axes.get_xlabel().endswith("[s]")


class TestFramework:
    def test_shows_every_device_of_a_small_network(self):
        names = ["phone", "car", "robot"]
        figure = framework(names)
        assert isinstance(figure, Figure)
        assert set(names) <= set(texts(figure))

    def test_shows_first_and_last_of_many_devices(self):
        shown = texts(framework([f"d{i}" for i in range(20)]))
        assert {"d0", "d19", "…"} <= set(shown)

    @pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
    def test_shows_head_and_loss_once(self, topology):
        assert texts(framework(["a"], topology)).count("head, loss") == 1
