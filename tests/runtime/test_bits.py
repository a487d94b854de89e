"""Rounds in few bits: what crosses is what the model counts, and it can be repeated."""

from itertools import product

import numpy as np
import pytest
import torch
from conversation import LEARNING_RATE, conversation, tokens

import card
from card.profiling.bits import TEXTS, estimate, measure, train_split, unigram_entropy
from card.training.agreement import Job
from card.training.llm.split import optimiser, step
from card.training.llm.text import mini_batch

WIDTHS = (16, 8, 4)
SMALL = {
    "llm": "tiny-llama-0.5m",
    "training.batch_size": 2,
    "training.sequence_length": 32,
    "training.local_iterations": 2,
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def played(folder, up, down, *, cut=2, **changes):
    """Scenario and the server's log of one round of the study `quantised-wire`, made small."""
    wire = {"wire.uplink_bits": up, "wire.downlink_bits": down}
    chosen = card.load_scenario("quantised-wire", **{**SMALL, **wire, **changes})
    log, _, _ = conversation(chosen, folder, ["device-1"], rounds=1, cuts=(cut,) if cut else ())
    return chosen, log


def losses(log):
    return [event["loss"] for event in log.named("iteration")]


@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
@pytest.mark.parametrize(("up", "down"), list(product(WIDTHS, WIDTHS)))
def test_a_round_at_every_pair_of_bits_carries_what_the_model_counts(up, down, topology, tmp_path):
    chosen, log = played(tmp_path, [up], [down], **{"training.topology": topology})
    (event,), profile = log.named("round"), card.cut_profile(chosen)
    assert (event["cut"], event["uplink_bits"], event["downlink_bits"]) == (2, up, down)
    iterations, adapters = chosen.training.local_iterations, profile.adapter_bit[2]
    assert event["up_bit"] == iterations * profile.uplink_bit[2] + adapters
    assert event["down_bit"] == iterations * profile.downlink_bit[2] + adapters


def test_card_decides_the_bits_of_a_round(tmp_path):
    shaped = {"training.topology": "u-shaped"}  # so that every cut but the last sends both ways
    chosen, log = played(tmp_path, [16, 8, 4], [16, 8], cut=None, **shaped)
    (event,), profile = log.named("round"), card.cut_profile(chosen)
    # nothing stands against the fewest; all blocks on the device would send nothing at all
    assert (event["uplink_bits"], event["downlink_bits"]) == (4, 8)
    assert event["cut"] < profile.num_blocks
    is_it = (profile.cut == event["cut"]) & (profile.uplink_bits == 4)
    (option,) = (is_it & (profile.downlink_bits == 8)).nonzero()[0]
    sent = chosen.training.local_iterations * profile.uplink_bit[option]
    assert event["up_bit"] == sent + profile.adapter_bit[option]


def test_bits_as_held_change_nothing_and_few_can_be_repeated(tmp_path):
    held = losses(played(tmp_path / "held", None, None)[1])
    assert losses(played(tmp_path / "16", [16], [16])[1]) == held
    few = [losses(played(tmp_path / name, [4], [4])[1]) for name in ("once", "again")]
    assert few[0] == few[1] != held
    assert few[0] == pytest.approx(held, rel=0.05)  # the same text, hardly trained


class TestLab:
    """`card.profiling.bits`, which trains without a wire in between."""

    @pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
    def test_trains_as_the_runtime_does_to_the_bit(self, topology, tmp_path):
        chosen, log = played(tmp_path, [4], [4], **{"training.topology": topology})
        job, training, found = Job.open(chosen), chosen.training, []
        forms, data = job.forms(4, 4), tokens("device-1", job)
        update = optimiser(job.llm.trained(0, job.llm.num_blocks), LEARNING_RATE)
        for iteration in (1, 2):
            key = (chosen.simulation.seed, "device-1", 1, iteration)
            batch = mini_batch(data, training.batch_size, training.sequence_length, *key)
            found.append(train_split(job, 2, batch, forms, 1, iteration))
            step(update)
        assert found == losses(log)

    def test_a_table_has_all_pairs_and_what_was_learned_at_all(self):
        bed = card.load_scenario("test-bed", **{"training.local_iterations": 2})
        table = measure(bed, TEXTS[:1], cuts=[3], seeds=2, rounds=1)
        rows = {(one.cut, one.uplink_bits, one.downlink_bits): one for one in table.penalties}
        assert rows.keys() == {(3, up, down) for up, down in product(WIDTHS, WIDTHS)}
        same = rows[3, 16, 16]
        assert (same.mean, same.low, same.high, same.settled) == (0, 0, 0, 0)
        assert all(len(one.curve) == 2 for one in rows.values())
        assert len({one.curve[0].mean for one in rows.values()}) == 1, "all begin alike"
        assert any(one.mean for one in rows.values())
        (learned,) = table.learned
        assert learned.base == pytest.approx(same.curve[0].mean)
        assert learned.gain.mean == pytest.approx(learned.base - learned.adapted.mean)

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"seeds": 1}, "seeds = 1 gives no interval; give 2 or more"),
            ({"cuts": [4]}, "cut = 4 sends no smashed data; give cuts from 0 to 3"),
            ({"texts": [TEXTS[0], TEXTS[0]]}, "is given twice; give each once"),
            ({"cuts": [3, 1, 3]}, "cut: 3 is given twice; give each once"),
        ],
    )
    def test_what_cannot_be_measured_is_refused(self, given, said):
        with pytest.raises(card.ScenarioError, match=said):
            measure(card.load_scenario("test-bed"), **given)

    def test_an_interval_is_student_s(self):
        # t of 4 degrees of freedom at 97.5 % is 2.7764, any table of it says
        found = estimate([1.0, 2.0, 3.0, 4.0, 5.0])
        assert found.mean == 3
        assert found.high - 3 == pytest.approx(2.7764 * (2.5 / 5) ** 0.5, rel=1e-4)
        assert found.low == pytest.approx(6 - found.high)

    def test_unigram_entropy_of_equal_counts_is_that_of_a_fair_die(self):
        fair = np.arange(60) % 6
        assert unigram_entropy(fair, fair, 6) == pytest.approx(np.log(6))
