"""An LLM with LoRA adapters as a cut sees it: embedding, numbered blocks, head with loss.

transformers' model with peft's adapters, without dropout. Every part is run by transformers' own
forward pass of the whole LLM, from which the rest is left out: blocks get the arguments that it
gives them, made from shapes and padding alone, so that whoever runs a block needs no token for it.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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
from card.training.llm.anatomy import anatomy_of, matrices
from card.training.llm.models import (
    DTYPES,
    Attention,
    drawn,
    materialise,
    plain_model,
    stored_config,
)
from card.training.llm.weights import Stored, Weights, fill

_ADAPTER_DTYPES = {**DTYPES, 64: torch.float64}
_MAGNITUDE = "lora_magnitude_vector"
_BESIDE_THE_LLM = {"_name_or_path", "architectures", "dtype", "transformers_version", "use_cache"}


class SplitError(RuntimeError):
    """A step of split training that does not fit the cut, the topology or the other end."""


class _ReachedError(Exception):
    """The forward pass of the whole LLM has come as far as it is needed."""

    def __init__(self, hidden: Tensor) -> None:
        self.hidden = hidden


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


@dataclass(frozen=True)
class Padding:
    """Which tokens of a mini-batch are padding, and where each stands in its text."""

    lengths: Tensor | None = None
    """Tokens of each sequence before padding on its right, (B,); None if there is none."""
    starts: Tensor | None = None
    """Tokens of padding on its left, (B,); None if there is none."""
    positions: Tensor | None = None
    """Position of each token, (B, L) int64; None counts from the left. Where they begin again, in
    sequences without padding, another text begins, to which no token attends across."""

    def kept(self, length: int) -> Tensor | None:
        """Which tokens are none of padding, (B, L) bool; None if all are."""
        if self.lengths is None and self.starts is None:
            return None
        place, kept = torch.arange(length), torch.ones(1, dtype=torch.bool)
        if self.lengths is not None:
            kept = kept & (place < self.lengths.cpu().unsqueeze(1))
        if self.starts is not None:
            kept = kept & (place >= self.starts.cpu().unsqueeze(1))
        return kept


@dataclass(frozen=True)
class Context:
    """What blocks need beside their input, for one shape of mini-batch."""

    calls: tuple[dict[str, Any], ...]
    """Arguments that the whole LLM gives each block, by name."""

    def arguments(self, block: int) -> dict[str, Any]:
        """Keyword arguments of a block."""
        return self.calls[block]


class AdaptedLlm:
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

    num_blocks: int
    """Transformer blocks (I)."""
    hidden: int
    """Width of the hidden states."""

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
        config = model.config
        if lora.adapter_bits not in _ADAPTER_DTYPES:
            raise ScenarioError(
                f"lora.adapter_bits = {lora.adapter_bits} is no number format to train in; give "
                f"16, 32 or 64."
            )
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
        targets = self._targets(name, lora)
        self._part = part or Part(0, self.num_blocks, True, True)
        self._shared: tuple[tuple[int, int], Context] | None = None
        self._fingerprint: str | None = None
        self._whole = {n: w.detach() for n, w in model.named_parameters()} if weights else {}
        if weights:
            model.requires_grad_(False)
            materialise(model, weights, self._held_names(self._part))
        self._adapt(lora, sorted(targets), seed)
        self._drop()

    def _targets(self, name: str, lora: Lora) -> frozenset[str]:
        """Matrices within a block that carry adapters."""
        family = self.model.config.model_type
        if family in FAMILIES:
            raw = self.model.config.to_dict()
            return architecture_of(name, {**raw, "model_type": family}).adapted(lora.targets)
        found, routed = matrices(self.blocks)
        return matching(lora.targets, list(found), name, experts=routed)

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
        stored.check(dict(model.named_parameters()))
        return cls(model, lora, seed, weights=stored, part=part, name=path.name)

    def to(self, device: str) -> None:
        """Move all weights that are held to a processor, by torch's name of it."""
        # buffers of parts that are not held have no data
        self.model._apply(lambda tensor: tensor if tensor.is_meta else tensor.to(device))
        self.device, self._shared = torch.device(device), None

    def attend(self, attention: Attention) -> None:
        """Compute attention in another way.

        Raises
        ------
        ScenarioError
            If the LLM has no such attention.
        """
        try:
            self.model.set_attn_implementation(attention)
            self._shared = None
        except ValueError:
            raise ScenarioError(
                f"attention = {attention!r} is not offered by {self._name}; give eager."
            ) from None

    @property
    def attention(self) -> str:
        """How attention is computed, `eager` or `sdpa`."""
        return str(self.model.config._attn_implementation)

    def context(self, batch: int, length: int, padding: Padding | None = None) -> Context:
        """Arguments of every block, from shapes and padding alone.

        Parameters
        ----------
        batch
            Sequences (B).
        length
            Tokens of each sequence (L).
        padding
            Padding and positions; None if there is none, and they count from the left.
        """
        if padding is None and self._shared and self._shared[0] == (batch, length):
            return self._shared[1]
        calls: list[dict[str, Any]] = []

        def note(block: nn.Module, hidden: Tensor, named: dict[str, Any]) -> Any:
            calls.append(named)
            if len(calls) == self.num_blocks:
                raise _ReachedError(hidden)
            return self._passed(hidden)

        with torch.no_grad(), self._instead(range(self.num_blocks), note):
            self._forward(self._nothing(batch, length), padding)
        context = Context(tuple(calls))
        if padding is None:
            self._shared = ((batch, length), context)
        return context

    @torch.no_grad()
    def embed(self, ids: Tensor, padding: Padding | None = None) -> Tensor:
        """Input of block 1 for token ids (B, L): (B, L, H), with learned positions if any."""
        if not self._part.embedding:
            raise _absent("the embedding")

        def reached(_: nn.Module, hidden: Tensor, __: dict[str, Any]) -> Any:
            raise _ReachedError(hidden)

        with self._instead(range(1), reached):
            return self._forward({"input_ids": ids.to(self.device)}, padding)

    def run(self, hidden: Tensor, first: int, last: int, context: Context) -> Tensor:
        """Output of blocks `first` + 1 to `last` for the input (B, L, H) of block `first` + 1."""
        for block in range(first, last):
            if not self._part.first <= block < self._part.last:
                raise _absent(f"block {block}")
            output = self.blocks[block](hidden, **context.arguments(block))
            hidden = output[0] if self._anatomy.tuples else output
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
        found: Tensor = self._behind(hidden, labels=labels.to(self.device)).loss
        return found

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of every token as the next one, (..., V), from outputs of the last block."""
        scores: Tensor = self._behind(hidden.reshape(-1, 1, self.hidden)).logits
        return scores.reshape(*hidden.shape[:-1], -1)

    def _behind(self, hidden: Tensor, **more: Any) -> Any:
        """What the whole LLM makes of the output of its last block."""
        if not self._part.head:
            raise _absent("the head")

        def give(_: nn.Module, __: Tensor, ___: dict[str, Any]) -> Any:
            return self._passed(hidden)

        with self._instead(range(self.num_blocks), give):
            inputs = self._nothing(*hidden.shape[:2])
            return self.model(**inputs, use_cache=False, **more)

    def _passed(self, hidden: Tensor) -> Any:
        """What a block would return."""
        return (hidden,) if self._anatomy.tuples else hidden

    def _nothing(self, batch: int, length: int) -> dict[str, Tensor]:
        """Zeros in place of embedded tokens."""
        width = self.model.get_input_embeddings().embedding_dim
        zero = torch.zeros((), dtype=self.dtype, device=self.device)
        return {"inputs_embeds": zero.expand(batch, length, width)}

    def _forward(self, inputs: Mapping[str, Tensor], padding: Padding | None) -> Tensor:
        """Run the whole LLM, up to where it is stopped."""
        padding = padding or Padding()
        length = next(iter(inputs.values())).shape[1]
        kept, positions = padding.kept(length), padding.positions
        more: dict[str, Tensor] = {}
        if kept is not None:
            more["attention_mask"] = kept.long().to(self.device)
        if positions is not None:
            more["position_ids"] = positions.long().to(self.device)
        try:
            self.model(**inputs, **more, use_cache=False)
        except _ReachedError as end:
            return end.hidden
        raise SplitError("the LLM's forward pass did not reach its blocks.")

    @contextmanager
    def _instead(self, blocks: range, does: Any) -> Iterator[None]:
        """Context in which blocks are not run, and parts that are not held give zeros."""
        replaced = [self.blocks[block] for block in blocks]
        for block in replaced:
            vars(block)["forward"] = _named(block, does)
        if not self._part.embedding:
            for place in self._anatomy.before:
                module = self.model.get_submodule(place)
                if not list(module.parameters(recurse=False)):
                    vars(module)["forward"] = _zeros(module, self.dtype, self.device)
                    replaced.append(module)
        try:
            yield
        finally:
            for module in replaced:
                del vars(module)["forward"]

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
        """The modules behind the last block that have weights, such as final norm and LM head."""
        return [self.model.get_submodule(place) for place in self._anatomy.after]

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
            if not weight.requires_grad:
                weight.data = weight.data.to(dtype)
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

    def _held(self, block: int) -> Iterator[tuple[str, nn.Parameter]]:
        for name, weight in self.blocks[block].named_parameters():
            if weight.requires_grad:
                yield _adapter_name(block, name), weight

    def _named(self, first: int, last: int) -> Iterator[tuple[str, nn.Parameter]]:
        part = self._part
        for block in range(first, last):
            if not (part.all_adapters or part.first <= block < part.last):
                raise _absent(f"block {block}")
            yield from self._held(block)


def _absent(what: str) -> SplitError:
    return SplitError(f"{what} is not held here; keep it, or load the LLM again.")


def _adapter_name(block: int, name: str) -> str:
    return f"block.{block}.{name.removesuffix('.default.weight')}"


def _named(block: nn.Module, does: Any) -> Any:
    """A forward pass that tells by name what a block is given beside its input."""
    signature = inspect.signature(type(block).forward)

    def forward(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(block, *args, **kwargs).arguments
        (_, _), (_, hidden), *others = given.items()
        named = dict(others)
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                named |= named.pop(name, {})
        return does(block, hidden, named)

    return forward


def _zeros(module: nn.Module, dtype: torch.dtype, device: torch.device) -> Any:
    """A forward pass of zeros, for what the first block is given is left aside."""
    width = getattr(module, "embedding_dim", getattr(module, "out_features", None))

    def forward(given: Tensor, *_: Any, **__: Any) -> Tensor:
        if width is None:
            return given
        shape = given.shape[:-1] if given.ndim == 3 else given.shape
        return torch.zeros((), dtype=dtype, device=device).expand(*shape, width)

    return forward
