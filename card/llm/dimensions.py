"""The dimensions of a decoder-only LLM, block by block."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from card.base.errors import ScenarioError
from card.scenario import ALL_LINEAR, Training

Activation = Literal["silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu"]
"""Activation of an MLP, as configurations name it."""

DIMENSIONS = ("num_blocks", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocabulary", "tied")
"""What a table shows of an `Architecture`."""


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


@dataclass(frozen=True)
class Experts:
    """Gated MLPs in place of one, of which a router picks some for each token."""

    count: int
    """How many there are."""
    chosen: int
    """How many a token passes through."""
    ffn: int
    """Inner width of each."""
    normalised: bool
    """Whether the router makes the weights of those it picks add up to 1."""
    upcast: bool
    """Whether these weights stay in float32."""


@dataclass(frozen=True)
class Block:
    """The weight matrices of one block."""

    qkv: tuple[Projection, ...]
    """The query, key and value projections, or the one that fuses them."""
    output: Projection
    """The projection behind attention."""
    mlp: tuple[Projection, ...]
    """Widening projections (gate and up, both in one, or up alone), then down; none with experts.
    """
    ffn: int
    """Inner width of the MLP."""
    experts: Experts | None = None
    """What stands in place of the MLP, if anything does."""

    @property
    def projections(self) -> tuple[Projection, ...]:
        """All its matrices but those of experts."""
        return (*self.qkv, self.output, *self.mlp)

    @property
    def gated(self) -> bool:
        """Whether half of the widened MLP gates the other."""
        return self.experts is not None or len(self.mlp) == 3 or self.fused_gate

    @property
    def fused_gate(self) -> bool:
        """Whether one matrix makes gate and up."""
        return self.experts is not None or self.mlp[0].outputs == 2 * self.ffn


@dataclass(frozen=True)
class Architecture:
    """The dimensions of a decoder-only LLM, read from its public configuration."""

    name: str
    """Its name in `data/llms`, or its file."""
    title: str
    """Its name for people."""
    hidden: int
    """Width of a block."""
    heads: int
    """Heads of attention."""
    kv_heads: int
    """Heads of keys and values, which groups of heads share."""
    head_dim: int
    """Width of a head."""
    vocabulary: int
    """Tokens that it knows."""
    max_positions: int
    """Longest sequence, in tokens."""
    tied: bool
    """Whether the LM head is the token embedding."""
    blocks: tuple[Block, ...]
    """Its blocks, from the first to the last."""
    activation: Activation
    """What the MLP passes its gate through, or all that is widened."""
    norm: Literal["rms", "layer"] = "rms"
    """Kind of its norms."""
    norms: Literal["before", "after", "around"] = "before"
    """Where attention and MLP have a norm each, or two."""
    head_norm: Literal["one", "all"] | None = None
    """Whether queries and keys pass a norm, over one head or over all."""
    parallel: bool = False
    """Whether the MLP takes what attention takes, not what it makes of it."""
    learned_positions: bool = False
    """Whether positions are embedded as tokens are, not turned into queries and keys."""
    capped_scores: bool = False
    """Whether attention scores pass through a tanh cap."""
    capped_logits: bool = False
    """Whether logits do."""
    offset_gain: bool = False
    """Whether norms scale by 1 + weight, which is a tensor of its own."""

    @property
    def num_blocks(self) -> int:
        """Transformer blocks (I)."""
        return len(self.blocks)

    @property
    def ffn(self) -> int:
        """Inner width of the MLP, the widest where blocks differ."""
        return max(block.ffn for block in self.blocks)

    @property
    def projections(self) -> tuple[Projection, ...]:
        """All weight matrices that may carry an adapter, those of equal blocks once.

        Experts carry none here, nor do MLPs of other blocks beside them, whose names they share.
        """
        kinds = dict.fromkeys(self.blocks)
        routed = any(block.experts for block in kinds)
        found = ((*b.qkv, b.output, *(() if routed else b.mlp)) for b in kinds)
        return tuple(dict.fromkeys(p for projections in found for p in projections))

    @property
    def norm_parameters(self) -> int:
        """Weights of one norm."""
        return self.hidden * (2 if self.norm == "layer" else 1)

    def parameters_of(self, block: Block) -> int:
        """Weights of one block."""
        matrices = sum(projection.parameters for projection in block.projections)
        if block.experts:
            each = 3 * self.hidden * block.experts.ffn + self.hidden  # its own, and the router's
            matrices += block.experts.count * each
        norms = (4 if self.norms == "around" else 2) * self.norm_parameters
        per_head = {None: 0, "one": 2, "all": self.heads + self.kv_heads}
        return matrices + norms + per_head[self.head_norm] * self.head_dim

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
        blocks = sum(map(self.parameters_of, self.blocks))
        return self.embedding_parameters + blocks + self.head_parameters

    def adapted(self, targets: Iterable[str]) -> frozenset[str]:
        """Names of the projections that carry an adapter.

        Raises
        ------
        ScenarioError
            If a target names no projection of this architecture.
        """
        qkv = self.blocks[0].qkv
        one = qkv[0].name.rpartition(".")[2]
        fused = f" (query, key and value are fused in {one})" if len(qkv) == 1 else ""
        names = [projection.name for projection in self.projections]
        routed = any(block.experts for block in self.blocks)
        return matching(targets, names, f"{self.name}{fused}", experts=routed)


def matching(
    targets: Iterable[str], names: Collection[str], llm: str, *, experts: bool
) -> frozenset[str]:
    """Names of projections that LoRA targets name: by their last part, or a longer suffix.

    `all-linear` names them all, as it does for peft where there are no experts.

    Raises
    ------
    ScenarioError
        If a target names none of the LLM, which it calls `llm`, or experts, which carry none here.
    """
    if tuple(targets) == (ALL_LINEAR,):
        if experts:
            raise ScenarioError(
                f"lora.targets = {ALL_LINEAR!r} would adapt the experts of {llm} too, which carry "
                f"no adapters here; give a list, such as [{_last_parts(names)}]."
            )
        return frozenset(names)
    chosen: set[str] = set()
    for target in targets:
        found = {name for name in names if f".{name}".endswith(f".{target}")}
        if not found:
            raise ScenarioError(
                f"lora.targets = {target!r} is no projection of {llm}; choose from "
                f"{_last_parts(names)}."
            )
        chosen |= found
    return frozenset(chosen)


def _last_parts(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in names))


def check_length(llm: str, most: int | None, training: Training) -> None:
    """Refuse sequences that are longer than the positions of an LLM, if it has so many at most."""
    length = training.sequence_length
    if most is not None and length > most:
        raise ScenarioError(
            f"training.sequence_length = {length} exceeds the {most} positions of {llm}; give at "
            f"most {most}."
        )
