"""The split LLM is the unsplit one: same loss, same gradients, same adapters after training.

The measure is transformers' own forward pass with labels, on narrow random LLMs of 4 blocks. Their
adapters start with B ≠ 0, for with B = 0 half of all gradients vanish.
"""

import itertools
from functools import lru_cache

import pytest
import torch
from narrow_llm import (
    BLOCKS,
    LEARNING_RATE,
    LENGTH,
    NAMES,
    PADDED,
    SEQUENCES,
    STEPS,
    TOLERANCE,
    TOPOLOGIES,
    batch,
    built,
    config,
    fresh,
    lora,
    plain_step,
)
from split_model import training

from card.llm.architectures import architecture_of
from card.llm.cuts import profile_of
from card.training.llm.split import DeviceSide, ServerSide, SplitError, optimiser
from card.training.wire.tensors import payload_bit


def gradients(*sides):
    named = {}
    for llm, first, last in sides:
        weights = zip(llm.adapters(first, last), llm.trained(first, last), strict=True)
        named |= {name: weight.grad.clone() for name, weight in weights}
    return named


def split_step(device, server, data):
    """Loss by the two sides; only tensors pass between them."""
    sent = device.forward(data)
    if not sent:
        return device.finish()
    if device.topology == "u-shaped":
        loss, up = device.head(server.forward(sent))
        down = server.backward(up)
    else:
        loss, down = server.train(sent)
    device.backward(down)
    return loss


def train(llm, step):
    """Losses, first gradients and last adapters of the unsplit LLM."""
    steps = optimiser(llm.trained(0, BLOCKS), LEARNING_RATE)
    losses, first = [], None
    for index in range(STEPS):
        steps.zero_grad()
        losses.append(step(index))
        first = first or gradients((llm, 0, BLOCKS))
        steps.step()
    return losses, first, llm.adapters(0, BLOCKS)


@lru_cache
def unsplit(name, dtype, lengths, attention="eager"):
    llm = fresh(name, dtype, attention)
    return train(llm, lambda index: plain_step(llm, batch(index, lengths)))


def split(name, dtype, lengths, cut, topology, attention="eager"):
    """The same of an LLM on two sides, each with its own part of the weights and optimiser."""
    near, far = fresh(name, dtype, attention), fresh(name, dtype, attention)
    whole = cut == BLOCKS
    near.keep(0, cut, embedding=True, head=whole or topology == "u-shaped")
    far.keep(cut, BLOCKS, embedding=False, head=topology == "vanilla")
    device, server = DeviceSide(near, cut, topology), ServerSide(far, cut, topology)
    steps = [
        optimiser(near.trained(0, cut), LEARNING_RATE),
        optimiser(far.trained(cut, BLOCKS), LEARNING_RATE),
    ]
    losses, first = [], None
    for index in range(STEPS):
        for each in steps:
            each.zero_grad()
        losses.append(split_step(device, server, batch(index, lengths)))
        first = first or gradients((near, 0, cut), (far, cut, BLOCKS))
        for each in steps:
            each.step()
    return losses, first, near.adapters(0, cut) | far.adapters(cut, BLOCKS)


def worst_error(found, expected):
    """Largest difference of losses, gradients and adapters; names must agree."""
    losses = [abs(a - b) for a, b in zip(found[0], expected[0], strict=True)]
    for mine, theirs in zip(found[1:], expected[1:], strict=True):
        assert mine.keys() == theirs.keys()
        losses += [(mine[name] - theirs[name]).abs().max().item() for name in mine]
    return max(losses)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_split_training_is_unsplit_training(name, dtype):
    """Every cut, both topologies, with and without padding."""
    worst = 0.0
    paddings = (None, PADDED[dtype])
    for lengths, cut, topology in itertools.product(paddings, range(BLOCKS + 1), TOPOLOGIES):
        expected = unsplit(name, dtype, lengths)
        assert min(gradient.abs().max() for gradient in expected[1].values()) > 0
        error = worst_error(split(name, dtype, lengths, cut, topology), expected)
        worst = max(worst, error)
        assert error <= TOLERANCE[dtype], f"cut {cut}, {topology}, lengths {lengths}"
    print(f"\n{name}, {dtype}: worst error {worst:.1e}")


@pytest.mark.parametrize("name", [name for name in NAMES if "gemma" not in name])
def test_fused_attention_trains_alike(name):
    """Both sides with sdpa, against the unsplit LLM with sdpa; Gemma's capped scores have none."""
    dtype, cut = torch.float32, 2
    for lengths in (None, PADDED[dtype]):
        expected = unsplit(name, dtype, lengths, "sdpa")
        found = split(name, dtype, lengths, cut, "u-shaped", "sdpa")
        assert worst_error(found, expected) <= TOLERANCE[dtype]


