"""An LLM with LoRA adapters as a cut sees it: embedding, numbered blocks, head with loss.

transformers' model with peft's adapters, without dropout.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from card.base.errors import ScenarioError
from card.llm.architectures import architecture_of
from card.llm.dimensions import matching
from card.llm.families import FAMILIES
from card.scenario import Lora
from card.training.llm.anatomy import matrices
from card.training.llm.four_bits import hold_in_four_bits
from card.training.llm.holding import Part, SplitError, absent
from card.training.llm.models import DTYPES, Attention, drawn, plain_model, stored_config
from card.training.llm.passes import RunnableLlm
from card.training.llm.weights import Stored, Weights, fill

_ADAPTER_DTYPES = {**DTYPES, 64: torch.float64}
_MAGNITUDE = "lora_magnitude_vector"


class AdaptedLlm(RunnableLlm):
    """An LLM with adapters whose embedding, blocks and head can be run apart.

    `build` and `load` make one; the initial adapters follow from the seed and their names alone,
    B = 0 and A uniform as peft draws it, so both ends of a cut have the same. Magnitudes of DoRA
    start as the norms of the frozen weights.

    Parameters
    ----------
    model
        transformers' causal LM; adapters are added to it. If it stands on the meta device, `part`
        of it gets its weights.
    lora
        The adapters; their weights have `adapter_bits`.
    seed
        Seed of the initial adapters.
    weights
        Where weights come from that stand on the meta device.
    part
        What of the LLM is held; all of it if not given.
    name
        What messages call it.

    Raises
    ------
    ScenarioError
        If its blocks are no plain stack, a LoRA target names none of its projections, a weight is
        missing, or no number format to train in has `adapter_bits`.
    """

    def __init__(
        self,
        model: Any,
        lora: Lora,
        seed: int = 0,
        *,
        weights: Weights | None = None,
        part: Part | None = None,
        name: str = "",
    ) -> None:
        if lora.adapter_bits not in _ADAPTER_DTYPES:
            raise ScenarioError(
                f"lora.adapter_bits = {lora.adapter_bits} is no number format to train in; give "
                f"16, 32 or 64."
            )
        super().__init__(model, weights=weights, part=part, name=name)
        targets = self._targets(lora)
        self._materialise()
        self._adapt(lora, sorted(targets), seed)
        self._drop()

    def _targets(self, lora: Lora) -> frozenset[str]:
        """Matrices within a block that carry adapters."""
        name, family = self._name, self.model.config.model_type
        if family in FAMILIES:
            raw = self.model.config.to_dict()
            return architecture_of(name, {**raw, "model_type": family}).adapted(lora.targets)
        found, routed = matrices(self.blocks)
        return matching(lora.targets, list(found), name, experts=routed)

    def _adapt(self, lora: Lora, targets: list[str], seed: int) -> None:
        turned = any(isinstance(module, Conv1D) for module in self.blocks[0].modules())
        adapters = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            use_dora=lora.dora,
            use_rslora=lora.rslora,
            target_modules=targets,
            lora_dropout=0.0,
            fan_in_fan_out=turned,
        )
        with torch.device(self.device), warnings.catch_warnings():
            # peft asks transformers for a flag by its older name
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            self._peft = get_peft_model(self.model, adapters, autocast_adapter_dtype=False)
        dtype = _ADAPTER_DTYPES[lora.adapter_bits]
        for block in range(self.num_blocks):
            if not (self._part.all_adapters or self._part.first <= block < self._part.last):
                continue
            for name, weight in list(self.blocks[block].named_parameters()):
                if weight.requires_grad:
                    start = torch.empty(weight.shape, dtype=dtype, device=self.device)
                    called = _adapter_name(block, name)
                    if called.endswith(_MAGNITUDE):
                        start.copy_(self._norms(block, name, turned=turned))
                    else:
                        bound = weight.shape[1] ** -0.5 if called.endswith("lora_A") else 0.0
                        fill(start, bound, f"{seed}/{called}")
                    place, _, leaf = name.rpartition(".")
                    holder = self.blocks[block].get_submodule(place)
                    holder._parameters[leaf] = nn.Parameter(start)

    @torch.no_grad()
    def _norms(self, block: int, name: str, *, turned: bool) -> Tensor:
        """Norms of the rows of a frozen matrix, which may be held by the other end alone."""
        place = name.partition(f".{_MAGNITUDE}")[0]
        base: Any = self.blocks[block].get_submodule(place).base_layer
        weight: Tensor = base.weight
        if weight.is_meta and self._weights:
            called = f"{self._anatomy.blocks}.{block}.{place}.weight"
            weight = self._weights.tensors({called: weight})[called]
        norms: Tensor = (weight.T if turned else weight).norm(dim=1)
        return norms

    @classmethod
    def build(
        cls,
        raw: Mapping[str, Any],
        lora: Lora,
        dtype: torch.dtype,
        seed: int = 0,
        *,
        attention: Attention = "eager",
        part: Part | None = None,
        name: str = "",
    ) -> AdaptedLlm:
        """LLM of a configuration with random weights, the same ones on every machine.

        `raw`, `dtype` and `attention` are those of `card.training.llm.models.plain_model`; the seed
        is that of all weights. Only those of `part` are drawn.
        """
        model = plain_model(raw, dtype, device="meta", attention=attention)
        return cls(model, lora, seed, weights=drawn(model, seed), part=part, name=name)

    @classmethod
    def load(
        cls,
        path: Path,
        lora: Lora,
        dtype: torch.dtype,
        seed: int = 0,
        *,
        part: Part | None = None,
    ) -> AdaptedLlm:
        """LLM of a checkpoint on this machine, as transformers' `save_pretrained` writes it.

        Only the tensors of `part` are read; those that are stored in `dtype` stay in the memory map
        of their file, which must not be changed meanwhile.

        Raises
        ------
        ScenarioError
            If the folder holds no whole checkpoint that is read without running code.
        """
        raw = stored_config(path)
        model = plain_model(raw, dtype, device="meta")
        stored = Stored(path, model.base_model_prefix)
        if raw.get("quantization_config"):
            hold_in_four_bits(model, stored.in_four_bits, lora, path)
        stored.check(dict(model.named_parameters()))
        return cls(model, lora, seed, weights=stored, part=part, name=path.name)

    def trained(self, first: int, last: int) -> list[nn.Parameter]:
        """Trained weights of blocks `first` + 1 to `last`."""
        return [weight for _, weight in self._named(first, last)]

    def adapters(self, first: int, last: int) -> dict[str, Tensor]:
        """Trained weights of blocks `first` + 1 to `last` by name, apart from the graph.

        Names count blocks from 0, as in ``block.0.self_attn.q_proj.lora_A``. The tensors are the
        weights themselves, not copies.
        """
        return {name: weight.detach().contiguous() for name, weight in self._named(first, last)}

    @torch.no_grad()
    def load_adapters(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy adapters of whole blocks into place.

        Raises
        ------
        SplitError
            If the names are not those of all adapters of one or more blocks held here, or a shape
            or number format differs; nothing is copied then.
        """
        own = {name: w for i in range(self.num_blocks) for name, w in self._held(i)}
        blocks = {name.split(".")[1] for name in tensors if name in own}
        wanted = {name: w for name, w in own.items() if name.split(".")[1] in blocks}
        if wrong := sorted(wanted.keys() ^ tensors.keys()):
            what = "is missing" if wrong[0] in wanted else "belongs to no block held here"
            raise SplitError(f"the adapter {wrong[0]!r} {what}; send those of whole blocks.")
        for name, weight in wanted.items():
            given, needed = tensors[name], (tuple(weight.shape), weight.dtype)
            if (tuple(given.shape), given.dtype) != needed:
                raise SplitError(
                    f"the adapter {name!r} is {tuple(given.shape)} {given.dtype}; this LLM needs "
                    f"{needed[0]} {needed[1]}."
                )
        for name, weight in wanted.items():
            weight.copy_(tensors[name])

    def save(self, folder: Path) -> None:
        """Write all adapters as peft does, for `PeftModel.from_pretrained`, whole or not at all."""
        fresh = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
        try:
            self._peft.save_pretrained(str(fresh / "adapters"), save_embedding_layers=False)
            shutil.rmtree(folder, ignore_errors=True)
            (fresh / "adapters").rename(folder)
        except SafetensorError as error:
            raise ScenarioError(f"{folder} cannot be written: {error}.") from None
        finally:
            shutil.rmtree(fresh)

    def _held(self, block: int) -> Iterator[tuple[str, nn.Parameter]]:
        for name, weight in self.blocks[block].named_parameters():
            if weight.requires_grad:
                yield _adapter_name(block, name), weight

    def _named(self, first: int, last: int) -> Iterator[tuple[str, nn.Parameter]]:
        part = self._part
        for block in range(first, last):
            if not (part.all_adapters or part.first <= block < part.last):
                raise absent(f"block {block}")
            yield from self._held(block)


def _adapter_name(block: int, name: str) -> str:
    return f"block.{block}.{name.removesuffix('.default.weight')}"
