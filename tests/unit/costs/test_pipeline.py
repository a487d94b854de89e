"""Several micro-batches in flight: the delay by hand and by a pipeline that is played through."""

from dataclasses import fields

import numpy as np
import pytest
from handmade import DEVICE_FAST, DEVICE_SLOW, DOWN, UP, handmade

import card
from card.costs import Costs, overlapped_s

NOMINAL = card.load_scenario("nominal")


def last_s(stages_s, count):
    """When the last of some jobs leaves machines that each take one job after the other."""
    left = [0.0] * len(stages_s)
    for _ in range(count):
        ready = 0.0
        for machine, takes in enumerate(stages_s):
            ready = left[machine] = max(ready, left[machine]) + takes
    return left[-1]


def test_round_by_hand():
    """T = 2, cut 1 on the fast device at 10 Hz, in two micro-batches.

    In turn a mini-batch takes 1 s on the device, 10 s up, 2 s on the server, 10 s down. A
    micro-batch takes half of that, 11.5 s, and the other follows after 5 s of a link.
    """
    costs = card.evaluate(handmade(in_flight=2), DEVICE_FAST, 1, 10.0, 8.0, 4.0)
    assert costs.delay_s == pytest.approx(2 * (11.5 + 5) + 2.25)
    assert costs.energy_j == pytest.approx(4 * 2), "the server is as busy as before"
    assert costs.device_energy_j == pytest.approx(2 * 30 + 20.75 * 0.5)


def test_waiting_ends_where_a_round_does():
    """As above, 35.25 s; the server waits in all but 4 s, the device in all but its own pipeline.

    It computes for 2 s and sends for 20, of which half of the 2 s at the same time, and adapters
    for 0.75 s.
    """
    waiting = {"waiting_power_w": 3.0, "device_waiting_power_w": np.full(2, 2.0)}
    costs = card.evaluate(handmade(in_flight=2, **waiting), DEVICE_FAST, 1, 10.0, 8.0, 4.0)
    assert costs.energy_j == pytest.approx(4 * 2 + (35.25 - 4) * 3)
    waited_s = 35.25 - (2 + 20 - 1) - 0.75
    assert costs.device_energy_j == pytest.approx(2 * 30 + 20.75 * 0.5 + waited_s * 2)


def test_one_in_flight_is_one_after_the_other():
    alone, plain = (
        card.evaluate(handmade(**one), [[0], [1]], [0, 1, 2], 10.0, UP, DOWN)
        for one in ({"in_flight": 1}, {})
    )
    for item in fields(Costs):
        np.testing.assert_array_equal(getattr(alone, item.name), getattr(plain, item.name))
    np.testing.assert_array_equal(alone.delay_s, plain.delay_s)


def test_a_device_alone_saves_nothing():
    costs = [
        card.evaluate(handmade(in_flight=m), DEVICE_SLOW, 2, 10.0, UP, DOWN).delay_s for m in (1, 9)
    ]
    assert costs[0] == costs[1]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_saved_time_is_that_of_a_pipeline_played_through(count):
    rng = np.random.default_rng(count)
    for _ in range(50):
        stages = (rng.random(4) * (rng.random(4) < 0.8)).tolist()
        in_turn = count * sum(stages)
        saved = overlapped_s(count, *(count * np.array(stage) for stage in stages))
        assert in_turn - saved == pytest.approx(last_s(stages, count), abs=1e-12)


def test_a_device_that_sends_all_before_it_goes_back_needs_no_longer():
    """Forward and backward as two visits, in the order of the docstring of `card.costs.rounds`."""
    rng, shorter = np.random.default_rng(1), 0
    for _ in range(300):
        count, (forward, backward, *between) = int(rng.integers(1, 9)), rng.random(5).tolist()
        arrived = [last_s([forward, *between], k + 1) for k in range(count)]
        clock = count * forward
        for at in arrived:
            clock = max(clock, at) + backward
        stages = [forward + backward, *between]
        bound = last_s(stages, count)
        assert clock <= bound * (1 + 1e-12)
        shorter += clock < bound * 0.999
    assert shorter > 100


def test_more_in_flight_never_take_longer():
    delays = [
        card.evaluate(handmade(in_flight=m), [[0], [1]], [0, 1, 2], 10.0, UP, DOWN).delay_s
        for m in (1, 2, 4, 1000)
    ]
    assert (np.diff(delays, axis=0) <= 1e-12).all()


def test_memory_of_micro_batches_in_flight():
    """A device keeps all of them, unless it is alone; a server that has the loss keeps one."""
    study = {"training.batch_size": 4, "training.accumulation": 4}
    one, four = (
        card.cut_profile(NOMINAL.updated({**study, "training.schedule": schedule}))
        for schedule in ("alternate", "pipelined")
    )
    whole = card.cut_profile(NOMINAL.updated({"training.batch_size": 4}))
    assert (four.device_memory_bit[1:-1] == whole.device_memory_bit[1:-1]).all()
    assert four.device_memory_bit[-1] == one.device_memory_bit[-1]
    assert (four.server_memory_bit == one.server_memory_bit).all()
    assert (four.device_flop == one.device_flop).all()


def test_a_server_without_the_loss_keeps_all_in_flight():
    study = {
        "training.batch_size": 4, "training.accumulation": 4, "training.topology": "u-shaped",
    }  # fmt: skip
    four = card.cut_profile(NOMINAL.updated({**study, "training.schedule": "pipelined"}))
    whole = card.cut_profile(NOMINAL.updated({**study, "training.accumulation": 1}))
    assert (four.server_memory_bit == whole.server_memory_bit).all()


def test_inputs_of_blocks_are_kept_for_all_in_flight_with_checkpointing():
    """Four times the inputs of 512 tokens x 2048 numbers, and one micro-batch's blocks."""
    study = {
        "training.batch_size": 4,
        "training.accumulation": 4,
        "training.gradient_checkpointing": True,
    }
    one, four = (
        card.cut_profile(NOMINAL.updated({**study, "training.schedule": schedule}))
        for schedule in ("alternate", "pipelined")
    )
    more = four.device_memory_bit - one.device_memory_bit
    assert more.tolist() == [3 * cut * 512 * 2048 * 16 for cut in range(16)] + [0]


def test_the_scenario_says_how_many_are_in_flight():
    study = {"training.batch_size": 4, "training.accumulation": 2}
    assert card.system(NOMINAL.updated(study)).in_flight == 1
    pipelined = NOMINAL.updated({**study, "training.schedule": "pipelined"})
    assert card.system(pipelined).in_flight == 2
    assert card.system(NOMINAL.updated({"training.schedule": "pipelined"})).in_flight == 1


@pytest.mark.parametrize("library", ["torch", "dask.array"])
def test_other_libraries_agree(library):
    xp = pytest.importorskip(library)
    pipelined = handmade(in_flight=3, waiting_power_w=3.0)
    plain = card.evaluate(pipelined, [0, 1, 0], [0, 1, 2], 10.0, UP, DOWN)
    clocks = xp.asarray(np.full(3, 10.0))
    found = card.evaluate(pipelined, [0, 1, 0], [0, 1, 2], clocks, UP, DOWN)
    for name in ("delay_s", "energy_j", "device_energy_j"):
        np.testing.assert_allclose(np.asarray(getattr(found, name)), getattr(plain, name))
