"""What a curious server makes of what a device sends: the tokens of its text, guessed.

The server keeps to the protocol and only looks. It knows the frozen LLM, which it runs a part of,
and the adapters, which it hands from device to device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from card.training.llm.split import AdaptedLlm, Batch, DeviceSide, ServerSide
from card.training.wire.quantised import Form

_EPOCHS, _VECTORS, _PEAK_RATE = 8, 512, 1e-2

Decoder = Callable[[Tensor], Tensor]
"""Takes smashed data (..., H) to token ids (...)."""


def as_sent(values: Tensor, bits: int, group: int) -> Tensor:
    """Hidden states or gradients as the other end reads them after a wire of some bits.

    Parameters
    ----------
    values
        Numbers (..., H) in float32.
    bits
        Bits per number: 32 as they are, 16 as bfloat16, 8 or 4 as integers.
    group
        Values of a token that share one scale, a float16, where integers are sent.

    Returns
    -------
    Tensor
        Numbers of the same shape.
    """
    form = Form(bits, group, tuple(values.shape))
    return form.read(form.written(values)).to(values.dtype)


@torch.no_grad()
def smashed(llm: AdaptedLlm, cut: int, ids: Tensor) -> Tensor:
    """Hidden states (B, L, H) that a device sends for token ids (B, L)."""
    return DeviceSide(llm, cut, "u-shaped").forward(Batch(ids))["hidden"]


def inverter(hidden: Tensor, ids: Tensor, vocabulary: int, seed: int) -> Decoder:
    """A linear decoder trained to tell the token at a position from its smashed data.

    Parameters
    ----------
    hidden
        Smashed data of texts that the attacker knows, (K, H).
    ids
        Their tokens, (K,).
    vocabulary
        Number of tokens that there are.
    seed
        Seed of the order of training.
    """
    mean, spread = hidden.mean(dim=0), hidden.std(dim=0).clamp_min(1e-9)
    inputs = (hidden - mean) / spread
    weight, bias = torch.zeros(vocabulary, hidden.shape[-1]), torch.zeros(vocabulary)
    trained = [weight.requires_grad_(), bias.requires_grad_()]
    optimiser = torch.optim.Adam(trained, lr=_PEAK_RATE)
    steps = _EPOCHS * -(-len(ids) // _VECTORS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _PEAK_RATE, total_steps=steps)
    order = torch.Generator().manual_seed(seed)
    for _ in range(_EPOCHS):
        for chosen in torch.split(torch.randperm(len(ids), generator=order), _VECTORS):
            logits = nn.functional.linear(inputs[chosen], weight, bias)
            loss = nn.functional.cross_entropy(logits, ids[chosen])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    matrix, offset = weight.detach(), bias.detach()
    return lambda sent: ((sent - mean) / spread @ matrix.T + offset).argmax(dim=-1)


@torch.no_grad()
def search(
    llm: AdaptedLlm, cut: int, sent: Sequence[Tensor], bits: Sequence[int], group: int
) -> Tensor:
    """Tokens of one sequence, found from its first on by trying every token at each position.

    Causal attention lets a position depend on none behind it, so the one token whose own smashed
    data lie nearest is taken, and the next position tried with it (Nikolaou et al. 2025).

    Parameters
    ----------
    llm
        The LLM with the adapters that the device had.
    cut
        Blocks on the device.
    sent
        The sequence's smashed data (L, H), once for each of `bits`.
    bits
        Bits per number that each was sent in.
    group
        Values that share one scale.

    Returns
    -------
    Tensor
        Token ids (bits, L).
    """
    every = torch.arange(llm.vocabulary).unsqueeze(1)
    found: list[tuple[int, ...]] = [()] * len(bits)
    for position in range(len(sent[0])):
        # wires on which all went alike so far share their candidates
        tried = {prefix: _next(llm, cut, prefix, every) for prefix in set(found)}
        found = [
            (*prefix, _nearest(as_sent(tried[prefix], width, group), one[position]))
            for prefix, one, width in zip(found, sent, bits, strict=True)
        ]
    return torch.tensor(found)


def _next(llm: AdaptedLlm, cut: int, prefix: Sequence[int], every: Tensor) -> Tensor:
    """Smashed data (V, H) at the position behind a prefix, with every token there."""
    before = torch.tensor(prefix, dtype=torch.int64).expand(len(every), -1)
    return smashed(llm, cut, torch.cat([before, every], dim=1))[:, -1].float()


def _nearest(tried: Tensor, sent: Tensor) -> int:
    return int((tried - sent).norm(dim=-1).argmin())


def infer_labels(llm: AdaptedLlm, final: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """Labels that gradients of the final hidden states give away in the u-shaped topology.

    The gradient of the loss at a position is that of the head's scores, weighted by the
    probabilities that the head gives, less that of the label's own score (cf. Zhao et al. 2020).
    The server knows the states, which it sent down, and the head: one label explains it best.

    Parameters
    ----------
    llm
        The LLM, whose norm and head are those of the device.
    final
        Outputs of the last block, (B, L, H).
    gradients
        Gradients of the sum of losses with respect to them, (B, L, H), each as a wire of its own
        brought it.

    Returns
    -------
    Tensor
        Token ids (gradients, B, L - 1), those at the second position and behind.
    """
    slopes_of = torch.func.vmap(torch.func.jacrev(llm.logits))
    found = []
    for states, *arrived in zip(final, *gradients, strict=True):
        with torch.no_grad():
            before = states[:-1]
            slopes, weights = slopes_of(before), llm.logits(before).softmax(dim=-1)
            expected = torch.einsum("lv,lvh->lh", weights, slopes)
            left = expected - torch.stack(arrived)[:, :-1]
            # the nearest slope, without a table of all differences
            scores = slopes.square().sum(dim=-1) - 2 * torch.einsum("glh,lvh->glv", left, slopes)
        found.append(scores.argmin(dim=-1))
    return torch.stack(found, dim=1)


def final_gradient(llm: AdaptedLlm, cut: int, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs of the last block, and the gradient that the device sends up for them, (B, L, H).

    It is that of the sum of losses, as losses are scaled in practice: few bits' float16 scales
    would vanish for that of their mean.
    """
    device, server = DeviceSide(llm, cut, "u-shaped"), ServerSide(llm, cut, "u-shaped")
    final = server.forward(device.forward(Batch(ids)))
    _, gradient = device.head(final)
    return final, gradient * (ids.shape[0] * (ids.shape[1] - 1))
