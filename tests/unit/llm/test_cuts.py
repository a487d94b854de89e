"""`card.llm.cuts`: work, traffic, adapters and memory of every cut, added up from blocks."""

import numpy as np
import pytest

import card
from card.llm import architecture, block_costs, head_cost
from card.llm.blocks import Cost, LlmCosts
from card.llm.cuts import LABEL_BITS, OPTIMISER_COPIES, _over_cuts, held_bit

NOMINAL = card.load_scenario("nominal")
QLORA = NOMINAL.updated({"training.base_weights": "nf4"})
TOKENS, HIDDEN, BITS = 512, 2048, 16


def parts(scenario):
    arch = architecture(scenario.llm)
    first, other, *_ = block_costs(arch, scenario.training, scenario.lora)
    return arch, first, other, head_cost(arch, scenario.training)


def test_profile_of_the_vanilla_topology_adds_up_from_blocks():
    profile = card.cut_profile(NOMINAL)
    arch, first, other, head = parts(NOMINAL)
    smashed, labels = TOKENS * HIDDEN * BITS, TOKENS * LABEL_BITS
    np.testing.assert_array_equal(profile.cut, np.arange(17))
    assert profile.device_flop[[0, 1, 3]].tolist() == [0, first.flop, first.flop + 2 * other.flop]
    whole = first.flop + 15 * other.flop + head.flop
    assert profile.device_flop[16] == whole
    assert (profile.device_flop + profile.server_flop == whole).all()
    assert profile.server_flop[16] == 0
    assert profile.uplink_bit.tolist() == [smashed + labels] * 16 + [0]
    assert profile.downlink_bit.tolist() == [0] + [smashed] * 15 + [0]
    # rank 8 on q (2048 to 2048) and v (2048 to 512), 16 bit each
    adapter = 8 * (2048 + 2048 + 2048 + 512) * 16
    assert profile.adapter_bit.tolist() == [adapter * cut for cut in range(17)]
    embedding = 16 * arch.embedding_parameters
    assert profile.device_memory_bit[0] == embedding
    assert profile.device_memory_bit[2] == (
        embedding
        + 16 * (first.parameters + other.parameters)
        + OPTIMISER_COPIES["adamw"] * 2 * adapter
        + first.saved_bit
        + other.saved_bit
    )


def test_u_shaped_topology_keeps_head_and_labels_on_the_device():
    scenario = NOMINAL.updated({"training.topology": "u-shaped"})
    vanilla, ushaped = card.cut_profile(NOMINAL), card.cut_profile(scenario)
    *_, head = parts(scenario)
    smashed = TOKENS * HIDDEN * BITS
    assert (ushaped.device_flop[:16] == vanilla.device_flop[:16] + head.flop).all()
    assert ushaped.device_flop[16] == vanilla.device_flop[16]
    assert (ushaped.server_flop[:16] == vanilla.server_flop[:16] - head.flop).all()
    # activations up, final hidden states down, their gradients up, the cut's gradients down
    assert ushaped.uplink_bit.tolist() == [2 * smashed] * 16 + [0]
    assert ushaped.downlink_bit.tolist() == [smashed] + [2 * smashed] * 15 + [0]
    np.testing.assert_array_equal(ushaped.adapter_bit, vanilla.adapter_bit)
    head_bit = 16 * head.parameters + head.saved_bit
    assert (ushaped.device_memory_bit[:16] == vanilla.device_memory_bit[:16] + head_bit).all()
    assert ushaped.device_memory_bit[16] == vanilla.device_memory_bit[16]


@pytest.mark.parametrize(
    ("weights", "bits"),
    [(2048 * 2048, 17309696), (8192 * 2048, 69238784), (90 * 7, 2632), (300 * 301, 372680)],
)
def test_quantised_matrix_is_as_large_as_that_of_bitsandbytes(weights, bits):
    """0.50.2 on a processor: quantize_4bit(w, blocksize=64, compress_statistics, "nf4")."""
    matrix = Cost(0, 0, weights, 0, 0, (weights,))
    assert held_bit(matrix, QLORA.training) == bits


