"""What one end believes of the other: nothing that no honest end could have sent.

Names, number formats and shapes are `card.training.wire.tensors`'s to check; this is about values.
Lies within these bounds are not noticed: a device may train on what text it likes, and say that its
loss was another.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from card.base.errors import LARGEST_COUNT
from card.scenario import Scenario
from card.training.llm.split import IGNORED
from card.training.wire.stream import PeerGone, PeerRefused, PeerStalled, one_line
from card.training.wire.tensors import WireError
from card.training.wire.wire_pb2 import Assignment

LARGEST = 2.0**30
"""Largest magnitude believed of an activation, a gradient or an adapter [1].

Assumed: far beyond 65,504, the most that an LLM run in float16 can have, and its square, summed
over 2^60 elements, is still finite in float32 and bfloat16: no sum here overflows by what came.
"""
BREACHES = 3
"""Rounds in which a device breaks the agreement until it is set aside for the rest of a run."""
LARGEST_STEP = 1.0
"""Largest learning rate that AdamW is run with here [1].

Assumed: a thousand times the usual; the first step alone moves each weight by it.
"""
BETAS = (0.9, 0.999)
"""Decay of the moments of `card.training.llm.split.optimiser`, torch's own default."""


_NAMED = 40


class BreachError(WireError):
    """Values that no honest end sends."""


class PeerDivergedError(WireError):
    """The other end says that its loss is no number any more."""


class DivergedError(Exception):
    """Training that diverged: what was computed at this end is no number any more, or absurd."""


def spoken(text: str) -> str:
    """A peer's word for itself, fit for a line: forty letters that no terminal acts on."""
    return one_line(text[:_NAMED]) + "…" * (len(text) > _NAMED)


