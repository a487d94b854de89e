"""What the LLM with adapters asks of transformers is the same in every version of the range."""

import pytest

torch = pytest.importorskip("torch")

from narrow_llm import LENGTH, NAMES, built

from card.training.llm import adapters

MAKERS = ("create_causal_mask", "create_sliding_window_causal_mask")


def older(maker):
    return lambda config, inputs_embeds, attention_mask, past_key_values: maker(
        config, inputs_embeds, attention_mask, past_key_values
    )


def newer(maker):
    return lambda config, inputs_embeds, attention_mask, cache: maker(
        config, inputs_embeds, attention_mask, cache
    )


@pytest.mark.parametrize("version", [older, newer])
@pytest.mark.parametrize("name", NAMES)
def test_masks_do_not_depend_on_what_transformers_calls_the_cache(name, version, monkeypatch):
    llm = built(name, torch.float32)
    expected = llm.context(1, LENGTH).masks
    for maker in MAKERS:
        monkeypatch.setattr(adapters, maker, version(getattr(adapters, maker)))
    found = llm.context(1, LENGTH).masks
    assert found.keys() == expected.keys()
    for kind, mask in found.items():
        assert torch.equal(mask, expected[kind])
