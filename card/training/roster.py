"""The devices that are connected to the edge server, and whose turn it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from card.training.wire.stream import Stream


class Roster:
    """Connected devices in the order of the scenario.

    Devices come and go on threads of their own while the server's main thread asks who is next.

    Parameters
    ----------
    order
        Names of all devices, in the order they take turns.
    """

    def __init__(self, order: Sequence[str]) -> None:
        self._order = tuple(order)
        self._streams: dict[str, Stream] = {}
        self._changed = threading.Condition()

    def enter(self, name: str, stream: Stream) -> None:
        """Let a device take part; an older connection of the same device ends."""
        with self._changed:
            older = self._streams.get(name)
            self._streams[name] = stream
            self._changed.notify_all()
        if older is not None:
            older.close()

    def leave(self, name: str, stream: Stream) -> None:
        """Forget a connection, unless the device has come back on another."""
        with self._changed:
            if self._streams.get(name) is stream:
                del self._streams[name]

    def next(
        self, last: str | None, *, patience_s: float, at_least: int = 1
    ) -> tuple[str, Stream] | None:
        """Device whose turn follows that of `last`, among those connected.

        Parameters
        ----------
        last
            Device of the round before; None before the first.
        patience_s
            How long to wait for devices [s].
        at_least
            How many must be connected.

        Returns
        -------
        tuple[str, Stream] | None
            Name and connection, or None if nobody came in time.
        """
        deadline = time.monotonic() + patience_s
        with self._changed:
            while len(self._streams) < at_least:
                if not self._changed.wait(deadline - time.monotonic()):
                    return None
            start = 0 if last is None else self._order.index(last) + 1
            turns = (*self._order[start:], *self._order[:start])
            name = next(name for name in turns if name in self._streams)
            return name, self._streams[name]

    def dismiss(self, reason: str) -> None:
        """Tell all devices that the run is over."""
        with self._changed:
            streams = list(self._streams.values())
        for stream in streams:
            stream.finish(reason)
