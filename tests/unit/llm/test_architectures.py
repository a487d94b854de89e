"""Dimensions of the shipped LLMs, and what is refused of others."""

import pytest

import card
from card.base.data_files import llm_names
from card.base.errors import ScenarioError
from card.llm import architecture, public_config
from card.llm.architectures import Projection, architecture_of, check_length

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
        assert [p.outputs for p in arch.qkv] == [HIDDEN, KV, KV]

    def test_head_width_may_differ_from_the_share_of_the_hidden_width(self):
        arch = architecture("gemma-2-2b")
        assert arch.hidden // arch.heads == 288
        assert arch.head_dim == 256
        assert arch.output.inputs == 8 * 256

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
            "mine: model_type = 'rwkv' is unknown; choose one of llama, qwen2, gemma2, gpt2."
        )

    @pytest.mark.parametrize("name", llm_names())
    def test_longest_sequence_is_allowed_and_no_longer_one(self, name):
        arch = architecture(name)
        training = card.load_scenario("test-bed").training
        longest, longer = (
            training.model_copy(update={"sequence_length": arch.max_positions + more})
            for more in (0, 1)
        )
        check_length(arch, longest)
        with pytest.raises(ScenarioError, match=f"exceeds the {arch.max_positions} positions"):
            check_length(arch, longer)


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
        ({"head_dim": None, "hidden_size": 2049}, "x: a width of 2049 does not divide among 32"),
        ({"model_type": "bert"}, "x: model_type = 'bert' is unknown; choose one of llama, qwen2"),
        ({"model_type": None}, "x: model_type = null is unknown"),
        ({"_card": 3}, "x: _card = 3 is not allowed"),
    ],
)
def test_configuration_that_is_no_llm_is_refused(changes, message):
    with pytest.raises(ScenarioError) as refusal:
        architecture_of("x", SOUND | changes)
    assert str(refusal.value).startswith(message)


def test_missing_dimension_is_named():
    with pytest.raises(ScenarioError, match="x: num_attention_heads is missing; give a whole"):
        architecture_of("x", {k: v for k, v in SOUND.items() if k != "num_attention_heads"})
