"""The split LLM is the unsplit one: same loss, same gradients, same adapters after training.

The measure is transformers' own forward pass with labels, on narrow random LLMs of 4 blocks. Their
adapters start with B ≠ 0, for with B = 0 half of all gradients vanish.
"""

import copy
import gc
import itertools
import weakref
from functools import lru_cache

import pytest
import torch
from safetensors.torch import load_file, save_file
from split_model import QUERY_AND_VALUE, narrow_config, training

from card.costs import profile_of
from card.lab.models import seeded_model
from card.lab.parts import serialised_bit
from card.lab.split import AdaptedLlm, Batch, DeviceSide, ServerSide, SplitError, optimiser
from card.llm import architecture_of
from card.refusal import ScenarioError
from card.scenario import Lora

BLOCKS, STEPS, LEARNING_RATE = 4, 5, 1e-2
SEQUENCES, LENGTH = 3, 12
NAMES = ("llama-3.2-1b", "qwen2.5-0.5b", "gemma-2-2b", "gpt-2")
TOPOLOGIES = ("vanilla", "u-shaped")
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
"""Largest difference allowed; both are far above what reordered sums could cause."""
PADDED = {torch.float64: (12, 11, 9), torch.float32: (12, 7, 2)}
"""Lengths of padded sequences. In float64 each of gemma's windows of 4 must reach a token: eager
attention turns the mask, the least float64, into minus infinity when it casts scores to float32."""


A = "block.0.self_attn.q_proj.lora_A"
FIRST_WEIGHT = -0.019907917827367783


def config(name):
    """A narrow LLM; gemma's window of 4 is shorter than the sequences, in every second block."""
    return narrow_config(name, BLOCKS) | ({"sliding_window": 4} if "gemma" in name else {})


def lora(name, dtype, targets=()):
    bits = {torch.float64: 64, torch.float32: 32, torch.bfloat16: 16}[dtype]
    targets = targets or QUERY_AND_VALUE.get(name, ("q_proj", "v_proj"))
    return Lora(rank=3, targets=targets, adapter_bits=bits)


@lru_cache
def built(name, dtype, attention="eager"):
    llm = AdaptedLlm.build(config(name), lora(name, dtype), dtype, attention=attention)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in llm.trained(0, BLOCKS):
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    return llm


def fresh(name, dtype, attention="eager"):
    """An LLM of its own, with B ≠ 0."""
    return copy.deepcopy(built(name, dtype, attention))


def batch(step=0, lengths=None):
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(90, (SEQUENCES, LENGTH), generator=generator)
    return Batch(ids, torch.tensor(lengths) if lengths else None)


def gradients(*sides):
    named = {}
    for llm, first, last in sides:
        weights = zip(llm.adapters(first, last), llm.trained(first, last), strict=True)
        named |= {name: weight.grad.clone() for name, weight in weights}
    return named


def plain_step(llm, data):
    """Loss by transformers' own forward pass of the whole model, differentiated."""
    mask = None
    if data.lengths is not None:
        mask = (torch.arange(LENGTH) < data.lengths[:, None]).long()
    loss = llm.model(input_ids=data.ids, attention_mask=mask, labels=data.labels).loss
    loss.backward()
    return loss.item()


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


class TestBuild:
    def test_weights_follow_from_the_seed_and_their_names(self):
        raw, adapters = config("llama-3.2-1b"), lora("llama-3.2-1b", torch.float32)
        one, again, other = (
            AdaptedLlm.build(raw, adapters, torch.float32, seed=seed) for seed in (0, 0, 1)
        )
        assert one.fingerprint() == again.fingerprint() != other.fingerprint()
        for name, weight in one.adapters(0, BLOCKS).items():
            assert torch.equal(weight, again.adapters(0, BLOCKS)[name])
            assert weight.any() == name.endswith("lora_A")
        # one number of the generator, for it to be the same on another machine
        drawn = one.adapters(0, 1)["block.0.self_attn.q_proj.lora_A"][0, 0].item()
        assert drawn == FIRST_WEIGHT

    def test_fingerprint_sees_one_changed_weight_and_no_adapter(self):
        llm = fresh("gpt-2", torch.float32)
        changed = copy.deepcopy(llm)
        with torch.no_grad():
            changed.blocks[3].mlp.c_proj.weight[0, 0] += 1e-3
            llm.trained(0, 1)[0].zero_()
        assert llm.fingerprint() == built("gpt-2", torch.float32).fingerprint()
        assert changed.fingerprint() != llm.fingerprint()

    def test_eight_bit_adapters_are_refused(self):
        eight = Lora(rank=3, targets=("q_proj",), adapter_bits=8)
        with pytest.raises(ScenarioError, match=r"adapter_bits = 8 .* give 16, 32 or 64"):
            AdaptedLlm.build(config("llama-3.2-1b"), eight, torch.float32)

    def test_target_of_another_architecture_is_refused(self):
        fused = lora("gpt-2", torch.float32)
        with pytest.raises(ScenarioError, match="'c_attn' is no projection of llama"):
            AdaptedLlm.build(config("llama-3.2-1b"), fused, torch.float32)


