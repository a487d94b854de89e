"""Measures what an LLM costs on the machine at hand, in time, energy and memory; needs torch."""
