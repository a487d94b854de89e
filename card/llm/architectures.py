"""The dimensions of decoder-only LLMs, read from their public configurations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from card.base.data_files import read_json
from card.base.errors import ScenarioError, unknown
from card.scenario import Training, llm_names

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


def _llama_like(
    name: str, raw: dict[str, Any], *, qkv_bias: bool = False, gemma: bool = False
) -> Architecture:
    hidden, heads, ffn = raw["hidden_size"], raw["num_attention_heads"], raw["intermediate_size"]
    kv_heads = raw["num_key_value_heads"]
    head_dim = raw.get("head_dim") or hidden // heads
    widths = {"q": heads, "k": kv_heads, "v": kv_heads}
    return Architecture(
        name=name,
        title=raw["_card"]["title"],
        num_blocks=raw["num_hidden_layers"],
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn=ffn,
        vocabulary=raw["vocab_size"],
        max_positions=raw["max_position_embeddings"],
        tied=raw["tie_word_embeddings"],
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


def _gpt2(name: str, raw: dict[str, Any]) -> Architecture:
    hidden, heads = raw["n_embd"], raw["n_head"]
    ffn = raw.get("n_inner") or 4 * hidden
    return Architecture(
        name=name,
        title=raw["_card"]["title"],
        num_blocks=raw["n_layer"],
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        ffn=ffn,
        vocabulary=raw["vocab_size"],
        max_positions=raw["n_positions"],
        tied=raw.get("tie_word_embeddings", True),
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


def public_config(name: str) -> dict[str, Any]:
    """Public configuration of a shipped LLM, as in `data/llms`."""
    if name not in llm_names():
        raise unknown("llm", name, llm_names())
    return read_json(f"llms/{name}")


@lru_cache
def architecture(name: str) -> Architecture:
    """Architecture of a shipped LLM, by its name in `data/llms`."""
    return architecture_of(name, public_config(name))


def architecture_of(name: str, raw: dict[str, Any]) -> Architecture:
    """Architecture that a configuration describes, in the words of `config.json`."""
    match raw["model_type"]:
        case "llama":
            return _llama_like(name, raw)
        case "qwen2":
            return _llama_like(name, raw, qkv_bias=True)
        case "gemma2":
            return _llama_like(name, raw, gemma=True)
        case "gpt2":
            return _gpt2(name, raw)
        case other:
            raise unknown(f"model_type of {name}", other, ["llama", "qwen2", "gemma2", "gpt2"])


def check_length(arch: Architecture, training: Training) -> None:
    """Refuse sequences that are longer than the LLM's positions."""
    length = training.sequence_length
    if length > arch.max_positions:
        raise ScenarioError(
            f"training.sequence_length = {length} exceeds the {arch.max_positions} positions of "
            f"{arch.name}; give at most {arch.max_positions}."
        )
