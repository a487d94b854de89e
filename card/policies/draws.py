"""What every policy is given, the device-rounds, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from card.base.arrays import Record, copied, is_foreign, sealed
from card.base.units import FloatArray, IntArray
from card.costs import System
from card.solver import Decision, Extremes, extremes


@dataclass(frozen=True, eq=False)
class Draws:
    """The device-rounds that every policy decides on; arrays of one shape."""

    device: IntArray
    """Device positions."""
    uplink_bps: FloatArray
    """Uplink rates [bit/s]."""
    downlink_bps: FloatArray
    """Downlink rates [bit/s]."""
    extremes: Extremes
    """Extremes of delay and energy over each device-round's feasible set."""

    @classmethod
    def of(
        cls, system: System, device: IntArray, uplink_bps: FloatArray, downlink_bps: FloatArray
    ) -> Draws:
        """Draws with the extremes that follow from them."""
        ends = extremes(system, device, uplink_bps, downlink_bps)
        rates = sealed(uplink_bps), sealed(downlink_bps)
        return cls(sealed(device), *rates, Extremes(*map(sealed, ends)))

    def guarded(self) -> Draws:
        """The same draws for one policy, which cannot change those of the others.

        NumPy's arrays refuse changes; of torch's it has copies.
        """
        return Draws(
            _kept(self.device),
            _kept(self.uplink_bps),
            _kept(self.downlink_bps),
            Extremes(*map(_kept, self.extremes)),
        )


def apart(system: System) -> System:
    """The same system for one policy, which can change neither that of the others nor its caches.

    The solver remembers results by system, so that a policy that need not be kept apart is faster.
    """
    return replace(_copy(system), profile=_copy(system.profile))


def _copy(record: Record) -> Record:
    return replace(record, **{name: _kept(value) for name, value in vars(record).items()})


def _kept(value: Any) -> Any:
    """A copy of what can be changed in place: arrays of other libraries than NumPy."""
    return copied(value) if is_foreign(value) else value


Choice = tuple[IntArray, FloatArray]
"""Options and server clocks [Hz], which broadcast to the shape of the draws.

An option is a row of the system's profile. Rows 0..I are the cuts at the first listed bits, so that
a policy that does not decide bits returns cuts.
"""

Policy = Callable[[System, Draws, np.random.Generator], Choice]
"""What decides for all devices, states and rounds at once.

What it is given is not to be changed in place: NumPy arrays refuse it. An option that is not
feasible, or a clock outside the server's range, is refused when it is scored.
"""


def choice(decision: Decision) -> Choice:
    """Options and clocks of a decision."""
    return decision.option, decision.frequency_hz
