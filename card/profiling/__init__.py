"""Measures what an LLM costs on the machine at hand, in time, energy and memory; needs torch."""

from card.base.errors import extra

with extra("lab", "card.profiling"):
    import torch
