"""Work per cut equals torch's FLOP counter, to the last operation.

The whole step of the really split model is counted on the meta device: nothing is computed, every
product is seen. Equality is exact, so no tolerance appears below.
"""

from functools import lru_cache

import pytest
import torch
from split_model import (
    Ledger,
    SplitModel,
    lora,
    narrow_config,
    parts_of_one_step,
    split_step,
    training,
)

from card.base.data_files import llm_names
from card.llm import architecture, block_costs, head_cost, public_config
from card.llm.architectures import architecture_of
from card.llm.cuts import profile_of

FULL_SIZE = [
    name
    for name in llm_names()
    if public_config(name)["model_type"] in ("llama", "qwen2", "gemma2", "gpt2")
]
"""`data/fidelity.json` has the others in full size, `test_llm_families.py` narrow ones."""
LLAMA_LIKE = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
GPT2 = ("c_attn", "attn.c_proj", "c_fc", "mlp.c_proj")
TARGETS = [
    *((name, target) for name in ("llama-3.2-1b", "gemma-2-2b") for target in LLAMA_LIKE),
    *(("gpt-2", target) for target in GPT2),
    ("llama-3.2-1b", "q_proj v_proj"),
    ("llama-3.2-1b", "k_proj v_proj"),
    ("llama-3.2-1b", "q_proj o_proj down_proj"),
    ("llama-3.1-8b", "gate_proj up_proj"),
    ("llama-3.2-3b", "self_attn.q_proj mlp.up_proj"),
    ("qwen2.5-0.5b", " ".join(LLAMA_LIKE)),
    ("gemma-2-2b", " ".join(LLAMA_LIKE)),
    ("gpt-2", "c_proj"),
    ("gpt-2", " ".join(GPT2)),
]


@lru_cache(maxsize=1)
def full_size(name):
    return SplitModel(public_config(name), lora(name))


def assert_work_of_cut(profiles, step, cut):
    vanilla, ushaped = profiles
    last = len(vanilla.cut) - 1
    on_device = step["head"] if cut == last else 0
    assert vanilla.device_flop[cut] == step["device"] + on_device
    assert vanilla.server_flop[cut] == step["server"] + step["head"] - on_device
    assert ushaped.device_flop[cut] == step["device"] + step["head"]
    assert ushaped.server_flop[cut] == step["server"]


def both_topologies(arch, adapters, **shape):
    return [
        profile_of(arch, training(topology=topology, **shape), adapters)
        for topology in ("vanilla", "u-shaped")
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "length"), [(1, 512), (3, 96)])
@pytest.mark.parametrize("name", FULL_SIZE)
def test_every_block_and_cut_of_a_shipped_llm(name, batch, length):
    """Every block counted by itself; a cut's sides are sums of blocks, as the next test shows."""
    split, arch, shape = (
        full_size(name),
        architecture(name),
        {"batch_size": batch, "sequence_length": length},
    )
    forward, backward = parts_of_one_step(split, split.tokens(batch, length))
    costs = [
        *block_costs(arch, training(**shape), lora(name)),
        head_cost(arch, training(**shape)),
    ]
    assert [cost.forward_flop for cost in costs] == list(forward.values())
    assert [cost.backward_flop for cost in costs] == list(backward.values())[::-1]

    *blocks, head = [forward[part] + backward[part] for part in forward]
    profiles = both_topologies(arch, lora(name), **shape)
    for cut in range(arch.num_blocks + 1):
        step = {"device": sum(blocks[:cut]), "server": sum(blocks[cut:]), "head": head}
        assert_work_of_cut(profiles, step, cut)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_SIZE)
def test_real_splits_of_a_shipped_llm(name):
    split, arch = full_size(name), architecture(name)
    profiles = both_topologies(arch, lora(name), batch_size=1, sequence_length=512)
    ids = split.tokens(1, 512)
    start = split.embed(ids)
    for cut in (0, 1, arch.num_blocks - 1, arch.num_blocks):
        assert_work_of_cut(profiles, split_step(split, ids, start, cut), cut)


@pytest.mark.parametrize("name", llm_names())
def test_real_splits_at_every_cut_of_a_narrow_llm(name):
    raw = narrow_config(name)
    split, arch = SplitModel(raw, lora(name)), architecture_of(name, raw)
    profiles = both_topologies(arch, lora(name))
    ids = split.tokens(2, 24)
    start = split.embed(ids)
    for cut in range(arch.num_blocks + 1):
        assert_work_of_cut(profiles, split_step(split, ids, start, cut), cut)


@pytest.mark.parametrize(("name", "targets"), TARGETS)
def test_adapters_elsewhere(name, targets):
    """Which products need a gradient depends on where the adapters sit, above all in block 1."""
    raw, adapters = narrow_config(name, blocks=2), lora(name, *targets.split(), rank=3)
    split, arch = SplitModel(raw, adapters), architecture_of(name, raw)
    profiles = both_topologies(arch, adapters)
    ids = split.tokens(2, 24)
    start = split.embed(ids)
    for cut in range(arch.num_blocks + 1):
        assert_work_of_cut(profiles, split_step(split, ids, start, cut), cut)


@pytest.mark.parametrize("name", llm_names())
def test_both_sides_add_up_to_the_unsplit_model(name):
    raw = narrow_config(name)
    split, whole = SplitModel(raw, lora(name)), Ledger()
    ids = split.tokens(2, 24)
    with whole.of("model"):
        mask = torch.ones_like(ids)
        split.adapted(input_ids=ids, attention_mask=mask, labels=ids).loss.backward()
    for profile in both_topologies(architecture_of(name, raw), lora(name)):
        assert set(profile.device_flop + profile.server_flop) == {whole.flop["model"]}


@pytest.mark.parametrize("name", llm_names())
def test_split_model_computes_what_the_unsplit_model_computes(name):
    """The model that is counted is the right one: same loss, same adapter gradients."""
    split = SplitModel(narrow_config(name), lora(name, bits=32), bits=32, device="cpu")
    adapters = [p for p in split.model.parameters() if p.requires_grad]
    with torch.no_grad():
        for adapter in adapters:
            torch.nn.init.normal_(adapter, std=0.1, generator=torch.Generator().manual_seed(1))
    ids = split.tokens(2, 24)
    split.adapted(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss.backward()
    expected = [adapter.grad.clone() for adapter in adapters]
    scale = max(float(gradient.abs().max()) for gradient in expected)
    start = split.embed(ids)
    for cut in range(len(split.blocks) + 1):
        split.model.zero_grad()
        split_step(split, ids, start, cut)
        for adapter, gradient in zip(adapters, expected, strict=True):
            assert gradient.abs().max() > 0
            # the same products, so the float32 rounding of their sums is all that may differ
            torch.testing.assert_close(adapter.grad, gradient, rtol=0, atol=1e-5 * scale)
