"""One end of the conversation of an edge server and a device: a stream of frames each way.

The same at both ends, and nothing here knows how the frames travel; `transport` gives it to gRPC.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Self

from google.protobuf.message import DecodeError
from torch import Tensor

from card.training.wire.limits import FRAME_SLACK_BYTES, Limits
from card.training.wire.tensors import (
    TensorSpec,
    WireError,
    decode,
    elements_bytes,
    encode,
)
from card.training.wire.wire_pb2 import Finished, Frame, Probe, Refusal, Tensors

_INBOX, _OUTBOX = 2, 1
_CLOSE_S = 5.0
_TEXT = 300


class PeerGone(WireError):
    """The other end closed the stream, died, or cannot be reached."""


class PeerStalled(WireError):
    """The other end is there, but said or took nothing in time."""


class PeerRefused(WireError):
    """The other end will not go on; its reason is the message."""


class PeerFinished(WireError):
    """The other end has finished, where more was expected; its reason is the message."""


class Stream:
    """One end of a conversation.

    Made by `connect` and `listen`. One thread at a time may receive, and one may send.

    Parameters
    ----------
    limits
        What this end bears from the other.
    peer
        The other end, in words.
    peer_name
        Name in the other end's certificate.
    """

    def __init__(self, limits: Limits, peer: str, peer_name: str | None = None) -> None:
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
        self._changed = threading.Condition()
        self._inbox: deque[bytes] = deque()
        self._outbox: deque[bytes] = deque()
        self._closed = False
        self._left_first = False
        self._lost: WireError | None = None
        self._probes = 0
        self.hang_up: Callable[[], object] = lambda: None
        """What ends the call at once; set by whoever carries the stream."""

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
        frame = Frame(**{type(message).__name__.lower(): message})
        data = frame.SerializeToString()
        if len(data) > self.limits.frame_bytes:
            raise WireError(
                f"a frame of {len(data)} bytes is larger than the {self.limits.frame_bytes} agreed"
            )
        with self._changed:
            free = self._changed.wait_for(
                lambda: len(self._outbox) < _OUTBOX or self._lost or self._closed,
                self.limits.silence_s,
            )
            if self._left_first:
                raise WireError("this end has closed the stream")
            if self._lost:
                raise self._last_words() or self._lost
            if not free:
                raise PeerStalled(f"{self.peer} took nothing for {self.limits.silence_s:g} s")
            self._outbox.append(data)
            self._changed.notify_all()
        self.bytes_sent += len(data)
        if isinstance(message, Tensors):
            self.payload_bytes_sent += elements_bytes(message.safetensors)

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
        deadline = time.monotonic() + timeout_s
        while True:
            data = self._next(deadline, timeout_s)
            frame = _parsed(data)
            kind = frame.WhichOneof("kind")
            self.bytes_received += len(data)
            if kind == "tensors":
                self.payload_bytes_received += elements_bytes(frame.tensors.safetensors)
            if kind in kinds:
                return getattr(frame, kind)
            if kind == "probe" and frame.probe.answer_bytes:
                self._answer(frame.probe)
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
        begun = time.monotonic()
        padding = bytes(send_bytes)
        self.send(Probe(sequence=self._probes, padding=padding, answer_bytes=answer_bytes))
        answer = self.receive("probe", timeout_s=timeout_s)
        if (answer.sequence, len(answer.padding), answer.answer_bytes) != (
            self._probes,
            answer_bytes,
            0,
        ):
            raise WireError(f"{self.peer} answered another probe than the one sent")
        return time.monotonic() - begun

    def refuse(self, reason: str) -> None:
        """Tell the other end why this one will not go on, if it still listens, and close."""
        self._leave(Refusal(reason=reason[:_TEXT]))

    def finish(self, reason: str) -> None:
        """Tell the other end that the work is done, if it still listens, and close."""
        self._leave(Finished(reason=reason[:_TEXT]))

    def wait_closed(self) -> None:
        """Return when either end has closed the stream, or it broke off."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._lost)

    def close(self) -> None:
        """Send what is queued, say no more, and end the stream; more than once does no harm."""
        with self._changed:
            self._left_first = self._left_first or self._lost is None
            self._closed = True
            self._inbox.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._lost, _CLOSE_S)
        self.hang_up()

    def _leave(self, message: Any) -> None:
        with suppress(WireError):
            self.send(message)
        self.close()

    def _answer(self, probe: Any) -> None:
        if probe.answer_bytes > self.limits.frame_bytes - FRAME_SLACK_BYTES // 2:
            raise WireError(f"{self.peer} asks for a probe of {probe.answer_bytes} bytes, too many")
        self.send(Probe(sequence=probe.sequence, padding=bytes(probe.answer_bytes)))

    def _next(self, deadline: float, timeout_s: float) -> bytes:
        with self._changed:
            self._changed.wait_for(
                lambda: self._inbox or self._lost or self._closed,
                max(0.0, deadline - time.monotonic()),
            )
            if self._left_first:
                raise WireError("this end has closed the stream")
            if self._inbox:
                self._changed.notify_all()
                return self._inbox.popleft()
            raise self._lost or PeerStalled(f"{self.peer} said nothing for {timeout_s:g} s")

    def _last_words(self) -> WireError | None:
        """Why the other end left, if that is among the frames not received yet."""
        return next(filter(None, (_farewell(_parsed(data)) for data in self._inbox)), None)

    def outgoing(self) -> Iterator[bytes]:
        """What gRPC sends: all that is queued, until either end closes."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._outbox or self._lost or self._closed)
                if self._lost or not self._outbox:
                    return
                data = self._outbox.popleft()
                self._changed.notify_all()
            yield data

    def take_in(self, incoming: Iterator[bytes]) -> None:
        """Take in frames, no faster than they are received, until the other end closes."""
        for data in incoming:
            with self._changed:
                # not asking gRPC for more is what stops a peer that floods
                self._changed.wait_for(
                    lambda: len(self._inbox) < _INBOX or self._closed or self._lost
                )
                if not self._closed:
                    self._inbox.append(data)
                self._changed.notify_all()

    def lose(self, reason: WireError) -> None:
        """The other end is gone; the first reason counts."""
        with self._changed:
            self._lost = self._lost or reason
            self._changed.notify_all()


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
