"""Traffic per cut equals the size of the tensors that really cross it."""

import pytest
from split_model import DTYPES, SplitModel, boundary, lora, narrow_config, training

from card.base.data_files import llm_names
from card.llm import architecture, public_config
from card.llm.architectures import architecture_of
from card.llm.cuts import profile_of

LABEL_BITS = 32


def bit(tensor):
    return 8 * tensor.untyped_storage().nbytes()


@pytest.mark.parametrize("name", llm_names())
def test_hidden_states_of_the_shipped_llm(name):
    split = SplitModel(public_config(name), lora(name))
    profile = profile_of(architecture(name), training(batch_size=2, sequence_length=96), lora(name))
    hidden, _ = split.embed(split.tokens(2, 96))
    assert profile.downlink_bit[1] == bit(hidden)
    assert profile.uplink_bit[1] == bit(hidden) + 2 * 96 * LABEL_BITS


@pytest.mark.parametrize("bits", DTYPES)
@pytest.mark.parametrize("name", ["llama-3.2-1b", "gemma-2-2b", "gpt-2"])
def test_every_cut_and_topology(name, bits):
    raw = narrow_config(name)
    split = SplitModel(raw, lora(name, bits=bits), bits, device="cpu")
    ids, count = split.tokens(2, 24), len(split.blocks)
    labels = ids.numel() * LABEL_BITS
    embedded, arguments = split.embed(ids)
    vanilla, ushaped = (
        profile_of(
            architecture_of(name, raw),
            training(activation_bits=bits, topology=topology),
            lora(name, bits=bits),
        )
        for topology in ("vanilla", "u-shaped")
    )
    for cut in range(count):
        sent = split.run(embedded, arguments, 0, cut)
        arrived = boundary(sent, trains=cut > 0)
        returned = split.run(arrived, arguments, cut, count)
        final = boundary(returned, trains=True)
        split.loss(final, ids).backward()
        returned.backward(final.grad)
        gradient = 0 if cut == 0 else bit(arrived.grad)
        assert vanilla.uplink_bit[cut] == bit(sent) + labels
        assert vanilla.downlink_bit[cut] == gradient
        assert ushaped.uplink_bit[cut] == bit(sent) + bit(final.grad)
        assert ushaped.downlink_bit[cut] == bit(returned) + gradient
    for profile in (vanilla, ushaped):
        assert profile.uplink_bit[count] == profile.downlink_bit[count] == 0