class TestLoad:
    @pytest.mark.parametrize("name", NAMES)
    def test_checkpoint_gives_the_model_that_was_saved(self, name, tmp_path, capfd):
        model = seeded_model(config(name), torch.float32, seed=5).eval()
        model.save_pretrained(tmp_path)
        adapters = lora(name, torch.float32)
        loaded = AdaptedLlm.load(tmp_path, adapters, torch.float32, seed=5)
        same = AdaptedLlm.build(config(name), adapters, torch.float32, seed=5)
        assert loaded.fingerprint() == same.fingerprint()
        for name, weight in loaded.adapters(0, BLOCKS).items():
            assert torch.equal(weight, same.adapters(0, BLOCKS)[name])
        assert "Loading" not in capfd.readouterr().err
        expected = model(input_ids=batch().ids, labels=batch().ids).loss.item()
        assert plain_step(loaded, batch()) == expected  # B = 0: adapters change nothing yet

    def test_folder_without_a_checkpoint_is_refused(self, tmp_path):
        with pytest.raises(ScenarioError, match=r"holds no checkpoint \(no config.json\)"):
            AdaptedLlm.load(tmp_path, lora("gpt-2", torch.float32), torch.float32)

    @pytest.mark.parametrize("damage", ["missing", "cut short"])
    def test_damaged_checkpoint_is_refused(self, damage, tmp_path):
        seeded_model(config("gpt-2"), torch.float32, seed=0).save_pretrained(tmp_path)
        weights = tmp_path / "model.safetensors"
        kept = weights.read_bytes()[: weights.stat().st_size // 2]
        weights.unlink() if damage == "missing" else weights.write_bytes(kept)
        with pytest.raises(ScenarioError, match="is no checkpoint that can be read"):
            AdaptedLlm.load(tmp_path, lora("gpt-2", torch.float32), torch.float32)

    def test_incomplete_checkpoint_is_refused(self, tmp_path):
        seeded_model(config("llama-3.2-1b"), torch.float32, seed=0).save_pretrained(tmp_path)
        weights = load_file(tmp_path / "model.safetensors")
        del weights["model.norm.weight"]
        save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(ScenarioError, match=r"lacks the weight 'model.norm.weight'"):
            AdaptedLlm.load(tmp_path, lora("llama-3.2-1b", torch.float32), torch.float32)


class TestKeep:
    @pytest.mark.parametrize("name", NAMES)
    def test_weights_that_are_not_run_are_gone(self, name):
        llm = fresh(name, torch.float32)
        arch = architecture_of(name, config(name))
        frozen = [weakref.ref(w) for w in llm.model.parameters() if not w.requires_grad]
        assert sum(ref().numel() for ref in frozen) == arch.parameters
        before = llm.fingerprint()
        llm.keep(1, 3, embedding=False, head=False)
        gc.collect()
        held = sum(ref().numel() for ref in frozen if ref() is not None)
        assert held == 2 * arch.block_parameters
        assert llm.fingerprint() == before

    def test_tied_head_keeps_the_weights_it_shares(self):
        llm = fresh("llama-3.2-1b", torch.float32)
        llm.keep(0, 0, embedding=False, head=True)
        assert sum(w.numel() for w in llm.model.parameters()) == 90 * 48 + 48

    def test_what_is_dropped_does_not_run(self):
        llm = fresh("gpt-2", torch.float32)
        llm.keep(0, 1, embedding=False, head=False)
        context, hidden = llm.context(1, 4), torch.zeros(1, 4, 48)
        assert llm.run(hidden, 0, 1, context).shape == hidden.shape
        for run in (
            lambda: llm.run(hidden, 0, 2, context),
            lambda: llm.embed(torch.zeros(1, 4, dtype=torch.int64), context),
            lambda: llm.loss(hidden, torch.zeros(1, 4, dtype=torch.int64)),
            lambda: llm.trained(1, 2),
            lambda: llm.load_adapters(built("gpt-2", torch.float32).adapters(1, 2)),
        ):
            with pytest.raises(SplitError, match="held here"):
                run()


class TestAdapters:
    def test_travel_from_one_end_to_the_other(self):
        near, far = fresh("gpt-2", torch.float32), fresh("gpt-2", torch.float32)
        sent = {name: weight + 1 for name, weight in near.adapters(1, 3).items()}
        places = [weight.data_ptr() for weight in far.trained(0, BLOCKS)]
        far.load_adapters(sent)
        for name, weight in far.adapters(0, BLOCKS).items():
            assert torch.equal(weight, sent.get(name, near.adapters(0, BLOCKS)[name]))
        assert places == [weight.data_ptr() for weight in far.trained(0, BLOCKS)]

    def test_have_stable_names(self):
        assert list(built("llama-3.2-1b", torch.float32).adapters(2, 3)) == [
            f"block.2.self_attn.{projection}.{matrix}"
            for projection in ("q_proj", "v_proj")
            for matrix in ("lora_A", "lora_B")
        ]

    def test_none_is_no_error(self):
        built("gpt-2", torch.float32).load_adapters({})

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda t: t.popitem(), "is missing; send those of whole blocks"),
            (lambda t: t.update({"block.9.x": torch.zeros(1)}), "'block.9.x' belongs to no block"),
            (lambda t: t.update({A: torch.zeros(3, 47)}), r"is \(3, 47\) .* needs \(3, 48\)"),
            (lambda t: t.update({A: t[A].double()}), r"float64; this LLM needs .* torch.float32"),
        ],
        ids=["missing", "foreign", "shape", "format"],
    )
    def test_that_do_not_fit_are_refused_and_change_nothing(self, change, message):
        llm = fresh("llama-3.2-1b", torch.float32)
        before = {name: weight.clone() for name, weight in llm.adapters(0, BLOCKS).items()}
        sent = {name: weight + 1 for name, weight in before.items()}
        change(sent)
        with pytest.raises(SplitError, match=message):
            llm.load_adapters(sent)
        for name, weight in llm.adapters(0, BLOCKS).items():
            assert torch.equal(weight, before[name])


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
            assert serialised_bit(sent) == costs.uplink_bit[cut] if sent else cut == BLOCKS
            moved = llm.adapters(0, cut)
            assert serialised_bit(moved) == costs.adapter_bit[cut] if moved else cut == 0

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
