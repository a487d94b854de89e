"""Where the LLM is cut changes time and energy, never what is learned; what crosses the link."""

import itertools

import numpy as np
import pytest
import torch
from conversation import LEARNING_RATE, conversation, tokens

import card
from card.training.agreement import Job
from card.training.llm.split import optimiser
from card.training.llm.text import mini_batch
from card.training.wire.stream import Stream
from card.training.wire.wire_pb2 import Frame, Tensors

DEVICES = ("device-1", "device-2")
ROUNDS = 4


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in one order, so that losses differ by nothing but where the LLM was cut."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scenario(**changes):
    changes = {path.replace("__", "."): value for path, value in changes.items()}
    return card.load_scenario("test-bed", **changes)


def unsplit(chosen):
    """Losses and adapters of transformers' own training on the same mini-batches, and its gains.

    A gain is how much more an LLM that is not trained loses on the mini-batch.
    """
    job, base, training, losses, gains = Job.open(chosen), Job.open(chosen), chosen.training, [], []
    for number, name in zip(range(1, ROUNDS + 1), itertools.cycle(DEVICES), strict=False):
        update = optimiser(job.llm.trained(0, job.llm.num_blocks), LEARNING_RATE)
        for iteration in range(1, training.local_iterations + 1):
            key = (chosen.simulation.seed, name, number, iteration)
            batch = mini_batch(
                tokens(name, job), training.batch_size, training.sequence_length, *key
            )
            update.zero_grad()
            loss = job.llm.model(input_ids=batch.ids, labels=batch.ids).loss
            loss.backward()
            update.step()
            losses.append(loss.item())
            with torch.no_grad():
                left = base.llm.model(input_ids=batch.ids, labels=batch.ids).loss.item()
            gains.append(left - loss.item())
    return losses, gains, job.llm.adapters(0, job.llm.num_blocks)


@pytest.mark.slow
@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
def test_curves_coincide_for_all_cuts_and_unsplit_training(topology, tmp_path):
    chosen = scenario(training__topology=topology, devices={"device-2": {"utilisation": 1.0}})
    expected, gains, adapters = unsplit(chosen)
    plans = {f"cut {cut}": (cut,) for cut in range(5)}
    plans |= {"cuts in turn": (3, 0, 4, 1), "CARD": ()}
    print(f"\n{topology}: loss {expected[0]:.4f} to {expected[-1]:.4f} without a cut")
    for name, cuts in plans.items():
        log, llm, logs = conversation(chosen, tmp_path / name, DEVICES, rounds=ROUNDS, cuts=cuts)
        losses = [event["loss"] for event in log.named("iteration")]
        worst = max(abs(a - b) for a, b in zip(losses, expected, strict=True))
        print(f"{name:>12}: largest difference in loss {worst:.1e}")
        # the same sums in the same order; 1e-5 would still be float32's rounding
        assert worst < 1e-5
        for key, tensor in llm.adapters(0, llm.num_blocks).items():
            torch.testing.assert_close(tensor, adapters[key], atol=1e-5, rtol=0)
        told = [event["loss"] for name in DEVICES for event in logs[name].named("iteration")]
        assert sorted(told) == sorted(losses)
        if name == "CARD":
            assert len({event["cut"] for event in log.named("round")}) > 1
    # 0.37 nat in the last two rounds, measured; the rest is room for other arithmetic
    assert np.mean(gains[16:]) > 0.25


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
def test_traffic_is_the_models(topology, bits, tmp_path):
    chosen = scenario(training__topology=topology, training__activation_bits=bits)
    profile, iterations = card.cut_profile(chosen), chosen.training.local_iterations
    log, _, _ = conversation(chosen, tmp_path, DEVICES[:1], rounds=5, cuts=tuple(range(5)))
    print(f"\n{topology}, {bits} bits per activation: framing beside the model's traffic")
    for event in log.named("round"):
        cut = event["cut"]
        expected = {
            "up_bit": iterations * profile.uplink_bit[cut] + profile.adapter_bit[cut],
            "down_bit": iterations * profile.downlink_bit[cut] + profile.adapter_bit[cut],
        }
        assert {name: event[name] for name in expected} == expected
        share = event["framing_bit"] / sum(expected.values())
        print(f"cut {cut}: {sum(expected.values()) / 8e6:.3f} MB, framing {share:.2%}")
        # names and shapes of tensors, rounds and losses; much only beside tiny adapters alone
        assert share < 0.05


@pytest.fixture
def sent(monkeypatch):
    """Frames that devices send."""
    frames, send = [], Stream.send

    def watched(stream, *messages):
        if stream.peer.startswith("the server"):
            frames.extend(Frame(**{type(one).__name__.lower(): one}) for one in messages)
        send(stream, *messages)

    monkeypatch.setattr(Stream, "send", watched)
    return frames


@pytest.mark.parametrize("cut", [0, 2, 4])
def test_neither_text_nor_labels_leave_in_the_u_shaped_topology(cut, sent, tmp_path):
    chosen = scenario(training__topology="u-shaped")
    conversation(chosen, tmp_path, DEVICES[:1], rounds=1, cuts=(cut,))
    job = Job.open(chosen)
    data = tokens("device-1", job)
    text = job.tokenizer.decode(data.tolist()).encode()
    pieces = [text[start : start + 16] for start in range(0, len(text) - 16, 16)]
    sequences = [data[start : start + 4] for start in range(len(data) - 4)]
    forms = [
        {piece.astype(kind).tobytes() for piece in sequences} for kind in ("<i2", "<i4", "<i8")
    ]
    kinds = set()
    for frame in sent:
        raw = frame.SerializeToString()
        assert not any(piece in raw for piece in pieces)
        if frame.WhichOneof("kind") != "tensors":
            continue
        kinds.add(frame.tensors.kind)
        for form in forms:
            width = len(next(iter(form)))
            windows = {raw[i : i + width] for i in range(len(raw) - width + 1)}
            assert not windows & form
    smashed = {Tensors.SMASHED, Tensors.HIDDEN_GRADIENT}
    assert kinds == {0: smashed, 2: {*smashed, Tensors.ADAPTERS}, 4: {Tensors.ADAPTERS}}[cut]


def test_labels_leave_in_the_vanilla_topology(sent, tmp_path):
    """Else the test above could not fail."""
    chosen = scenario()
    conversation(chosen, tmp_path, DEVICES[:1], rounds=1, cuts=(2,))
    job = Job.open(chosen)
    key = (chosen.simulation.seed, "device-1", 1, 1)
    batch = mini_batch(tokens("device-1", job), 4, 64, *key)
    crossed = [f.tensors.safetensors for f in sent if f.tensors.kind == Tensors.SMASHED]
    assert batch.ids.to(torch.int32).numpy().tobytes() in crossed[0]


OWN = """
import numpy as np


def mine(system, draws, rng):
    return np.full(draws.device.shape, 2), system.frequency_max_hz

"""


def test_a_policy_of_one_s_own_decides(tmp_path):
    own, chosen = tmp_path / "own.py", scenario()
    own.write_text(OWN, "utf-8")
    log, _, _ = conversation(chosen, tmp_path / "mine", DEVICES[:1], rounds=2, policy=f"{own}:mine")
    highest = float(card.system(chosen).frequency_max_hz)
    assert [event["cut"] for event in log.named("round")] == [2, 2]
    assert [event["frequency_hz"] for event in log.named("round")] == [highest] * 2
