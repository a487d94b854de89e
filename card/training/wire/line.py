"""A line of frames between two ends, on the event loop: back-pressure, signs of life, and its end.

What the frames mean is the business of `stream`, and how they travel that of `transport`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from google.protobuf.message import DecodeError

from card.training.wire.event_loop import EventLoop
from card.training.wire.limits import Limits
from card.training.wire.tensors import WireError
from card.training.wire.wire_pb2 import Beat, Frame

_INBOX = 2
_CLOSE_S = 5.0
_TEXT = 300
_BEAT_BYTES = 8
_BETWEEN_BEATS_S = 0.02


class PeerGone(WireError):
    """The other end closed the stream, died, or cannot be reached."""


class PeerStalled(WireError):
    """The other end is there, but said or took nothing in time."""


class PeerRefused(WireError):
    """The other end will not go on; its reason is the message."""


class PeerFinished(WireError):
    """The other end has finished, where more was expected; its reason is the message."""


class Carrier(Protocol):
    """What carries the frames of a stream; all of it is used on the event loop alone."""

    async def read(self) -> bytes:
        """Next frame, once it is there.

        Raises
        ------
        WireError
            If there is none, with the reason.
        """

    async def write(self, data: bytes) -> None:
        """Hand a frame over; returns once the link has room for another."""

    async def end(self) -> None:
        """Let the other end take what was sent, and then end the call."""

    async def hang_up(self) -> None:
        """End the call at once."""


class Line:
    """One end of a line; all of it runs on the event loop, but for `working`.

    Parameters
    ----------
    carrier
        What carries the frames.
    events
        The loop on which everything happens; the stream is made on it.
    limits
        What this end bears from the other.
    peer
        The other end, in words.
    peer_name
        Name in the other end's certificate.
    """

    def __init__(
        self,
        carrier: Carrier,
        events: EventLoop,
        limits: Limits,
        peer: str,
        peer_name: str | None = None,
    ) -> None:
        self.limits = limits
        self.peer = peer
        self.peer_name = peer_name
        self.bytes_sent = 0
        """Frames sent, as serialised, without what gRPC and TLS add [byte]."""
        self.bytes_received = 0
        """Frames received, likewise [byte]."""
        self._carrier = carrier
        self._events = events
        self._waiting: set[asyncio.Future[None]] = set()
        self._inbox: deque[bytes] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._answering: asyncio.Task[None] | None = None
        self._works = False
        self._beat: asyncio.TimerHandle | None = None
        self._beat_s: float | None = None
        self._worked_s = self._answered_s = float("-inf")
        self._shutting: asyncio.Task[None] | None = None
        self._closed = False
        self._left_first = False
        self._lost: WireError | None = None
        self._reading = events.loop.create_task(self._read())

    async def hand_over(self, data: bytes) -> None:
        """Send a frame, once the one before has gone; raises what `Stream.send` does."""
        free = await self._until(
            lambda: not self._sending or self._lost or self._closed, self.limits.silence_s
        )
        if self._left_first:
            raise WireError("this end has closed the stream")
        if self._lost:
            raise self._last_words() or self._lost
        if not free:
            raise PeerStalled(f"{self.peer} took nothing for {self.limits.silence_s:g} s")
        self._sending = self._events.loop.create_task(self._write(data))
        self.bytes_sent += len(data)

    async def next(self, begun_s: float, timeout_s: float) -> bytes:
        """Next frame; a wait lasts longer while the other end says that it is working.

        Raises what `Stream.receive` does where there is none.
        """
        last_s = begun_s + max(timeout_s, self.limits.work_s)

        def left_s() -> float:
            return min(max(begun_s, self._worked_s) + timeout_s, last_s) - self._now_s()

        while not (self._inbox or self._lost or self._closed) and (rest_s := left_s()) > 0:
            await self._change(rest_s)
        if self._left_first:
            raise WireError("this end has closed the stream")
        if self._inbox:
            self._notify()
            return self._inbox.popleft()
        raise self._lost or PeerStalled(self._stalled(begun_s, timeout_s))

    def _stalled(self, begun_s: float, timeout_s: float) -> str:
        if self._worked_s > begun_s + self.limits.work_s - timeout_s:
            return f"{self.peer} was still working after {self.limits.work_s:g} s"
        return f"{self.peer} said nothing for {timeout_s:g} s"

    def _last_words(self) -> WireError | None:
        """Why the other end left, if that is among the frames not received yet."""
        return next(filter(None, (farewell(parsed(data)) for data in self._inbox)), None)

    @contextmanager
    def working(self, beat_s: float) -> Iterator[None]:
        """Let the other end know, every so often [s], that this one computes and is not silent."""
        if beat_s != self._beat_s:  # else the timer goes on since an earlier span
            self._beat_s = beat_s
            self._events.loop.call_soon_threadsafe(self._begin_beats, beat_s)
        self._works = True
        try:
            yield
        finally:
            self._works = False

    async def alive(self, timeout_s: float) -> bool:
        """Whether the other end answers within so long [s], whatever it is doing."""
        asked_s = self._now_s()
        asking = self._events.loop.create_task(self._signal(Beat.ASKED))
        await self._until(
            lambda: self._answered_s >= asked_s or self._lost or self._closed, timeout_s
        )
        asking.cancel()
        return self._answered_s >= asked_s

    async def ended(self) -> None:
        """Return when either end has closed the stream, or it broke off; on the event loop."""
        await self._until(lambda: self._closed or self._lost)

    async def shut(self) -> None:
        """Do as `close`, on the event loop."""
        self._left_first = self._left_first or self._lost is None
        self._closed = True
        self._end_beats()
        if self._left_first:  # else what the other end said at last is still to be received
            self._inbox.clear()
        self._notify()
        self._shutting = self._shutting or self._events.loop.create_task(self._shut())
        await asyncio.shield(self._shutting)

    async def _shut(self) -> None:
        if await self._until(lambda: self._lost or not self._sending, _CLOSE_S):
            await self._carrier.end()
        await self._carrier.hang_up()

    def drop(self) -> None:
        """End the stream at once, for the other end is dead; on the event loop."""
        self.lose(PeerGone(f"{self.peer} did not answer"))
        self._leaving = self._events.loop.create_task(self.shut())

    def lose(self, reason: WireError) -> None:
        """The other end is gone; the first reason counts."""
        self._lost = self._lost or reason
        self._notify()

    def _now_s(self) -> float:
        return self._events.loop.time()

    def _notify(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def _until(self, ready: Callable[[], object], timeout_s: float | None = None) -> bool:
        """Whether it was ready in time; looks whenever something has changed."""
        until_s = None if timeout_s is None else self._now_s() + timeout_s
        while not ready():
            left_s = None if until_s is None else until_s - self._now_s()
            if left_s is not None and left_s <= 0:
                return False
            await self._change(left_s)
        return True

    async def _change(self, timeout_s: float | None) -> None:
        """Return when something has changed, or after so long [s]."""
        change = self._events.loop.create_future()
        self._waiting.add(change)
        try:
            await asyncio.wait([change], timeout=timeout_s)
        finally:
            self._waiting.discard(change)

    async def _write(self, data: bytes) -> None:
        try:
            await self._carrier.write(data)
        finally:
            self._sending = None
            self._notify()

    async def _read(self) -> None:
        """Take in frames, no faster than they are received, until the other end closes."""
        try:
            while True:
                data = await self._carrier.read()
                if (sign := _sign(data)) is not None:
                    self._feel(sign, len(data))
                    await asyncio.sleep(_BETWEEN_BEATS_S)  # a flood of them costs little
                    continue
                if not self._closed:
                    self._inbox.append(data)
                self._notify()
                # not asking gRPC for more is what stops a peer that floods
                await self._until(lambda: len(self._inbox) < _INBOX or self._closed or self._lost)
        except WireError as reason:
            self.lose(reason)

    def _feel(self, sign: int, size: int) -> None:
        """A sign of life from the other end, which counts for nothing before it was answered."""
        self.bytes_received += size
        if not self.bytes_sent:
            return
        if sign == Beat.WORKING:
            self._worked_s = self._now_s()
        elif sign == Beat.ANSWERED:
            self._answered_s = self._now_s()
        elif sign == Beat.ASKED and self._answering is None:
            self._answering = self._events.loop.create_task(self._signal(Beat.ANSWERED))
        self._notify()

    async def _signal(self, sign: Beat.Sign) -> None:
        try:
            with suppress(WireError):
                await self.hand_over(Frame(beat=Beat(sign=sign)).SerializeToString())
        finally:
            if sign == Beat.ANSWERED:
                self._answering = None

    def _begin_beats(self, beat_s: float) -> None:
        self._end_beats()
        if not self._closed and not self._lost:
            self._beat = self._events.loop.call_later(beat_s, self._beat_once, beat_s)

    def _beat_once(self, beat_s: float) -> None:
        if self._works and not self._sending:  # else the link is full of what is better still
            self._signalling = self._events.loop.create_task(self._signal(Beat.WORKING))
        self._begin_beats(beat_s)

    def _end_beats(self) -> None:
        if self._beat:
            self._beat.cancel()
            self._beat = None


def _sign(data: bytes) -> int | None:
    """Sign of life that a frame is, if it is one."""
    if len(data) <= _BEAT_BYTES:
        with suppress(WireError):
            frame = parsed(data)
            if frame.WhichOneof("kind") == "beat":
                sign: int = frame.beat.sign
                return sign
    return None


def parsed(data: bytes) -> Frame:
    """A frame from its bytes; a `WireError` where it is none."""
    try:
        frame = Frame()
        frame.ParseFromString(data)
        return frame
    except DecodeError:
        raise WireError("a frame cannot be read; do both ends run the same version?") from None


def farewell(frame: Frame) -> WireError | None:
    """Error for a frame that ends the conversation."""
    kind = frame.WhichOneof("kind")
    if kind == "refusal":
        return PeerRefused(one_line(frame.refusal.reason) or "no reason was given")
    if kind == "finished":
        return PeerFinished(one_line(frame.finished.reason) or "the session is finished")
    return None


def one_line(text: str) -> str:
    """A peer's words, fit to be shown: short, and nothing that a terminal acts on."""
    return "".join(c if c.isprintable() else " " for c in text[:_TEXT]).strip()
