"""Counts of work, weights and memory, by hand; `tests/reference` holds them against torch."""

import pytest

import card
from card.llm import (
    Projection,
    architecture,
    architecture_of,
    block_cost,
    check_length,
    head_cost,
    public_config,
)
from card.refusal import ScenarioError
from card.scenario import llm_names

TOKENS, HIDDEN, KV, FFN, HEADS, RANK = 512, 2048, 512, 8192, 32, 8
"""Nominal: Llama-3.2-1B, one sequence of 512 tokens, rank 8 on q and v."""

QUERY = OUTPUT = 2 * TOKENS * HIDDEN * HIDDEN
KEY = VALUE = 2 * TOKENS * HIDDEN * KV
GATE = UP = DOWN = 2 * TOKENS * HIDDEN * FFN
SCORES = ATTENDED = 2 * HEADS * TOKENS**2 * 64
QUERY_DOWN = VALUE_DOWN = 2 * TOKENS * HIDDEN * RANK
QUERY_UP, VALUE_UP = 2 * TOKENS * RANK * HIDDEN, 2 * TOKENS * RANK * KV
FORWARD = (
    QUERY + KEY + VALUE + SCORES + ATTENDED + OUTPUT + GATE + UP + DOWN
    + QUERY_DOWN + QUERY_UP + VALUE_DOWN + VALUE_UP
)  # fmt: skip


def nominal(**changes):
    return card.load_scenario("nominal", **changes)


def cost(first, **changes):
    scenario = nominal(**changes)
    return block_cost(architecture(scenario.llm), scenario.training, scenario.lora, first=first)


class TestWork:
    def test_forward(self):
        assert cost(first=True).forward_flop == cost(first=False).forward_flop == FORWARD

    def test_backward_of_a_block_amid_others(self):
        """Frozen products cost one more, attention's and the adapters' two more."""
        frozen = QUERY + KEY + VALUE + OUTPUT + GATE + UP + DOWN
        both = SCORES + ATTENDED + QUERY_DOWN + QUERY_UP + VALUE_DOWN + VALUE_UP
        assert cost(first=False).backward_flop == frozen + 2 * both

    def test_backward_of_the_first_block(self):
        """Its input needs no gradient: none through q, k, v nor into A's input; keys stay fixed."""
        frozen = OUTPUT + GATE + UP + DOWN
        once = SCORES + QUERY_DOWN + VALUE_DOWN
        twice = ATTENDED + QUERY_UP + VALUE_UP
        assert cost(first=True).backward_flop == frozen + once + 2 * twice

    def test_first_block_with_adapters_behind_attention_only(self):
        """Nothing before the output projection is differentiated."""
        found = cost(first=True, **{"lora.targets": ["o_proj"]})
        adapter = 2 * TOKENS * HIDDEN * RANK
        assert found.backward_flop == GATE + UP + DOWN + adapter + 2 * adapter

    def test_head(self):
        scenario = nominal()
        found = head_cost(architecture(scenario.llm), scenario.training)
        assert found.forward_flop == found.backward_flop == 2 * TOKENS * HIDDEN * 128256
        assert found.flop == 4 * TOKENS * HIDDEN * 128256
        assert found.adapter_parameters == 0

    def test_attention_grows_with_the_square_of_the_length(self):
        long = cost(first=False, **{"training.sequence_length": 2 * TOKENS}).forward_flop
        assert long == 2 * FORWARD + 2 * (SCORES + ATTENDED)

    def test_batch_scales_all_work(self):
        twice = {"training.batch_size": 2}
        for first in (True, False):
            assert cost(first, **twice).flop == 2 * cost(first).flop


class TestWeights:
    def test_block(self):
        matrices = 2 * HIDDEN * HIDDEN + 2 * HIDDEN * KV + 3 * HIDDEN * FFN
        assert cost(first=True).parameters == matrices + 2 * HIDDEN

    def test_adapters(self):
        expected = RANK * (HIDDEN + HIDDEN) + RANK * (HIDDEN + KV)
        assert cost(first=True).adapter_parameters == expected

    def test_projection_with_and_without_bias(self):
        assert Projection("p", 3, 5).parameters == 15
        assert Projection("p", 3, 5, bias=True).parameters == 20

    def test_tied_head_adds_the_norm_alone(self):
        assert architecture("llama-3.2-1b").head_parameters == HIDDEN
        untied = architecture("llama-3.1-8b")
        assert untied.head_parameters == 4096 + 128256 * 4096

    def test_learned_positions_belong_to_the_embedding(self):
        assert architecture("gpt-2").embedding_parameters == (50257 + 1024) * 768


class TestMemory:
    def test_activations_of_a_block_amid_others(self):
        """In bfloat16, tensor by tensor; norms and softmax are kept in float32."""
        norms = 2 * TOKENS * (HIDDEN + 1) * 32
        adapters = TOKENS * (HIDDEN + 2 * RANK) * 16
        heads = 3 * TOKENS * HIDDEN * 16
        softmax = HEADS * TOKENS**2 * (32 + 16)
        mlp = 3 * TOKENS * FFN * 16
        assert cost(first=False).saved_bit == norms + adapters + heads + softmax + mlp

    def test_head(self):
        """Normalised states, log-probabilities in float32, labels as int64, and their number."""
        scenario = nominal()
        found = head_cost(architecture(scenario.llm), scenario.training)
        padded = 64  # the label behind the last one, which a single sequence keeps
        assert found.saved_bit == TOKENS * ((HIDDEN + 1) * 32 + 128256 * 32 + 64) + 32 + padded

    def test_adapters_of_another_precision_keep_inputs_of_their_own(self):
        same = cost(first=False, **{"lora.targets": ["q_proj", "k_proj"]})
        wide = cost(first=False, **{"lora.targets": ["q_proj", "k_proj"], "lora.adapter_bits": 32})
        input_bit, rank_bit = TOKENS * HIDDEN, 2 * TOKENS * RANK
        assert same.saved_bit - 16 * (input_bit + rank_bit) == (
            wide.saved_bit - 32 * (2 * input_bit + rank_bit)
        )


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
            "model_type of mine = 'rwkv' is unknown; choose one of llama, qwen2, gemma2, gpt2."
        )

    @pytest.mark.parametrize("name", llm_names())
    def test_longest_sequence_is_allowed_and_no_longer_one(self, name):
        arch = architecture(name)
        targets = {"lora.targets": [arch.projections[0].name], "llm": name}
        longest = {"training.sequence_length": arch.max_positions}
        check_length(arch, nominal(**targets, **longest))
        longer = {"training.sequence_length": arch.max_positions + 1}
        with pytest.raises(ScenarioError, match=f"exceeds the {arch.max_positions} positions"):
            check_length(arch, nominal(**targets, **longer))
