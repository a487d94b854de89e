"""What every option asks of device, server and link: work, traffic, memory, in whole numbers.

An option is a cut, with the bits per number that is sent up and down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import accumulate, product
from operator import add, attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from card.base.arrays import locked
from card.base.errors import ScenarioError, no_scenario
from card.base.units import IntArray
from card.llm.architectures import llm_costs
from card.llm.blocks import Cost, LlmCosts, part_costs
from card.llm.dimensions import Architecture
from card.scenario import Lora, Optimiser, Scenario, Training, Wire

LABEL_BITS = 32
"""Bits of one label (ℓ) on the wire, a token id as a 32-bit integer (`assumed`)."""

SCALE_BITS = 16
"""Bits of the scale that a group of integers shares on the wire, a float16 (`assumed`)."""

AS_HELD = Wire()
"""Numbers are sent as they are held, and in no other way."""

OPTIMISER_COPIES: dict[Optimiser, int] = {"adamw": 4, "sgd": 2, "sgd-momentum": 3}
"""Adapter-sized buffers in training, for weight, gradient and what an optimiser keeps (k).

Moments have the number format of their weight (8 byte of AdamW's per float32 weight); torch makes
no master copy of a weight in another format, so none is counted.
"""


@dataclass(frozen=True, eq=False)
class CutProfile:
    """What each option asks of device, server and link; arrays over the options.

    Rows are the cuts 0..I at the first listed bits up and down, then the same cuts at the next bits
    down, and when these are through, at the next bits up. Where only one number of bits may be sent
    each way, options are the cuts 0..I and nothing else.
    """

    cut: IntArray
    """Blocks on the device (c)."""
    uplink_bits: IntArray
    """Bits per number that goes up."""
    downlink_bits: IntArray
    """Bits per number that comes down."""
    device_flop: IntArray
    """Device work of one local iteration [FLOP] (F_D)."""
    server_flop: IntArray
    """Server work of one local iteration [FLOP] (F_S)."""
    uplink_bit: IntArray
    """Smashed data up per local iteration [bit] (S_up)."""
    downlink_bit: IntArray
    """Gradients, if u-shaped also final hidden states, down per local iteration [bit] (S_dn)."""
    adapter_bit: IntArray
    """Device-side adapters, moved down and up once per round [bit] (A)."""
    device_memory_bit: IntArray
    """What the device holds to train its part [bit] (M)."""
    server_memory_bit: IntArray
    """What the server holds to train the rest [bit] (H); nothing once all is on the device."""
    messages: IntArray
    """Messages of one local iteration, both ways together (ν); adapters are apart."""
    device_parts: IntArray
    """How many embeddings, first blocks, other blocks and heads the device holds,
    shape `(options, 4)`; the server holds the rest."""

    @property
    def num_blocks(self) -> int:
        """Number of transformer blocks (I)."""
        return int(self.cut[-1])

    @property
    def num_options(self) -> int:
        """Number of options, I + 1 for each pair of bits up and down."""
        return len(self.cut)

    @property
    def at_first_bits(self) -> CutProfile:
        """Options at the first listed bits alone, which are the cuts 0..I."""
        rows = slice(self.num_blocks + 1)
        return replace(self, **{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    def as_dict(self) -> dict[str, list[int]]:
        """Plain lists over options, as `card costs --json` prints them."""
        names = [item.name for item in fields(self) if item.name != "device_parts"]
        return {name: getattr(self, name).tolist() for name in names}


def cut_profile(scenario: Scenario) -> CutProfile:
    """Work, traffic and memory of every cut of a scenario's LLM, at all bits that may be sent.

    Raises
    ------
    ScenarioError
        If a LoRA target or the sequence length does not fit the LLM, or counts exceed 64 bits.

    Notes
    -----
    Equations :eq:`eq-device-work`, :eq:`eq-traffic`, :eq:`eq-adapters`, :eq:`eq-memory` and
    :eq:`eq-server-memory` of the book.

    Examples
    --------
    >>> import card
    >>> profile = cut_profile(card.load_scenario("nominal"))
    >>> profile.uplink_bit[0]  # 512 tokens: 2048 numbers of 16 bit each, and a label of 32
    np.int64(16793600)
    """
    if not isinstance(scenario, Scenario):
        raise no_scenario(scenario)
    training, lora = scenario.training, scenario.lora
    try:
        return _over_cuts(llm_costs(scenario), training, lora.adapter_bits, scenario.wire)
    except OverflowError:
        raise ScenarioError(
            f"training.batch_size = {training.batch_size}, training.sequence_length = "
            f"{training.sequence_length} and lora.rank = {lora.rank} make counts beyond 64 bits; "
            "give smaller ones, or a smaller llm."
        ) from None


def held_bit(part: Cost, training: Training) -> int:
    """Frozen weights of a part as they are held [bit].

    Notes
    -----
    In 4-bit NormalFloat with double quantisation (QLoRA, Dettmers et al. 2023, arXiv 2305.14314)
    each 64 weights of a matrix share a scale of 8 bit, and each 256 scales one of 32 bit: 4.127 bit
    per weight. Biases, norms, experts, embedding and head keep their `weight_bits`. The two small
    tables of values, and a matrix while it is turned back to 16 bit, are not counted, nor is the
    work of turning it.
    """
    matrices = part.matrices if training.base_weights else ()
    scales = [-(-weights // 64) for weights in matrices]
    quantised = 4 * sum(matrices) + sum(8 * n + 32 * -(-n // 256) for n in scales)
    return quantised + (part.parameters - sum(matrices)) * training.weight_bits


def profile_of(arch: Architecture, training: Training, lora: Lora) -> CutProfile:
    """`cut_profile` of any architecture, at one number of bits."""
    return _over_cuts(part_costs(arch, training, lora), training, lora.adapter_bits)


def _over_cuts(
    costs: LlmCosts, training: Training, adapter_bits: int, wire: Wire = AS_HELD
) -> CutProfile:
    embedding, blocks, head = costs.embedding, costs.blocks, costs.head
    count = len(blocks)
    cut = np.arange(count + 1).astype(object)  # whole numbers that cannot wrap
    ushaped = training.topology == "u-shaped"

    def below(of_block: Callable[[Cost], int]) -> NDArray[Any]:
        """Sum over the device's blocks 1..c."""
        return _running(map(of_block, blocks))

    def above(of_block: Callable[[Cost], int]) -> NDArray[Any]:
        """Sum over the server's blocks c+1..I."""
        return _running(map(of_block, reversed(blocks)))[::-1]

    micro_batches, adapters = training.accumulation, attrgetter("adapter_parameters")
    flop = partial(_flop, checkpointing=training.gradient_checkpointing)
    held = partial(held_bit, training=training)
    head_on_device = np.ones_like(cut) if ushaped else (cut == count).astype(object)
    head_on_server = 1 - head_on_device
    split, first = (cut < count).astype(object), (cut > 0).astype(object)
    trains = (below(adapters) > 0).astype(object)
    tokens = training.batch_size * training.sequence_length
    hidden_bit = tokens * costs.hidden * training.activation_bits
    label_bit = 0 if ushaped else tokens * LABEL_BITS

    weights = held(embedding) + below(held) + head_on_device * held(head)
    adapter_bit = below(adapters) * adapter_bits
    # a tied head is the embedding, of which both ends need a copy when the head is the server's
    server_weights = above(held) + head_on_server * costs.head_parameters * training.weight_bits
    server_adapter_bit = above(adapters) * adapter_bits
    saved = partial(
        _saved, input_bit=hidden_bit // micro_batches if training.gradient_checkpointing else None
    )
    copies = OPTIMISER_COPIES[training.optimiser]
    # a device that is alone with the LLM has nothing to wait for
    device_saved = saved(
        blocks, head_on_device * head.saved_bit, in_flight=1 + split * (training.in_flight - 1)
    )
    server_saved = saved(
        blocks[::-1],
        (head_on_server * head.saved_bit)[::-1],
        in_flight=training.in_flight if ushaped else 1,
    )[::-1]
    whatever_is_sent = {
        "cut": cut,
        "device_flop": micro_batches * (embedding.flop + below(flop) + head_on_device * head.flop),
        "server_flop": micro_batches * (above(flop) + head_on_server * head.flop),
        "adapter_bit": adapter_bit,
        "device_memory_bit": weights + copies * adapter_bit + device_saved,
        "server_memory_bit": server_weights + copies * server_adapter_bit + server_saved,
        "messages": micro_batches * split * (1 + trains + 2 * ushaped),
        "device_parts": np.stack([cut**0, first, cut - first, head_on_device], axis=1),
    }
    bits_held = training.activation_bits
    pairs = list(product(*(listed or (bits_held,) for listed in wire.lists.values())))
    sent = partial(_sent_bit, tokens, costs.hidden, bits_held=bits_held, group=wire.group)
    counts = {
        **{name: np.concatenate([item] * len(pairs)) for name, item in whatever_is_sent.items()},
        "uplink_bits": np.repeat([up for up, _ in pairs], count + 1),
        "downlink_bits": np.repeat([down for _, down in pairs], count + 1),
        "uplink_bit": np.concatenate(
            [split * ((1 + ushaped) * sent(up) + label_bit) for up, _ in pairs]
        ),
        "downlink_bit": np.concatenate(
            [split * (trains + ushaped) * sent(down) for _, down in pairs]
        ),
    }
    return locked(CutProfile(**{name: item.astype(np.int64) for name, item in counts.items()}))


def _sent_bit(tokens: int, hidden: int, bits: int, *, bits_held: int, group: int) -> int:
    """Hidden states, or their gradients, as they are sent in some bits per number [bit]."""
    scales = -(-hidden // group) if bits < min(bits_held, 16) else 0
    return tokens * (hidden * bits + scales * SCALE_BITS)


def _flop(block: Cost, *, checkpointing: bool) -> int:
    """Work of a block, with a second forward pass where nothing but its input was kept."""
    return block.flop + (block.forward_flop if checkpointing and block.saved_bit else 0)


def _saved(
    blocks: Sequence[Cost], head_bit: NDArray[Any], input_bit: int | None, in_flight: Any
) -> NDArray[Any]:
    """Activations held at once by an end that has the first 0..I of some blocks [bit].

    It holds those of all micro-batches in flight, whose backward passes come after the last
    forward pass (`assumed`); a head, and a server that has the loss, do both for one at a time.

    With gradient checkpointing, whose inputs of blocks have `input_bit`, those of one block at a
    time are there beside the inputs, and before them those of the head, which has `head_bit`. An
    input that its block keeps as it came, as in float32, then counts twice.
    """
    saved = [block.saved_bit for block in blocks]
    if input_bit is None:
        held: NDArray[Any] = _running(saved) * in_flight + head_bit
        return held
    at_once: NDArray[Any] = np.maximum(_running(saved, max), head_bit)
    at_once += _running(input_bit if bit else 0 for bit in saved) * in_flight
    return at_once


def _running(values: Iterable[int], over: Callable[[int, int], int] = add) -> NDArray[Any]:
    return np.array(list(accumulate(values, over, initial=0)), dtype=object)
