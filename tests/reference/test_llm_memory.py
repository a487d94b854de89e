"""Activations kept for backward equal what torch's autograd really keeps, to the last bit.

Counted by `saved_tensors_hooks` on narrow models on the processor. A storage counts once however
many tensors look into it. Not counted: parameters (held once, whatever is trained), and what all
blocks share: rotary tables, mask and token ids.
"""

from functools import partial

import pytest
import torch
from saved import saved_bit, tensors
from split_model import SplitModel, boundary, lora, narrow_config, training

from card.llm import block_costs, head_cost
from card.llm.architectures import architecture_of
from card.llm.cuts import OPTIMISER_COPIES, profile_of

LLAMA_LIKE = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
GPT2 = ("c_attn", "attn.c_proj", "c_fc", "mlp.c_proj")
DTYPES = [(16, 16), (32, 32), (16, 32)]
"""Bits of activations and of adapters."""
CASES = [
    (name, targets)
    for name in ("llama-3.2-1b", "llama-3.1-8b", "qwen2.5-0.5b", "gemma-2-2b", "gpt-2")
    for targets in (
        (*GPT2, "c_proj", " ".join(GPT2))
        if name == "gpt-2"
        else ("q_proj v_proj", *LLAMA_LIKE, " ".join(LLAMA_LIKE))
    )
]


@pytest.mark.parametrize(("bits", "adapter_bits"), DTYPES)
@pytest.mark.parametrize(("name", "targets"), CASES)
def test_blocks(name, targets, bits, adapter_bits):
    raw, adapters = narrow_config(name, 2), lora(name, *targets.split(), rank=3, bits=adapter_bits)
    split, arch = SplitModel(raw, adapters, bits, device="cpu"), architecture_of(name, raw)
    for batch, length in ((2, 24), (1, 7)):
        settings = training(batch_size=batch, sequence_length=length, activation_bits=bits)
        embedded, arguments = split.embed(split.tokens(batch, length))
        shared = [*split.model.parameters(), *tensors(arguments)]
        for number, first in ((0, True), (1, False)):
            arrived = boundary(embedded, trains=not first)
            kept = saved_bit(lambda: split.run(arrived, arguments, number, number + 1), shared)  # noqa: B023
            assert block_costs(arch, settings, adapters)[number].saved_bit == kept


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("name", ["llama-3.2-1b", "qwen2.5-0.5b", "gemma-2-2b", "gpt-2"])
def test_head(name, bits):
    raw = narrow_config(name, 1)
    split = SplitModel(raw, lora(name, bits=bits), bits, device="cpu")
    settings = training(activation_bits=bits)
    ids = split.tokens(2, 24)
    arrived = boundary(split.embed(ids)[0], trains=True)
    kept = saved_bit(lambda: split.loss(arrived, ids), split.model.parameters())
    assert head_cost(architecture_of(name, raw), settings).saved_bit == kept


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", OPTIMISER_COPIES)
def test_optimiser_keeps_what_torch_keeps(name, dtype):
    """Numbers in the format of the weight, and no weight in another; steps are not counted."""
    weight = torch.nn.Parameter(torch.ones(64, 8, dtype=dtype))
    makers = {
        "adamw": torch.optim.AdamW,
        "sgd": torch.optim.SGD,
        "sgd-momentum": partial(torch.optim.SGD, momentum=0.9),
    }
    update = makers[name]([weight], lr=0.1)
    weight.square().sum().backward()
    update.step()
    kept = [one for key, one in update.state[weight].items() if key != "step" and one is not None]
    held = sum(tensor.nbytes for tensor in (weight, weight.grad, *kept))
    assert held == OPTIMISER_COPIES[name] * weight.nbytes


@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
@pytest.mark.parametrize("name", ["llama-3.2-1b", "qwen2.5-0.5b", "gemma-2-2b", "gpt-2"])
def test_device_memory_of_every_cut(name, topology):
    """Weights of the parts it runs, four adapter-sized buffers, and the activations of one step."""
    raw, adapters = narrow_config(name), lora(name)
    split, arch = SplitModel(raw, adapters, device="cpu"), architecture_of(name, raw)
    ids, count = split.tokens(2, 24), arch.num_blocks
    embedded, arguments = split.embed(ids)
    shared = [*split.model.parameters(), *tensors(arguments)]

    def device_part(cut):
        results = [final := split.run(embedded, arguments, 0, cut)]
        if topology == "u-shaped" and cut < count:
            final = boundary(final, trains=True)  # what the server sends back is as large
        if topology == "u-shaped" or cut == count:
            results.append(split.loss(final, ids))
        return results

    def frozen(cut):
        head = count if topology == "u-shaped" or cut == count else 0
        parts = [split.model.get_input_embeddings(), *split.blocks[:cut]]
        parts += [split.model.transformer.wpe] if name == "gpt-2" else []
        parts += [split.norm, split.model.lm_head] if head else []
        weights = {id(p): p.numel() for part in parts for p in part.parameters()}
        trained = {id(p) for p in split.model.parameters() if p.requires_grad}
        return sum(size for key, size in weights.items() if key not in trained)

    profile = profile_of(arch, training(topology=topology), adapters)
    for cut in range(count + 1):
        kept = saved_bit(lambda: device_part(cut), shared)  # noqa: B023
        held = 16 * (frozen(cut) + OPTIMISER_COPIES["adamw"] * split.adapter_parameters(cut))
        assert profile.device_memory_bit[cut] == held + kept
