"""An LLM with LoRA adapters as a cut sees it: embedding, numbered blocks, head with loss.

transformers' model with peft's adapters, without dropout. Blocks are called with the arguments that
the whole model passes them, made from shapes and lengths alone, so that whoever runs a block needs
no token for it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from peft import LoraConfig, get_peft_model
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

from card.base.errors import ScenarioError
from card.llm import Architecture
from card.llm.architectures import architecture_of
from card.llm.families import check_runs
from card.scenario import Lora
from card.training.llm.models import (
    DTYPES,
    Attention,
    fill,
    seeded_model,
    stored_model,
)

FULL, SLIDING = "full_attention", "sliding_attention"

_ADAPTER_DTYPES = {**DTYPES, 64: torch.float64}
_MAGNITUDE = "lora_magnitude_vector"
_BESIDE_THE_LLM = {"_name_or_path", "architectures", "dtype", "transformers_version", "use_cache"}


class SplitError(RuntimeError):
    """A step of split training that does not fit the cut, the topology or the other end."""


class _Absent(nn.Module):
    """Takes the place of a part whose weights this end does not hold."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what

    def forward(self, *_: Any, **__: Any) -> NoReturn:
        raise SplitError(f"{self._what} is not held here; keep it, or load the LLM again.")


@dataclass(frozen=True)
class Context:
    """What blocks need beside their input, for one shape of mini-batch."""

    positions: Tensor
    """Positions of the tokens, (1, L) int64."""
    masks: dict[str, Any]
    """Attention mask by kind of layer; none where the attention knows that it is causal."""
    rotary: tuple[Tensor, Tensor] | None
    """Cosines and sines of the rotary embedding; none where positions are learned."""

    def arguments(self, layer_type: str) -> dict[str, Any]:
        """Keyword arguments of a block of one kind."""
        rotary = {"position_embeddings": self.rotary} if self.rotary else {}
        mask = self.masks[layer_type]
        return {"attention_mask": mask, "position_ids": self.positions, **rotary}


