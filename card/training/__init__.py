"""Split fine-tuning for real: an edge server and devices that take turns; needs torch."""

from card.base.errors import extra

with extra("lab", "card.training"):
    import torch
