"""`card.studies.extensions`: each row is the simulation that it names, on common draws."""

import numpy as np
import pytest

import card
from card.simulation import reduction
from card.studies.extensions import ENDS, EXTENSIONS, extensions, reached

NOMINAL = card.load_scenario("nominal")


@pytest.fixture(scope="module")
def results():
    return extensions(NOMINAL, rounds=30, seed=3)


def test_all_are_simulated_on_the_draws_of_the_scenario(results):
    assert results.policy.values.tolist() == [*ENDS, *EXTENSIONS]
    plain = card.simulate(NOMINAL, ["card", "budget"], rounds=30, seed=3)
    for name, policy in (("CARD", "card"), ("budget", "budget")):
        ours, theirs = results.sel(policy=name), plain.sel(policy=policy)
        assert np.array_equal(ours.delay_s, theirs.delay_s)
        assert np.array_equal(ours.energy_j, theirs.energy_j)
    kept = results.sel(policy="labels, embeddings kept")
    assert (kept.cut >= 1).all()
    assert set(np.unique(results.sel(policy="16 or 8 bits").uplink_bits)) <= {8, 16}


def test_reductions_are_read_against_the_ends_of_the_scale(results):
    found = reached(results)
    assert list(found) == list(EXTENSIONS)
    mean = {name: results.sel(policy=name).mean() for name in results.policy.values}
    for name, row in found.items():
        here = mean[name]
        saved = reduction(float(here.delay_s), float(mean["device_only"].delay_s))
        assert row["delay"]["value"] == pytest.approx(saved)
        saved = reduction(float(here.energy_j), float(mean["server_only"].energy_j))
        assert row["energy"]["value"] == pytest.approx(saved)
        assert row["energy"]["low"] <= row["energy"]["value"] <= row["energy"]["high"]
        assert row["device_energy_j"][0] == pytest.approx(float(here.device_energy_j))


def test_more_to_decide_saves_more_of_the_objective_and_privacy_costs(results):
    found = {name: row["delay"]["value"] for name, row in reached(results).items()}
    assert found["16, 8 or 4 bits"] > found["16 or 8 bits"] > found["CARD"]
    assert found["CARD"] > found["both kept, 16 or 8 bits"] > found["labels, embeddings kept"]


def test_what_a_scenario_cannot_have_is_left_out():
    board = {"title": "B", "cores": 100, "flop_per_core_cycle": 2, "clock_hz": 1e9}
    changes = {
        "training.activation_bits": 8,
        "devices.device-1.hardware": board | {"memory_gb": 32},
    }
    found = extensions(NOMINAL.updated(changes), rounds=2, seed=3)
    assert set(EXTENSIONS) - set(found.policy.values.tolist()) == {
        "16 or 8 bits",
        "16, 8 or 4 bits",
        "both kept, 16 or 8 bits",
        "devices priced",
    }
