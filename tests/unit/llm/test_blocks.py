"""Counts of work, weights and memory, by hand; `tests/reference` holds them against torch."""

import card
from card.llm import architecture, block_costs, head_cost

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
    one, other, *_ = block_costs(architecture(scenario.llm), scenario.training, scenario.lora)
    return one if first else other


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

    def test_dora_passes_an_identity_through_each_adapter(self):
        """For the norms of W + B A, once a forward pass, whatever the mini-batch."""
        plain, dora = cost(first=False), cost(first=False, **{"lora.dora": True})
        through_a, through_b = 2 * 2 * HIDDEN * HIDDEN * RANK, 2 * HIDDEN * RANK * (HIDDEN + KV)
        assert dora.forward_flop - plain.forward_flop == through_a + through_b
        assert dora.backward_flop == plain.backward_flop

    def test_scaling_costs_nothing(self):
        assert cost(first=False, **{"lora.alpha": 32, "lora.rslora": True}) == cost(first=False)

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

    def test_magnitudes_of_dora_on_all_matrices(self):
        all_linear = {"lora.targets": "all-linear", "lora.dora": True}
        widths = [(HIDDEN, HIDDEN), (HIDDEN, KV), (HIDDEN, KV), (HIDDEN, HIDDEN)]
        widths += [(HIDDEN, FFN), (HIDDEN, FFN), (FFN, HIDDEN)]
        expected = sum(RANK * (inputs + outputs) + outputs for inputs, outputs in widths)
        assert cost(first=True, **all_linear).adapter_parameters == expected


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