def test_quantised_base_weighs_less_at_both_ends_and_changes_nothing_else():
    plain, quantised = card.cut_profile(NOMINAL), card.cut_profile(QLORA)
    arch, *_ = parts(NOMINAL)
    matrices = sum(p.inputs * p.outputs for p in arch.blocks[0].projections)
    saved = 16 * matrices - matrices * (4 + 8 / 64 + 32 / 64 / 256)
    device = plain.device_memory_bit - quantised.device_memory_bit
    assert device.tolist() == [cut * saved for cut in range(17)]
    server = plain.server_memory_bit - quantised.server_memory_bit
    assert server.tolist() == [(16 - cut) * saved for cut in range(17)]
    for name, column in plain.as_dict().items():
        assert name.endswith("memory_bit") or column == quantised.as_dict()[name]
    assert NOMINAL.digest != QLORA.digest


def test_quantised_base_lets_larger_cuts_fit():
    big = {"llm": "llama-3.1-8b", "server.hardware": "a100-sxm-80gb"}
    plain = card.system(card.load_scenario("nominal", **big)).feasible.sum(axis=1)
    quantised = card.system(
        card.load_scenario("nominal", **big, **{"training.base_weights": "nf4"})
    ).feasible.sum(axis=1)
    assert (quantised >= plain).all()
    assert quantised[2] > plain[2]


def test_checkpointing_computes_blocks_twice_and_keeps_their_inputs_at_both_ends():
    plain, study = card.cut_profile(NOMINAL), {"training.gradient_checkpointing": True}
    found = card.cut_profile(NOMINAL.updated(study))
    _, first, other, head = parts(NOMINAL)
    again = [0, *(first.forward_flop + inner * other.forward_flop for inner in range(16))]
    assert (found.device_flop - plain.device_flop).tolist() == again
    whole = found.device_flop[-1]
    assert (found.device_flop + found.server_flop == whole).all(), "each block runs somewhere"
    # one block at a time; the head's activations are more than those of any block
    one_input, saved = TOKENS * HIDDEN * BITS, [first.saved_bit, *[other.saved_bit] * 15]
    assert head.saved_bit > other.saved_bit > first.saved_bit
    less = plain.device_memory_bit - found.device_memory_bit
    assert less[1] + one_input == 0
    assert less[3] == saved[0] + saved[1] - 3 * one_input
    assert less[16] == sum(saved) - 16 * one_input
    less = plain.server_memory_bit - found.server_memory_bit
    assert less.tolist() == [sum(saved[cut:]) - (16 - cut) * one_input for cut in range(17)]
    for name in ("uplink_bit", "downlink_bit", "adapter_bit", "messages"):
        assert (getattr(plain, name) == getattr(found, name)).all()


def test_block_below_all_adapters_is_not_computed_twice():
    """Nothing of it is kept, for nothing of it is differentiated."""
    blocks = (Cost(10, 0, 5, 0, 0), Cost(10, 20, 5, 2, 7))
    costs = LlmCosts(8, Cost(0, 0, 9, 0, 0), blocks, Cost(4, 4, 1, 0, 3), 10)
    twice = NOMINAL.training.model_copy(update={"gradient_checkpointing": True})
    found, plain = (_over_cuts(costs, run, 16) for run in (twice, NOMINAL.training))
    assert (found.device_flop - plain.device_flop).tolist() == [0, 0, 10]
    assert found.device_memory_bit[1] == plain.device_memory_bit[1]


def test_accumulation_keeps_activations_of_one_micro_batch():
    whole, half = (NOMINAL.updated({"training.batch_size": size}) for size in (4, 2))
    cut_in_two = card.cut_profile(whole.updated({"training.accumulation": 2}))
    plain, small = card.cut_profile(whole), card.cut_profile(half)
    for name, column in cut_in_two.as_dict().items():
        like = small if name.endswith("memory_bit") else plain
        times = 2 if name == "messages" else 1
        assert column == [times * value for value in like.as_dict()[name]], name


def test_norms_of_dora_are_computed_for_each_micro_batch():
    study = {"training.batch_size": 4, "lora.dora": True}
    once, twice = (NOMINAL.updated({**study, "training.accumulation": n}) for n in (1, 2))
    more = card.cut_profile(twice).device_flop - card.cut_profile(once).device_flop
    widths = [(2048, 2048), (2048, 512)]
    assert more[1] == sum(2 * inputs * 8 * (inputs + outputs) for inputs, outputs in widths)


