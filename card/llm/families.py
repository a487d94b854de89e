"""The families of LLMs that are counted by closed forms, each as its configuration describes it.

Keys have the names and the defaults of transformers' configuration classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, Field

from card.base.errors import ScenarioError, shortened, validated
from card.base.llm_configs import LlmConfig, llm_title
from card.base.schema import Count, Flag, Name, Natural, Positive
from card.llm.dimensions import Activation, Architecture, Block, Experts, Projection

MOST_BLOCKS = 10_000
"""Transformer blocks of an LLM at most; far more than any has, and few enough to count."""

Blocks = Annotated[Count, Field(le=MOST_BLOCKS)]
Never = Literal[False]
Optional = Count | None


class _Described(BaseModel):
    title: Name | None = None
    source: Name | None = None


class Titled(BaseModel):
    """What any configuration may say beside the LLM itself."""

    described: _Described | None = Field(None, alias="_card")


class _Config(Titled):
    vocab_size: Count = 32000
    hidden_size: Count = 4096
    intermediate_size: Count = 11008
    num_hidden_layers: Blocks = 32
    num_attention_heads: Count = 32
    hidden_act: Activation = "silu"
    max_position_embeddings: Count = 2048
    tie_word_embeddings: Flag = False


class _Grouped(_Config):
    num_key_value_heads: Optional = None
    head_dim: Optional = None
    layer_types: tuple[Name, ...] | None = None


class _Llama(_Grouped):
    attention_bias: Flag = False
    mlp_bias: Flag = False


class _Mistral(_Grouped):
    intermediate_size: Count = 14336
    num_key_value_heads: Optional = 8
    max_position_embeddings: Count = 4096 * 32


class _Mixtral(_Mistral):
    num_local_experts: Count = Field(
        8, validation_alias=AliasChoices("num_local_experts", "num_experts")
    )
    num_experts_per_tok: Count = 2


class _Qwen2(_Grouped):
    vocab_size: Count = 151936
    intermediate_size: Count = 22016
    num_key_value_heads: Optional = 32
    max_position_embeddings: Count = 32768


class _Qwen3(_Qwen2):
    head_dim: Optional = 128
    attention_bias: Flag = False


class _Qwen3Moe(_Qwen2):
    hidden_size: Count = 2048
    intermediate_size: Count = 6144
    num_hidden_layers: Blocks = 24
    num_key_value_heads: Optional = 4
    attention_bias: Flag = False
    decoder_sparse_step: Count = 1
    moe_intermediate_size: Count = 768
    num_experts_per_tok: Count = 8
    num_experts: Natural = Field(
        128, validation_alias=AliasChoices("num_experts", "num_local_experts")
    )
    norm_topk_prob: Flag = False
    mlp_only_layers: tuple[Natural, ...] | None = None


class _Gemma2(_Grouped):
    vocab_size: Count = 256000
    hidden_size: Count = 2304
    intermediate_size: Count = 9216
    num_hidden_layers: Blocks = 26
    num_attention_heads: Count = 8
    num_key_value_heads: Optional = 4
    head_dim: Optional = 256
    hidden_act: Activation = Field("gelu_pytorch_tanh", alias="hidden_activation")
    max_position_embeddings: Count = 8192
    tie_word_embeddings: Flag = True
    attention_bias: Flag = False
    attn_logit_softcapping: Positive | None = 50.0
    final_logit_softcapping: Positive | None = 30.0


class _Gemma3(_Gemma2):
    vocab_size: Count = 262208
    max_position_embeddings: Count = 131072
    final_logit_softcapping: Positive | None = None


class _Phi3(_Grouped):
    vocab_size: Count = 32064
    hidden_size: Count = 3072
    intermediate_size: Count = 8192
    max_position_embeddings: Count = 4096


class _Olmo2(_Grouped):
    vocab_size: Count = 50304
    attention_bias: Flag = False


class _GptNeoX(_Config):
    vocab_size: Count = 50432
    hidden_size: Count = 6144
    intermediate_size: Count = 24576
    num_hidden_layers: Blocks = 44
    num_attention_heads: Count = 64
    hidden_act: Activation = "gelu"
    attention_bias: Flag = True
    use_parallel_residual: Flag = True


class _Gpt2(_Config):
    """GPT-2 names its keys in its own way."""

    vocab_size: Count = 50257
    hidden_size: Count = Field(768, validation_alias=AliasChoices("n_embd", "hidden_size"))
    intermediate_size: Optional = Field(None, validation_alias="n_inner")  # type: ignore[assignment]
    num_hidden_layers: Blocks = Field(
        12, validation_alias=AliasChoices("n_layer", "num_hidden_layers")
    )
    num_attention_heads: Count = Field(
        12, validation_alias=AliasChoices("n_head", "num_attention_heads")
    )
    hidden_act: Activation = Field("gelu_new", alias="activation_function")
    max_position_embeddings: Count = Field(
        1024, validation_alias=AliasChoices("n_positions", "max_position_embeddings")
    )
    tie_word_embeddings: Flag = True
    add_cross_attention: Never = False
    reorder_and_upcast_attn: Never = False


def _shape(name: str, raw: LlmConfig, config: _Config, place: str) -> dict[str, Any]:
    """Dimensions that every family has, if they can be those of an LLM."""
    hidden, heads = config.hidden_size, config.num_attention_heads
    grouped = config if isinstance(config, _Grouped) else _Grouped.model_construct()
    kv_heads, types = grouped.num_key_value_heads or heads, grouped.layer_types
    if hidden % heads and (not grouped.head_dim or isinstance(config, (_Llama, _Gemma2))):
        raise ScenarioError(
            f"{place}: hidden_size = {hidden} does not divide among num_attention_heads = {heads}; "
            f"correct either."
        )
    if heads % kv_heads:
        raise ScenarioError(
            f"{place}: num_key_value_heads = {kv_heads} does not divide num_attention_heads = "
            f"{heads}; give a divisor of {heads}."
        )
    if types is not None and len(types) != config.num_hidden_layers:
        raise ScenarioError(
            f"{place}: layer_types is a list of {len(types)}, num_hidden_layers = "
            f"{config.num_hidden_layers}; give as many."
        )
    head_dim = grouped.head_dim or hidden // heads
    if head_dim % 2 and not isinstance(config, (_Gpt2, _GptNeoX)):
        raise ScenarioError(
            f"{place}: heads of width {head_dim} cannot be turned by their positions; give an even "
            f"head_dim."
        )
    return {
        "name": name,
        "title": llm_title(name, raw),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "vocabulary": config.vocab_size,
        "max_positions": config.max_position_embeddings,
        "tied": config.tie_word_embeddings,
        "activation": config.hidden_act,
    }


def _block(
    config: _Config, shape: dict[str, Any], *, biases: tuple[bool, bool, bool] = (False,) * 3
) -> Block:
    """A block as Llama has it; `biases` are those of q, k and v, of o, and of the MLP."""
    hidden, head_dim, ffn = shape["hidden"], shape["head_dim"], config.intermediate_size
    widths = {"q": shape["heads"], "k": shape["kv_heads"], "v": shape["kv_heads"]}
    qkv, output, mlp = biases
    return Block(
        qkv=tuple(
            Projection(f"self_attn.{part}_proj", hidden, count * head_dim, qkv)
            for part, count in widths.items()
        ),
        output=Projection("self_attn.o_proj", shape["heads"] * head_dim, hidden, output),
        mlp=(
            Projection("mlp.gate_proj", hidden, ffn, mlp),
            Projection("mlp.up_proj", hidden, ffn, mlp),
            Projection("mlp.down_proj", ffn, hidden, mlp),
        ),
        ffn=ffn,
    )


def _routed(block: Block, experts: Experts, place: str) -> Block:
    """The same block with experts in place of its MLP."""
    if experts.chosen > experts.count:
        raise ScenarioError(
            f"{place}: num_experts_per_tok = {experts.chosen} is more than the {experts.count} "
            f"experts; give at most {experts.count}."
        )
    return Block(block.qkv, block.output, (), experts.ffn, experts)


def _like_llama(config: _Config, shape: dict[str, Any], place: str) -> Architecture:
    match config:
        case _Llama():
            biases = (config.attention_bias, config.attention_bias, config.mlp_bias)
        case _Qwen3() | _Qwen3Moe() | _Gemma2() | _Olmo2():
            biases = (config.attention_bias, config.attention_bias, False)
        case _:
            biases = (isinstance(config, _Qwen2), False, False)
    block, count = _block(config, shape, biases=biases), config.num_hidden_layers
    blocks, more = (block,) * count, dict[str, Any]()
    match config:
        case _Mixtral(num_local_experts=many, num_experts_per_tok=chosen):
            experts = Experts(many, chosen, config.intermediate_size, True, True)
            blocks = (_routed(block, experts, place),) * count
        case _Qwen3Moe(num_experts=many, num_experts_per_tok=chosen):
            blocks, more = _qwen3_moe(config, block, place), {"head_norm": "one"}
        case _Qwen3():
            more = {"head_norm": "one"}
        case _Gemma3():
            more = {"head_norm": "one", "norms": "around", "offset_gain": True}
            more |= {"capped_logits": config.final_logit_softcapping is not None}
        case _Gemma2():
            more = {"norms": "around", "offset_gain": True}
            more |= {"capped_scores": config.attn_logit_softcapping is not None}
            more |= {"capped_logits": config.final_logit_softcapping is not None}
        case _Olmo2():
            more = {"head_norm": "all", "norms": "after"}
    return Architecture(**shape, blocks=blocks, **more)


def _qwen3_moe(config: _Qwen3Moe, dense: Block, place: str) -> tuple[Block, ...]:
    if not config.num_experts:
        return (dense,) * config.num_hidden_layers
    experts = Experts(
        config.num_experts,
        config.num_experts_per_tok,
        config.moe_intermediate_size,
        config.norm_topk_prob,
        upcast=False,
    )
    routed, dense_ones = _routed(dense, experts, place), set(config.mlp_only_layers or ())
    return tuple(
        dense if i in dense_ones or (i + 1) % config.decoder_sparse_step else routed
        for i in range(config.num_hidden_layers)
    )


def _phi3(config: _Config, shape: dict[str, Any], place: str) -> Architecture:
    block = _block(config, shape)
    ffn, hidden = block.ffn, shape["hidden"]
    width = sum(projection.outputs for projection in block.qkv)
    fused = Block(
        (Projection("self_attn.qkv_proj", hidden, width),),
        block.output,
        (Projection("mlp.gate_up_proj", hidden, 2 * ffn), block.mlp[-1]),
        ffn,
    )
    return Architecture(**shape, blocks=(fused,) * config.num_hidden_layers)


def _gpt_neox(config: _GptNeoX, shape: dict[str, Any], place: str) -> Architecture:
    hidden, ffn, bias = config.hidden_size, config.intermediate_size, config.attention_bias
    block = Block(
        (Projection("attention.query_key_value", hidden, 3 * hidden, bias),),
        Projection("attention.dense", hidden, hidden, bias),
        (
            Projection("mlp.dense_h_to_4h", hidden, ffn, bias=True),
            Projection("mlp.dense_4h_to_h", ffn, hidden, bias=True),
        ),
        ffn,
    )
    blocks = (block,) * config.num_hidden_layers
    return Architecture(**shape, blocks=blocks, norm="layer", parallel=config.use_parallel_residual)


def _gpt2(config: _Gpt2, shape: dict[str, Any], place: str) -> Architecture:
    hidden = config.hidden_size
    ffn = config.intermediate_size or 4 * hidden
    block = Block(
        (Projection("attn.c_attn", hidden, 3 * hidden, bias=True),),
        Projection("attn.c_proj", hidden, hidden, bias=True),
        (
            Projection("mlp.c_fc", hidden, ffn, bias=True),
            Projection("mlp.c_proj", ffn, hidden, bias=True),
        ),
        ffn,
    )
    blocks = (block,) * config.num_hidden_layers
    return Architecture(**shape, blocks=blocks, norm="layer", learned_positions=True)


_Maker = Callable[[Any, dict[str, Any], str], Architecture]
_FAMILIES: dict[str, tuple[type[_Config], _Maker]] = {
    "llama": (_Llama, _like_llama),
    "mistral": (_Mistral, _like_llama),
    "mixtral": (_Mixtral, _like_llama),
    "qwen2": (_Qwen2, _like_llama),
    "qwen3": (_Qwen3, _like_llama),
    "qwen3_moe": (_Qwen3Moe, _like_llama),
    "gemma2": (_Gemma2, _like_llama),
    "gemma3_text": (_Gemma3, _like_llama),
    "phi3": (_Phi3, _phi3),
    "olmo2": (_Olmo2, _like_llama),
    "gpt_neox": (_GptNeoX, _gpt_neox),
    "gpt2": (_Gpt2, _gpt2),
}

FAMILIES = tuple(_FAMILIES)
"""Their names, as `model_type` has them."""

RUN = ("llama", "qwen2", "gemma2", "gpt2")
"""Those of them whose blocks can be profiled."""


def of_family(family: str, name: str, raw: LlmConfig, place: str) -> Architecture:
    """Architecture that a configuration of one of `FAMILIES` describes."""
    kind, make = _FAMILIES[family]
    config = validated(kind, raw, place)
    return make(config, _shape(name, raw, config, place), place)


def check_runs(llm: str, raw: Mapping[str, Any]) -> None:
    """Refuse an LLM whose blocks cannot be profiled one by one yet.

    Raises
    ------
    ScenarioError
        If its `model_type` is none of `RUN`.
    """
    family = raw.get("model_type")
    if family not in RUN:
        raise ScenarioError(
            f"llm = {shortened(llm)}: its blocks cannot be profiled one by one yet "
            f"(model_type = {shortened(family)}); give an LLM of one of {', '.join(RUN)}."
        )
