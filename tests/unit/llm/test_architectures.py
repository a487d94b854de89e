"""Dimensions of the shipped LLMs, and what is refused of others."""

import json

import pytest

import card
from card.base.data_files import llm_names
from card.base.errors import ScenarioError
from card.llm import architecture, public_config
from card.llm.architectures import architecture_of
from card.llm.dimensions import Projection, check_length

HIDDEN, KV = 2048, 512
"""Llama-3.2-1B."""


class TestWeights:
    def test_projection_with_and_without_bias(self):
        assert Projection("p", 3, 5).parameters == 15
        assert Projection("p", 3, 5, bias=True).parameters == 20

    def test_tied_head_adds_the_norm_alone(self):
        assert architecture("llama-3.2-1b").head_parameters == HIDDEN
        untied = architecture("llama-3.1-8b")
        assert untied.head_parameters == 4096 + 128256 * 4096

    def test_learned_positions_belong_to_the_embedding(self):
        assert architecture("gpt-2").embedding_parameters == (50257 + 1024) * 768


class TestArchitecture:
    def test_grouped_queries(self):
        arch = architecture("llama-3.2-1b")
        assert (arch.heads, arch.kv_heads, arch.head_dim) == (32, 8, 64)
        assert [p.outputs for p in arch.blocks[0].qkv] == [HIDDEN, KV, KV]

    def test_head_width_may_differ_from_the_share_of_the_hidden_width(self):
        arch = architecture("gemma-2-2b")
        assert arch.hidden // arch.heads == 288
        assert arch.head_dim == 256
        assert arch.blocks[0].output.inputs == 8 * 256

    @pytest.mark.parametrize("name", llm_names())
    def test_targets_match_by_last_part_or_longer_suffix(self, name):
        arch = architecture(name)
        for projection in arch.projections:
            assert arch.adapted([projection.name]) == {projection.name}
            assert projection.name in arch.adapted([projection.name.rpartition(".")[2]])

    def test_part_of_a_name_is_no_target(self):
        with pytest.raises(ScenarioError, match="'proj' is no projection of llama"):
            architecture("llama-3.2-1b").adapted(["proj"])

    def test_one_target_may_name_two_matrices(self):
        assert architecture("gpt-2").adapted(["c_proj"]) == {"attn.c_proj", "mlp.c_proj"}

    def test_unknown_llm_and_unknown_family_are_refused(self):
        with pytest.raises(ScenarioError) as refusal:
            public_config("gpt2")
        assert str(refusal.value) == "llm = 'gpt2' is unknown; did you mean 'gpt-2'?"
        with pytest.raises(ScenarioError) as refusal:
            architecture_of("mine", {"model_type": "rwkv"})
        assert str(refusal.value) == (
            "mine: model_type = 'rwkv' has no closed form; give an LLM of one of the families "
            "llama, mistral, mixtral, qwen2, qwen3, qwen3_moe, gemma2, gemma3_text, phi3, olmo2, "
            "gpt_neox, gpt2."
        )

    @pytest.mark.parametrize("name", llm_names())
    def test_longest_sequence_is_allowed_and_no_longer_one(self, name):
        arch = architecture(name)
        training = card.load_scenario("test-bed").training
        longest, longer = (
            training.model_copy(update={"sequence_length": arch.max_positions + more})
            for more in (0, 1)
        )
        check_length(name, arch.max_positions, longest)
        with pytest.raises(ScenarioError, match=f"exceeds the {arch.max_positions} positions"):
            check_length(name, arch.max_positions, longer)