@pytest.mark.parametrize(("name", "fewer"), [("adamw", 0), ("sgd", 2), ("sgd-momentum", 1)])
def test_memory_of_the_optimiser_at_both_ends(name, fewer):
    study = {"training.optimiser": name}
    plain, found = card.cut_profile(NOMINAL), card.cut_profile(NOMINAL.updated(study))
    less = plain.device_memory_bit - found.device_memory_bit
    assert (less == fewer * plain.adapter_bit).all()
    less = plain.server_memory_bit - found.server_memory_bit
    assert (less == fewer * (plain.adapter_bit[-1] - plain.adapter_bit)).all()


@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
def test_numbers_of_few_bits_are_counted_with_their_scales(topology):
    """2048 values of a token in groups of 100 are 21 groups, the last one short; 16 bit each."""
    study = {
        "training.topology": topology,
        "wire": {"uplink_bits": [16, 8, 4], "downlink_bits": [4, 16], "group": 100},
    }
    plain, found = (
        card.cut_profile(NOMINAL.updated(s)) for s in ({"training.topology": topology}, study)
    )
    sent = {
        16: TOKENS * HIDDEN * 16,
        8: TOKENS * (HIDDEN * 8 + 21 * 16),
        4: TOKENS * (HIDDEN * 4 + 21 * 16),
    }
    ushaped = topology == "u-shaped"
    labels = 0 if ushaped else TOKENS * LABEL_BITS
    assert found.num_blocks == 16
    assert found.num_options == 6 * 17
    for place, (up, down) in enumerate([(16, 4), (16, 16), (8, 4), (8, 16), (4, 4), (4, 16)]):
        rows = slice(17 * place, 17 * place + 17)
        assert set(found.uplink_bits[rows].tolist()) == {up}
        assert set(found.downlink_bits[rows].tolist()) == {down}
        assert found.uplink_bit[rows].tolist() == [(1 + ushaped) * sent[up] + labels] * 16 + [0]
        assert found.downlink_bit[rows].tolist() == (
            [ushaped * sent[down]] + [(1 + ushaped) * sent[down]] * 15 + [0]
        )
        for name, column in plain.as_dict().items():
            if not name.startswith(("uplink", "downlink")):
                assert getattr(found, name)[rows].tolist() == column, name


@pytest.mark.parametrize("held", [8, 16, 32, 64])
def test_numbers_are_sent_as_they_are_held_unless_said_otherwise(held):
    plain = NOMINAL.updated({"training.activation_bits": held})
    found = card.cut_profile(plain)
    assert found.downlink_bit[1] == TOKENS * HIDDEN * held
    assert set(found.uplink_bits.tolist()) == set(found.downlink_bits.tolist()) == {held}
    if held < 64:
        listed = {"wire.uplink_bits": [held], "wire.downlink_bits": [held]}
        assert card.cut_profile(plain.updated(listed)).as_dict() == found.as_dict()


def test_floats_of_fewer_bits_have_no_scales():
    held = {"training.activation_bits": 32, "wire.downlink_bits": [16]}
    assert card.cut_profile(NOMINAL.updated(held)).downlink_bit[1] == TOKENS * HIDDEN * 16


def test_the_first_bits_alone_are_the_cuts():
    wire = {"wire.uplink_bits": [8, 16], "wire.downlink_bits": [4, 16]}
    first = card.cut_profile(NOMINAL.updated(wire)).at_first_bits
    alone = NOMINAL.updated({"wire.uplink_bits": [8], "wire.downlink_bits": [4]})
    assert first.as_dict() == card.cut_profile(alone).as_dict()
    assert first.device_parts.shape == (17, 4)


def test_profile_as_plain_lists():
    plain = card.cut_profile(NOMINAL).as_dict()
    flows = (
        "cut uplink_bits downlink_bits device_flop server_flop uplink_bit downlink_bit adapter_bit"
    )
    assert list(plain) == [
        *flows.split(),
        "device_memory_bit",
        "server_memory_bit",
        "messages",
    ]
    assert all(type(value) is int for column in plain.values() for value in column)
