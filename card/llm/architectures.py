"""The dimensions of decoder-only LLMs, read from their public configurations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from card.base.data_files import DATA, llm_names
from card.base.errors import ScenarioError, unknown, validated
from card.base.llm_configs import llm_title, public_config
from card.base.schema import Count, Flag, Name
from card.scenario import Training

MOST_BLOCKS = 10_000
"""Transformer blocks of an LLM at most; far more than any has, and few enough to count."""

Norm = Literal["rms", "layer"]


@dataclass(frozen=True)
class Projection:
    """One weight matrix of a block, named as in the transformers model."""

    name: str
    """Its name within a block."""
    inputs: int
    """Width of what it takes."""
    outputs: int
    """Width of what it gives."""
    bias: bool = False
    """Whether it adds a bias."""

    @property
    def parameters(self) -> int:
        """Number of weights, bias included."""
        return self.inputs * self.outputs + (self.outputs if self.bias else 0)

    def matches(self, target: str) -> bool:
        """Whether a LoRA target names this projection: by its last part, or a longer suffix."""
        return self.name == target or self.name.endswith(f".{target}")


@dataclass(frozen=True)
class Architecture:
    """The dimensions of a decoder-only LLM of equal blocks, read from its public configuration."""

    name: str
    """Its name in `data/llms`."""
    title: str
    """Its name for people."""
    num_blocks: int
    """Transformer blocks (I)."""
    hidden: int
    """Width of a block."""
    heads: int
    """Heads of attention."""
    kv_heads: int
    """Heads of keys and values, which groups of heads share."""
    head_dim: int
    """Width of a head."""
    ffn: int
    """Inner width of the MLP."""
    vocabulary: int
    """Tokens that it knows."""
    max_positions: int
    """Longest sequence, in tokens."""
    tied: bool
    """Whether the LM head is the token embedding."""
    qkv: tuple[Projection, ...]
    """The query, key and value projections, or the one that fuses them."""
    output: Projection
    """The projection behind attention."""
    mlp: tuple[Projection, ...]
    """Gate, up and down projections, or up and down."""
    norm: Norm
    """Kind of its norms."""
    norms_per_block: int
    """Norms in a block."""
    learned_positions: bool
    """Whether positions are embedded as tokens are."""
    softcapped: bool
    """Whether attention scores and logits pass through a tanh cap."""
    offset_gain: bool
    """Whether norms scale by 1 + weight, which is a tensor of its own."""

    @property
    def projections(self) -> tuple[Projection, ...]:
        """All weight matrices of one block."""
        return (*self.qkv, self.output, *self.mlp)

    @property
    def norm_parameters(self) -> int:
        """Weights of one norm."""
        return self.hidden * (2 if self.norm == "layer" else 1)

    @property
    def block_parameters(self) -> int:
        """Weights of one block."""
        matrices = sum(projection.parameters for projection in self.projections)
        return matrices + self.norms_per_block * self.norm_parameters

    @property
    def embedding_parameters(self) -> int:
        """Weights of the token (and learned position) embedding."""
        positions = self.max_positions if self.learned_positions else 0
        return (self.vocabulary + positions) * self.hidden

    @property
    def head_parameters(self) -> int:
        """Weights that the final norm and the LM head add to the embedding's."""
        return self.norm_parameters + (0 if self.tied else self.vocabulary * self.hidden)

    @property
    def parameters(self) -> int:
        """Weights of the whole LLM, tied ones once."""
        blocks = self.num_blocks * self.block_parameters
        return self.embedding_parameters + blocks + self.head_parameters

    def adapted(self, targets: Iterable[str]) -> frozenset[str]:
        """Names of the projections that carry an adapter.

        Raises
        ------
        ScenarioError
            If a target names no projection of this architecture.
        """
        for target in targets:
            if not any(projection.matches(target) for projection in self.projections):
                known = [projection.name.rpartition(".")[2] for projection in self.projections]
                fused = " (query, key and value are fused in c_attn)" if len(self.qkv) == 1 else ""
                choices = ", ".join(dict.fromkeys(known))
                raise ScenarioError(
                    f"lora.targets = {target!r} is no projection of {self.name}{fused}; "
                    f"choose from {choices}."
                )
        return frozenset(p.name for p in self.projections if any(map(p.matches, targets)))


class _Described(BaseModel):
    title: Name | None = None
    source: Name | None = None


