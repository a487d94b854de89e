"""LLMs that torch counts: against closed forms, real passes on the processor, counts by hand."""

from itertools import cycle

import pytest
from families import COUNTED, counted, narrow, targets
from saved import saved_bit, tensors
from split_model import SplitModel, boundary, causal_lm, parts_of_one_step, training

from card.base.errors import ScenarioError
from card.llm import architecture_of
from card.llm.blocks import part_costs
from card.llm.families import FAMILIES
from card.llm.real.stack import count_llm
from card.scenario import Lora

TARGETS = {
    "bloom": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
    "falcon": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
    "gptj": ("q_proj", "k_proj", "v_proj", "out_proj", "fc_in", "fc_out"),
    "olmoe": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "opt": ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
    "phi": ("q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"),
    "starcoder2": ("q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj"),
}
LLAMA_LIKE = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ALIKE = ("llama", "gpt2", "gpt_neox-serial", "gemma2", "phi3-grouped", "mixtral", "qwen3_moe-mixed")


def lora(name, *on, bits=16):
    return Lora(rank=3, targets=on or TARGETS.get(name, LLAMA_LIKE), adapter_bits=bits)


def size(module):
    return sum(weight.numel() for weight in module.parameters())


@pytest.mark.parametrize("name", ALIKE)
def test_closed_forms_say_the_same(name):
    """What is counted by both agrees to the last bit, experts and statistics of norms included."""
    raw, adapters = narrow(name), lora(name, *targets(name))
    found = count_llm("mine", raw, training(), adapters)
    assert found == part_costs(architecture_of("mine", raw), training(), adapters)


@pytest.mark.parametrize(
    ("name", "batch", "length", "bits"),
    [(name, *shape) for name, shape in zip(COUNTED, cycle([(2, 24, 16), (1, 7, 32)]))],
)
def test_real_passes_on_the_processor_do_and_keep_as_much(name, batch, length, bits):
    assert name not in FAMILIES
    raw, adapters = counted(name), lora(name, bits=bits)
    settings = training(batch_size=batch, sequence_length=length, activation_bits=bits)
    found = count_llm("mine", raw, settings, adapters)
    split = SplitModel(raw, adapters, bits, device="cpu")
    ids = split.tokens(batch, length)
    forward, backward = parts_of_one_step(split, ids)
    parts = [*found.blocks, found.head]
    assert [part.forward_flop for part in parts] == list(forward.values())
    assert [part.backward_flop for part in parts] == list(backward.values())[::-1]
    embedded, arguments = split.embed(ids)
    shared = [*split.model.parameters(), *split.model.buffers(), *tensors(arguments)]
    for number, cost in enumerate(found.blocks):
        arrived = boundary(embedded, trains=number > 0)
        run = lambda: split.run(arrived, arguments, number, number + 1)  # noqa: B023, E731
        assert saved_bit(run, shared) == cost.saved_bit
        trained = sum(w.numel() for w in split.blocks[number].parameters() if w.requires_grad)
        assert cost.adapter_parameters == trained
        assert cost.parameters == size(split.blocks[number]) - trained
    arrived = boundary(embedded, trains=True)
    kept = saved_bit(lambda: split.loss(arrived, ids), split.model.parameters())
    assert found.head.saved_bit == kept
    trained = sum(cost.adapter_parameters for cost in found.blocks)
    assert found.parameters == size(split.model) - trained
    assert found.head_parameters == size(split.norm) + size(split.model.lm_head)
    assert found.hidden == embedded.shape[-1]


def test_dora_on_all_linear_is_counted_as_by_closed_forms():
    """Of gpt2, whose matrices stand on their side; all but experts, of those that have some."""
    everything = Lora(rank=3, targets="all-linear", dora=True, adapter_bits=16)
    raw = narrow("gpt2")
    found = count_llm("mine", raw, training(), everything)
    assert found == part_costs(architecture_of("mine", raw), training(), everything)
    with pytest.raises(ScenarioError, match=r"'all-linear' would adapt the experts of x too"):
        count_llm("x", counted("olmoe"), training(), everything)


