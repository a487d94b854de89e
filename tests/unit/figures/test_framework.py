"""`card.figures.framework`: what is drawn is the framework, and a round's steps in time."""

import pytest
from matplotlib.figure import Figure

from card.figures.framework import framework, timeline
from card.studies.timeline import LANES, Step


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


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
