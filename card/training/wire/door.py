"""Who is let in where an edge server takes devices in, so that nobody locks the others out."""

from __future__ import annotations

import asyncio
from collections import Counter

from card.training.wire.stream import Stream

CALLS_PER_CERTIFICATE = 4
"""Streams that one certificate may have open, of which one lives and some come or go."""
UNHEARD_PER_ADDRESS = 64
"""Streams from one address that have not been answered yet."""

_REMEMBERED = 64


class Door:
    """Which calls become streams, so that nobody locks the others out.

    Parameters
    ----------
    places
        Streams in all.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._inside: dict[Stream, str] = {}
        self._left = asyncio.Condition()
        self.turned_away: Counter[str] = Counter()
        """How often there was no place, by certificate or address; of so many as is sensible."""

    def objection(self, name: str | None, address: str) -> str | None:
        """Why a call from an address, with the name in its certificate, is not let in."""
        unheard = sum(
            there == address and not stream.bytes_sent for stream, there in self._inside.items()
        )
        own = sum(stream.peer_name == name for stream in self._inside)
        reason = None
        if len(self._inside) >= self._places:
            reason = f"all {self._places} are taken"
        elif name is not None and own >= CALLS_PER_CERTIFICATE:
            reason = f"{name} has {own} already"
        elif unheard >= UNHEARD_PER_ADDRESS:
            reason = f"{unheard} from there are not answered yet"
        who = name or address
        if reason and (who in self.turned_away or len(self.turned_away) < _REMEMBERED):
            self.turned_away[who] += 1
        return reason

    def enter(self, stream: Stream, address: str) -> None:
        """Let a stream from an address in."""
        self._inside[stream] = address

    async def leave(self, stream: Stream) -> None:
        """Give its place to another."""
        async with self._left:
            del self._inside[stream]
            self._left.notify_all()

    async def empty(self) -> None:
        """Return when all have left."""
        async with self._left:
            await self._left.wait_for(lambda: not self._inside)
