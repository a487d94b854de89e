"""Split fine-tuning for real: an edge server and devices that take turns; needs torch."""

from card.base.errors import needs

needs(
    "lab",
    "card.training",
    *("torch", "transformers", "peft", "safetensors", "tokenizers"),
    *("cryptography", "google.protobuf", "grpc"),
)