class AdaptedLlm:
    """An LLM with adapters whose embedding, blocks and head can be run apart.

    `build` and `load` make one; the initial adapters follow from the seed and their names alone,
    B = 0 and A uniform as peft draws it, so both ends of a cut have the same. Magnitudes of DoRA
    start as the norms of the frozen weights.

    Parameters
    ----------
    model
        transformers' causal LM, of an architecture in `data/llms`; adapters are added to it.
    lora
        The adapters; their weights have `adapter_bits`.
    seed
        Seed of the initial adapters.

    Raises
    ------
    ScenarioError
        If the architecture is not supported, a LoRA target names none of its projections, or no
        number format to train in has `adapter_bits`.
    """

    architecture: Architecture
    """Its dimensions."""
    num_blocks: int
    """Transformer blocks (I)."""
    hidden: int
    """Width of the hidden states."""

    def __init__(self, model: Any, lora: Lora, seed: int = 0) -> None:
        config = model.config
        name = Path(config.name_or_path).name or config.model_type
        check_runs(name, config.to_dict())
        arch = architecture_of(name, config.to_dict())
        targets = arch.adapted(lora.targets)
        if lora.adapter_bits not in _ADAPTER_DTYPES:
            raise ScenarioError(
                f"lora.adapter_bits = {lora.adapter_bits} is no number format to train in; give "
                f"16, 32 or 64."
            )
        self.architecture = arch
        self.num_blocks, self.hidden = arch.num_blocks, arch.hidden
        self.vocabulary, self.max_positions = arch.vocabulary, arch.max_positions
        self.model = model.eval()  # without dropout
        self.model.loss_type = "ForCausalLM"  # not every class name tells it
        self.model.config.use_cache = False
        self.dtype: torch.dtype = model.dtype
        self.device: torch.device = model.device
        self.layer_types = getattr(config, "layer_types", None) or [FULL] * self.num_blocks
        self._cap = getattr(config, "final_logit_softcapping", None)
        self._gpt2 = config.model_type == "gpt2"
        self._trunk = model.transformer if self._gpt2 else model.model
        self.blocks: nn.ModuleList = self._trunk.h if self._gpt2 else self._trunk.layers
        self._fingerprint: str | None = None
        self._adapt(lora, sorted(targets), seed)

    def _adapt(self, lora: Lora, targets: list[str], seed: int) -> None:
        adapters = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            use_dora=lora.dora,
            use_rslora=lora.rslora,
            target_modules=targets,
            lora_dropout=0.0,
            fan_in_fan_out=self._gpt2,
        )
        with torch.device(self.device), warnings.catch_warnings():
            # peft asks transformers for a flag by its older name
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            self._peft = get_peft_model(self.model, adapters, autocast_adapter_dtype=False)
        for name, weight in self._named(0, self.num_blocks):
            weight.data = weight.data.to(_ADAPTER_DTYPES[lora.adapter_bits])
            if not name.endswith(_MAGNITUDE):  # which starts as the norms of the frozen weight
                bound = weight.shape[1] ** -0.5 if name.endswith("lora_A") else 0.0
                fill(weight, bound, f"{seed}/{name}")

    @classmethod
    def build(
        cls,
        raw: Mapping[str, Any],
        lora: Lora,
        dtype: torch.dtype,
        seed: int = 0,
        *,
        attention: Attention = "eager",
    ) -> AdaptedLlm:
        """LLM of a configuration with random weights, the same ones on every machine.

        `raw`, `dtype` and `attention` are those of `card.training.llm.models.plain_model`; the seed
        is that of all weights.
        """
        return cls(seeded_model(raw, dtype, seed, attention=attention), lora, seed)

    @classmethod
    def load(cls, path: Path, lora: Lora, dtype: torch.dtype, seed: int = 0) -> AdaptedLlm:
        """LLM of a checkpoint on this machine, as transformers' `save_pretrained` writes it.

        Raises
        ------
        ScenarioError
            If the folder holds no whole checkpoint.
        """
        return cls(stored_model(path, dtype), lora, seed)

    def to(self, device: str) -> None:
        """Move all weights that are held to a processor, by torch's name of it."""
        self.model.to(device)
        self.device = self.model.device

    def attend(self, attention: Attention) -> None:
        """Compute attention in another way.

        Raises
        ------
        ScenarioError
            If the LLM has no such attention.
        """
        try:
            self.model.set_attn_implementation(attention)
        except ValueError:
            raise ScenarioError(
                f"attention = {attention!r} is not offered by {self.architecture.name}; give eager."
            ) from None

    @property
    def attention(self) -> str:
        """How attention is computed, `eager` or `sdpa`."""
        return str(self.model.config._attn_implementation)

    def context(self, batch: int, length: int, lengths: Tensor | None = None) -> Context:
        """Masks, positions and rotary tables, from shapes and lengths alone.

        Parameters
        ----------
        batch
            Sequences (B).
        length
            Tokens of each sequence (L).
        lengths
            Tokens of each sequence before padding on its right, (B,); None if there is none.
        """
        positions = torch.arange(length, device=self.device).unsqueeze(0)
        shape = torch.empty((batch, length, 1), dtype=self.dtype, device=self.device)
        kept = None if lengths is None else positions < lengths.to(self.device).unsqueeze(1)
        makers = {FULL: create_causal_mask, SLIDING: create_sliding_window_causal_mask}
        # by place, for the last, the cache of past keys, goes by two names in transformers 5
        given = (self.model.config, shape, kept, None)
        masks = {kind: makers[kind](*given) for kind in dict.fromkeys(self.layer_types)}
        rotary = None if self._gpt2 else self._trunk.rotary_emb(shape, position_ids=positions)
        return Context(positions, masks, rotary)

    @torch.no_grad()
    def embed(self, ids: Tensor, context: Context) -> Tensor:
        """Input of block 1 for token ids (B, L): (B, L, H), with learned positions if any."""
        if not self._gpt2:
            embedded: Tensor = self._trunk.embed_tokens(ids.to(self.device))
            return embedded
        placed: Tensor = self._trunk.wte(ids.to(self.device)) + self._trunk.wpe(context.positions)
        return placed

    def run(self, hidden: Tensor, first: int, last: int, context: Context) -> Tensor:
        """Output of blocks `first` + 1 to `last` for the input (B, L, H) of block `first` + 1."""
        kinds = self.layer_types[first:last]
        for block, kind in zip(self.blocks[first:last], kinds, strict=True):
            hidden = block(hidden, **context.arguments(kind))
        return hidden

    def loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Mean next-token loss, from the output of the last block.

        Parameters
        ----------
        hidden
            Output of block I, (B, L, H), before the final norm.
        labels
            Token ids, (B, L) int64, not shifted; -100 where none counts.
        """
        logits = self.logits(hidden)
        found: Tensor = self.model.loss_function(logits, labels.to(self.device), self.vocabulary)
        return found

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of every token as the next one, (..., V), from outputs of the last block."""
        norm, project = self.head
        scores: Tensor = project(norm(hidden))
        return torch.tanh(scores / self._cap) * self._cap if self._cap else scores

    def trained(self, first: int, last: int) -> list[nn.Parameter]:
        """Trained weights of blocks `first` + 1 to `last`."""
        return [weight for _, weight in self._named(first, last)]

    def adapters(self, first: int, last: int) -> dict[str, Tensor]:
        """Trained weights of blocks `first` + 1 to `last` by name, apart from the graph.

        Names count blocks from 0, as in ``block.0.self_attn.q_proj.lora_A``. The tensors are the
        weights themselves, not copies.
        """
        return {name: weight.detach().contiguous() for name, weight in self._named(first, last)}

    @property
    def head(self) -> list[nn.Module]:
        """The final norm and the LM head."""
        return [self._trunk.ln_f if self._gpt2 else self._trunk.norm, self.model.lm_head]

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

    def fingerprint(self) -> str:
        """SHA-256 over the configuration and all frozen weights; equal if the LLM is the same."""
        if self._fingerprint is None:
            config = json.loads(self.model.config.to_json_string(use_diff=False))
            told = {key: value for key, value in config.items() if key not in _BESIDE_THE_LLM}
            digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
            named = [(n, w) for n, w in self.model.named_parameters() if not w.requires_grad]
            plain = {name.replace(".base_layer", ""): weight for name, weight in named}
            for name in sorted(plain):
                data = plain[name].detach().cpu().contiguous()
                digest.update(f"{name} {data.dtype} {tuple(data.shape)}".encode())
                digest.update(data.view(torch.uint8).numpy().data)
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def compute_in(self, dtype: torch.dtype) -> None:
        """Hold frozen weights in a wider number format and compute in it.

        The fingerprint stays that of the weights as they were, and adapters keep their format.
        """
        self.fingerprint()
        for weight in self.model.parameters():
            if not weight.requires_grad:
                weight.data = weight.data.to(dtype)
        self.dtype = dtype

    def keep(self, first: int, last: int, *, embedding: bool, head: bool) -> None:
        """Drop all weights but blocks `first` + 1 to `last` and, if said so, embedding and head.

        A head tied to the embedding shares its weights: they stay while either is kept. The
        fingerprint stays that of the whole LLM.
        """
        self.fingerprint()
        for block in set(range(self.num_blocks)) - set(range(first, last)):
            self.blocks[block] = _Absent(f"block {block}")
        lookups, norm = (("wte", "wpe"), "ln_f") if self._gpt2 else (("embed_tokens",), "norm")
        if not embedding:
            for part in lookups:
                setattr(self._trunk, part, _Absent("the embedding"))
        if not head:
            setattr(self._trunk, norm, _Absent("the final norm"))
            self.model.lm_head = _Absent("the head")

    def _held(self, block: int) -> Iterator[tuple[str, nn.Parameter]]:
        for name, weight in self.blocks[block].named_parameters():
            if weight.requires_grad:
                yield f"block.{block}.{name.removesuffix('.default.weight')}", weight

    def _named(self, first: int, last: int) -> Iterator[tuple[str, nn.Parameter]]:
        for block in range(first, last):
            if isinstance(self.blocks[block], _Absent):
                raise SplitError(f"block {block} is not held here; load the LLM again.")
            yield from self._held(block)
