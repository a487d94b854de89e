"""Measures what the parts of an LLM cost on the machine at hand, and writes it as a profile.

A processor and a GPU take the same path.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from card.base.errors import ScenarioError
from card.base.llm_configs import llm_name
from card.base.units import BITS_PER_BYTE, counted
from card.hardware import Profile
from card.hardware.profile import (
    FORMATS,
    Part,
    PartName,
    Point,
    Settings,
    Timed,
    WholeStep,
)
from card.llm import public_config
from card.llm.architectures import architecture_of
from card.llm.cuts import profile_of
from card.llm.dimensions import check_length
from card.llm.families import check_runs
from card.llm.real.counters import Task, count, saved_bit, tensors_in
from card.profiling import energy, machine
from card.profiling.ceilings import ceilings
from card.profiling.chains import MARGIN, added, chains, longest
from card.profiling.llm_under_test import Parts
from card.profiling.timing import (
    FULL,
    QUICK,
    Limits,
    Times,
    clocked,
    now,
    queued,
    repeat,
    spread,
)
from card.scenario import Lora, Training
from card.training.llm.models import DTYPES, check_runnable, plain_model
from card.training.wire.tensors import payload_bit

Accelerator = Literal["cpu", "cuda"]


def suited(
    training: Training, lora: Lora, *, accelerator: Accelerator, quick: bool
) -> tuple[Training, Lora]:
    """Mini-batch and adapters as the processor runs them well.

    A processor without instructions for bfloat16 takes many times longer with it, so on `cpu`
    everything is float32; `quick` shortens sequences to 64 tokens.
    """
    bits = 32 if accelerator == "cpu" else training.activation_bits
    longest = 64 if quick and accelerator == "cpu" else training.sequence_length
    changes = {
        "activation_bits": bits,
        "weight_bits": bits,
        "sequence_length": min(longest, training.sequence_length),
    }
    return training.model_copy(update=changes), lora.model_copy(update={"adapter_bits": bits})


def measure(
    llm: str,
    training: Training,
    lora: Lora,
    *,
    accelerator: Accelerator = "cpu",
    quick: bool = False,
    whole: bool = True,
    hardware: str | None = None,
    title: str | None = None,
    further: Sequence[Training] = (),
    echo: Callable[[str], None] = print,
) -> Profile:
    """Measure the parts of an LLM, and the whole of it where it fits, on this machine.

    Parameters
    ----------
    llm
        Entry of `data/llms`.
    training
        The mini-batch, of the adapters' number format (see `suited`).
    lora
        The adapters.
    accelerator
        `cpu`, or `cuda` for the GPU.
    quick
        Fewer repeats.
    whole
        Also time one training step of the whole LLM, if memory allows.
    hardware
        Entry of the hardware catalogue that this machine is.
    title
        Name that a figure shows; the processor's if not given.
    further
        Mini-batches of other shapes, to be measured after that of `training`.
    echo
        Takes one line of progress at a time.

    Raises
    ------
    ScenarioError
        If the LLM is unknown, the settings do not fit it, or there is no such accelerator.
    """
    raw = public_config(llm)
    shapes = (training, *further)
    for shape in shapes:
        _check(llm, raw, shape, lora, accelerator)
    place = machine.machine(accelerator)
    cores = counted(place.cores, "core")
    echo(f"{place.processor}: load {os.getloadavg()[0]:.1f} before, {cores} used")
    idle_power_w = energy.idle_power_w(accelerator)
    limits = ceilings(accelerator, DTYPES[training.activation_bits], quick=quick)
    memory = limits.memory_byte_per_s / 1e9
    echo(f"ceilings: {limits.peak_flops / 1e9:.1f} GFLOP/s, memory {memory:.1f} GB/s")
    llm_alone = partial(_part_of_llm, llm, raw, lora=lora, accelerator=accelerator)
    found = []
    for shape in shapes:
        echo(f"mini-batch of {shape.batch_size} x {counted(shape.sequence_length, 'token')}")
        model = llm_alone(shape)
        entire = partial(_whole, llm, raw, shape, lora, accelerator, echo) if whole else None
        found.append(_timed(model, entire, accelerator, QUICK if quick else FULL, echo))
    first, *others = found
    work = _tasks(model, *model.embed())["block"]
    return Profile(
        format=FORMATS[-1],
        title=title or place.processor,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        hardware=hardware,
        machine=place,
        software=machine.software(accelerator),
        settings=Settings(
            llm=llm_name(llm, raw),
            batch_size=training.batch_size,
            sequence_length=training.sequence_length,
            activation_bits=32 if training.activation_bits == 32 else 16,
            rank=lora.rank,
            targets=lora.targets,
            dora=lora.dora,
            quick=quick,
        ),
        **dict(first),
        adapter_bit=payload_bit(model.adapters(1)),
        clock_hz=machine.clock_hz(accelerator, partial(_train, model, *work, None)),
        power_law=None,
        idle_power_w=idle_power_w,
        ceilings=limits,
        points=tuple(
            Point(**dict(one), batch_size=shape.batch_size, sequence_length=shape.sequence_length)
            for one, shape in zip(others, further, strict=True)
        ),
    )


def _part_of_llm(
    llm: str, raw: dict[str, Any], training: Training, *, lora: Lora, accelerator: Accelerator
) -> Parts:
    """The LLM with as many blocks as the longest chain has."""
    memory_bit = profile_of(architecture_of(llm, raw), training, lora).device_memory_bit
    blocks = longest(memory_bit, machine.available_bit(accelerator))
    return Parts(raw, training, lora, accelerator, blocks=blocks)


def _timed(
    model: Parts,
    whole: Callable[[], Parts | None] | None,
    accelerator: Accelerator,
    limits: Limits,
    echo: Callable[[str], None],
) -> Timed:
    """What the parts of an LLM take, and the whole of it if it can be built."""
    hidden, arguments = model.embed()
    tasks = _tasks(model, hidden, arguments)
    shared = [*model.model.parameters(), *tensors_in(arguments)]
    counts = {name: count(task, shared) for name, task in tasks.items()}
    moved = {name: _moved_bit(model, name, task, shared) for name, task in tasks.items()}
    with FlopCounterMode(display=False) as looked_up:
        model.embed()
    counts["embedding"] = (looked_up.get_total_flops(), 0, 0)
    with torch.no_grad():
        smashed_bit = payload_bit({"hidden": model.blocks[1](hidden, **arguments)})
    work = partial(_train, model, *tasks["block"], accelerator)
    energy_j, power_w = energy.energy_and_power(accelerator, work)
    peak_bit = machine.peak_memory_bit(accelerator, work)

    runs: dict[str, Callable[[], Times]] = {
        name: partial(_train, model, *task, accelerator) for name, task in tasks.items()
    }
    runs["embedding"] = partial(clocked, model.embed, accelerator)
    for name, chain in chains(model).items():
        runs[f"chain {name}"] = partial(_chained, model, chain, accelerator)
    entire = whole() if whole else None
    if entire:
        runs["whole"] = partial(_chained, entire, entire.step, accelerator)
    times_s = repeat(runs, limits)
    in_chain = {key.removeprefix("chain "): rows.sum(axis=1) for key, rows in times_s.items()}
    more_s = added(in_chain, len(model.blocks))
    unwaited: dict[PartName, Callable[[], Times]] = {
        name: partial(_train, model, *task, None) for name, task in tasks.items()
    }
    unwaited["embedding"] = partial(clocked, model.embed, None)
    parts: dict[PartName, Part] = {}
    for name, (forward_flop, backward_flop, kept_bit) in counts.items():
        passes = [spread(column) for column in times_s[name].T]
        alone_s = sum(one.median_s for one in passes)
        device_s, launched_s = queued(accelerator, unwaited[name], alone_s)
        part = parts[name] = Part(
            forward=passes[0],
            backward=passes[1] if len(passes) > 1 else None,
            forward_flop=forward_flop,
            backward_flop=backward_flop,
            saved_bit=kept_bit,
            moved_bit=moved.get(name),
            added_s=more_s[name],
            device_s=device_s,
            launched_s=launched_s,
        )
        took = f"{1e3 * part.time_s:.1f} ms in a step, {1e3 * alone_s:.1f} ms alone"
        echo(f"{name}: {took}, {part.flop / 1e9:.2f} GFLOP")
    step = None
    if entire:
        predicted_s = _predicted_s(parts, len(entire.blocks))
        step = WholeStep(measured=spread(in_chain["whole"]), predicted_s=predicted_s)
        echo(f"whole step: {step.measured.median_s:.3f} s, predicted {predicted_s:.3f} s")
    return Timed(
        parts=parts,
        arrival_s=more_s["arrival"],
        smashed_bit=smashed_bit,
        peak_memory_bit=peak_bit,
        power_w=power_w,
        energy_j=energy_j,
        whole_step=step,
    )


def block_work(
    llm: str, training: Training, lora: Lora, *, accelerator: Accelerator = "cpu"
) -> Callable[[], object]:
    """Training of one inner block on one mini-batch, ready to be repeated.

    Raises
    ------
    ScenarioError
        As `measure` does.
    """
    raw = public_config(llm)
    _check(llm, raw, training, lora, accelerator)
    model = Parts(raw, training, lora, accelerator, blocks=2)
    return partial(_train, model, *_tasks(model, *model.embed())["block"], accelerator)


def _check(llm: str, raw: dict[str, Any], training: Training, lora: Lora, accelerator: str) -> None:
    check_runs(llm, raw)
    check_runnable(training)
    arch, bits = architecture_of(llm, raw), training.activation_bits
    arch.adapted(lora.targets)
    if bits not in DTYPES or {training.weight_bits, lora.adapter_bits} != {bits}:
        raise ScenarioError(
            f"training.activation_bits = {bits}, training.weight_bits = {training.weight_bits} and "
            f"lora.adapter_bits = {lora.adapter_bits}: a profile needs all three 16, or all 32."
        )
    check_length(arch.name, arch.max_positions, training)
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ScenarioError("accelerator = 'cuda': torch finds no GPU here; choose 'cpu'.")
    plain_model(raw, DTYPES[bits], device="meta", blocks=2)  # refused in a moment, if at all


def _tasks(model: Parts, hidden: Tensor, arguments: dict[str, Any]) -> dict[PartName, Task]:
    """Function and input of each part that trains; only block 1's input needs no gradient."""

    def block(number: int, arrived: Tensor) -> Tensor:
        output: Tensor = model.blocks[number](arrived, **arguments)
        return output

    inner = hidden.detach().clone().requires_grad_()
    last = hidden.detach().clone().requires_grad_()
    return {
        "first_block": (partial(block, 0), hidden.detach()),
        "block": (partial(block, 1), inner),
        "head": (model.head, last),
    }


