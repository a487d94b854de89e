"""Measures what an LLM costs on the machine at hand, in time, energy and memory; needs torch."""

from card.base.errors import needs

needs("lab", "card.profiling", "torch", "transformers", "peft")
