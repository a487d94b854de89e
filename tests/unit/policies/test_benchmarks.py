"""`card.policies`: what each benchmark does, by hand and by brute force."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from handmade import DOWN, UP, handmade
from scipy.stats import chisquare

import card
from card.base.errors import ScenarioError
from card.base.schema import POLICY_NAMES
from card.policies import HALVES, POLICIES, SHIPPED, Draws, check_decision, named
from card.simulation import draw
from card.solver import best_frequency, objective, prices

NOMINAL = card.load_scenario("nominal")


def draws_of(system, device=(0, 1), up=UP, down=DOWN):
    device = np.array(device)
    return Draws.of(system, device, np.full(device.shape, up), np.full(device.shape, down))


def decide(name, system, draws, seed=0):
    cut, frequency = POLICIES[name](system, draws, np.random.default_rng(seed))
    return cut.tolist(), frequency.tolist()


def test_draws_bring_their_extremes():
    """Slow device, as in test_solver: 5 s and 16.225 s, 0 J and 27 J."""
    draws = draws_of(handmade())
    assert draws.device.tolist() == [0, 1]
    assert [float(bound[1]) for bound in draws.extremes] == pytest.approx([5, 16.225, 0, 27])


def test_names_and_order_are_stable():
    assert list(POLICIES) == [
        "card",
        "device_only",
        "server_only",
        "random_cut",
        "static_cut",
        "delay_optimal",
        "energy_optimal",
        "exhaustive",
    ]
    assert list(named(["server_only", "card", "cut_only"])) == ["server_only", "card", "cut_only"]


def test_a_weight_next_to_nothing_is_nothing_to_priced_devices():
    scenario = card.load_scenario("realistic")
    chosen = [
        card.simulate(scenario.updated({"objective.delay_weight": weight}), ["devices_priced"], 5)
        for weight in (0.0, 1e-320)
    ]
    assert chosen[0].cut.equals(chosen[1].cut)
    assert chosen[0].frequency_hz.equals(chosen[1].frequency_hz)


def test_a_joule_of_a_device_costs_what_one_of_the_server_does():
    """Against every cut and many clocks, at CARD's two prices of each device-round."""
    scenario = card.load_scenario("realistic")
    system = card.system(scenario)
    draws = draw(system, scenario, rounds=20, seed=5)
    rates = draws.uplink_bps, draws.downlink_bps
    delay_price, energy_price = prices(draws.extremes, system.delay_weight)

    def paid(cut, clock):
        costs = card.evaluate(system, draws.device, cut, clock, *rates)
        return delay_price * costs.delay_s + energy_price * (costs.energy_j + costs.device_energy_j)

    own = paid(*SHIPPED["devices_priced"](system, draws, np.random.default_rng(0)))
    spread = np.linspace(0, 1, 400)[:, None, None, None]
    lowest, top = system.frequency_min_hz[draws.device], system.frequency_max_hz
    best = np.min(
        [
            np.where(
                system.feasible[draws.device, cut],
                paid(cut, lowest + spread * (top - lowest)).min(axis=0),
                np.inf,
            )
            for cut in range(system.num_options)
        ],
        axis=0,
    )
    assert (own <= best * (1 + 1e-12)).all()
    assert own == pytest.approx(best, rel=1e-3)
    card_pays = paid(*POLICIES["card"](system, draws, np.random.default_rng(0)))
    assert (own < card_pays * (1 - 1e-3)).any()


def test_scenarios_know_the_shipped_names():
    assert tuple(SHIPPED) == POLICY_NAMES


@pytest.mark.parametrize("name", ["nominal", "realistic-8b"])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_each_half_of_card_is_the_best_of_what_it_decides(name, library):
    """By counting out: every cut at full clock, and many clocks at the cut of `server_only`."""
    pytest.importorskip(library)
    scenario = card.load_scenario(name)
    found = card.simulate(
        scenario, ["card", "server_only", *HALVES], rounds=20, seed=3, library=library
    )
    system = card.system(scenario)
    place = np.arange(system.num_devices)[:, None]
    rates = found.uplink_bps.values, found.downlink_bps.values
    bounds = Draws.of(system, np.broadcast_to(place, rates[0].shape), *rates).extremes

    def spent(cut, clock):
        costs = card.evaluate(system, place, cut, clock, *rates)
        return objective(bounds, system.delay_weight, costs.delay_s, costs.energy_j)

    one = {half: found.sel(policy=half) for half in found.policy.values}
    top = system.frequency_max_hz
    cuts = [
        np.where(system.feasible[place, cut], spent(cut, top), np.inf)
        for cut in range(system.num_blocks + 1)
    ]
    assert one["cut_only"].frequency_hz.values == pytest.approx(top)
    assert one["cut_only"].objective.values == pytest.approx(np.min(cuts, axis=0), rel=1e-9)
    lowest = system.frequency_min_hz[:, None]
    clocks = [
        spent(one["server_only"].cut.values, lowest + share * (top - lowest))
        for share in np.linspace(0, 1, 201)
    ]
    assert (one["clock_only"].cut == one["server_only"].cut).all()
    assert (one["clock_only"].objective.values <= np.min(clocks, axis=0) + 1e-12).all()
    for half in HALVES:
        assert (one["card"].objective <= one[half].objective + 1e-12).all()


