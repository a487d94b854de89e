"""Closed forms of every family of LLMs against transformers' models: weights, work, memory.

A default configuration has full size; narrow ones are counted in full, block by block.
"""

import pytest
from families import NARROW, narrow, targets
from saved import saved_bit, tensors
from split_model import (
    SplitModel,
    boundary,
    causal_lm,
    parts_of_one_step,
    split_step,
    training,
)

from card.base.errors import ScenarioError
from card.llm import architecture_of, block_costs, head_cost
from card.llm.cuts import profile_of
from card.llm.families import FAMILIES
from card.scenario import Lora


def lora(name, *on, bits=16):
    return Lora(rank=3, targets=on or targets(name), adapter_bits=bits)


def test_every_family_has_a_narrow_llm():
    assert {name.partition("-")[0] for name in NARROW} == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_configuration_leaves_out_is_as_transformers_has_it(family):
    raw = {"model_type": family}
    arch, model = architecture_of("it", raw), causal_lm(raw)
    assert arch.parameters == sum(weight.numel() for weight in model.parameters())
    assert arch.max_positions == model.config.max_position_embeddings


@pytest.mark.parametrize("name", NARROW)
def test_weights_and_work_of_every_cut(name):
    raw = narrow(name)
    split, arch = SplitModel(raw, lora(name)), architecture_of(name, raw)
    sizes = [sum(p.numel() for p in b.parameters() if not p.requires_grad) for b in split.blocks]
    assert sizes == [arch.parameters_of(block) for block in arch.blocks]
    assert sum(p.numel() for p in split.model.parameters() if not p.requires_grad) == (
        arch.parameters
    )
    profile = profile_of(arch, training(topology="u-shaped"), lora(name))
    ids = split.tokens(2, 24)
    start = split.embed(ids)
    for cut in range(arch.num_blocks + 1):
        step = split_step(split, ids, start, cut)
        assert profile.device_flop[cut] == step["device"] + step["head"]
        assert profile.server_flop[cut] == step["server"]
        assert profile.adapter_bit[cut] == 16 * split.adapter_parameters(cut)


@pytest.mark.parametrize(("bits", "adapter_bits"), [(16, 16), (32, 32), (16, 32)])
@pytest.mark.parametrize("name", NARROW)
def test_activations_that_every_block_and_the_head_keep(name, bits, adapter_bits):
    raw, adapters = narrow(name), lora(name, bits=adapter_bits)
    split, arch = SplitModel(raw, adapters, bits, device="cpu"), architecture_of(name, raw)
    for batch, length in ((2, 24), (1, 7)):
        settings = training(batch_size=batch, sequence_length=length, activation_bits=bits)
        ids = split.tokens(batch, length)
        embedded, arguments = split.embed(ids)
        shared = [*split.model.parameters(), *tensors(arguments)]
        for number, cost in enumerate(block_costs(arch, settings, adapters)):
            arrived = boundary(embedded, trains=number > 0)
            run = lambda: split.run(arrived, arguments, number, number + 1)  # noqa: B023, E731
            assert saved_bit(run, shared) == cost.saved_bit
        arrived = boundary(embedded, trains=True)
        kept = saved_bit(lambda: split.loss(arrived, ids), split.model.parameters())  # noqa: B023
        assert kept == head_cost(arch, settings).saved_bit


@pytest.mark.parametrize(
    ("name", "bits", "adapter_bits"),
    [("llama", 16, 32), ("gpt2", 16, 16), ("phi3-grouped", 32, 32), ("gemma3_text", 16, 16)],
)
def test_dora_on_all_linear_works_and_keeps_what_peft_computes(name, bits, adapter_bits):
    adapters = Lora(rank=3, targets="all-linear", dora=True, adapter_bits=adapter_bits)
    raw, settings = narrow(name), training(activation_bits=bits)
    split, arch = SplitModel(raw, adapters, bits, device="cpu"), architecture_of(name, raw)
    ids = split.tokens(2, 24)
    forward, backward = parts_of_one_step(split, ids)
    embedded, arguments = split.embed(ids)
    shared = [*split.model.parameters(), *tensors(arguments)]
    for number, cost in enumerate(block_costs(arch, settings, adapters)):
        part = f"block {number + 1}"
        assert (cost.forward_flop, cost.backward_flop) == (forward[part], backward[part])
        arrived = boundary(embedded, trains=number > 0)
        run = lambda: split.run(arrived, arguments, number, number + 1)  # noqa: B023, E731
        assert saved_bit(run, shared) == cost.saved_bit


def test_experts_carry_no_adapters_so_all_linear_is_refused():
    everything = Lora(rank=3, targets="all-linear", adapter_bits=16)
    with pytest.raises(ScenarioError) as refusal:
        profile_of(architecture_of("it", narrow("mixtral")), training(), everything)
    assert str(refusal.value) == (
        "lora.targets = 'all-linear' would adapt the experts of it too, which carry no adapters "
        "here; give a list, such as [q_proj, k_proj, v_proj, o_proj]."
    )


@pytest.mark.parametrize("name", ["olmo2", "gpt_neox", "gpt_neox-serial", "gemma3_text"])
def test_work_where_only_one_projection_carries_an_adapter(name):
    """Above all in block 1, whose input needs no gradient."""
    for target in targets(name):
        raw, adapters = narrow(name), lora(name, target)
        split, arch = SplitModel(raw, adapters), architecture_of(name, raw)
        profile = profile_of(arch, training(topology="u-shaped"), adapters)
        ids = split.tokens(2, 24)
        step = split_step(split, ids, split.embed(ids), 1)
        assert profile.device_flop[1] == step["device"] + step["head"]
        assert profile.server_flop[1] == step["server"]


def test_all_experts_are_held_and_some_work():
    """Blocks differ where only some have experts, and memory counts every expert."""
    raw = narrow("qwen3_moe-mixed")
    arch = architecture_of("it", raw)
    assert [block.experts is not None for block in arch.blocks] == [False, True, False, False]
    ushaped = training(topology="u-shaped")
    profile = profile_of(arch, ushaped, lora("qwen3_moe-mixed"))
    steps = profile.server_flop[1:-1] - profile.server_flop[2:]
    assert len(set(steps.tolist())) == 2
    more = architecture_of("it", {**raw, "num_experts": 50})
    wider = profile_of(more, ushaped, lora("qwen3_moe-mixed"))
    experts = 45 * (3 * 48 * 40 + 48)
    saved = 2 * 24 * 45 * 32  # the router's softmax
    held = wider.device_memory_bit - profile.device_memory_bit
    assert held.tolist() == [0, 0, *[16 * experts + saved] * 3]
    router = 2 * 2 * 24 * 48 * 45
    assert (wider.server_flop[0] - profile.server_flop[0]) == 2 * router
