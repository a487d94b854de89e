"""Where one end computes, and how the clock that is decided for a round is carried out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from card.base.errors import ScenarioError
from card.training.energy import UNMETERED, Meter, Sensor
from card.training.gpu import Gpu

Compute = Literal["cpu", "cuda"]
"""Processor that computes."""
Actuate = Literal["none", "pace", "clock"]
"""How the server's clock is carried out."""


@dataclass(frozen=True)
class Setting:
    """What is done in one round about its clock."""

    clock_hz: float | None = None
    """Clock that the GPU is locked to [Hz]; None if none is set."""
    stretch: float = 1.0
    """How many times as long as it takes computing is made to last, at least 1."""


Actuator = Callable[[float, float], AbstractContextManager[Setting]]
"""Carries out a clock [Hz] that makes computing a number of times as long as the highest does."""


@contextmanager
def leave(_frequency_hz: float, _stretch: float) -> Iterator[Setting]:
    """Set nothing: the clock is decided and noted."""
    yield Setting()


@contextmanager
def pace(_frequency_hz: float, stretch: float) -> Iterator[Setting]:
    """Let computing last as long as it would at the clock, on any machine.

    Time is then that of the clock. Power is not: the machine rests after computing at its own.
    """
    yield Setting(stretch=max(stretch, 1.0))


def locking(gpu: Gpu) -> Actuator:
    """What locks a GPU's clock for a round, and releases it however the round ends.

    Only a process that is killed outright, by SIGKILL or a second signal, leaves it locked.
    """

    @contextmanager
    def locked(frequency_hz: float, _stretch: float) -> Iterator[Setting]:
        with ExitStack() as after:
            after.callback(gpu.release)  # first, for a signal may come once the clock is locked
            try:
                set_hz = gpu.lock(frequency_hz)
            except ScenarioError:
                after.pop_all()
                raise
            yield Setting(clock_hz=set_hz)

    return locked


def actuator(how: Actuate, compute: Compute, highest_hz: float) -> Actuator:
    """What carries out the server's clock.

    Parameters
    ----------
    how
        `none`, `pace` or `clock`.
    compute
        Where the server computes.
    highest_hz
        Highest clock of the scenario's server [Hz], which is tried where clocks are to be locked.

    Raises
    ------
    ScenarioError
        If the clock cannot be locked here, with the reason.
    """
    if how != "clock":
        return {"none": leave, "pace": pace}[how]
    remedy = "give --actuate pace, which needs no GPU, or none"
    if compute != "cuda":
        raise ScenarioError(f"--actuate clock sets a GPU's clock; add --compute cuda, or {remedy}.")
    try:
        locked = locking(Gpu.at_hand())
        with locked(highest_hz, 1.0):
            return locked
    except ScenarioError as error:
        raise ScenarioError(f"--actuate clock: {str(error).removesuffix('.')}; {remedy}.") from None


def check_compute(compute: Compute) -> None:
    """Refuse a processor that is not here.

    Raises
    ------
    ScenarioError
        If torch finds no NVIDIA GPU.
    """
    if compute == "cuda" and not torch.cuda.is_available():
        raise ScenarioError("--compute cuda: torch finds no NVIDIA GPU here; give --compute cpu.")


class Work:
    """One end's computing in one round.

    Parameters
    ----------
    setting
        What is done about its clock.
    sensor
        Counter of its energy.
    compute
        Where it computes.
    """

    def __init__(self, setting: Setting, sensor: Sensor, compute: Compute) -> None:
        self._setting, self._compute = setting, compute
        self._meter = Meter(sensor)
        self._computed_s = self._paused_s = 0.0

    @contextmanager
    def computing(self) -> Iterator[None]:
        """A span of computing; its end waits until all is computed, and for the pace."""
        start_s = time.perf_counter()
        with self._meter.busy():
            yield
            if self._compute == "cuda":
                torch.cuda.synchronize()
        done_s = time.perf_counter()
        self._computed_s += done_s - start_s
        # against all pauses so far, for each ends a little late
        owed_s = (self._setting.stretch - 1) * self._computed_s - self._paused_s
        if owed_s > 0:
            time.sleep(owed_s)
            self._paused_s += time.perf_counter() - done_s

    def spent_j(self) -> tuple[float | None, float | None]:
        """Energy of computing and of the rest so far [J]; None where nothing counts it."""
        return self._meter.spent_j()

    def noted(self) -> dict[str, float | None]:
        """Clock that was set [Hz], pauses [s] and energy [J], as a round's notes have them."""
        busy_j, waiting_j = self.spent_j()
        return {
            "set_clock_hz": self._setting.clock_hz,
            "server_paused_s": self._paused_s,
            "server_busy_j": busy_j,
            "server_waiting_j": waiting_j,
        }


@dataclass(frozen=True)
class Machine:
    """One end's machine."""

    compute: Compute = "cpu"
    """Where it computes."""
    carry_out: Actuator = leave
    """What carries out a clock."""
    sensor: Sensor = UNMETERED
    """Counter of its energy."""

    def told(self) -> dict[str, object]:
        """What a run notes of it."""
        sensor = self.sensor
        return {
            "compute": self.compute,
            "metered": sensor.read_j is not None,
            "energy": sensor.source,
        }

    @contextmanager
    def round(self, frequency_hz: float, stretch: float) -> Iterator[Work]:
        """One round's computing at a clock [Hz] that makes it `stretch` times as long."""
        with self.carry_out(frequency_hz, stretch) as setting:
            yield Work(setting, self.sensor, self.compute)


PLAIN = Machine()
"""A processor whose clock is left alone and whose energy nobody counts.

:meta hide-value:
"""