SOUND = public_config("llama-3.2-1b")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": "2048"}, "x: hidden_size = '2048' is not allowed; give a whole number"),
        ({"hidden_size": True}, "x: hidden_size = True is not allowed; give a whole number"),
        ({"num_hidden_layers": 10**9}, "x: num_hidden_layers = 1000000000 is not allowed; give"),
        (
            {"tie_word_embeddings": "yes"},
            "x: tie_word_embeddings = 'yes' is not allowed; give true",
        ),
        (
            {"head_dim": None, "hidden_size": 2049},
            "x: hidden_size = 2049 does not divide among num_attention_heads = 32; correct either.",
        ),
        ({"hidden_size": 2049}, "x: hidden_size = 2049 does not divide among"),
        (
            {"num_key_value_heads": 5},
            "x: num_key_value_heads = 5 does not divide num_attention_heads = 32; give a divisor",
        ),
        (
            {"head_dim": 33},
            "x: heads of width 33 cannot be turned by their positions; give an even",
        ),
        ({"hidden_act": "mish"}, "x: hidden_act = 'mish' is not allowed; give one of silu, swish"),
        ({"model_type": "bert"}, "x: model_type = 'bert' has no closed form; give an LLM of one"),
        ({"model_type": None}, "x: model_type = null has no closed form"),
        ({"model_type": ["llama"]}, "x: model_type = ['llama'] has no closed form"),
        ({"_card": 3}, "x: _card = 3 is not allowed"),
        ({"_card": {"title": 3}}, "x: _card.title = 3 is not allowed"),
        (
            {"model_type": "qwen3", "layer_types": ["full_attention"]},
            "x: layer_types is a list of 1, num_hidden_layers = 16; give as many.",
        ),
        (
            {"model_type": "mixtral", "num_experts_per_tok": 9},
            "x: num_experts_per_tok = 9 is more than the 8 experts; give at most 8.",
        ),
        (
            {"model_type": "qwen3_moe", "decoder_sparse_step": 0},
            "x: decoder_sparse_step = 0 is not allowed; give a whole number from 1",
        ),
        ({"model_type": "gpt2", "add_cross_attention": True}, "x: add_cross_attention = True is"),
    ],
)
def test_configuration_that_is_no_llm_is_refused(changes, message):
    with pytest.raises(ScenarioError) as refusal:
        architecture_of("x", SOUND | changes)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"num_key_value_heads": None}, {"num_key_value_heads": 32}),
        ({"head_dim": None}, {"head_dim": 64}),
        ({"model_type": "mistral", "attention_bias": True}, {"model_type": "mistral"}),
        ({"model_type": "gpt_neox", "num_key_value_heads": 3}, {"model_type": "gpt_neox"}),
        (
            {"model_type": "mixtral", "num_experts": 4},
            {"model_type": "mixtral", "num_local_experts": 4},
        ),
        (
            {"model_type": "qwen3_moe", "num_local_experts": 16},
            {"model_type": "qwen3_moe", "num_experts": 16},
        ),
        ({"_card": None, "_name_or_path": "a/Llama 3.2 1B"}, {"_card": {"title": "Llama 3.2 1B"}}),
    ],
)
def test_keys_mean_what_transformers_takes_them_for(changes, same):
    assert architecture_of("x", SOUND | changes) == architecture_of("x", SOUND | same)


def test_experts_carry_no_adapter():
    arch = architecture_of("x", SOUND | {"model_type": "mixtral"})
    with pytest.raises(ScenarioError, match=r"choose from q_proj, k_proj, v_proj, o_proj\.$"):
        arch.adapted(["gate_proj"])


def test_fused_projection_is_named_where_a_part_of_it_is_asked_for():
    with pytest.raises(ScenarioError, match=r"fused in qkv_proj\); choose from qkv_proj, o_proj"):
        architecture("phi-3-mini-4k").adapted(["q_proj"])


@pytest.mark.parametrize("name", ["own.json", "folder"])
def test_a_scenario_names_the_file_of_an_llm_that_is_none(name, tmp_path):
    file = tmp_path / (name if name.endswith(".json") else f"{name}/config.json")
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(SOUND | {"num_attention_heads": 0}), "utf-8")
    with pytest.raises(ScenarioError) as refusal:
        card.load_scenario("nominal", llm=str(tmp_path / name))
    assert str(refusal.value).startswith(f"{file}: num_attention_heads = 0 is not allowed")
