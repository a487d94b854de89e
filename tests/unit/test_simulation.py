"""`card.simulation`: common draws, every field, and reductions with their intervals."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from outcomes import dataset

import card
from card.base.errors import ScenarioError
from card.policies import POLICIES
from card.simulation import PARTS, UNITS, draw, means, reduction
from card.solver.pruning import pruned_options

NOMINAL = card.load_scenario("nominal")
ROUNDS = 12


@pytest.fixture(scope="module")
def results() -> xr.Dataset:
    return card.simulate(NOMINAL, rounds=ROUNDS, seed=3)


def test_dimensions_coordinates_and_units(results):
    assert dict(results.sizes) == {"policy": 8, "state": 3, "device": 5, "round": ROUNDS}
    assert results.policy.values.tolist() == list(POLICIES)
    assert results.state.values.tolist() == ["good", "normal", "poor"]
    assert results.device.values.tolist() == [f"device-{i}" for i in range(1, 6)]
    assert results["round"].values.tolist() == list(range(ROUNDS))
    assert {name: results[name].attrs["units"] for name in results} == UNITS
    assert results.uplink_bps.dims == results.downlink_bps.dims == ("state", "device", "round")
    assert results.attrs == {
        "title": NOMINAL.title,
        "source": f"card {card.__version__}",
        "scenario_hash": NOMINAL.digest,
        "seed": 3,
        "delay_weight": 0.5,
    }


def test_nominal_takes_the_first_and_the_last_cut_alone():
    """As the first page says."""
    decided = card.simulate(NOMINAL, ["card"])
    assert set(np.unique(decided.cut).tolist()) == {0, card.system(NOMINAL).num_blocks}


def test_every_field_is_what_evaluate_says_of_the_decision(results):
    device = np.arange(5)[:, None]
    for policy in results.policy.values:
        found = results.sel(policy=policy)
        costs = card.evaluate(
            NOMINAL,
            device,
            found.cut.values,
            found.frequency_hz.values,
            found.uplink_bps.values,
            found.downlink_bps.values,
        )
        for name in ("delay_s", "energy_j", "device_energy_j", *PARTS):
            expected = np.broadcast_to(getattr(costs, name), found[name].shape)
            np.testing.assert_array_equal(found[name].values, expected)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_cut_and_bits_say_what_was_decided(library):
    pytest.importorskip(library)
    wire = {"wire.uplink_bits": [16, 4], "wire.downlink_bits": [16, 8]}
    scenario = NOMINAL.updated(wire)
    found = card.simulate(scenario, ["card"], rounds=20, seed=3, library=library).isel(policy=0)
    device = np.arange(5)[:, None]
    decision = card.solve(scenario, device, found.uplink_bps.values, found.downlink_bps.values)
    for name in ("cut", "uplink_bits", "downlink_bits"):
        np.testing.assert_array_equal(found[name], getattr(decision, name))
        assert found[name].dtype == np.int64
    assert set(np.unique(found.uplink_bits)) == {4, 16}
    # a tensor of 512 tokens of 2048 values, 20 times, and 32 scales for each token
    inner = (found.cut > 0) & (found.cut < 16)
    sent_bit = 20 * 512 * (2048 * found.downlink_bits + 32 * 16 * (found.downlink_bits < 16))
    assert inner.any() or (found.cut == 0).any()
    expected = xr.where(inner, sent_bit / found.downlink_bps, 0.0)
    np.testing.assert_allclose(found.downlink_s, expected, rtol=1e-13)


def test_parts_add_up_to_the_delay(results):
    total = sum(results[part] for part in PARTS)
    np.testing.assert_allclose(total.values, results.delay_s.values, rtol=1e-13)


def test_objective_is_the_solvers_and_lowest_for_card(results):
    ours = results.sel(policy="card")
    decision = card.solve(
        NOMINAL, np.arange(5)[:, None], ours.uplink_bps.values, ours.downlink_bps.values
    )
    np.testing.assert_allclose(ours.objective.values, decision.objective, atol=1e-12)
    assert (results.objective >= ours.objective - 1e-12).all()
    best = results.sel(policy="exhaustive")
    np.testing.assert_array_equal(best.cut.values, ours.cut.values)
    np.testing.assert_array_equal(best.frequency_hz.values, ours.frequency_hz.values)


def test_better_states_have_better_links(results):
    rates = results.uplink_bps.mean("round")
    assert (rates.sel(state="good") > rates.sel(state="normal")).all()
    assert (rates.sel(state="normal") > rates.sel(state="poor")).all()
    # the base station sends 7 dB more
    assert (results.downlink_bps > results.uplink_bps).all()


def test_same_seed_same_numbers(results):
    assert results.identical(card.simulate(NOMINAL, rounds=ROUNDS, seed=3))
    other = card.simulate(NOMINAL, ["card"], rounds=ROUNDS, seed=4)
    assert not np.array_equal(other.uplink_bps.values, results.uplink_bps.values)


def test_scenario_gives_rounds_and_seed_unless_told():
    scenario = NOMINAL.updated({"simulation": {"rounds": 4, "seed": 9}})
    own, told = card.simulate(scenario, ["card"]), card.simulate(NOMINAL, ["card"], 4, 9)
    assert own.attrs.pop("scenario_hash") != told.attrs.pop("scenario_hash")
    assert own.identical(told)


def test_fewer_policies_give_the_same_numbers(results):
    some = ["random_cut", "card"]
    xr.testing.assert_identical(
        card.simulate(NOMINAL, some, rounds=ROUNDS, seed=3), results.sel(policy=some)
    )


def test_scenarios_that_share_a_channel_share_draws(results):
    other = NOMINAL.updated({"objective.delay_weight": 0.9, "training.topology": "u-shaped"})
    found = card.simulate(other, ["card"], rounds=ROUNDS, seed=3)
    np.testing.assert_array_equal(found.uplink_bps.values, results.uplink_bps.values)


def test_policies_of_your_own():
    """A policy may answer with arrays or with one decision for all."""

    def halfway(system, draws, rng):
        return np.full(draws.device.shape, 8), np.full(draws.device.shape, 1e9)

    def scalar(system, draws, rng):
        return 8, 1e9

    chosen = {"card": POLICIES["card"], "halfway": halfway, "scalar": scalar}
    found = card.simulate(NOMINAL, chosen, rounds=3)
    assert found.policy.values.tolist() == ["card", "halfway", "scalar"]
    assert (found.cut.sel(policy="halfway") == 8).all()
    assert (found.frequency_hz.sel(policy="halfway") == 1e9).all()
    for name in UNITS.keys() - {"uplink_bps", "downlink_bps"}:
        one, other = found[name].sel(policy="halfway"), found[name].sel(policy="scalar")
        np.testing.assert_array_equal(one.values, other.values)


def test_draw_is_what_simulate_decides_on(results):
    draws = draw(card.system(NOMINAL), NOMINAL, rounds=ROUNDS, seed=3)
    np.testing.assert_array_equal(draws.uplink_bps, results.uplink_bps.values)
    np.testing.assert_array_equal(draws.downlink_bps, results.downlink_bps.values)
    assert (draws.device == np.arange(5)[:, None]).all()
    assert draws.extremes.delay_min_s.shape == (3, 5, ROUNDS)


def test_means_by_hand():
    table = means(dataset(card=([1, 3], [2, 4]), slow=([2, 14], [1, 3])))
    assert table == {
        "card": {"delay_s": 2.0, "energy_j": 3.0, "device_energy_j": 6.0},
        "slow": {"delay_s": 8.0, "energy_j": 2.0, "device_energy_j": 4.0},
    }


def test_reduction_of_nothing_is_undefined():
    assert reduction(np.array([1.0]), np.array([4.0])) == 0.75
    assert reduction(np.array([0.0]), np.array([0.0])) is None


def test_policies_see_common_draws():
    """The same draws go to every policy, so none can see others."""
    seen = []

    def watch(system, draws, rng):
        seen.append(draws)
        return POLICIES["card"](system, draws, rng)

    card.simulate(NOMINAL, {"a": watch, "b": watch}, rounds=2)
    assert np.shares_memory(seen[0].uplink_bps, seen[1].uplink_bps)


def in_place(of):
    def mine(system, draws, rng):
        array = of(system, draws)
        array += array
        return 3, 2e9

    return mine


@pytest.mark.parametrize(
    "of",
    [
        lambda system, draws: draws.device,
        lambda system, draws: draws.uplink_bps,
        lambda system, draws: draws.extremes.delay_min_s,
        lambda system, draws: system.feasible,
        lambda system, draws: system.frequency_min_hz,
        lambda system, draws: system.profile.uplink_bit,
    ],
)
def test_a_policy_cannot_change_what_the_next_one_is_given(of):
    with pytest.raises(ValueError, match="read-only") as refusal:
        card.simulate(NOMINAL, {"mine": in_place(of), "card": POLICIES["card"]}, rounds=2)
    assert refusal.value.__notes__ == ["raised by the policy mine"]


def base_of(array):
    """The memory that an array is a view of, through any number of views."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def written(array):
    base_of(array)[...] = 1


