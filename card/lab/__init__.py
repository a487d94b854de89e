"""The laboratory: what runs the real LLM; loads torch, and nothing in the model imports it."""
