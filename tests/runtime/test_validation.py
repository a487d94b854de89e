"""Each round ends with the loss on a text that nothing was trained on, and costs nothing by it."""

import pytest
import torch
from conversation import LEARNING_RATE

import card
from card.training.agreement import Job
from card.training.device import Device
from card.training.in_process import rehearse
from card.training.llm.split import optimiser
from card.training.llm.text import held_out, mini_batch, read_tokens
from card.training.rehearsal import TEXTS
from card.training.wire.stream import PeerGone

NAME, PATH = next(iter(TEXTS.items()))
CUTS = (0, 2, 4)
SMALL = {"training.local_iterations": 2, "training.sequence_length": 32}


def bed(**changes):
    return card.load_scenario("test-bed", **SMALL, **changes)


def by_hand(chosen):
    """Losses on the held-out mini-batch after each round, by transformers' own model."""
    job, training = Job.open(chosen), chosen.training
    own, unseen = held_out(read_tokens(PATH, job.tokenizer), training.sequence_length)
    shape = training.batch_size, training.sequence_length
    judged, losses = mini_batch(unseen, *shape, NAME, "held out"), []
    for number in range(1, len(CUTS) + 1):
        update = optimiser(job.llm.trained(0, job.llm.num_blocks), LEARNING_RATE)
        for iteration in range(1, training.local_iterations + 1):
            ids = mini_batch(own, *shape, chosen.simulation.seed, NAME, number, iteration).ids
            update.zero_grad()
            job.llm.model(input_ids=ids, labels=ids).loss.backward()
            update.step()
        with torch.no_grad():
            losses.append(job.llm.model(input_ids=judged.ids, labels=judged.ids).loss.item())
    return losses


@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
def test_it_is_the_unsplit_llm_s_and_counts_as_no_traffic(topology):
    chosen = bed(**{"training.topology": topology})
    events = rehearse(chosen, {NAME: PATH}, rounds=len(CUTS), cuts=CUTS)
    rounds = [event for event in events if event["event"] == "round"]
    assert [event["validation_loss"] for event in rounds] == pytest.approx(by_hand(chosen))
    profile, iterations = card.cut_profile(chosen), chosen.training.local_iterations
    for event in rounds:
        sent = iterations * profile.uplink_bit[event["cut"]] + profile.adapter_bit[event["cut"]]
        assert event["up_bit"] == sent


def test_a_round_is_completed_though_the_device_leaves_before_it_is_told(monkeypatch):
    """Adapters are there; only the loss on held-out text is not."""
    left, leave = [], Device._validated

    def gone(self, exchange, side, unseen):
        if not left:
            left.append(True)
            raise PeerGone("left")
        return leave(self, exchange, side, unseen)

    monkeypatch.setattr(Device, "_validated", gone)
    events = rehearse(bed(), {NAME: PATH}, rounds=2, cuts=[2])
    rounds = [event for event in events if event["event"] == "round"]
    assert [event["round"] for event in rounds] == [1, 2]
    assert rounds[0]["validation_loss"] is None
    assert rounds[1]["validation_loss"] > 0
    assert not [event for event in events if event["event"] == "lost" and event["round"] == 1]


def test_of_a_text_too_short_to_hold_out_from_nothing_is_held_out():
    tokens = torch.arange(100).numpy()
    own, unseen = held_out(tokens, 11)
    assert len(own) == 100
    assert unseen is None
    own, unseen = held_out(tokens, 10)
    assert [*own, *unseen] == [*range(100)]
    assert len(unseen) == 10


def test_held_out_text_is_never_trained_on(monkeypatch):
    """Not one of its tokens is in what a device trains on."""
    seen, chosen = [], bed()
    monkeypatch.setattr(
        "card.training.in_process.Device",
        lambda job, name, tokens, report, unseen: (
            seen.append((tokens, unseen)) or Device(job, name, tokens, report, unseen=unseen)
        ),
    )
    rehearse(chosen, {NAME: PATH}, rounds=1, cuts=[2])
    ((own, unseen),) = seen
    whole = read_tokens(PATH, Job.open(chosen).tokenizer)
    assert [*own, *unseen] == [*whole]
    assert len(unseen) == len(whole) // 10
