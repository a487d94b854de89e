"""The event loop that all streams of a process share, on a thread of its own.

A stream costs the loop some kilobytes and no thread; whoever computes waits for it from outside.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from card.training.wire.tensors import WireError

_STOP_S = 5.0
T = TypeVar("T")


class EventLoop:
    """An event loop that runs until its last user has given it back; `borrow` gets it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        """The loop itself, for what runs on it."""
        self.users = 0
        """Who has borrowed it and not given it back."""
        self._over = asyncio.Event()
        self.thread = threading.Thread(target=self._run, name="card-wire", daemon=True)
        """What it runs on."""
        self.thread.start()

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop, from another thread.

        Raises
        ------
        WireError
            If the loop has ended.
        """
        try:
            return asyncio.run_coroutine_threadsafe(work, self.loop)
        except RuntimeError:
            work.close()
            raise WireError("this end has closed the stream") from None

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns or raises, run on the loop while this other thread waits."""
        future = self.begin(work)
        try:
            return future.result()
        except CancelledError:
            raise WireError("this end has closed the stream") from None
        finally:
            future.cancel()  # the wait may have been broken off by a signal

    def give_back(self) -> None:
        """Need it no more; the last user ends the loop and its thread."""
        with _lock:
            self.users -= 1
            last = not self.users
            if last:
                _shared.remove(self)
        if last:
            self.loop.call_soon_threadsafe(self._over.set)
            self.thread.join(_STOP_S)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._over.wait())


_lock = threading.Lock()
_shared: list[EventLoop] = []


def borrow() -> EventLoop:
    """The process's event loop, started if need be, until `EventLoop.give_back`."""
    with _lock:
        if not _shared:
            _shared.append(EventLoop())
        _shared[0].users += 1
        return _shared[0]