def check_arrived(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors of a peer with values that are not finite or beyond `LARGEST`.

    Raises
    ------
    BreachError
        Naming the first of them.
    """
    for name, tensor in tensors.items():
        if wrong := _absurd(tensor):
            raise BreachError(f"tensor {name!r} holds {wrong}")
    if "labels" in tensors and not bool((tensors["labels"][:, 1:] != IGNORED).any()):
        raise BreachError("all labels are masked, so there is no loss and nothing to learn")


def check_own(tensors: Mapping[str, Tensor]) -> None:
    """Refuse to go on where this end has computed what the other would not believe.

    Raises
    ------
    DivergedError
        Naming the first such tensor.
    """
    for name, tensor in tensors.items():
        if wrong := _absurd(tensor):
            raise DivergedError(f"tensor {name!r} holds {wrong}")


def believed_s(claimed_s: float, passed_s: float) -> float:
    """A time that a peer says it computed [s], if it is one, and no longer than what has passed.

    Raises
    ------
    BreachError
        If it is not; a second is left for what clocks and the link blur.
    """
    if 0 <= claimed_s <= passed_s + 1.0:
        return claimed_s
    raise BreachError(f"it says that it computed for {claimed_s:g} s within {passed_s:.1f} s")


def check_silence(timeout_s: float) -> None:
    """Refuse a time-out that nobody waits by; raises `BreachError` with what is allowed."""
    _check_range("timeout_s", timeout_s, 1e-3, LARGEST_COUNT)


def check_assignment(task: Assignment, scenario: Scenario, deepest: int) -> None:
    """Refuse what a server with this scenario would not assign.

    Parameters
    ----------
    task
        What the server wants.
    scenario
        What was agreed on when the device joined.
    deepest
        Deepest cut that fits the device.

    Raises
    ------
    BreachError
        Naming the value and what was agreed.
    """
    iterations, seed = scenario.training.local_iterations, scenario.simulation.seed
    _check_range("round", task.round, 1, LARGEST_COUNT)
    _check_range("cut", task.cut, 0, deepest)
    _check_range("iterations", task.iterations, iterations, iterations)
    _check_range("seed", task.seed, seed, seed)
    _check_range("learning_rate", task.learning_rate, 0, LARGEST_STEP)
    _check_range("frequency_hz", task.frequency_hz, 0, 1e15)


def moved_at_most(learning_rate: float, steps: int) -> float:
    """Farthest that AdamW, begun anew and without decay, moves a weight in so many steps [1].

    A step is the learning rate times m / sqrt(v), both corrected for their bias. By Cauchy and
    Schwarz, whatever the gradients were, after t steps it is at most

        (1 - b1) / (1 - b1^t) sqrt((1 - b2^t) / (1 - b2) (1 - r^t) / (1 - r)),   r = b1^2 / b2,

    which is 1 for the first step and 7.3 in the long run, and is reached by gradients that grow by
    b2 / b1 from step to step.

    Parameters
    ----------
    learning_rate
        Step size [1].
    steps
        Mini-batches of a round.
    """
    first, second = BETAS
    ratio = first**2 / second
    return learning_rate * sum(
        (1 - first)
        / (1 - first**t)
        * math.sqrt((1 - second**t) / (1 - second) * (1 - ratio**t) / (1 - ratio))
        for t in range(1, steps + 1)
    )


def check_trained(
    sent: Mapping[str, Tensor], back: Mapping[str, Tensor], learning_rate: float, steps: int
) -> None:
    """Refuse adapters that moved farther within a round than `moved_at_most` lets them.

    Rounding is allowed for: of the weights, half their spacing in every step, and that of AdamW's
    own arithmetic, a thousandth of the way in 32 bits or more and as much again as the way in 16,
    where its moments have eight bits.

    Parameters
    ----------
    sent
        Adapters as they went to the device.
    back
        The same, as it trained them.
    learning_rate, steps
        What it was told to train with.

    Raises
    ------
    BreachError
        Naming the adapter, how far it moved and how far it could.
    """
    farthest = moved_at_most(learning_rate, steps)
    for name, after in back.items():
        before = sent[name].double()
        spacing = torch.finfo(after.dtype).eps
        slack = 2.0 if spacing > 1e-4 else 1.001
        limit = slack * farthest + spacing / 2 * steps * (before.abs() + slack * farthest)
        moved = (after.double() - before).abs()
        if bool((moved > limit).any()):
            raise BreachError(
                f"tensor {name!r} has a weight that moved by {float((moved - limit).max()):.3g} "
                f"more than AdamW can in {steps} steps of {learning_rate:g}"
            )


class Conduct:
    """Who broke the agreement in a run, and how often.

    A device whose fault or word it is that a round failed, and not the link's, is set aside after
    `BREACHES` such rounds, or at once if it says itself that it will not go on.
    """

    def __init__(self) -> None:
        self._breaches: Counter[str] = Counter()
        self._aside: dict[str, str] = {}

    def note(self, device: str, error: Exception) -> str | None:
        """Take down why a round failed; why the device is set aside with it, None if it is not."""
        if isinstance(error, PeerGone | PeerStalled):
            return None
        self._breaches[device] += 1
        if isinstance(error, PeerRefused | PeerDivergedError):
            self._aside[device] = f"set aside for this run, for it will not go on: {error}"
        elif self._breaches[device] >= BREACHES:
            self._aside[device] = f"set aside for this run after {BREACHES} bad rounds: {error}"
        return self.aside(device)

    def aside(self, device: str) -> str | None:
        """Why a device takes no part in this run any more; None if it may."""
        return self._aside.get(device)


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # nor is a NaN
        agreed = f"{low}" if low == high else f"{low} to {high}"
        raise BreachError(f"{name} = {value} came, where {agreed} is agreed")


def _absurd(tensor: Tensor) -> str | None:
    """What is wrong with the values of a tensor, if anything is."""
    if not tensor.is_floating_point() or not tensor.numel():
        return None
    largest = float(tensor.detach().abs().max())
    if not math.isfinite(largest):
        return "numbers that are not finite"
    return f"{largest:.3g}, beyond {LARGEST:.3g}" if largest > LARGEST else None
