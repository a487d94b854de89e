"""A causal LM of transformers as a plain stack of blocks, whose parts are counted by torch.

It stands on torch's meta device, which follows every shape and computes nothing. That it is a plain
stack is tried: each block takes the output of the one before, the head that of the last, and
nothing else that follows from the tokens.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging as transformers_logging

from card.base.errors import ScenarioError, nearest, shortened
from card.llm.blocks import Cost, LlmCosts
from card.llm.dimensions import check_length, matching
from card.llm.families import MOST_BLOCKS
from card.llm.real.counters import count, tensors_in
from card.scenario import Lora, Training

_DTYPES = {16: torch.bfloat16, 32: torch.float32, 64: torch.float64}
_NO_DIMENSIONS = ("model_type", "torch_dtype", "dtype", "quantization_config")
_EXPERTS = "as if one expert took every token"
_FACTORY: Any = AutoModelForCausalLM


def count_llm(llm: str, raw: Mapping[str, Any], training: Training, lora: Lora) -> LlmCosts:
    """Costs of the parts of any LLM whose family transformers has, for one mini-batch.

    Parameters
    ----------
    llm
        What the scenario calls it.
    raw
        What its `config.json` says.
    training
        The mini-batch and its number formats.
    lora
        The adapters.

    Raises
    ------
    ScenarioError
        If transformers knows no such causal LM or cannot run it on shapes alone, it is no plain
        stack of blocks of attention, or mini-batch or adapters do not fit it.
    """
    for key, bits in {
        "training.activation_bits": training.activation_bits,
        "lora.adapter_bits": lora.adapter_bits,
    }.items():
        if bits not in _DTYPES:
            raise ScenarioError(
                f"{key} = {bits} is not allowed with an LLM that torch counts; give 16, 32 or 64."
            )
    with one_line(llm):
        model = _model(llm, raw, _DTYPES[training.activation_bits])
        most = getattr(model.config, "max_position_embeddings", None)
        check_length(llm, most, training)
        shape = (training.micro_batch_size, training.sequence_length)
        stack = _Stack(llm, model, torch.zeros(shape, dtype=torch.int64, device="meta"))
        with _AsOnProcessors():  # type: ignore[no-untyped-call]
            return stack.costs(lora)


@contextmanager
def one_line(llm: str) -> Iterator[None]:
    """What the code of any family says of a configuration, as one refusal."""
    logging: Any = transformers_logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of transformers and peft, about their own names
            yield
    except (ScenarioError, MemoryError):
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ScenarioError(
            f"{llm}: transformers cannot make this LLM, or not run it on shapes alone "
            f"({said:.160}); correct its config.json, or give another LLM."
        ) from error
    finally:
        logging.set_verbosity(before)


def _model(llm: str, raw: Mapping[str, Any], dtype: torch.dtype) -> Any:
    """The LLM on the meta device, frozen, with attention as plain products."""
    family, known = raw["model_type"], MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if family not in known:
        raise ScenarioError(
            f"{llm}: model_type = {shortened(family)} is no causal LM of the transformers that is "
            f"installed; {nearest(family, known)}"
        )
    named = raw.get("architectures") or []
    if named and not any(re.search("CausalLM|LMHead|Model$", str(one)) for one in named):
        raise ScenarioError(
            f"{llm}: architectures = {shortened(named)} is no causal LM; give a decoder."
        )
    keys = {key: value for key, value in raw.items() if key not in _NO_DIMENSIONS}
    config = AutoConfig.for_model(family, **json.loads(json.dumps(keys)))
    if config.is_encoder_decoder:
        raise ScenarioError(
            f"{llm}: the family {family} has an encoder beside its decoder, which no cut could "
            f"have; give a decoder alone."
        )
    blocks = getattr(config, "num_hidden_layers", None)
    if not isinstance(blocks, int) or not 1 <= blocks <= MOST_BLOCKS:
        raise ScenarioError(
            f"{llm}: num_hidden_layers = {shortened(blocks)} is not allowed; give a whole number "
            f"from 1 to {MOST_BLOCKS}."
        )
    config.use_cache = False
    if hasattr(config, "output_router_logits"):
        config.output_router_logits = False  # whose loss would reach into every block
    ALL_EXPERTS_FUNCTIONS.register(_EXPERTS, _experts)
    with torch.device("meta"):
        model = _FACTORY.from_config(config, attn_implementation="eager", dtype=dtype)
    model.set_experts_implementation(_EXPERTS)
    model.loss_type = "ForCausalLM"  # not every class name tells it
    return model.eval().requires_grad_(False)


def _experts(self: Any, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """What transformers' loop over experts does and keeps, as if one took all tokens.

    A loop must know which experts are picked; how much they do in all does not depend on it.
    """
    tokens, places = (torch.empty_like(index.flatten()) for _ in range(2))

    def project(taken: Tensor, part: str) -> Tensor:
        matrix = getattr(self, part)[0]
        bias = getattr(self, f"{part}_bias")[0] if self.has_bias else None
        return nn.functional.linear(taken, matrix.T if self.is_transposed else matrix, bias)

    wide = project(hidden[tokens], "gate_up_proj" if self.has_gate else "up_proj")
    taken = project(self._apply_gate(wide) if self.has_gate else self.act_fn(wide), "down_proj")
    if self.has_post_expert_norm:
        taken = self.post_expert_norm(taken)
    taken = taken * weights[tokens, places, None]
    return torch.zeros_like(hidden).index_add_(0, tokens, taken.to(hidden.dtype))


class _AsOnProcessors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Statistics of layer norms in the number format of what is normed, as processors keep them."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.native_layer_norm.default:
            normed, *statistics = output
            return (normed, *(one.to(normed.dtype) for one in statistics))
        return output


@dataclass
class _Call:
    """How the whole LLM calls a block."""

    others: tuple[Any, ...]
    """What it passes by place, beside the block's input."""
    named: dict[str, Any]
    """What it passes by name."""
    output: Any = None
    """What the block returns, a tensor or several of which the first goes on."""