def test_opt_by_hand():
    """Width 48, six heads, MLP of 104, two sequences of 24 tokens, adapters of rank 3 on q, v."""
    first, other = count_llm(
        "it", counted("opt"), training(), lora("opt", "q_proj", "v_proj")
    ).blocks
    tokens, matrices = 48, 4 * 48 * 48 + 2 * 48 * 104
    frozen, adapters = 2 * tokens * matrices, 2 * 2 * (2 * tokens * 48 * 3)
    attention = 2 * (2 * 2 * 24 * 24 * 48)
    assert other.forward_flop == first.forward_flop == frozen + adapters + attention
    assert other.backward_flop == frozen + 2 * adapters + 2 * attention
    qkv, gradient_of_keys, into_adapters = 2 * tokens * 3 * 48 * 48, attention // 2, adapters // 2
    assert first.backward_flop == other.backward_flop - qkv - gradient_of_keys - into_adapters
    norms, biases = 4 * 48, 4 * 48 + 104 + 48
    assert other.parameters == first.parameters == matrices + norms + biases
    assert other.adapter_parameters == 2 * 2 * 48 * 3


def test_an_embedding_that_is_projected_works_on_the_device():
    raw = counted("opt") | {"word_embed_proj_dim": 40, "do_layer_norm_before": False}
    found = count_llm("it", raw, training(), lora("opt"))
    assert found.embedding.forward_flop == 2 * 48 * 40 * 48
    assert found.head.forward_flop == found.head.backward_flop == 2 * 48 * 40 * (48 + 90)
    assert found.head_parameters == 40 * (48 + 90)
    assert found.head.parameters == 40 * 48
    assert found.parameters == size(causal_lm(raw))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "blom"},
            "x: model_type = 'blom' is no causal LM of the transformers that ",
        ),
        ({"model_type": "t5"}, "x: model_type = 't5' is no causal LM of the transformers that "),
        ({"architectures": ["BloomForTokenClassification"]}, "x: architectures = ['BloomForTok"),
        ({"model_type": "bart"}, "x: the family bart has an encoder beside its decoder"),
        ({"num_hidden_layers": 0}, "x: num_hidden_layers = 0 is not allowed; give"),
        ({"num_hidden_layers": 10**9}, "x: num_hidden_layers = 1000000000 is not allowed"),
        ({"num_hidden_layers": "two"}, "x: "),
        (
            {"num_attention_heads": 7},
            "x: transformers cannot make this LLM, or not run it on shapes alone (",
        ),
        (
            {"hidden_size": 10**9},
            "x: transformers cannot make this LLM, or not run it on shapes",
        ),
        ({"model_type": "mamba"}, "x: the blocks of mamba are no plain stack that could be cut"),
        (
            {"model_type": "bert"},
            "x: transformers cannot make this LLM, or not run it on shapes",
        ),
        (
            {"model_type": "gemma3n_text", "num_hidden_layers": 35},
            "x: the blocks of gemma3n_text are no plain stack that could be cut anywhere: ",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused_on_one_line(changes, message):
    with pytest.raises(ScenarioError) as refusal:
        count_llm("x", {**counted("bloom"), **changes}, training(), lora("bloom"))
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_bits": 8}, "training.activation_bits = 8 is not allowed with an LLM that"),
        ({"sequence_length": 65}, "training.sequence_length = 65 exceeds the 64 positions of x"),
    ],
)
def test_mini_batches_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ScenarioError) as refusal:
        count_llm("x", counted("opt"), training(**change), lora("opt"))
    assert str(refusal.value).startswith(message)


def test_adapters_that_do_not_fit_are_refused():
    with pytest.raises(ScenarioError) as refusal:
        count_llm("x", counted("bloom"), training(), lora("bloom", "q_proj"))
    assert str(refusal.value) == (
        "lora.targets = 'q_proj' is no projection of x; choose from query_key_value, dense, "
        "dense_h_to_4h, dense_4h_to_h."
    )
    with pytest.raises(ScenarioError, match=r"^lora.adapter_bits = 8 is not allowed"):
        count_llm("x", counted("bloom"), training(), lora("bloom", bits=8))