def _moved_bit(model: Parts, name: PartName, task: Task, shared: list[Tensor]) -> int:
    """Weights, input, output and what is kept for backward, each counted once [bit].

    Parameters
    ----------
    model
        The LLM whose part it is.
    name, task
        The part, and its function and input.
    shared
        Tensors that are held whatever is trained.
    """
    function, arrived = task
    output = function(arrived)
    kept = saved_bit(partial(function, arrived), [*shared, arrived])
    return kept + BITS_PER_BYTE * sum(t.nbytes for t in (*model.weights(name), arrived, output))


def _train(
    model: Parts, function: Callable[[Tensor], Tensor], arrived: Tensor, accelerator: str | None
) -> Times:
    """Forward and backward of a part: their times [s], if a processor to wait for is given."""
    model.forget()
    arrived.grad = None
    start = now(accelerator)
    output = function(arrived)
    gradient = torch.ones_like(output)
    middle = now(accelerator)
    torch.autograd.backward(output, gradient)
    return middle - start, now(accelerator) - middle


def _chained(model: Parts, chain: Callable[[], None], accelerator: str) -> Times:
    """Time of a chain [s]; what earlier ones left is dropped before."""
    model.forget()
    return clocked(chain, accelerator)


def _predicted_s(parts: dict[PartName, Part], num_blocks: int) -> float:
    others = sum(parts[name].time_s for name in ("embedding", "first_block", "head"))
    return others + (num_blocks - 1) * parts["block"].time_s


def _whole(
    llm: str,
    raw: dict[str, Any],
    training: Training,
    lora: Lora,
    accelerator: str,
    echo: Callable[[str], None],
) -> Parts | None:
    """The whole LLM, if the memory that is free holds it and its training step with margin."""
    profile = profile_of(architecture_of(llm, raw), training, lora)
    need, free = MARGIN * int(profile.device_memory_bit[-1]), machine.available_bit(accelerator)
    if need > free:
        echo(f"whole step: left out; it needs {need / 8e9:.1f} GB, free are {free / 8e9:.1f} GB")
        return None
    return Parts(raw, training, lora, accelerator)