def unlocked(array):
    base_of(array).flags.writeable = True


@pytest.mark.parametrize("way", [written, unlocked])
@pytest.mark.parametrize(
    "of",
    [
        lambda system, draws: draws.device,
        lambda system, draws: draws.uplink_bps,
        lambda system, draws: draws.extremes.energy_max_j,
        lambda system, draws: system.throughput_flops,
        lambda system, draws: system.profile.server_flop,
    ],
)
def test_a_policy_cannot_change_it_by_flags_or_by_what_lies_below(of, way):
    def mine(system, draws, rng):
        way(of(system, draws))
        return 3, 2e9

    with pytest.raises(ValueError, match=r"read-only|cannot set WRITEABLE"):
        card.simulate(NOMINAL, {"mine": mine, "card": POLICIES["card"]}, rounds=2)


FORCED = {
    "a number": lambda system: object.__setattr__(system, "delay_weight", 0.01),
    "the server": lambda system: object.__setattr__(system, "flops_per_hz", 1e5),
    "a profile's array": lambda system: object.__setattr__(
        system.profile, "uplink_bit", 9 * system.profile.uplink_bit
    ),
    "what the solver remembers": lambda system: pruned_options(system).fill(3),
}


@pytest.mark.parametrize("change", FORCED.values(), ids=FORCED)
@pytest.mark.parametrize("score", [card.simulate, card.benchmark])
def test_what_a_policy_forces_upon_its_system_stays_there(change, score):
    def mine(system, draws, rng):
        change(system)
        return 3, 2e9

    def calm(system, draws, rng):
        return 3, 2e9

    of = {"scenarios": [NOMINAL]} if score is card.benchmark else {"scenario": NOMINAL}
    forced, whole = (
        score(policies={"mine": one, "mine_too": calm, "card": POLICIES["card"]}, rounds=2, **of)
        for one in (mine, calm)
    )
    xr.testing.assert_identical(forced, whole)


