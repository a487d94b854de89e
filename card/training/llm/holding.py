"""An LLM of which one end holds a part: the weights of its blocks, of embedding and of head."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from card.training.llm.anatomy import anatomy_of
from card.training.llm.models import materialise
from card.training.llm.weights import Weights

_BESIDE_THE_LLM = {"_name_or_path", "architectures", "dtype", "transformers_version", "use_cache"}


class SplitError(RuntimeError):
    """A step of split training that does not fit the cut, the topology or the other end."""


@dataclass(frozen=True)
class Part:
    """What one end holds of an LLM."""

    first: int
    """Blocks before the first that it holds."""
    last: int
    """Number of the last that it holds."""
    embedding: bool
    """Whether it holds the embedding."""
    head: bool
    """Whether it holds final norm and head."""
    all_adapters: bool = False
    """Whether it holds the adapters of all blocks, as the server does between rounds."""


class HeldLlm:
    """The weights of an LLM that one end holds; the others have no memory.

    Parameters
    ----------
    model
        transformers' causal LM.
    weights
        Where weights come from that stand on the meta device, once `_materialise` is called.
    part
        What of the LLM is held; all of it if not given.
    name
        What messages call it.

    Raises
    ------
    ScenarioError
        If its blocks are no plain stack.
    """

    num_blocks: int
    """Transformer blocks (I)."""
    hidden: int
    """Width of the hidden states."""

    def __init__(
        self, model: Any, *, weights: Weights | None, part: Part | None, name: str
    ) -> None:
        config = model.config
        self._name = name = name or config.model_type
        self.model, self._weights = model.eval(), weights  # without dropout
        self.model.loss_type = "ForCausalLM"  # not every class name tells it
        config.use_cache = False
        if hasattr(config, "output_router_logits"):
            config.output_router_logits = False  # whose loss would reach into every block
        self._anatomy = anatomy_of(name, config)
        self.blocks: nn.ModuleList = model.get_submodule(self._anatomy.blocks)
        self.num_blocks, self.hidden = len(self.blocks), int(config.hidden_size)
        self.vocabulary = int(config.vocab_size)
        self.max_positions = int(getattr(config, "max_position_embeddings", None) or 1 << 31)
        self.dtype: torch.dtype = model.dtype
        self.device = torch.device("cpu") if weights else model.device
        self._part = part or Part(0, self.num_blocks, True, True)
        self._fingerprint: str | None = None
        self._whole = {n: w.detach() for n, w in model.named_parameters()} if weights else {}

    def _materialise(self) -> None:
        """Read, or draw, the frozen weights that are held."""
        if self._weights:
            self.model.requires_grad_(False)
            materialise(self.model, self._weights, self._held_names(self._part))

    def _held_names(self, part: Part) -> set[str]:
        """Names of the frozen weights of a part, shared ones under each name."""
        outside = (self._anatomy.before * part.embedding) + (self._anatomy.after * part.head)
        places = [f"{self._anatomy.blocks}.{block}" for block in range(part.first, part.last)]
        ids = {id(w) for at in outside for w in self._own(at)}
        ids |= {id(w) for at in places for w in self.model.get_submodule(at).parameters()}
        named = self.model.named_parameters(remove_duplicate=False)
        return {name for name, weight in named if id(weight) in ids}

    def _own(self, place: str) -> list[nn.Parameter]:
        return list(self.model.get_submodule(place).parameters(recurse=False))

    @property
    def head(self) -> list[nn.Module]:
        """The modules behind the last block that have weights, such as final norm and LM head."""
        return [self.model.get_submodule(place) for place in self._anatomy.after]

    def fingerprint(self) -> str:
        """SHA-256 over the configuration and what all frozen weights follow from.

        It is the same for every part of one LLM, however its files are sharded.
        """
        if self._fingerprint is None:
            if self._weights is None:
                raise SplitError("an LLM that was not built or loaded here has no fingerprint.")
            config = json.loads(self.model.config.to_json_string(use_diff=False))
            told = {key: value for key, value in config.items() if key not in _BESIDE_THE_LLM}
            digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
            digest.update(f" {self.dtype} {self._weights.digest(self._whole)}".encode())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def compute_in(self, dtype: torch.dtype) -> None:
        """Hold frozen weights in a wider number format and compute in it.

        The fingerprint stays that of the weights as they were, and adapters keep their format.
        """
        self.fingerprint()
        for weight in self.model.parameters():
            if not weight.requires_grad and weight.is_floating_point():
                weight.data = weight.data.to(dtype)
        for module in self.model.modules():
            if hasattr(module, "compute_type_is_set"):  # of matrices in four bits, by their input
                module.compute_type_is_set = False
        self.dtype = dtype

    def keep(self, first: int, last: int, *, embedding: bool, head: bool) -> None:
        """Drop all weights but blocks `first` + 1 to `last` and, if said so, embedding and head.

        A head tied to the embedding shares its weights: they stay while either is kept. The
        fingerprint stays that of the whole LLM.
        """
        held = self._part
        self._part = Part(
            max(first, held.first),
            min(last, held.last),
            embedding and held.embedding,
            head and held.head,
        )
        self._drop()

    def _drop(self) -> None:
        """Forget the weights of what is not held."""
        part = self._part
        for number, block in enumerate(self.blocks):
            if not part.first <= number < part.last:
                for module in block.modules():
                    for key, weight in list(module._parameters.items()):
                        if weight is not None and not (part.all_adapters and weight.requires_grad):
                            module._parameters[key] = None
        inside = set(self.blocks.modules())
        held = (self._anatomy.before * part.embedding) + (self._anatomy.after * part.head)
        kept = {id(weight) for place in held for weight in self._own(place)}
        for module in self.model.modules():
            if module not in inside:
                for key, weight in list(module._parameters.items()):
                    if weight is not None and id(weight) not in kept:
                        module._parameters[key] = None


def absent(what: str) -> SplitError:
    """Error for a part that is asked for and is not held."""
    return SplitError(f"{what} is not held here; keep it, or load the LLM again.")
