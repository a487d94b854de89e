"""`card.figures.system` and `card.figures.radio`: the data drawn are the data given."""

from itertools import combinations

import numpy as np
import pytest
from machines import NO_POWER

import card
from card.figures import radio
from card.figures import system as pictures


@pytest.fixture(scope="module")
def scenario():
    return card.load_scenario("nominal")


def drawn(axes):
    """Data of all lines of some axes."""
    return [line.get_ydata() for line in axes.lines]


def contains(lines, values):
    return any(len(line) == len(values) and np.allclose(line, values) for line in lines)


class TestCutCosts:
    @pytest.fixture
    def profile(self, scenario):
        return card.cut_profile(scenario)

    def test_draws_each_cost_in_its_unit(self, profile):
        figure = pictures.cut_costs({"vanilla": profile}, {"a": 6.0, "b": 6.0, "c": 12.0})
        work, traffic, adapters, memory = figure.axes
        assert contains(drawn(work), profile.device_flop / 1e12)
        assert contains(drawn(work), profile.server_flop / 1e12)
        assert contains(drawn(traffic), profile.uplink_bit / 8e6)
        assert contains(drawn(traffic), profile.downlink_bit / 8e6)
        assert contains(drawn(adapters), profile.adapter_bit / 8e6)
        assert contains(drawn(memory), profile.device_memory_bit / 8e9)
        assert [axes.get_ylabel() for axes in figure.axes] == [
            "work [TFLOP]",
            "data [MB]",
            "data [MB]",
            "memory [GB]",
        ]

    def test_draws_the_first_listed_bits_alone(self, scenario, profile):
        several = card.cut_profile(scenario.updated({"wire.uplink_bits": [16, 8]}))
        figure = pictures.cut_costs({"vanilla": several}, {"a": 6.0})
        assert contains(drawn(figure.axes[1]), profile.uplink_bit / 8e6)
        assert all(axes.get_xlim() == pytest.approx((-0.64, 16.64)) for axes in figure.axes)

    def test_devices_of_one_limit_share_a_label(self, profile):
        figure = pictures.cut_costs({"vanilla": profile}, {"a": 6.0, "b": 6.0, "c": 12.0})
        assert [text.get_text() for text in figure.axes[3].texts] == ["a, b: 6 GB", "c: 12 GB"]


class TestParts:
    def test_bars_add_up_to_the_delay_and_show_both_energies(self, scenario):
        costs = card.evaluate(scenario, np.arange(2), 8, 1e9, 5e7, 8e7)
        time, energy = pictures.parts(costs, ["a", "b"]).axes
        ends = [max(p.get_x() + p.get_width() for p in time.patches[i::2]) for i in range(2)]
        assert ends == pytest.approx(list(costs.delay_s))
        widths = [patch.get_width() for patch in energy.patches]
        assert widths == pytest.approx([*costs.energy_j, *costs.device_energy_j])
        assert time.get_xlabel().endswith("[s]")
        assert energy.get_xlabel().endswith("[J]")

    def test_an_energy_that_is_not_known_is_a_dash(self, scenario):
        other = scenario.updated({"devices.device-2.hardware": NO_POWER})
        costs = card.evaluate(other, np.arange(2), 8, 1e9, 5e7, 8e7)
        _, energy = pictures.parts(costs, ["a", "b"]).axes
        known = [f"{joules:.0f}" for joules in (*costs.energy_j, costs.device_energy_j[0])]
        assert [text.get_text() for text in energy.texts] == [*known, "–"]


class TestPower:
    def test_draws_power_energy_and_the_thriftiest_clock(self):
        clock = np.linspace(1e9, 2e9, 11)
        power, energy = {"0 W": clock**3 / 1e27}, {"0 W": clock**2 / 1e18}
        left, right = pictures.power(clock, power, energy, {"0 W": 1e9}).axes
        assert contains(drawn(left), power["0 W"])
        assert contains(drawn(right), energy["0 W"])
        mark = right.lines[-1]
        assert (mark.get_xdata()[0], mark.get_ydata()[0]) == pytest.approx((1.0, 1.0))
        assert left.get_xlabel() == "server clock [GHz]"
        assert left.get_ylabel() == "server power [W]"


