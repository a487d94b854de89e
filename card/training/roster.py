"""The devices that are connected to the edge server, and whose turn it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import wait

from card.training.wire.stream import ANSWER_S, Stream
from card.training.wire.tensors import WireError

_GOODBYE_S = 10.0


class Roster:
    """Connected devices, of which the one that has waited longest is next.

    Devices come and go on the event loop while the server's main thread asks who is next.

    Parameters
    ----------
    order
        Names of all devices; among those that have had no turn, the first of them is next.
    """

    def __init__(self, order: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate(order)}
        self._streams: dict[str, Stream] = {}
        self._turns: dict[str, int] = {}
        self._came: set[str] = set()
        self._changed = threading.Condition()

    @property
    def served(self) -> list[str]:
        """Devices that have had a turn, the one that has waited longest first."""
        return sorted(self._turns, key=self._turns.__getitem__)

    def resume(self, served: Sequence[str]) -> None:
        """Go on where `served` had these devices."""
        self._turns = {name: turn for turn, name in enumerate(served, start=1)}

    @property
    def connected(self) -> int:
        """How many devices are connected."""
        return len(self._streams)

    @property
    def without_turn(self) -> list[str]:
        """Devices that came and have had no turn, in the order of all."""
        return sorted(self._came - self._turns.keys(), key=self._places.__getitem__)

    async def vacant(self, name: str) -> bool:
        """Whether a device may enter, for no other of its name is alive; on the event loop."""
        older = self._streams.get(name)
        if older is None:
            return True
        if await older.alive(ANSWER_S) or self._streams.get(name) not in (older, None):
            return False
        self.leave(name, older)
        older.drop()
        return True

    def enter(self, name: str, stream: Stream) -> None:
        """Let a device take part.

        Raises
        ------
        WireError
            If another of its name was quicker.
        """
        with self._changed:
            if name in self._streams:
                raise WireError(f"another device that says it is {name} was quicker")
            self._streams[name] = stream
            self._came.add(name)
            self._changed.notify_all()

    def leave(self, name: str, stream: Stream) -> None:
        """Forget a connection, unless the device has come back on another."""
        with self._changed:
            if self._streams.get(name) is stream:
                del self._streams[name]

    def next(self, *, patience_s: float, at_least: int = 1) -> tuple[str, Stream] | None:
        """Device that has waited longest among those connected; its turn counts from now.

        Parameters
        ----------
        patience_s
            How long to wait for devices [s].
        at_least
            How many must be connected.

        Returns
        -------
        tuple[str, Stream] | None
            Name and connection, or None if not enough came in time.
        """
        deadline = time.monotonic() + patience_s
        with self._changed:
            while len(self._streams) < at_least:
                if not self._changed.wait(deadline - time.monotonic()):
                    return None
            name = min(self._streams, key=lambda own: (self._turns.get(own, 0), self._places[own]))
            self._turns[name] = max(self._turns.values(), default=0) + 1
            return name, self._streams[name]

    def turn_away(self, reason: str) -> None:
        """Tell all devices that the run cannot go on."""
        with self._changed:
            streams = list(self._streams.values())
        for stream in streams:
            stream.refuse(reason)

    def dismiss(self, reason: str) -> None:
        """Tell all devices that the run is over, and those without a turn that they had none."""
        with self._changed:
            streams = dict(self._streams)
        without = self.without_turn
        wait(
            [
                stream.finish(f"{reason}; {name} had no turn" if name in without else reason)
                for name, stream in streams.items()
            ],
            _GOODBYE_S,
        )
