"""Split fine-tuning for real: an edge server and devices that take turns; needs torch."""

from importlib.util import find_spec

from card.base.errors import extra

with extra("lab", "card.training"):
    if not find_spec("torch"):  # it takes seconds to import, so only those who compute do
        raise ModuleNotFoundError("torch")
