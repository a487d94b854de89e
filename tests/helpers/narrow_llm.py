"""Narrow random LLMs of 4 blocks with adapters, and mini-batches, for tests of split training."""

import copy
from functools import lru_cache

import torch
from split_model import QUERY_AND_VALUE, narrow_config

from card.scenario import Lora
from card.training.llm.split import AdaptedLlm, Batch

BLOCKS, STEPS, LEARNING_RATE = 4, 5, 1e-2
SEQUENCES, LENGTH = 3, 12
NAMES = ("llama-3.2-1b", "qwen2.5-0.5b", "gemma-2-2b", "gpt-2")
TOPOLOGIES = ("vanilla", "u-shaped")
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
"""Largest difference allowed; both are far above what reordered sums could cause."""
PADDED = {torch.float64: (12, 11, 9), torch.float32: (12, 7, 2)}
"""Lengths of padded sequences. In float64 each of gemma's windows of 4 must reach a token: eager
attention turns the mask, the least float64, into minus infinity when it casts scores to float32."""


A = "block.0.self_attn.q_proj.lora_A"
FIRST_WEIGHT = -0.019907917827367783


def config(name):
    """A narrow LLM; gemma's window of 4 is shorter than the sequences, in every second block."""
    return narrow_config(name, BLOCKS) | ({"sliding_window": 4} if "gemma" in name else {})


def lora(name, dtype, targets=()):
    bits = {torch.float64: 64, torch.float32: 32, torch.bfloat16: 16}[dtype]
    targets = targets or QUERY_AND_VALUE.get(name, ("q_proj", "v_proj"))
    return Lora(rank=3, targets=targets, adapter_bits=bits)


@lru_cache
def built(name, dtype, attention="eager"):
    llm = AdaptedLlm.build(config(name), lora(name, dtype), dtype, attention=attention)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in llm.trained(0, BLOCKS):
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    return llm


def fresh(name, dtype, attention="eager"):
    """An LLM of its own, with B ≠ 0."""
    return copy.deepcopy(built(name, dtype, attention))


def batch(step=0, lengths=None):
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(90, (SEQUENCES, LENGTH), generator=generator)
    return Batch(ids, torch.tensor(lengths) if lengths else None)


def plain_step(llm, data):
    """Loss by transformers' own forward pass of the whole model, differentiated."""
    mask = None
    if data.lengths is not None:
        mask = (torch.arange(LENGTH) < data.lengths[:, None]).long()
    loss = llm.model(input_ids=data.ids, attention_mask=mask, labels=data.labels).loss
    loss.backward()
    return loss.item()
