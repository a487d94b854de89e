"""The real LLM with adapters, its two sides of a cut, and the text that it is trained on."""
