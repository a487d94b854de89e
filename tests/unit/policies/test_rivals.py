"""`card.policies.rivals`: each by what it looks at, and where alternation stops short."""

from dataclasses import replace

import numpy as np
import pytest
from handmade import handmade

import card
from card.base.errors import ScenarioError
from card.policies import RIVALS, Draws, alternate
from card.policies.benchmarks import scores
from card.simulation import draw

NOMINAL = card.load_scenario("nominal")
SYSTEM = card.system(NOMINAL)
DRAWS = draw(SYSTEM, NOMINAL, rounds=30, seed=5)
SLOW = 1


def decide(name, system=SYSTEM, draws=DRAWS):
    return RIVALS[name](system, draws, np.random.default_rng(0))


def one_round(system, up, down):
    """The slow device of the system made by hand."""
    return Draws.of(system, np.array([SLOW]), np.array([up]), np.array([down]))


@pytest.mark.parametrize("name", RIVALS)
def test_torch_decides_as_numpy_does(name):
    pytest.importorskip("torch")
    by = {
        library: card.simulate(NOMINAL, [name], rounds=20, seed=2, library=library)
        for library in ("numpy", "torch")
    }
    np.testing.assert_array_equal(by["numpy"].cut, by["torch"].cut)
    np.testing.assert_allclose(by["numpy"].frequency_hz, by["torch"].frequency_hz, rtol=1e-9)


class TestChannelBlind:
    def test_decides_once_for_each_device(self):
        option, clock = decide("channel_blind")
        for row in (option, clock):
            assert np.ptp(row, axis=(0, 2)).tolist() == [0] * SYSTEM.num_devices
        others = draw(SYSTEM, NOMINAL, rounds=30, seed=6)
        np.testing.assert_array_equal(decide("channel_blind", draws=others)[0], option)

    def test_is_card_s_decision_where_bits_take_no_time(self):
        option, clock = decide("channel_blind")
        found = card.solve(SYSTEM, np.arange(5), 1e20, 1e20)
        assert option[0, :, 0].tolist() == found.cut.tolist()
        assert clock[0, :, 0] == pytest.approx(found.frequency_hz, rel=1e-9)

    def test_memory_decides_with_speed(self):
        """A device that cannot hold the first cut takes another; the others stay."""
        before = decide("channel_blind")[0][0, :, 0]
        assert before[3] == 0
        mask = np.ones_like(SYSTEM.feasible)
        mask[3, 0] = False
        after = decide("channel_blind", replace(SYSTEM, feasible=SYSTEM.feasible & mask))[0]
        assert after[0, 3, 0] != 0
        assert np.delete(after[0, :, 0], 3).tolist() == np.delete(before, 3).tolist()


class TestMakespan:
    def test_no_other_common_cut_takes_less_time(self):
        """Sums of delays over the devices, counted out for every cut of every round."""
        option, clock = decide("makespan")
        assert (clock == SYSTEM.frequency_max_hz).all()
        assert np.ptp(option, axis=1).max() == 0
        rates = DRAWS.uplink_bps, DRAWS.downlink_bps

        def taken(cut):
            return card.evaluate(SYSTEM, DRAWS.device, cut, clock, *rates).delay_s.sum(axis=1)

        every = np.array([taken(cut) for cut in range(17)])
        np.testing.assert_allclose(taken(option), every.min(axis=0), rtol=1e-12)
        assert set(option.ravel().tolist()) == {0, 16}

    def test_needs_a_cut_that_all_devices_hold(self):
        system = handmade(feasible=np.array([[True, False, False], [False, True, True]]))
        with pytest.raises(ScenarioError, match="makespan needs a cut that fits every device"):
            decide("makespan", system, one_round(system, 80.0, 40.0))


