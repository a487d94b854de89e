"""`card.figures.optimisation` and `card.figures.trade_off`: the data drawn are the data given."""

import numpy as np
import pytest
from drawing import contains, drawn

import card
from card.figures import optimisation as pictures
from card.figures import trade_off as trade


class TestObjectiveCurves:
    def test_draws_curves_their_lowest_points_and_the_decision(self):
        clock = np.linspace(1e9, 2e9, 101)
        curves = {0: (clock / 1e9 - 1.5) ** 2, 7: 1 + (clock / 1e9 - 1.5) ** 2}
        (axes,) = pictures.objective_curves(clock, curves, 1.5e9, (0, 1.5e9, 0.0)).axes
        lines = drawn(axes)
        for values in curves.values():
            assert contains(lines, clock / 1e9, values)
        assert contains(lines, [1.5], [0.0])
        assert contains(lines, [1.5], [1.0])
        assert {"cut 0", "cut 7"} <= {text.get_text() for text in axes.texts}
        ends = {text.get_text(): text.xy for text in axes.texts if text.arrow_patch}
        assert ends == {"cut 0": (2.0, 0.25), "cut 7": (2.0, 1.25)}, "a line leads to each"
        assert axes.get_xlabel() == "server clock [GHz]"


class TestCostVectors:
    def test_draws_every_cut_and_marks_those_that_can_win(self):
        profile = card.cut_profile(card.load_scenario("nominal"))
        kept = [0, 1, 15, 16]
        delay, energy = np.linspace(10, 20, 17), np.linspace(100, 0, 17) ** 1.5
        figure = pictures.cost_vectors(
            {"vanilla": profile}, {"vanilla": kept}, delay, energy, (0.1, 0.01)
        )
        plane, image = figure.axes
        work = profile.device_flop / 1e12
        traffic = (profile.uplink_bit + profile.downlink_bit) / 8e6
        assert contains(drawn(plane), work, traffic)
        assert contains(drawn(plane), work[kept], traffic[kept])
        assert contains(drawn(image), delay, energy)
        best = int(np.argmin(0.1 * delay + 0.01 * energy))
        assert contains(drawn(image), [delay[best]], [energy[best]])
        assert image.get_xlabel() == "delay [s]"
        assert image.get_ylabel() == "server energy [J]"

    def test_draws_the_first_listed_bits_alone(self):
        nominal = card.load_scenario("nominal")
        plain, several = (
            card.cut_profile(nominal.updated({"wire.uplink_bits": bits}))
            for bits in (None, [16, 8])
        )
        line, kept = np.linspace(1, 2, 17), {"vanilla": [0]}
        plane, _ = pictures.cost_vectors({"vanilla": several}, kept, line, line, (1, 0)).axes
        traffic = (plain.uplink_bit + plain.downlink_bit) / 8e6
        assert contains(drawn(plane), plain.device_flop / 1e12, traffic)

    def test_a_point_that_both_topologies_share_is_numbered_once(self):
        scenario = card.load_scenario("nominal")
        profiles = {
            kind: card.cut_profile(scenario.updated({"training.topology": kind}))
            for kind in ("vanilla", "u-shaped")
        }
        kept = {kind: [0, 16] for kind in profiles}
        line = np.linspace(1, 2, 17)
        plane, _ = pictures.cost_vectors(profiles, kept, line, line, (0.1, 0.1)).axes
        texts = [text.get_text() for text in plane.texts]
        assert (texts.count("0"), texts.count("16")) == (2, 1)

    @pytest.mark.parametrize("slopes", [(1.0, 0.0), (0.0, 1.0)])
    def test_draws_at_the_ends_of_the_weight(self, slopes):
        profile = card.cut_profile(card.load_scenario("nominal"))
        line = np.linspace(1, 2, 17)
        pictures.cost_vectors({"vanilla": profile}, {"vanilla": [0]}, line, line, slopes)


class TestGaps:
    def test_draws_every_instance_by_size_and_tells_lower_ones_apart(self):
        (axes,) = pictures.gaps({"search": np.array([0.0, 1e-9, -1e-16])}).axes
        circles, crosses = axes.lines
        assert circles.get_xdata().tolist() == [pictures.GAP_FLOOR, 1e-9]
        assert crosses.get_xdata().tolist() == [1e-16]
        assert circles.get_marker() != crosses.get_marker()


class TestPareto:
    def test_draws_front_reached_points_jump_and_choice(self):
        delay, energy = np.array([1.0, 2.0, 3.0, 4.0]), np.array([9.0, 6.0, 5.0, 0.0])
        reached = delay[[0, 1, 3]], energy[[0, 1, 3]]
        (axes,) = trade.pareto((delay, energy), np.array([0, 0, 0, 16]), reached, (2.0, 6.0)).axes
        lines = drawn(axes)
        assert contains(lines, delay[:3], energy[:3])
        assert contains(lines, delay[3:], energy[3:])
        assert contains(lines, *reached)
        assert contains(lines, [2.0, 4.0], [6.0, 0.0])
        assert contains(lines, [2.0], [6.0])
        assert "cut 16: one decision" in [text.get_text() for text in axes.texts]
        assert axes.get_xlabel().endswith("[s]")
        assert axes.get_ylabel().endswith("[J]")


class TestAlongWeight:
    def test_draws_each_quantity_over_the_weight(self):
        weight = np.array([0.0, 0.5, 1.0])
        values = np.array([16, 0, 0]), np.array([1e9, 1e9, 2e9]), np.ones(3), np.arange(3.0)
        figure = trade.along_weight(weight, *values, 0.5)
        for axes, expected in zip(
            figure.axes, (values[0], values[1] / 1e9, *values[2:]), strict=True
        ):
            assert contains(drawn(axes), weight, expected)
        labels = [axes.get_ylabel() for axes in figure.axes]
        assert labels == ["cut", "server clock [GHz]", "delay [s]", "server energy [J]"]


class TestClockLists:
    def test_draws_list_neighbours_and_losses(self):
        curve = np.linspace(1e9, 2e9, 5), np.linspace(1, 0, 5)
        clocks = np.array([1e9, 1.5e9, 2e9]), np.array([1.0, 0.5, 0.0])
        near = np.array([False, True, True])
        counts, losses = np.array([2, 4]), (np.array([1e-2, 1e-3]), np.array([1e-1, 1e-2]))
        left, right = pictures.clock_lists(curve, clocks, near, counts, losses).axes
        assert contains(drawn(left), curve[0] / 1e9, curve[1])
        assert contains(drawn(left), clocks[0] / 1e9, clocks[1])
        assert contains(drawn(left), clocks[0][near] / 1e9, clocks[1][near])
        assert contains(drawn(right), counts, losses[0])
        assert contains(drawn(right), counts, losses[1])