def test_a_policy_on_torch_changes_its_own_copy_of_the_draws():
    pytest.importorskip("torch")
    chosen = {"mine": in_place(lambda system, draws: draws.uplink_bps), "card": POLICIES["card"]}
    found = card.simulate(NOMINAL, chosen, rounds=2, library="torch").sel(policy=["card"])
    xr.testing.assert_identical(found, card.simulate(NOMINAL, ["card"], rounds=2, library="torch"))


def test_a_policy_may_return_the_same_array_again():
    """As it may work in one array of its own from call to call."""
    cut = np.zeros((3, 5, 2), dtype=int)

    def filled(value):
        def mine(system, draws, rng):
            cut[...] = value
            return cut, 2e9

        return mine

    found = card.simulate(NOMINAL, {"one": filled(1), "two": filled(2)}, rounds=2)
    assert found.cut.mean(("state", "device", "round")).values.tolist() == [1.0, 2.0]


def test_an_error_of_an_own_policy_names_it():
    with pytest.raises(TypeError) as error:
        card.simulate(NOMINAL, {"mine": lambda: (3, 2e9)}, rounds=2)
    assert error.value.__notes__ == ["raised by the policy mine"]


NAMES = (
    "card, device_only, server_only, random_cut, static_cut, delay_optimal, energy_optimal, "
    "exhaustive"
)
POLICIES_ALLOWED = f"is not allowed; give a list of {NAMES}, or a mapping of names to functions."
MAPPING_ALLOWED = (
    "is not allowed; give a mapping of names to functions of (system, draws, rng), e.g. "
    "{'mine': card.policies.card}."
)
SIMULATIONS = [
    (
        {"policies": ["card", "device_olny"]},
        "policies = 'device_olny' is unknown; did you mean 'device_only'?",
    ),
    ({"policies": "card"}, f"policies = 'card' {POLICIES_ALLOWED}"),
    ({"policies": []}, f"policies = [] {POLICIES_ALLOWED}"),
    ({"policies": 5}, f"policies = 5 {POLICIES_ALLOWED}"),
    (
        {"policies": np.array(["card"])},
        f"policies = array(['card'], dtype='<U4') {POLICIES_ALLOWED}",
    ),
    ({"policies": {"mine": "card"}}, f"policies = {{'mine': 'card'}} {MAPPING_ALLOWED}"),
    ({"policies": {"mine": 5}}, f"policies = {{'mine': 5}} {MAPPING_ALLOWED}"),
    ({"policies": {5: max}}, f"policies = {{5: <built-in function max>}} {MAPPING_ALLOWED}"),
    (
        {"policies": [["card"]]},
        "policies = ['card'] is unknown; did you mean 'card'?",
    ),
    ({"library": None}, "library = null is unknown; choose one of numpy, torch, torch:cuda."),
    ({"rounds": 0}, "rounds = 0 is not allowed; give a whole number from 1 to 1000000000."),
    ({"rounds": 2.5}, "rounds = 2.5 is not allowed; give a whole number from 1 to 1000000000."),
    (
        {"rounds": 2**63 - 1},
        "rounds = 9223372036854775807 is not allowed; give a whole number from 1 to 1000000000.",
    ),
    ({"rounds": True}, "rounds = True is not allowed; give a whole number from 1 to 1000000000."),
    ({"seed": -1}, "seed = -1 is not allowed; give a whole number from 0 to 9223372036854775807."),
]


