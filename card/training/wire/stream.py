"""One end of the conversation of an edge server and a device: a stream of frames each way.

The same at both ends, and nothing here knows how the frames travel; `transport` gives it to gRPC.
All of a stream happens on the event loop; a thread that computes waits for it there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, Protocol, Self

from google.protobuf.message import DecodeError
from torch import Tensor

from card.training.wire.event_loop import EventLoop
from card.training.wire.limits import FRAME_SLACK_BYTES, Limits
from card.training.wire.tensors import (
    TensorSpec,
    WireError,
    decode,
    elements_bytes,
    encode,
)
from card.training.wire.wire_pb2 import Beat, Finished, Frame, Probe, Refusal, Tensors

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


class Stream:
    """One end of a conversation.

    Made by `connect` and `listen`. One thread at a time may receive, and one may send; on the event
    loop itself, `hear`, `say` and `leave` do what `receive`, `send` and `refuse` do elsewhere.

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
        self.payload_bytes_sent = 0
        """Elements of the tensors in the frames sent [byte]; the rest is framing."""
        self.payload_bytes_received = 0
        """Elements of the tensors in the frames received [byte]."""
        self._carrier = carrier
        self._events = events
        self._waiting: set[asyncio.Future[None]] = set()
        self._inbox: deque[bytes] = deque()
        self._sending: asyncio.Task[None] | None = None
        self._answering: asyncio.Task[None] | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._worked_s = self._answered_s = float("-inf")
        self._shutting: asyncio.Task[None] | None = None
        self._closed = False
        self._left_first = False
        self._lost: WireError | None = None
        self._probes = 0
        self._reading = events.loop.create_task(self._read())
        self.on_closed: Callable[[], object] = lambda: None
        """Called once when `close` has been; set by whoever carries the stream."""

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the stream."""
        self.close()

    def send(self, message: Any) -> None:
        """Queue a message, such as `Hello` or `Tensors`, and wait while the link is full.

        Raises
        ------
        PeerGone, PeerStalled
            If the other end went away, or took nothing for `limits.silence_s`.
        PeerRefused, PeerFinished
            If it went away with a reason.
        WireError
            If the frame is larger than agreed, or this end has closed the stream.
        """
        self._events.call(self._hand_over(message, self._framed(message)))

    async def say(self, message: Any) -> None:
        """Do as `send`, on the event loop; raises what it does."""
        await self._hand_over(message, self._framed(message))

    def receive(self, *kinds: str, timeout_s: float) -> Any:
        """Next message, which must be of one of the given kinds.

        A `Probe` that asks for an answer gets it here, unless it is itself asked for.

        Parameters
        ----------
        kinds
            Names of messages as the fields of `Frame` have them, such as "hello" or "tensors".
        timeout_s
            How long to wait [s].

        Raises
        ------
        PeerGone, PeerStalled
            If the other end went away, or said nothing in time.
        PeerRefused, PeerFinished
            If it says so instead.
        WireError
            If it says anything else.
        """
        return self._events.call(self.hear(*kinds, timeout_s=timeout_s))

    async def hear(self, *kinds: str, timeout_s: float) -> Any:
        """Do as `receive`, on the event loop; raises what it does."""
        begun_s = self._now_s()
        while True:
            data = await self._next(begun_s, timeout_s)
            frame = _parsed(data)
            kind = frame.WhichOneof("kind")
            self.bytes_received += len(data)
            if kind == "tensors":
                self.payload_bytes_received += elements_bytes(frame.tensors.safetensors)
            if kind in kinds:
                return getattr(frame, kind)
            if kind == "probe" and frame.probe.answer_bytes:
                await self.say(self._answer(frame.probe))
                continue
            raise _farewell(frame) or WireError(
                f"{self.peer} sent {kind or 'an empty frame'} where {' or '.join(kinds)} was agreed"
            )

    def send_tensors(
        self,
        kind: Tensors.Kind,
        round: int,
        iteration: int,
        tensors: Mapping[str, Tensor],
        compute_s: float = 0.0,
    ) -> None:
        """Send tensors; raises what `send` does.

        Parameters
        ----------
        kind
            One of `Tensors.Kind`.
        round, iteration
            What they belong to.
        tensors
            By name.
        compute_s
            What it took to compute them [s].
        """
        data = encode(tensors)
        self.send(
            Tensors(
                kind=kind, round=round, iteration=iteration, safetensors=data, compute_s=compute_s
            )
        )

    def receive_tensors(
        self,
        kind: Tensors.Kind,
        round: int,
        iteration: int,
        expected: Mapping[str, TensorSpec],
        timeout_s: float,
    ) -> tuple[dict[str, Tensor], float]:
        """Tensors that must be of the given kind, round and iteration, and what they are.

        Returns
        -------
        dict, float
            The tensors, and what the other end took to compute them [s]. Raises what `receive` and
            `decode` do.
        """
        message = self.receive("tensors", timeout_s=timeout_s)
        found = (message.kind, message.round, message.iteration)
        if found != (kind, round, iteration):
            raise WireError(
                f"{self.peer} sent {_described(*found)} where {_described(kind, round, iteration)}"
                " was agreed"
            )
        return decode(message.safetensors, expected), message.compute_s

    def probe(self, send_bytes: int, answer_bytes: int, timeout_s: float) -> float:
        """Time from sending so many bytes until so many, at least one, came back [s].

        The other end must be waiting for a frame, or soon be. The difference of two probes of
        different sizes, free of the fixed delays, gives the rate of the link. Raises what `send`
        and `receive` do.
        """
        if answer_bytes < 1:
            raise ValueError(f"answer_bytes = {answer_bytes} is not allowed; give at least 1.")
        self._probes += 1
        begun_s = self._now_s()
        padding = bytes(send_bytes)
        self.send(Probe(sequence=self._probes, padding=padding, answer_bytes=answer_bytes))
        answer = self.receive("probe", timeout_s=timeout_s)
        if (answer.sequence, len(answer.padding), answer.answer_bytes) != (
            self._probes,
            answer_bytes,
            0,
        ):
            raise WireError(f"{self.peer} answered another probe than the one sent")
        return self._now_s() - begun_s

    @contextmanager
    def working(self, beat_s: float) -> Iterator[None]:
        """Let the other end know, every so often [s], that this one computes and is not silent."""
        loop = self._events.loop
        loop.call_soon_threadsafe(self._begin_beats, beat_s)
        try:
            yield
        finally:
            loop.call_soon_threadsafe(self._end_beats)

    async def alive(self, timeout_s: float) -> bool:
        """Whether the other end answers within so long [s], whatever it is doing."""
        asked_s = self._now_s()
        asking = self._events.loop.create_task(self._signal(Beat.ASKED))
        await self._until(
            lambda: self._answered_s >= asked_s or self._lost or self._closed, timeout_s
        )
        asking.cancel()
        return self._answered_s >= asked_s

    def refuse(self, reason: str) -> None:
        """Tell the other end why this one will not go on, if it still listens, and close."""
        self._events.call(self.leave(Refusal(reason=reason[:_TEXT])))

    def finish(self, reason: str) -> Future[None]:
        """Tell the other end that the work is done, if it still listens, and close.

        Returns
        -------
        Future
            Done when it is closed.
        """
        return self._events.begin(self.leave(Finished(reason=reason[:_TEXT])))

    async def leave(self, message: Any) -> None:
        """Say a last word, if the other end still listens, and close; on the event loop."""
        with suppress(WireError):
            await self.say(message)
        await self.shut()

    async def ended(self) -> None:
        """Return when either end has closed the stream, or it broke off; on the event loop."""
        await self._until(lambda: self._closed or self._lost)

    def close(self) -> None:
        """Send what is queued, say no more, and end the stream; more than once does no harm."""
        with suppress(WireError):  # the loop has ended, and this stream with it
            self._events.call(self.shut())
        on_closed, self.on_closed = self.on_closed, lambda: None
        on_closed()

    async def shut(self) -> None:
        """Do as `close`, on the event loop."""
        self._left_first = self._left_first or self._lost is None
        self._closed = True
        self._end_beats()
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

    def _framed(self, message: Any) -> bytes:
        data: bytes = Frame(**{type(message).__name__.lower(): message}).SerializeToString()
        if len(data) > self.limits.frame_bytes:
            raise WireError(
                f"a frame of {len(data)} bytes is larger than the {self.limits.frame_bytes} agreed"
            )
        return data

    async def _hand_over(self, message: Any, data: bytes) -> None:
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
        if isinstance(message, Tensors):
            self.payload_bytes_sent += elements_bytes(message.safetensors)

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
        """A sign of life from the other end."""
        self.bytes_received += size
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
                await self.say(Beat(sign=sign))
        finally:
            if sign == Beat.ANSWERED:
                self._answering = None

    def _begin_beats(self, beat_s: float) -> None:
        self._end_beats()
        if not self._closed and not self._lost:
            self._beat = self._events.loop.call_later(beat_s, self._beat_once, beat_s)

    def _beat_once(self, beat_s: float) -> None:
        if not self._sending:  # else the link is full of what is better still
            self._signalling = self._events.loop.create_task(self._signal(Beat.WORKING))
        self._begin_beats(beat_s)

    def _end_beats(self) -> None:
        if self._beat:
            self._beat.cancel()
            self._beat = None

    def _answer(self, probe: Probe) -> Probe:
        if probe.answer_bytes > self.limits.frame_bytes - FRAME_SLACK_BYTES // 2:
            raise WireError(f"{self.peer} asks for a probe of {probe.answer_bytes} bytes, too many")
        return Probe(sequence=probe.sequence, padding=bytes(probe.answer_bytes))

    async def _next(self, begun_s: float, timeout_s: float) -> bytes:
        """Next frame; a wait lasts longer while the other end says that it is working."""
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
        return next(filter(None, (_farewell(_parsed(data)) for data in self._inbox)), None)


def _sign(data: bytes) -> int | None:
    """Sign of life that a frame is, if it is one."""
    if len(data) <= _BEAT_BYTES:
        with suppress(WireError):
            frame = _parsed(data)
            if frame.WhichOneof("kind") == "beat":
                sign: int = frame.beat.sign
                return sign
    return None


def _parsed(data: bytes) -> Frame:
    try:
        frame = Frame()
        frame.ParseFromString(data)
        return frame
    except DecodeError:
        raise WireError("a frame cannot be read; do both ends run the same version?") from None


def _farewell(frame: Frame) -> WireError | None:
    """Error for a frame that ends the conversation."""
    kind = frame.WhichOneof("kind")
    if kind == "refusal":
        return PeerRefused(one_line(frame.refusal.reason) or "no reason was given")
    if kind == "finished":
        return PeerFinished(one_line(frame.finished.reason) or "the session is finished")
    return None


def _described(kind: Tensors.Kind, round: int, iteration: int) -> str:
    names = Tensors.Kind.DESCRIPTOR.values_by_number
    name = names[kind].name if kind in names else str(kind)
    return f"{name} of round {round}, iteration {iteration}"


def one_line(text: str) -> str:
    """A peer's words, fit to be shown: short, and nothing that a terminal acts on."""
    return "".join(c if c.isprintable() else " " for c in text[:_TEXT]).strip()
