"""Whether an LLM that is cut is the LLM that is not, tried on a small copy before it is trained."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from card.base.errors import ScenarioError
from card.llm.real.stack import one_line
from card.scenario import Lora
from card.training.llm.anatomy import small_copy
from card.training.llm.split import AdaptedLlm, Batch, DeviceSide, ServerSide, Topology

TOLERANCE = 1e-5
"""Largest difference allowed, against the largest number compared; far above reordered sums."""

_SEQUENCES, _LENGTH, _RANK, _SPREAD = 2, 7, 2, 0.3


def check_split(llm: str, raw: Mapping[str, Any], lora: Lora, topology: Topology) -> None:
    """Refuse an LLM that would not be the same when it is cut.

    A small copy of the same architecture is trained for one step, whole and cut behind every block,
    each side with its own part alone; losses and gradients of all adapters are compared.

    Parameters
    ----------
    llm
        What the scenario calls it.
    raw
        What its `config.json` says.
    lora
        The adapters.
    topology
        Where the head is.

    Raises
    ------
    ScenarioError
        If something differs, with what it is; or no small copy can be made.
    """
    told = {key: value for key, value in raw.items() if key != "_card"}
    _check(llm, json.dumps(told, sort_keys=True), lora, topology)


@lru_cache(maxsize=64)
def _check(llm: str, told: str, lora: Lora, topology: Topology) -> None:
    few = lora.model_copy(update={"rank": min(lora.rank, _RANK), "adapter_bits": 32})
    with one_line(llm):
        plain = small_copy(llm, json.loads(told))
        llm_whole = AdaptedLlm.build(plain.config.to_dict(), few, torch.float32, name=llm)
        for (name, expected), (_, found) in zip(
            plain.named_buffers(), llm_whole.model.named_buffers(), strict=True
        ):
            _compare(llm, f"the buffer {name}", found, expected)
        generator = torch.Generator().manual_seed(0)
        blocks = llm_whole.num_blocks
        with torch.no_grad():
            for weight in llm_whole.trained(0, blocks):
                weight.copy_(_SPREAD * torch.randn(weight.shape, generator=generator))
        shape = (_SEQUENCES, _LENGTH)
        batch = Batch(torch.randint(llm_whole.vocabulary, shape, generator=generator))
        unsplit = copy.deepcopy(llm_whole)
        loss = unsplit.model(input_ids=batch.ids, labels=batch.labels).loss
        loss.backward()
        expected_of = {"loss": loss.detach(), **dict(_gradients(unsplit, 0, blocks))}
        for cut in range(blocks + 1):
            found_of = _split(llm_whole, batch, cut, topology)
            for name, expected in expected_of.items():
                _compare(llm, f"cut at {cut} of {blocks} blocks, its {name}",
                         found_of[name], expected)  # fmt: skip


def _split(whole: AdaptedLlm, batch: Batch, cut: int, topology: Topology) -> dict[str, Tensor]:
    """Loss and gradients of one mini-batch on two sides, each with its own part."""
    near, far, blocks = copy.deepcopy(whole), copy.deepcopy(whole), whole.num_blocks
    near.keep(0, cut, embedding=True, head=cut == blocks or topology == "u-shaped")
    far.keep(cut, blocks, embedding=False, head=topology == "vanilla")
    device, server = DeviceSide(near, cut, topology), ServerSide(far, cut, topology)
    sent = device.forward(batch)
    if not sent:
        loss = device.finish()
    elif topology == "u-shaped":
        loss, up = device.head(server.forward(sent))
        device.backward(server.backward(up))
    else:
        loss, down = server.train(sent)
        device.backward(down)
    gradients = {**dict(_gradients(near, 0, cut)), **dict(_gradients(far, cut, blocks))}
    return {"loss": torch.tensor(loss), **gradients}


def _gradients(llm: AdaptedLlm, first: int, last: int) -> Iterator[tuple[str, Tensor]]:
    names = llm.adapters(first, last)
    for name, weight in zip(names, llm.trained(first, last), strict=True):
        yield f"gradient of {name}", torch.zeros(()) if weight.grad is None else weight.grad


def _compare(llm: str, what: str, found: Tensor, expected: Tensor) -> None:
    most = max(1.0, float(expected.abs().max()))
    error = float((found - expected).abs().max())
    if not error <= TOLERANCE * most:
        raise ScenarioError(
            f"{llm} cannot be split and trained: in a small copy of it, {what} differs from that "
            f"of the whole LLM by {error:.2g}, allowed is {TOLERANCE * most:.2g}; give another LLM."
        )