@pytest.mark.parametrize(("changes", "message"), SIMULATIONS)
def test_arguments_out_of_range_are_refused(changes, message):
    with pytest.raises(card.ScenarioError) as refusal:
        card.simulate(card.load_scenario("nominal"), **changes)
    assert str(refusal.value) == message


def test_a_link_without_a_rate_is_refused_however_the_scenario_came_to_it():
    weak = {"link.uplink_power_dbm": -300, "link.reference_loss_db": 300}
    lost = card.load_scenario("nominal").updated(weak)
    with pytest.raises(card.ScenarioError, match=r"devices\.device-1: its link has a rate of 4"):
        card.simulate(lost, ["card"], rounds=1)


def test_rounds_beyond_the_memory_of_the_machine_are_refused_before_anything_is_drawn():
    with pytest.raises(ScenarioError, match=r"rounds = 10{9} is out of range; this machine has"):
        card.simulate(card.load_scenario("nominal"), rounds=10**9)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ((0, 9e12), "the policy mine: frequency_hz = 9e+12 is not allowed; give "),
        ((32, 2e9), "the policy mine: cut = 32 does not fit device-3 and the server; give one of"),
        ((99, 2e9), "the policy mine: cut = 99 is out of range; give 0 to 32."),
        (([[[0.5]]], 2e9), "the policy mine: cut = array("),
        ((0, float("nan")), "the policy mine: frequency_hz = nan is not allowed"),
        ((np.zeros(7, int), 2e9), "the policy mine returns (array([0, 0, 0, 0, 0, 0, 0]), 2"),
        ((3, np.ones((9, 1, 1, 1))), "the policy mine returns (3, array("),
        (([[1], [1, 2]], 2e9), "the policy mine returns ([[1], [1, 2]], 2000000000.0), which is"),
        (
            (3, 2e9, 1),
            "the policy mine returns (3, 2000000000.0, 1), which is not allowed; return ",
        ),
        ((np.ma.masked_array(3, True), 2e9), "the policy mine returns (masked"),
        ((3, np.ma.masked_array([2e9, 2e9], [False, True])), "the policy mine returns (3, masked"),
        (None, "the policy mine returns None, which is not allowed; return cuts and clocks [Hz]"),
    ],
)
def test_decision_of_an_own_policy_that_cannot_be_taken_is_refused(choice, message):
    mine = {"mine": lambda system, draws, rng: choice}
    with pytest.raises(card.ScenarioError) as refusal:
        card.simulate(card.load_scenario("bigger-llm"), mine, rounds=2)
    text = str(refusal.value)
    assert text.startswith(message)
    assert "\n" not in text
    assert len(text) < 250
    if "returns" in text:
        assert text.endswith("that broadcast to the shape (3, 5, 2) of the draws.")


@pytest.mark.parametrize("raised", [OSError("no file"), SystemExit(4), RuntimeError("no")])
def test_what_an_own_policy_returns_may_fail_when_it_is_read(raised):
    class Unreadable:
        def __array__(self, *_, **__):
            raise raised

        def __repr__(self):
            return "unreadable"

    mine = {"mine": lambda system, draws, rng: (Unreadable(), 2e9)}
    with pytest.raises(card.ScenarioError, match=r"the policy mine returns \(unreadable, 2000000"):
        card.simulate(NOMINAL, mine, rounds=2)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(128 + 15)])
def test_what_stops_the_process_is_no_fault_of_a_policy(stop):
    class Stopped:
        def __array__(self, *_, **__):
            raise stop

    with pytest.raises(type(stop)):
        card.simulate(NOMINAL, {"mine": lambda system, draws, rng: (Stopped(), 2e9)}, rounds=2)


@pytest.mark.parametrize(
    "call",
    [
        lambda name: card.simulate(name),
        lambda name: card.solve(name, "device-1", 1e6, 1e6),
        lambda name: card.evaluate(name, 0, 0, 1e9, 1e6, 1e6),
        lambda name: card.sweep(name, {"objective.delay_weight": [0.2]}),
        lambda name: card.cut_profile(name),
    ],
)
def test_a_name_in_place_of_a_scenario_is_refused_with_what_to_give(call):
    with pytest.raises(ScenarioError, match=r"scenario = 'nominal' is not allowed; give what card"):
        call("nominal")


@pytest.mark.parametrize("given", [None, {}, Path("nominal.yml"), card.system(NOMINAL)])
@pytest.mark.parametrize(
    "call",
    [card.simulate, lambda given: card.sweep(given, {"objective.delay_weight": [0.2]})],
)
def test_only_a_scenario_is_simulated(call, given):
    with pytest.raises(
        ScenarioError, match=r"scenario = .* is not allowed; give what card\.load_s"
    ):
        call(given)