class _LlamaConfig(BaseModel):
    """The keys of a configuration that dimensions come from, in the words of `config.json`."""

    described: _Described | None = Field(None, alias="_card")
    hidden_size: Count
    num_attention_heads: Count
    num_key_value_heads: Count
    head_dim: Count | None = None
    intermediate_size: Count
    num_hidden_layers: Annotated[Count, Field(le=MOST_BLOCKS)]
    vocab_size: Count
    max_position_embeddings: Count
    tie_word_embeddings: Flag


class _Gpt2Config(BaseModel):
    """Likewise for GPT-2, which names them in its own way."""

    described: _Described | None = Field(None, alias="_card")
    n_embd: Count
    n_head: Count
    n_inner: Count | None = None
    n_layer: Annotated[Count, Field(le=MOST_BLOCKS)]
    n_positions: Count
    vocab_size: Count
    tie_word_embeddings: Flag = True


def _head_dim(place: str, hidden: int, heads: int) -> int:
    if hidden % heads:
        raise ScenarioError(
            f"{place}: a width of {hidden} does not divide among {heads} heads; correct either."
        )
    return hidden // heads


def _llama_like(
    name: str, raw: dict[str, Any], place: str, *, qkv_bias: bool = False, gemma: bool = False
) -> Architecture:
    config = validated(_LlamaConfig, raw, place)
    hidden, heads, ffn = config.hidden_size, config.num_attention_heads, config.intermediate_size
    kv_heads = config.num_key_value_heads
    head_dim = config.head_dim or _head_dim(place, hidden, heads)
    widths = {"q": heads, "k": kv_heads, "v": kv_heads}
    return Architecture(
        name=name,
        title=llm_title(name, raw),
        num_blocks=config.num_hidden_layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn=ffn,
        vocabulary=config.vocab_size,
        max_positions=config.max_position_embeddings,
        tied=config.tie_word_embeddings,
        qkv=tuple(
            Projection(f"self_attn.{part}_proj", hidden, count * head_dim, qkv_bias)
            for part, count in widths.items()
        ),
        output=Projection("self_attn.o_proj", heads * head_dim, hidden),
        mlp=(
            Projection("mlp.gate_proj", hidden, ffn),
            Projection("mlp.up_proj", hidden, ffn),
            Projection("mlp.down_proj", ffn, hidden),
        ),
        norm="rms",
        norms_per_block=4 if gemma else 2,
        learned_positions=False,
        softcapped=gemma,
        offset_gain=gemma,
    )


def _gpt2(name: str, raw: dict[str, Any], place: str) -> Architecture:
    config = validated(_Gpt2Config, raw, place)
    hidden, heads = config.n_embd, config.n_head
    ffn = config.n_inner or 4 * hidden
    return Architecture(
        name=name,
        title=llm_title(name, raw),
        num_blocks=config.n_layer,
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=_head_dim(place, hidden, heads),
        ffn=ffn,
        vocabulary=config.vocab_size,
        max_positions=config.n_positions,
        tied=config.tie_word_embeddings,
        qkv=(Projection("attn.c_attn", hidden, 3 * hidden, bias=True),),
        output=Projection("attn.c_proj", hidden, hidden, bias=True),
        mlp=(
            Projection("mlp.c_fc", hidden, ffn, bias=True),
            Projection("mlp.c_proj", ffn, hidden, bias=True),
        ),
        norm="layer",
        norms_per_block=2,
        learned_positions=True,
        softcapped=False,
        offset_gain=False,
    )


def architecture(name: str) -> Architecture:
    """Architecture of a shipped LLM, of a `config.json`, or of a folder with one."""
    file = f"{DATA / 'llms' / name}.json" if name in llm_names() else name
    return architecture_of(name, public_config(name), file)


def architecture_of(name: str, raw: dict[str, Any], file: str = "") -> Architecture:
    """Architecture that a configuration describes, in the words of `config.json`.

    Raises
    ------
    ScenarioError
        If a dimension is missing or wrong; it names the file, or where none is given the LLM.
    """
    place = file or name
    match raw.get("model_type"):
        case "llama":
            return _llama_like(name, raw, place)
        case "qwen2":
            return _llama_like(name, raw, place, qkv_bias=True)
        case "gemma2":
            return _llama_like(name, raw, place, gemma=True)
        case "gpt2":
            return _gpt2(name, raw, place)
        case other:
            raise unknown(f"{place}: model_type", other, ["llama", "qwen2", "gemma2", "gpt2"])


def check_length(arch: Architecture, training: Training) -> None:
    """Refuse sequences that are longer than the LLM's positions."""
    length = training.sequence_length
    if length > arch.max_positions:
        raise ScenarioError(
            f"training.sequence_length = {length} exceeds the {arch.max_positions} positions of "
            f"{arch.name}; give at most {arch.max_positions}."
        )