@dataclass
class _Stack:
    llm: str
    model: Any
    ids: Tensor
    calls: list[_Call] = field(default_factory=list)
    embedding_flop: int = 0

    def __post_init__(self) -> None:
        count = self.model.config.num_hidden_layers
        lists = [
            module
            for module in self.model.modules()
            if isinstance(module, nn.ModuleList) and len(module) == count
        ]
        if not lists:
            raise self._not_plain(f"it has no list of {count}")
        self.blocks = lists[0]
        if any(isinstance(part, nn.Conv1d) for part in self.blocks.modules()):
            raise self._not_plain("they mix tokens in other ways than attention")
        self.before: dict[int, int] = {}
        self.after: dict[int, int] = {}
        self._try()

    def _not_plain(self, why: str) -> ScenarioError:
        return ScenarioError(
            f"{self.llm}: the blocks of {self.model.config.model_type} are no plain stack that "
            f"could be cut anywhere: {why}; give another LLM."
        )

    def _run(self, **more: Any) -> Any:
        mask = torch.ones_like(self.ids)
        return self.model(input_ids=self.ids, attention_mask=mask, use_cache=False, **more)

    def _try(self) -> None:
        """Note how blocks are called, cut from each other, and see that nothing goes round them."""
        borders: list[Tensor] = []
        embedded: list[Tensor] = []

        def start(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            embedded.append(output.detach().requires_grad_())
            return embedded[-1]

        def enter(
            _: nn.Module, args: tuple[Any, ...], named: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            named = dict(named)
            hidden, *others = args or (named.pop("hidden_states"),)
            if not borders:
                self.embedding_flop = counter.get_total_flops()
                borders.append(hidden.detach().requires_grad_())
            elif hidden is not borders[-1]:
                raise self._not_plain("one does not take what the one before gives")
            if any(tensor.requires_grad for tensor in tensors_in([others, named])):
                raise self._not_plain("one takes more than what the one before gives")
            self.calls.append(_Call(tuple(others), named))
            return (borders[-1], *others), named

        def leave(_: nn.Module, __: Any, output: Any) -> Any:
            self.calls[-1].output = output
            borders.append(_first(output).detach().requires_grad_())
            return _with_first(output, borders[-1])

        def note(module: nn.Module, _: Any) -> None:
            sizes = self.after if self.calls else self.before
            sizes.update((id(w), w.numel()) for w in module.parameters(recurse=False))

        inside = set(self.blocks.modules())
        outside = [module for module in self.model.modules() if module not in inside]
        with FlopCounterMode(display=False) as counter, ExitStack() as hooks:
            hooks.callback(self.model.get_input_embeddings().register_forward_hook(start).remove)
            for block in self.blocks:
                hooks.callback(block.register_forward_pre_hook(enter, with_kwargs=True).remove)
                hooks.callback(block.register_forward_hook(leave).remove)
            for module in outside:
                hooks.callback(module.register_forward_pre_hook(note).remove)
            logits = self._run().logits
        if len(self.calls) != len(self.blocks):
            raise self._not_plain("not each is passed once")
        if len({tuple(border.shape) for border in borders}) > 1 or borders[0].ndim != 3:
            raise self._not_plain("what passes between them is not of one width")
        logits.backward(torch.ones_like(logits))
        if any(tensor.grad is not None for tensor in (*embedded, *borders[:-1])):
            raise self._not_plain("the head takes more than what the last gives")
        sizes = [{id(w): w.numel() for w in block.parameters()} for block in self.blocks]
        parts = [*sizes, self.before | self.after]
        if sum(map(len, parts)) != len({id(w) for w in self.model.parameters()}):
            raise self._not_plain("weights are shared among them, or are of no part")
        self.sizes = [sum(found.values()) for found in sizes]
        self.hidden = borders[0]

    def _adapt(self, lora: Lora) -> None:
        """Add the adapters to matrices of blocks; those of experts carry none."""
        inside = [_matrices(block) for block in self.blocks]
        self.matrices = [
            tuple(sorted(m.weight.numel() for m in found.values())) for found in inside
        ]
        matrices = {name: module for found in inside for name, module in found.items()}
        routed = any(name.endswith("experts") for name, _ in self.blocks.named_modules())
        chosen = matching(lora.targets, list(matrices), self.llm, experts=routed)
        names = "|".join(map(re.escape, sorted(chosen)))
        adapters = LoraConfig(
            r=lora.rank,
            use_dora=lora.dora,
            target_modules=rf"\d+\.({names})",
            fan_in_fan_out=any(isinstance(matrices[name], Conv1D) for name in chosen),
        )
        with torch.device("meta"):
            # not into the whole model, where peft takes names of old for those of experts
            inject_adapter_in_model(adapters, self.blocks)
        for weight in self.model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.to(_DTYPES[lora.adapter_bits])

    def costs(self, lora: Lora) -> LlmCosts:
        """Costs of embedding, blocks and head, with adapters."""
        self._adapt(lora)
        arguments = [(call.others, call.named) for call in self.calls]
        shared = [
            *(*self.model.parameters(), *self.model.buffers()),
            *(*tensors_in(arguments), self.ids),
        ]
        costs: list[Cost] = []
        stream = False
        for number, size in enumerate(self.sizes):
            arrived = self.hidden.detach().requires_grad_(stream)
            forward, backward, saved = count((partial(self._block, number), arrived), shared)
            trained = sum(w.numel() for w in self.blocks[number].parameters() if w.requires_grad)
            costs.append(Cost(forward, backward, size, trained, saved, self.matrices[number]))
            stream = stream or trained > 0
        arrived = self.hidden.detach().requires_grad_()
        forward, backward, saved = count((self._head, arrived), shared)
        own = sum(size for key, size in self.after.items() if key not in self.before)
        return LlmCosts(
            hidden=self.hidden.shape[-1],
            embedding=Cost(self.embedding_flop, 0, sum(self.before.values()), 0, 0),
            blocks=tuple(costs),
            head=Cost(forward - self.embedding_flop, backward, own, 0, saved),
            head_parameters=sum(self.after.values()),
        )

    def _block(self, number: int, hidden: Tensor) -> Tensor:
        call = self.calls[number]
        return _first(self.blocks[number](hidden, *call.others, **call.named))

    def _head(self, hidden: Tensor) -> Tensor:
        """Loss of the whole LLM, with blocks that pass on `hidden` whatever they are given."""
        for block, call in zip(self.blocks, self.calls, strict=True):
            passed = _with_first(call.output, hidden)
            vars(block)["forward"] = lambda *_, passed=passed, **__: passed
        try:
            loss: Tensor = self._run(labels=self.ids).loss
        finally:
            for block in self.blocks:
                del vars(block)["forward"]
        return loss


def _matrices(block: nn.Module) -> dict[str, nn.Linear | Conv1D]:
    """Matrices of a block by name, but those of experts."""
    return {
        name: module
        for name, module in block.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and "experts." not in name
    }


def _first(output: Any) -> Tensor:
    found: Tensor = output if isinstance(output, Tensor) else output[0]
    return found


def _with_first(output: Any, hidden: Tensor) -> Any:
    """The same output with another hidden state."""
    return hidden if isinstance(output, Tensor) else type(output)((hidden, *output[1:]))
