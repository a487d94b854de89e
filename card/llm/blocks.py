"""What one transformer block and the head of an LLM cost to train with LoRA.

Counts follow automatic differentiation on a frozen base, matrix product by matrix product: a
product costs its forward work once, and once more for each operand that needs a gradient. Work
equals torch's FLOP counter exactly, saved activations equal what torch keeps for backward (eager
attention, no dropout), both tested for every shipped LLM and family. Norms, activations and softmax
count no work; attention within a window costs what it costs without, as eager attention masks all
the same products. Rotary tables and masks, which all blocks share, count no memory. Of experts,
those that a token passes through work and keep activations, and all are held.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from card.llm.dimensions import Activation, Architecture, Block, Projection
from card.scenario import Lora, Training

_FLOAT32 = 32
_INT64 = 64

_KEPT: dict[Activation, tuple[str, ...]] = {
    "silu": ("gate",),
    "swish": ("gate",),
    "gelu": ("gate",),
    "gelu_pytorch_tanh": ("gate",),
    "gelu_new": ("gate", "gate cubed", "tanh", "half the gate"),
    "quick_gelu": ("gate", "sigmoid"),
    "relu": ("activated gate",),
}
"""Tensors as wide as the gate that an activation keeps for backward."""


@dataclass(frozen=True)
class Cost:
    """What one part of the LLM costs for one micro-batch, which may be all of a mini-batch."""

    forward_flop: int
    """Forward work [FLOP]."""
    backward_flop: int
    """Backward work [FLOP]."""
    parameters: int
    """Frozen weights."""
    adapter_parameters: int
    """Trained weights."""
    saved_bit: int
    """Activations kept for backward [bit]."""
    matrices: tuple[int, ...] = ()
    """Weights of each matrix that may carry an adapter, biases apart, in ascending order."""

    @property
    def flop(self) -> int:
        """Forward and backward work [FLOP]."""
        return self.forward_flop + self.backward_flop


@dataclass(frozen=True)
class LlmCosts:
    """What the parts of a whole LLM cost for one micro-batch."""

    hidden: int
    """Width of what passes from block to block."""
    embedding: Cost
    """All before the first block."""
    blocks: tuple[Cost, ...]
    """Its blocks, from the first to the last."""
    head: Cost
    """All after the last block, with the weights that it does not share with the embedding."""
    head_parameters: int
    """All weights of the head, as an end needs them that has no embedding."""

    @property
    def parameters(self) -> int:
        """Weights of the whole LLM, tied ones once."""
        return sum(part.parameters for part in (self.embedding, *self.blocks, self.head))


@dataclass
class _Tape:
    """Adds up the work of products and the tensors that backward keeps, by name."""

    forward: int = 0
    backward: int = 0
    saved: dict[str, int] = field(default_factory=dict)

    def product(self, flop: int, *operands_with_gradient: bool) -> None:
        self.forward += flop
        self.backward += flop * sum(operands_with_gradient)

    def keep(self, name: str, bit: int, when: bool = True) -> None:
        if when:
            self.saved[name] = bit


def block_costs(arch: Architecture, training: Training, lora: Lora) -> tuple[Cost, ...]:
    """Cost of every transformer block for one micro-batch, from the first to the last.

    Parameters
    ----------
    arch
        The LLM.
    training
        The mini-batch and its number formats.
    lora
        The adapters.

    Notes
    -----
    Equation :eq:`eq-work` of the book, summed over a block's products. The input of the first block
    is the frozen embedding and needs no gradient, nor does that of any other below all adapters.

    Examples
    --------
    >>> import card
    >>> from card.llm import architecture
    >>> study = card.load_scenario("nominal")
    >>> _, cost, *_ = block_costs(architecture(study.llm), study.training, study.lora)
    >>> cost.parameters, cost.adapter_parameters  # two adapters of rank 8, on q and v
    (60821504, 53248)
    """
    adapted = arch.adapted(lora.targets)
    known: dict[tuple[Block, bool], Cost] = {}
    costs: list[Cost] = []
    stream = False
    for block in arch.blocks:
        if (block, stream) not in known:
            known[block, stream] = _Walk(arch, block, training, lora, adapted).cost(stream)
        costs.append(known[block, stream])
        stream = stream or costs[-1].adapter_parameters > 0
    return tuple(costs)


def part_costs(arch: Architecture, training: Training, lora: Lora) -> LlmCosts:
    """Costs of all parts of an LLM, by closed forms; what it takes is as for `block_costs`."""
    return LlmCosts(
        hidden=arch.hidden,
        embedding=Cost(0, 0, arch.embedding_parameters, 0, 0),
        blocks=block_costs(arch, training, lora),
        head=head_cost(arch, training),
        head_parameters=arch.norm_parameters + arch.vocabulary * arch.hidden,
    )


class _Walk:
    """One block's forward pass, which notes what each step costs and keeps."""

    def __init__(
        self,
        arch: Architecture,
        block: Block,
        training: Training,
        lora: Lora,
        adapted: frozenset[str],
    ) -> None:
        self.arch, self.block, self.lora, self.adapted = arch, block, lora, adapted
        self.batch, self.length = training.micro_batch_size, training.sequence_length
        self.tokens, self.bits = self.batch * self.length, training.activation_bits
        self.tape = _Tape()

    def cost(self, stream: bool) -> Cost:
        """Cost of the block; `stream` says whether its input needs a gradient."""
        attended = self._attention(stream)
        self._mlp(stream if self.arch.parallel else stream or attended)
        adapters = sum(
            self.lora.rank * (p.inputs + p.outputs) + (p.outputs if self.lora.dora else 0)
            for p in self.block.projections
            if p.name in self.adapted
        )
        saved, parameters = sum(self.tape.saved.values()), self.arch.parameters_of(self.block)
        matrices = tuple(sorted(p.inputs * p.outputs for p in self.block.projections))
        return Cost(self.tape.forward, self.tape.backward, parameters, adapters, saved, matrices)

    def _project(self, projection: Projection, source: str, gradient: bool) -> bool:
        """Frozen product plus its adapter; says whether the output needs a gradient."""
        tape, tokens, lora = self.tape, self.tokens, self.lora
        tape.product(2 * tokens * projection.inputs * projection.outputs, gradient)
        if projection.name not in self.adapted:
            return gradient
        tape.product(2 * tokens * projection.inputs * lora.rank, True, gradient)
        tape.product(2 * tokens * lora.rank * projection.outputs, True, True)
        shared = source if lora.adapter_bits == self.bits else projection.name
        tape.keep(f"input of {shared}", tokens * projection.inputs * lora.adapter_bits)
        tape.keep(f"rank of {projection.name}", tokens * lora.rank * lora.adapter_bits)
        if lora.dora:
            self._magnify(projection, gradient)
        return True

    def _magnify(self, projection: Projection, gradient: bool) -> None:
        """What DoRA adds, as peft computes it: the norms of W + B A, and the scaling by them.

        B A passes through an identity matrix and is taken as a constant. Norms and scaling are no
        products.
        """
        name, outputs, bits = projection.name, projection.outputs, self.lora.adapter_bits
        self.tape.product(2 * projection.inputs * self.lora.rank * (projection.inputs + outputs))
        self.tape.keep(f"norms and scale of {name}", 2 * outputs * bits)
        self.tape.keep(f"scale without the base of {name}", outputs * bits, gradient)
        self.tape.keep(f"base result of {name}", self.tokens * outputs * self.bits)
        self.tape.keep(f"adapter's result of {name}", self.tokens * outputs * bits)

    def _norm(self, name: str, gradient: bool, source: str = "") -> None:
        """A norm over the block's width; two of one source share its input."""
        inputs, rest = _norm_saved_bit(self.arch, self.tokens, self.arch.hidden, self.bits)
        self.tape.keep(f"normalised {source or name}", inputs, gradient)
        self.tape.keep(name, rest, gradient)

    def _head_norm(self, name: str, heads: int, gradient: bool) -> None:
        """A norm of queries or keys, over each head or over all."""
        arch = self.arch
        if arch.head_norm:
            rows, width = self.tokens * heads, arch.head_dim
            if arch.head_norm == "all":
                rows, width = self.tokens, heads * arch.head_dim
            self.tape.keep(name, sum(_norm_saved_bit(arch, rows, width, self.bits)), gradient)

    def _attention(self, stream: bool) -> bool:
        """Attention and its norms; says whether what it adds needs a gradient."""
        arch, block, tape, bits = self.arch, self.block, self.tape, self.bits
        if arch.norms != "after":
            self._norm("attention norm", stream, "input")
        flags = [self._project(projection, "attention", stream) for projection in block.qkv]
        query, key, value = flags if len(flags) == 3 else flags * 3
        self._head_norm("query norm", arch.heads, query)
        self._head_norm("key norm", arch.kv_heads, key)

        vectors = self.tokens * arch.heads * arch.head_dim
        scores = self.batch * arch.heads * self.length**2
        scored = query or key
        tape.product(2 * scores * arch.head_dim, query, key)
        keys, values = self._kept_keys_and_values()
        tape.keep("keys", keys * bits, query)
        tape.keep("queries", vectors * bits, key)
        tape.keep("capped scores", scores * bits, scored and arch.capped_scores)
        upcast = not arch.learned_positions and bits != _FLOAT32
        tape.keep("softmax", scores * (_FLOAT32 if upcast else bits), scored)
        tape.product(2 * scores * arch.head_dim, scored, value)
        tape.keep("values", values * bits, scored)
        tape.keep("probabilities", scores * bits, value and (upcast or not scored))
        attended = self._project(block.output, "output", scored or value)
        if arch.norms != "before":
            self._norm("norm after attention", attended)
        return attended

    def _kept_keys_and_values(self) -> tuple[int, int]:
        """Elements of each that products keep: of every head, or where no copy is made, as found.

        Eager attention copies them for the heads that share them, unless one sequence makes a view
        do; values in a view keep the whole of a fused projection.
        """
        arch, (first, *others) = self.arch, self.block.qkv
        width = self.tokens * arch.head_dim
        if self.batch > 1 or arch.kv_heads not in (1, arch.heads) or arch.learned_positions:
            return width * arch.heads, width * arch.heads
        keys = width * arch.kv_heads
        return keys, keys if others else self.tokens * first.outputs

    def _mlp(self, stream: bool) -> None:
        """MLP or experts, and their norms."""
        arch, block = self.arch, self.block
        if arch.norms != "after":
            self._norm("MLP norm", stream, "input" if arch.parallel else "")
        if block.experts:
            narrowed = self._experts(stream)
        else:
            *widening, down = block.mlp
            wide = [self._project(projection, "MLP", stream) for projection in widening]
            self._activate(self.tokens, wide)
            narrowed = self._project(down, "down", any(wide))
        if arch.norms != "before":
            self._norm("norm after MLP", narrowed)

    def _experts(self, stream: bool) -> bool:
        """Router and the experts it picks; indices are of 64 bit."""
        experts, tape, hidden = self.block.experts, self.tape, self.arch.hidden
        assert experts is not None
        passes = self.tokens * experts.chosen
        tape.product(2 * self.tokens * hidden * experts.count, stream)
        tape.product(2 * passes * hidden * 2 * experts.ffn, stream)
        tape.product(2 * passes * experts.ffn * hidden, stream)
        tape.keep("router's softmax", self.tokens * experts.count * _FLOAT32, stream)
        tape.keep("indices", passes * 3 * _INT64, stream)
        total = (passes + self.tokens) * _FLOAT32
        tape.keep("weights that add up", total, stream and experts.normalised)
        weight = _FLOAT32 if experts.upcast else self.bits
        tape.keep("weights of experts", passes * weight, stream)
        tape.keep("their outputs, weighted and not", 2 * passes * hidden * self.bits, stream)
        self._activate(passes, [stream])
        return stream

    def _activate(self, rows: int, wide: list[bool]) -> None:
        """Activation, and the product with `up` where it gates."""
        block, tape, size = self.block, self.tape, rows * self.block.ffn * self.bits
        gate, up = wide[0], wide[-1]
        for name in _KEPT[self.arch.activation]:
            what = name if block.gated or name != "activated gate" else "input of down"
            tape.keep(what, size, gate)
        if block.gated:
            tape.keep("activated gate", size, up)
            tape.keep("up", size, gate)
        if block.fused_gate:  # gate and up are halves of one tensor, which is kept whole
            halves = [tape.saved.pop(name, 0) for name in ("gate", "up")]
            tape.keep("gate and up", 2 * size, any(halves))


def head_cost(arch: Architecture, training: Training) -> Cost:
    """Cost of the final norm, the frozen LM head and the loss for one micro-batch."""
    tokens, bits = training.micro_batch_size * training.sequence_length, training.activation_bits
    work = 2 * tokens * arch.hidden * arch.vocabulary
    logits = tokens * arch.vocabulary * (_FLOAT32 + (bits if arch.capped_logits else 0))
    # the loss keeps its targets and how many they are; of one sequence also the one it pads with
    padded = 1 if training.micro_batch_size == 1 else 0
    labels = (tokens + padded) * _INT64 + _FLOAT32
    norm = sum(_norm_saved_bit(arch, tokens, arch.hidden, bits))
    return Cost(work, work, arch.head_parameters, 0, norm + logits + labels)


def _norm_saved_bit(arch: Architecture, rows: int, width: int, bits: int) -> tuple[int, int]:
    """What one norm keeps for backward [bit]: its input, or that normalised, and the rest."""
    if arch.norm == "layer":
        return rows * width * bits, rows * 2 * bits
    gain = width if arch.offset_gain else 0
    return rows * width * _FLOAT32, (rows + gain) * _FLOAT32
