"""Real LLMs by transformers: built from a configuration, and counted; needs torch."""

from card.base.errors import needs

needs("lab", "card.llm.real", "torch", "transformers", "peft")
