"""A narrow LLM of every family that closed forms count; widths share no factor."""

from typing import Any

_NARROW = {
    "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2,
    "intermediate_size": 104, "max_position_embeddings": 64, "vocab_size": 90, "pad_token_id": 0,
    "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
_WINDOW = {"sliding_window": 4}
_MOE = {"moe_intermediate_size": 40, "num_experts": 5, "num_experts_per_tok": 3, "head_dim": 20}

NARROW: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": True, "mlp_bias": True},
    "mistral": _WINDOW,
    "mistral-wide": {"head_dim": 20, "num_key_value_heads": 6},
    "qwen2": {"num_key_value_heads": 6},
    "qwen3": {"head_dim": 20},
    "qwen3-biased": {"head_dim": 20, "attention_bias": True, "num_key_value_heads": 6},
    "gemma2": {"head_dim": 20, **_WINDOW, "attn_logit_softcapping": None},
    "gemma3_text": {"head_dim": 20, **_WINDOW, "sliding_window_pattern": 2},
    "gemma3_text-capped": {"head_dim": 20, "final_logit_softcapping": 30.0},
    "gemma3_text-single": {"head_dim": 20, "num_key_value_heads": 1},
    "phi3-single": {"num_key_value_heads": 1},
    "phi3": {"num_key_value_heads": 6},
    "phi3-grouped": _WINDOW,
    "olmo2": {},
    "olmo2-biased": {"attention_bias": True, "num_key_value_heads": 6},
    "gpt_neox": {"rotary_pct": 0.25},
    "gpt_neox-serial": {"use_parallel_residual": False, "attention_bias": False},
    "mixtral": {"num_local_experts": 5, "num_experts_per_tok": 3},
    "qwen3_moe": _MOE,
    "qwen3_moe-mixed": _MOE | {"num_hidden_layers": 4, "decoder_sparse_step": 2,
                               "mlp_only_layers": [3], "norm_topk_prob": True},
    "llama-relu": {"hidden_act": "relu"},
    "llama-gelu-new": {"hidden_act": "gelu_new"},
    "llama-quick": {"hidden_act": "quick_gelu"},
    "phi3-relu": {"hidden_act": "relu"},
    "gpt2": {"n_embd": 48, "n_layer": 2, "n_head": 6, "n_positions": 64, "n_inner": 104,
             "activation_function": "relu"},
}  # fmt: skip

COUNTED: dict[str, dict[str, Any]] = {
    "bloom": {},
    "cohere": {"use_qk_norm": True},
    "falcon": {"num_kv_heads": 2, "new_decoder_architecture": True},
    "gemma": {"head_dim": 20},
    "gptj": {"n_embd": 48, "n_layer": 2, "n_head": 6, "n_positions": 64, "rotary_dim": 4},
    "granite": {"attention_bias": True},
    "olmoe": {"num_experts": 5, "num_experts_per_tok": 3},
    "opt": {"ffn_dim": 104, "word_embed_proj_dim": 48, "dropout": 0.0},
    "phi": {},
    "stablelm": {"use_qkv_bias": True},
    "starcoder2": {"sliding_window": 4},
}
"""Narrow LLMs of families that have no closed form."""


def counted(name: str) -> dict[str, Any]:
    """Narrow configuration of a family without a closed form."""
    return {"model_type": name, **_NARROW, **COUNTED[name]}


def narrow(name: str) -> dict[str, Any]:
    """Narrow configuration of a family, or of a variant of it."""
    family = name.partition("-")[0]
    shared = {"vocab_size": 90, "bos_token_id": 0, "eos_token_id": 1} if name == "gpt2" else _NARROW
    return {"model_type": family, **shared, **NARROW[name]}


def targets(name: str) -> list[str]:
    """Names of all projections that adapters may sit on, of a family or a variant."""
    family = name.partition("-")[0]
    llama = ["q_proj", "k_proj", "v_proj", "o_proj"]
    mlp = ["gate_proj", "up_proj", "down_proj"]
    return {
        "phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
        "gpt_neox": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
        "gpt2": ["c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"],
        "mixtral": llama,
        "qwen3_moe": llama,
    }.get(family, llama + mlp)
