"""What one transformer block and the head of an LLM cost to train with LoRA.

Counts follow automatic differentiation on a frozen base, matrix product by matrix product: a
product costs its forward work once, and once more for each operand that needs a gradient. Work
equals torch's FLOP counter exactly, saved activations equal what torch keeps for backward (eager
attention, no dropout), both tested for every shipped LLM. Norms, activations and softmax count no
work. Rotary tables and masks, which all blocks share, count no memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from card.llm.architectures import Architecture, Projection
from card.scenario import Lora, Training

_FLOAT32 = 32
_INT64 = 64


@dataclass(frozen=True)
class Cost:
    """What one part of the LLM costs for one mini-batch."""

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

    @property
    def flop(self) -> int:
        """Forward and backward work [FLOP]."""
        return self.forward_flop + self.backward_flop


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


def block_cost(arch: Architecture, training: Training, lora: Lora, *, first: bool) -> Cost:
    """Cost of one transformer block for one mini-batch.

    Parameters
    ----------
    arch
        The LLM.
    training
        The mini-batch and its number formats.
    lora
        The adapters.
    first
        Whether this is block 1, whose input is the frozen embedding and needs no gradient.

    Notes
    -----
    Equation :eq:`eq-work` of the book, summed over the block's products.

    Examples
    --------
    >>> import card
    >>> from card.llm import architecture
    >>> study = card.load_scenario("nominal")
    >>> llm = architecture(study.llm)
    >>> cost = block_cost(llm, study.training, study.lora, first=False)
    >>> cost.parameters, cost.adapter_parameters  # two adapters of rank 8, on q and v
    (60821504, 53248)
    """
    batch, length, bits = training.batch_size, training.sequence_length, training.activation_bits
    tokens, heads = batch * length, arch.heads
    adapted = arch.adapted(lora.targets)
    tape = _Tape()

    def project(projection: Projection, source: str, gradient: bool) -> bool:
        """Frozen product plus its adapter; says whether the output needs a gradient."""
        tape.product(2 * tokens * projection.inputs * projection.outputs, gradient)
        if projection.name not in adapted:
            return gradient
        tape.product(2 * tokens * projection.inputs * lora.rank, True, gradient)
        tape.product(2 * tokens * lora.rank * projection.outputs, True, True)
        shared = source if lora.adapter_bits == bits else projection.name
        tape.keep(f"input of {shared}", tokens * projection.inputs * lora.adapter_bits)
        tape.keep(f"rank of {projection.name}", tokens * lora.rank * lora.adapter_bits)
        return True

    def norm(name: str, gradient: bool) -> None:
        tape.keep(name, _norm_saved_bit(arch, tokens, bits), gradient)

    stream = not first
    norm("attention norm", stream)
    flags = [project(projection, "attention", stream) for projection in arch.qkv]
    query, key, value = flags if len(flags) == 3 else flags * 3

    vectors, scores = tokens * heads * arch.head_dim, batch * heads * length**2
    scored = query or key
    tape.product(2 * scores * arch.head_dim, query, key)
    tape.keep("keys", vectors * bits, query)
    tape.keep("queries", vectors * bits, key)
    tape.keep("capped scores", scores * bits, scored and arch.softcapped)
    upcast = arch.norm == "rms" and bits != _FLOAT32
    tape.keep("softmax", scores * (_FLOAT32 if upcast else bits), scored)
    tape.product(2 * scores * arch.head_dim, scored, value)
    tape.keep("values", vectors * bits, scored)
    tape.keep("probabilities", scores * bits, value and (upcast or not scored))
    attended = project(arch.output, "output", scored or value)
    stream = stream or attended

    if arch.norms_per_block == 4:
        norm("norm after attention", attended)
    norm("MLP norm", stream)
    *widening, down = arch.mlp
    wide = [project(projection, "MLP", stream) for projection in widening]
    for name, when in _kept_by_activation(wide):
        tape.keep(name, tokens * arch.ffn * bits, when)
    narrowed = project(down, "down", any(wide))
    if arch.norms_per_block == 4:
        norm("norm after MLP", narrowed)

    adapters = sum(
        lora.rank * (p.inputs + p.outputs) for p in arch.projections if p.name in adapted
    )
    saved = sum(tape.saved.values())
    return Cost(tape.forward, tape.backward, arch.block_parameters, adapters, saved)


def _kept_by_activation(wide: list[bool]) -> list[tuple[str, bool]]:
    """Tensors of FFN width that the activation keeps, given which of its inputs need a gradient."""
    if len(wide) == 1:
        steps = ("GELU input", "GELU cube", "GELU tanh", "GELU half")
        return [(name, wide[0]) for name in steps]
    gate, up = wide
    return [("gate", gate), ("activated gate", up), ("up", gate)]


def head_cost(arch: Architecture, training: Training) -> Cost:
    """Cost of the final norm, the frozen LM head and the loss for one mini-batch."""
    tokens, bits = training.batch_size * training.sequence_length, training.activation_bits
    work = 2 * tokens * arch.hidden * arch.vocabulary
    logits = tokens * arch.vocabulary * (_FLOAT32 + (bits if arch.softcapped else 0))
    # the loss keeps its targets and how many they are; of one sequence also the one it pads with
    padded = 1 if training.batch_size == 1 else 0
    labels = (tokens + padded) * _INT64 + _FLOAT32
    saved = _norm_saved_bit(arch, tokens, bits) + logits + labels
    return Cost(work, work, arch.head_parameters, 0, saved)


def _norm_saved_bit(arch: Architecture, tokens: int, bits: int) -> int:
    """What one norm keeps for backward [bit]: its input, or that normalised, and statistics."""
    if arch.norm == "layer":
        return tokens * (arch.hidden + 2) * bits
    gain = arch.hidden if arch.offset_gain else 0
    return (tokens * (arch.hidden + 1) + gain) * _FLOAT32
