"""Parameters of the shipped LLMs: closed form, transformers' model and the publisher agree."""

import numpy as np
import pytest
from split_model import TRUNKS, SplitModel, causal_lm, lora, training

from card.base.data_files import llm_names
from card.llm import architecture, public_config
from card.llm.cuts import profile_of


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_twelve_public_llms_and_two_tiny_ones_are_shipped():
    assert llm_names() == (
        "gemma-2-2b",
        "gemma-3-1b",
        "gpt-2",
        "llama-3.1-8b",
        "llama-3.2-1b",
        "llama-3.2-3b",
        "mistral-7b-v0.1",
        "olmo-2-1b",
        "phi-3-mini-4k",
        "qwen2.5-0.5b",
        "qwen3-0.6b",
        "smollm2-135m",
        "tiny-llama-0.5m",
        "tiny-llama-8m",
    )


@pytest.mark.parametrize("name", llm_names())
def test_whole_llm_equals_model_and_publisher(name):
    assert architecture(name).parameters == size(causal_lm(public_config(name)))
    assert architecture(name).parameters == public_config(name)["_card"]["parameters"]


@pytest.mark.parametrize("name", llm_names())
def test_each_part_equals_the_model(name):
    arch, model = architecture(name), causal_lm(public_config(name))
    trunk, layers, last = TRUNKS.get(public_config(name)["model_type"], ("model", "layers", "norm"))
    blocks, norm = (model.get_submodule(f"{trunk}.{part}") for part in (layers, last))
    embedding = size(model.get_input_embeddings())
    embedding += size(model.transformer.wpe) if name == "gpt-2" else 0
    assert [size(block) for block in blocks] == [arch.parameters_of(block) for block in arch.blocks]
    assert arch.embedding_parameters == embedding
    own_head = 0 if arch.tied else size(model.lm_head)
    assert arch.head_parameters == size(norm) + own_head
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == arch.tied


@pytest.mark.parametrize("name", llm_names())
def test_projections_have_the_shapes_of_the_model(name):
    arch, block = (
        architecture(name),
        causal_lm(public_config(name)).base_model.get_submodule(
            "h.0" if name == "gpt-2" else "layers.0"
        ),
    )
    for projection in arch.blocks[0].projections:
        matrix = block.get_submodule(projection.name)
        assert sorted(matrix.weight.shape) == sorted((projection.inputs, projection.outputs))
        assert projection.bias == (matrix.bias is not None)
        assert projection.parameters == size(matrix)
    matrices = {n for n, p in block.named_parameters() if n.endswith("weight") and p.dim() == 2}
    assert {f"{p.name}.weight" for p in arch.blocks[0].projections} == matrices


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("name", ["llama-3.2-1b", "gpt-2", "phi-3-mini-4k", "gemma-3-1b"])
def test_all_linear_adapts_what_peft_adapts(name, dora):
    """And of DoRA also the magnitudes, which are trained, held and sent."""
    adapters = lora(name, "all-linear", dora=dora)
    split = SplitModel(public_config(name), adapters)
    profile = profile_of(architecture(name), training(), adapters)
    trained = [split.adapter_parameters(cut) for cut in profile.cut]
    assert profile.adapter_bit.tolist() == [16 * count for count in trained]


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("name", llm_names())
def test_adapters_of_every_cut_equal_those_that_peft_trains(name, bits):
    adapters = lora(name, rank=8, bits=bits)
    split = SplitModel(public_config(name), adapters)
    profile = profile_of(architecture(name), training(), adapters)
    trained = np.array([split.adapter_parameters(cut) for cut in profile.cut])
    assert trained[0] == 0
    assert profile.adapter_bit.tolist() == (bits * trained).tolist()
