"""Split fine-tuning for real: an edge server and devices that take turns; needs torch."""