def test_unknown_policy_is_refused():
    with pytest.raises(ScenarioError) as error:
        named(["card", "server_onyl"])
    assert str(error.value).startswith(
        "policies = 'server_onyl' is unknown; did you mean 'server_only'?"
    )


def test_card_and_exhaustive_are_the_solver():
    system = handmade(delay_weight=0.6)
    draws = draws_of(system)
    decision = card.solve(system, draws.device, UP, DOWN)
    expected = decision.cut.tolist(), decision.frequency_hz.tolist()
    assert decide("card", system, draws) == decide("exhaustive", system, draws) == expected


def test_single_minded_policies_are_the_solver_at_the_end_weights():
    system = handmade()
    draws = draws_of(system)
    assert decide("delay_optimal", system, draws)[1] == [20.0, 20.0]
    # nothing on the server; P(f)/f is least at cbrt(P_0 / 2 ξ) = 7.9 Hz, below the fast F_min
    cut, frequency = decide("energy_optimal", system, draws)
    assert cut == [2, 2]
    assert frequency == pytest.approx([10.0, 500 ** (1 / 3)])


def test_server_only_runs_at_full_clock():
    system = handmade(feasible=np.array([[True, True, True], [False, True, True]]))
    assert decide("server_only", system, draws_of(system)) == ([0, 1], [20.0, 20.0])


def test_device_only_takes_all_blocks_that_fit_at_cards_clock():
    system = handmade(feasible=np.array([[True, True, True], [True, True, False]]))
    draws = draws_of(system)
    cut, frequency = decide("device_only", system, draws)
    assert cut == [2, 1]
    decision = card.solve(system, draws.device, UP, DOWN)
    assert frequency == decision.frequency_hz.tolist()
    assert frequency == best_frequency(system, draws.device, *prices(draws.extremes, 0.5)).tolist()


def test_random_cut_is_uniform_over_the_feasible_cuts_at_cards_clock():
    feasible = np.array([[True, False, True], [True, True, True]])
    system = handmade(feasible=feasible)
    device = np.repeat([0, 1], 30_000)
    draws = draws_of(system, device)
    cut, frequency = map(np.array, decide("random_cut", system, draws, seed=4))
    assert set(cut[device == 0]) == {0, 2}
    for position in (0, 1):
        counts = list(Counter(cut[device == position].tolist()).values())
        assert chisquare(counts).pvalue > 1e-3
    decision = card.solve(system, draws.device, UP, DOWN)
    np.testing.assert_array_equal(frequency, decision.frequency_hz)


def test_random_cut_follows_the_generator_alone():
    system = handmade()
    draws = draws_of(system, np.zeros(50, dtype=int))
    assert decide("random_cut", system, draws, 1) == decide("random_cut", system, draws, 1)
    assert decide("random_cut", system, draws, 1) != decide("random_cut", system, draws, 2)