class TestRates:
    def test_draws_both_directions_and_the_spread(self):
        distance = np.linspace(10, 100, 50)
        up, down = 1e9 / distance, 2e9 / distance
        quantiles = {"good": np.array([[1e6, 2e6, 3e6], [4e6, 5e6, 6e6]])}
        figure = radio.rates(distance, {"good": (up, down)}, {"a": 20, "b": 50}, quantiles)
        over, spread = figure.axes
        assert contains(drawn(over), up / 1e6)
        assert contains(drawn(over), down / 1e6)
        assert contains(drawn(spread), [2.0, 5.0])
        (bars,) = spread.collections
        assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[1, 3], [4, 6]]
        assert {"good", "a", "b"} <= {text.get_text() for text in over.texts}
        assert over.get_xlabel().endswith("[m]")
        assert over.get_ylabel().endswith("[Mbit/s]")

    def test_names_of_devices_that_are_near_each_other_stand_apart(self):
        distance, quantiles = np.linspace(10, 110, 20), {"good": np.ones((3, 3)) * 1e6}
        up = np.linspace(9e6, 1e6, 20)
        near = {"a": 50.0, "b": 49.0, "c": 50.5}
        over = radio.rates(distance, {"good": (up, up)}, near, quantiles).axes[0]
        at = sorted(text.get_position()[0] for text in over.texts if text.get_text() in near)
        assert np.diff(at).min() > 3

    def test_long_names_stay_in_the_picture_and_off_each_other(self):
        distance, states = np.linspace(10, 110, 20), [f"a very long street, no. {n}" for n in "123"]
        up = np.linspace(9e6, 1e6, 20)
        curves = {state: ((1 - 0.1 * n) * up, up) for n, state in enumerate(states)}
        places = {f"roadside unit {n} of the long avenue": 30.0 + 9 * n for n in range(5)}
        quantiles = {state: np.ones((5, 3)) * 1e6 for state in states}
        figure = radio.rates(distance, curves, places, quantiles)
        figure.draw_without_rendering()
        over, spread = figure.axes
        words = [t for t in (*over.texts, *spread.get_xticklabels()) if t.get_text()]
        page = figure.bbox.padded(1)
        for box in [text.get_window_extent() for text in words]:
            assert page.x0 <= box.x0
            assert box.x1 <= page.x1
            assert box.y1 <= page.y1
        named = [t for t in over.texts if t.get_text()[-5:-1] == "no. "]
        assert len({t.get_text() for t in named}) == 3
        ends = [t.get_window_extent() for t in named]
        assert not any(a.overlaps(b) for a, b in combinations(ends, 2))

    @pytest.mark.parametrize("many", [2, 6, 9])
    def test_states_keep_off_the_key_and_to_their_device_and_are_all_named(self, many):
        distance, states = (
            np.linspace(10, 110, 20),
            [f"door open, by night {n}" for n in range(many)],
        )
        falling = 1e9 / distance**2
        curves = {state: (falling / (1 + n), falling) for n, state in enumerate(states)}
        places = {"the-living-room-shelf": 30.0, "the-kitchen-shelf": 60.0, "the-hall": 90.0}
        quantiles = {state: np.outer([1, 2, 9], [1e6, 2e6, 3e6]) for state in states}
        figure = radio.rates(distance, curves, places, quantiles)
        figure.draw_without_rendering()
        over, spread = figure.axes
        (legend,) = figure.legends
        assert not legend.get_window_extent().overlaps(spread.get_tightbbox())
        at = np.array([line.get_xdata() for line in spread.lines])
        assert np.abs(at - np.arange(3)).max() < 0.45
        named = [t for t in over.texts if "by night" in t.get_text()]
        assert len({t.get_text() for t in named}) == many
        assert all(0 <= text.xy[1] <= over.get_ylim()[1] for text in named)
        below = [label.get_window_extent().padded(2) for label in spread.get_xticklabels()]
        assert not any(one.overlaps(other) for one, other in combinations(below, 2))


class TestRunningMeans:
    def test_draws_every_repetition_every_average_and_the_theory(self):
        rounds = np.array([10, 100, 1000])
        single = np.array([[1.0, 2.0, 3.0], [1.5, 2.5, 3.5]])
        averaged = {"K = 2": np.array([1.2, 1.2, 1.3])}
        predicted = np.array([1.0, 1.9, 2.8])
        (axes,) = radio.running_means(rounds, single, averaged, predicted, 1.0).axes
        for values in (*single, *averaged.values(), predicted):
            assert contains(drawn(axes), values)
        assert {"K = 2", "theory, K = 1", "K = 1: 2 repetitions", "ergodic"} <= {
            text.get_text() for text in axes.texts
        }