class TestCrossing:
    @pytest.mark.parametrize("padded", [False, True])
    @pytest.mark.parametrize("topology", TOPOLOGIES)
    @pytest.mark.parametrize("cut", range(BLOCKS + 1))
    def test_device_sends_no_more_than_the_topology_needs(self, cut, topology, padded):
        device = DeviceSide(fresh("gemma-2-2b", torch.float32), cut, topology)
        data = batch(lengths=(12, 7, 2) if padded else None)
        sent = device.forward(data)
        due = {"hidden"} | ({"labels"} if topology == "vanilla" else set())
        due |= {"lengths"} if padded else set()
        assert sent.keys() == (due if cut < BLOCKS else set())
        for name, tensor in sent.items():
            assert not tensor.requires_grad
            assert tensor.dtype == (torch.float32 if name == "hidden" else torch.int32)

    def test_traffic_is_that_of_the_cost_model(self):
        raw, adapters = config("llama-3.2-1b"), lora("llama-3.2-1b", torch.float32)
        shape = training(
            batch_size=SEQUENCES, sequence_length=LENGTH, activation_bits=32, weight_bits=32
        )
        costs = profile_of(architecture_of("narrow", raw), shape, adapters)
        for cut in range(BLOCKS + 1):
            llm = fresh("llama-3.2-1b", torch.float32)
            sent = DeviceSide(llm, cut, "vanilla").forward(batch())
            assert payload_bit(sent) == costs.uplink_bit[cut] if sent else cut == BLOCKS
            moved = llm.adapters(0, cut)
            assert payload_bit(moved) == costs.adapter_bit[cut] if moved else cut == 0

    def test_wire_format_is_its_own(self):
        """Smashed data in bfloat16 for a float32 LLM: both ways, and nothing else changes."""
        llm = fresh("llama-3.2-1b", torch.float32)
        device = DeviceSide(llm, 2, "u-shaped", wire=torch.bfloat16)
        server = ServerSide(llm, 2, "u-shaped", wire=torch.bfloat16)
        up = device.forward(batch())
        hidden = server.forward(up)
        loss, gradient = device.head(hidden)
        down = server.backward(gradient)
        device.backward(down)
        assert {t.dtype for t in (up["hidden"], hidden, gradient, down)} == {torch.bfloat16}
        assert {w.grad.dtype for w in llm.trained(0, BLOCKS)} == {torch.float32}
        # bfloat16 keeps 8 bits, and two tensors of order one pass through it
        assert loss == pytest.approx(unsplit("llama-3.2-1b", torch.float32, None)[0][0], rel=0.02)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t: t.pop("labels"), "'labels' is missing"),
            (lambda t: t.update(ids=t["labels"]), "'ids' is not due"),
            (lambda t: t.update(hidden=t["hidden"][..., 1:]), r"hidden has shape \(3, 12, 47\)"),
            (lambda t: t.update(hidden=t["hidden"][0]), r"hidden has shape \(12, 48\)"),
            (lambda t: t.update(labels=t["labels"][1:]), r"labels has shape \(2, 12\)"),
            (lambda t: t.update(labels=t["labels"] + 90), "give 0 to 89"),
            (lambda t: t.update(lengths=torch.tensor([12, 13, 1])), "to 13; give 1 to 12"),
        ],
    )
    def test_smashed_data_that_does_not_fit_is_refused(self, change, message):
        llm = built("llama-3.2-1b", torch.float32)
        sent = DeviceSide(llm, 1, "vanilla").forward(batch())
        change(sent)
        with pytest.raises(SplitError, match=message):
            ServerSide(llm, 1, "vanilla").train(sent)

    def test_steps_out_of_turn_are_refused(self):
        llm = fresh("llama-3.2-1b", torch.float32)
        hidden = torch.zeros(SEQUENCES, LENGTH, 48)
        device, server = DeviceSide(llm, 1, "vanilla"), ServerSide(llm, 1, "u-shaped")
        with pytest.raises(SplitError, match="without a forward pass"):
            server.backward(hidden)
        with pytest.raises(SplitError, match="at cut 1 a gradient comes down"):
            device.backward(None)
        with pytest.raises(SplitError, match="at cut 0 no gradient comes down"):
            DeviceSide(llm, 0, "vanilla").backward(hidden)
        with pytest.raises(SplitError, match="no hidden states come down"):
            device.head(hidden)
        with pytest.raises(SplitError, match="no hidden states go down"):
            ServerSide(llm, 1, "vanilla").forward({"hidden": hidden})
        with pytest.raises(SplitError, match="the loss is the device's"):
            server.train({"hidden": hidden})
        with pytest.raises(SplitError, match="cannot finish"):
            device.finish()
        with pytest.raises(SplitError, match="no block is left to the server"):
            ServerSide(llm, BLOCKS, "vanilla").train({"hidden": hidden})
        with pytest.raises(SplitError, match="give a number from 0 to 4"):
            DeviceSide(llm, 5, "vanilla")
        device.forward(batch())
        with pytest.raises(SplitError, match=r"the gradient has shape \(3, 11, 48\)"):
            device.backward(hidden[:, 1:])