class TestSeveralBits:
    """Cuts 0..16 at 16 bits both ways, then with 8 bits down, then with 8 up, then with both."""

    SCENARIO = NOMINAL.updated({"wire.uplink_bits": [16, 8], "wire.downlink_bits": [16, 8]})
    SYSTEM = card.system(SCENARIO)
    DRAWS = draw(SYSTEM, SCENARIO, rounds=20, seed=5)

    def options(self, name, system=SYSTEM):
        found, clock = POLICIES.get(name, HALVES.get(name))(
            system, self.DRAWS, np.random.default_rng(0)
        )
        check_decision(system, self.DRAWS.device, found, clock)
        return found

    @pytest.mark.parametrize("name", ["device_only", "server_only", "random_cut"])
    def test_who_decides_no_bits_sends_the_first_listed_ones(self, name):
        plain = card.system(NOMINAL)
        found = POLICIES[name](plain, self.DRAWS, np.random.default_rng(0))[0]
        np.testing.assert_array_equal(self.options(name), found)

    @pytest.mark.parametrize("name", ["device_only", "server_only", "random_cut"])
    def test_or_the_next_ones_where_these_are_forbidden(self, name):
        """No cut may send 16 bits up, and with 8 up, but for cut 2 none may have 8 down."""
        mask = np.arange(68) >= 34
        mask[51:] = False
        mask[53] = True
        system = replace(self.SYSTEM, feasible=self.SYSTEM.feasible & mask)
        found = self.options(name, system)
        assert {"device_only": {50}, "server_only": {34}}.get(name, set(range(34, 51))) == set(
            found.ravel().tolist()
        )

    def test_card_sends_the_fewest_that_make_a_difference(self):
        profile = self.SYSTEM.profile
        found = self.options("card")
        cut, up, down = (
            getattr(profile, name)[found] for name in ("cut", "uplink_bits", "downlink_bits")
        )
        assert {0, 16} <= set(cut.ravel().tolist())
        np.testing.assert_array_equal(up, np.where(cut < 16, 8, 16))
        np.testing.assert_array_equal(down, np.where((cut > 0) & (cut < 16), 8, 16))

    @pytest.mark.parametrize("name", ["static_cut", "cut_only"])
    def test_who_decides_a_cut_by_its_costs_decides_bits_with_it(self, name):
        hasty = replace(self.SYSTEM, delay_weight=0.9)
        bits = set(hasty.profile.uplink_bits[self.options(name, hasty)].ravel().tolist())
        assert bits == ({8} if name == "static_cut" else {8, 16})

    def test_a_policy_that_returns_cuts_sends_the_first_listed_bits(self):
        def halfway(system, draws, rng):
            return np.full(draws.device.shape, 8), np.full(draws.device.shape, 2e9)

        found, plain = (
            card.simulate(one, {"halfway": halfway}, rounds=3) for one in (self.SCENARIO, NOMINAL)
        )
        assert (found.cut == 8).all()
        for name in ("uplink_bits", "downlink_bits", "delay_s", "energy_j", "uplink_s"):
            np.testing.assert_array_equal(found[name], plain[name])

    def test_an_option_that_there_is_not_is_refused(self):
        with pytest.raises(ScenarioError, match="cut = 68 is out of range; give 0 to 67"):
            check_decision(self.SYSTEM, 0, 68, 2e9)


@pytest.mark.parametrize("clocks", [None, [0.7e9, 1.1e9, 1.9e9, 2.5e9]])
@pytest.mark.parametrize("in_flight", [1, 8])
def test_static_cut_is_the_best_single_pair_by_brute_force(clocks, in_flight):
    scenario = NOMINAL.updated({"server.clocks_hz": clocks})
    system = replace(card.system(scenario), in_flight=in_flight)
    draws = draw(system, scenario, rounds=20, seed=5)

    def mean_objective(cut, frequency):
        costs = card.evaluate(
            system, draws.device, cut, frequency, draws.uplink_bps, draws.downlink_bps
        )
        return float(objective(draws.extremes, 0.5, costs.delay_s, costs.energy_j).mean())

    cut, frequency = POLICIES["static_cut"](system, draws, np.random.default_rng(0))
    assert np.unique(cut).size == np.unique(frequency).size == 1
    ours = mean_objective(int(cut.flat[0]), float(frequency.flat[0]))
    lowest = system.frequency_min_hz.max()
    offered = np.geomspace(lowest, 2.535e9, 100) if clocks is None else system.clocks_hz
    every = [
        mean_objective(cut, clock) for cut in range(17) for clock in offered if clock >= lowest
    ]
    assert ours <= min(every) + 1e-12
    # the grid is fine enough to come close, so the clock is right and not merely lucky
    assert ours == pytest.approx(min(every), abs=1e-4)


def test_static_cut_needs_a_cut_that_all_devices_hold():
    system = handmade(feasible=np.array([[True, False, False], [False, True, True]]))
    with pytest.raises(ScenarioError) as error:
        decide("static_cut", system, draws_of(system))
    assert str(error.value) == (
        "policies: static_cut needs a cut that fits every device; none does."
    )