class TestLyapunov:
    BUDGET_J = 60.0

    def spent(self, weight):
        system = replace(SYSTEM, energy_budget_j=self.BUDGET_J, queue_weight=weight)
        draws = draw(SYSTEM, NOMINAL, rounds=400, seed=3)
        rates = draws.uplink_bps, draws.downlink_bps
        choice = decide("lyapunov", system, draws)
        return card.evaluate(system, draws.device, *choice, *rates)

    def test_every_device_keeps_to_the_budget_by_itself(self):
        """After n rounds its mean is at most the budget and an n-th of its queue."""
        means = self.spent(2e3).energy_j.mean(axis=-1)
        assert means.shape == (3, 5)
        assert means.max() <= self.BUDGET_J * 1.1

    def test_a_greater_v_is_faster_and_takes_longer_to_settle(self):
        hasty, thrifty = self.spent(2e4), self.spent(2e3)
        assert hasty.delay_s.mean() < thrifty.delay_s.mean()
        assert hasty.energy_j.mean() > thrifty.energy_j.mean()

    def test_queues_start_empty(self):
        """The first round has no price of a joule: it is the fastest."""
        option, clock = decide("lyapunov")
        first = card.solve(
            SYSTEM, DRAWS.device[..., 0], DRAWS.uplink_bps[..., 0], DRAWS.downlink_bps[..., 0], 1.0
        )
        assert (option[..., 0] == first.option).all()
        assert clock[..., 0] == pytest.approx(first.frequency_hz)


class TestAlternation:
    def test_stops_at_the_device_when_the_full_clock_is_too_dear(self):
        """By hand, w = 0.6 and the slow device at 80 bit/s up and 40 down.

        At 20 Hz the server takes 5 s and 27 J, so U = 0.4; the device alone takes 12.45 s, so
        U = 0.6 (12.45 - 5) / 11.225 = 0.398 < 0.4, and no clock changes that. At f* = 13.21 Hz the
        server would take 6.54 s and 15.0 J, so U = 0.305.
        """
        system = handmade(delay_weight=0.6)
        draws = one_round(system, 80.0, 40.0)
        option, clock = decide("alternating_cut_first", system, draws)
        best = card.solve(system, SLOW, 80.0, 40.0)
        assert (option.tolist(), clock.tolist()) == ([2], [20.0])
        assert scores(system, draws, option, clock) == pytest.approx(0.6 * 7.45 / 11.225)
        assert (int(best.cut), float(best.objective)) == (0, pytest.approx(0.305, abs=1e-3))
        found = decide("alternating_clock_first", system, draws)
        assert [part.item() for part in found] == [0, pytest.approx(float(best.frequency_hz))]

    def test_stops_short_from_the_clock_as_well_where_overhead_moves_it(self):
        """5 s of overhead at cut 0 call for a clock at which the device alone looks better."""
        system = handmade(server_overhead_s=np.array([5.0, 0.0, 0.0]))
        draws = one_round(system, 400.0, 20.0)
        option, clock = decide("alternating_clock_first", system, draws)
        best = card.solve(system, SLOW, 400.0, 20.0)
        assert (option.item(), int(best.cut)) == (2, 1)
        assert scores(system, draws, option, clock).item() > float(best.objective) + 5e-3

    @pytest.mark.parametrize("name", ["alternating_cut_first", "alternating_clock_first"])
    def test_ends_where_neither_step_improves(self, name):
        option, clock = decide(name)
        again = alternate(SYSTEM, DRAWS, option, clock)
        np.testing.assert_array_equal(again[0], option)
        np.testing.assert_array_equal(again[1], clock)
        here = scores(SYSTEM, DRAWS, option, clock)
        for cut in range(17):
            assert (here <= scores(SYSTEM, DRAWS, cut, clock) + 1e-12).all()
        for share in np.linspace(0, 1, 50):
            lowest = SYSTEM.frequency_min_hz[DRAWS.device]
            other = lowest + share * (SYSTEM.frequency_max_hz - lowest)
            assert (here <= scores(SYSTEM, DRAWS, option, other) + 1e-12).all()

    def test_never_takes_a_step_that_makes_it_worse(self):
        rng = np.random.default_rng(1)
        option = rng.integers(17, size=DRAWS.device.shape)
        lowest = SYSTEM.frequency_min_hz[DRAWS.device]
        clock = lowest + rng.random(option.shape) * (SYSTEM.frequency_max_hz - lowest)
        found = scores(SYSTEM, DRAWS, *alternate(SYSTEM, DRAWS, option, clock))
        assert (found <= scores(SYSTEM, DRAWS, option, clock)).all()
