"""One end of the conversation of an edge server and a device: a stream of frames each way.

The same at both ends, and nothing here knows how the frames travel; `transport` gives it to gRPC.
All of a stream happens on the event loop; a thread that computes waits for it there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Self

from torch import Tensor

from card.training.wire.event_loop import EventLoop
from card.training.wire.limits import FRAME_SLACK_BYTES, Limits
from card.training.wire.line import Carrier, Line, farewell, parsed
from card.training.wire.line import PeerFinished as PeerFinished
from card.training.wire.line import PeerGone as PeerGone
from card.training.wire.line import PeerRefused as PeerRefused
from card.training.wire.line import PeerStalled as PeerStalled
from card.training.wire.line import one_line as one_line
from card.training.wire.tensors import (
    TensorSpec,
    WireError,
    decode,
    elements_bytes,
    encode,
)
from card.training.wire.wire_pb2 import Finished, Frame, Probe, Refusal, Tensors

ANSWER_S = 5.0
"""How soon an end answers that it is alive [s]."""


class Stream(Line):
    """One end of a conversation.

    Made by `connect` and `listen`. One thread at a time may receive, and one may send; on the event
    loop itself, `hear`, `say` and `leave` do what `receive`, `send` and `refuse` do elsewhere.

    Parameters
    ----------
    carrier, events, limits, peer, peer_name
        As those of `Line`.
    """

    def __init__(
        self,
        carrier: Carrier,
        events: EventLoop,
        limits: Limits,
        peer: str,
        peer_name: str | None = None,
    ) -> None:
        super().__init__(carrier, events, limits, peer, peer_name)
        self.payload_bytes_sent = 0
        """Elements of the tensors in the frames sent [byte]; the rest is framing."""
        self.payload_bytes_received = 0
        """Elements of the tensors in the frames received [byte]."""
        self._probes = 0
        self.on_closed: Callable[[], object] = lambda: None
        """Called once when `close` has been; set by whoever carries the stream."""

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the stream."""
        self.close()

    def send(self, *messages: Any) -> None:
        """Queue messages, such as `Hello` or `Tensors`, and wait while the link is full.

        Raises
        ------
        PeerGone, PeerStalled
            If the other end went away, or took nothing for `limits.silence_s`.
        PeerRefused, PeerFinished
            If it went away with a reason.
        WireError
            If the frame is larger than agreed, or this end has closed the stream.
        """
        self._events.call(self._deliver(messages, [self._framed(one) for one in messages]))

    async def say(self, message: Any) -> None:
        """Do as `send`, on the event loop; raises what it does."""
        await self._deliver([message], [self._framed(message)])

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
            data = await self.next(begun_s, timeout_s)
            frame = parsed(data)
            kind = frame.WhichOneof("kind")
            self.bytes_received += len(data)
            if kind == "tensors":
                self.payload_bytes_received += elements_bytes(frame.tensors.safetensors)
            if kind in kinds:
                return getattr(frame, kind)
            if kind == "probe" and frame.probe.answer_bytes:
                await self.say(self._answer(frame.probe))
                continue
            raise farewell(frame) or WireError(
                f"{self.peer} sent {kind or 'an empty frame'} where {' or '.join(kinds)} was agreed"
            )

    def wait_for(self, kind: str, *, silence_s: float) -> Any:
        """Next message, which must be of a kind, however long it takes while the other end lives.

        After each silence of so long [s] it is asked whether it does. Raises what `receive` does.
        """
        while True:
            try:
                return self.receive(kind, timeout_s=silence_s)
            except PeerStalled:
                if not self._events.call(self.alive(ANSWER_S)):
                    raise

    def send_tensors(
        self,
        kind: Tensors.Kind,
        round: int,
        iteration: int,
        tensors: Mapping[str, Tensor],
        compute_s: float = 0.0,
        ahead: Sequence[Any] = (),
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
        ahead
            Messages that go ahead of them, in the same wait.
        """
        data = encode(tensors)
        self.send(
            *ahead,
            Tensors(
                kind=kind, round=round, iteration=iteration, safetensors=data, compute_s=compute_s
            ),
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

    def refuse(self, reason: str) -> None:
        """Tell the other end why this one will not go on, if it still listens, and close."""
        self._events.call(self.leave(Refusal(reason=one_line(reason))))

    def finish(self, reason: str) -> Future[None]:
        """Tell the other end that the work is done, if it still listens, and close.

        Returns
        -------
        Future
            Done when it is closed.
        """
        return self._events.begin(self.leave(Finished(reason=one_line(reason))))

    async def leave(self, message: Any) -> None:
        """Say a last word, if the other end still listens, and close; on the event loop."""
        with suppress(WireError):
            await self.say(message)
        await self.shut()

    def close(self) -> None:
        """Send what is queued, say no more, and end the stream; more than once does no harm."""
        with suppress(WireError):  # the loop has ended, and this stream with it
            self._events.call(self.shut())
        on_closed, self.on_closed = self.on_closed, lambda: None
        on_closed()

    async def _deliver(self, messages: Sequence[Any], frames: Sequence[bytes]) -> None:
        for message, data in zip(messages, frames, strict=True):
            await self.hand_over(data)
            if isinstance(message, Tensors):
                self.payload_bytes_sent += elements_bytes(message.safetensors)

    def _framed(self, message: Any) -> bytes:
        data: bytes = Frame(**{type(message).__name__.lower(): message}).SerializeToString()
        if len(data) > self.limits.frame_bytes:
            raise WireError(
                f"a frame of {len(data)} bytes is larger than the {self.limits.frame_bytes} agreed"
            )
        return data

    def _answer(self, probe: Probe) -> Probe:
        if probe.answer_bytes > self.limits.frame_bytes - FRAME_SLACK_BYTES // 2:
            raise WireError(f"{self.peer} asks for a probe of {probe.answer_bytes} bytes, too many")
        return Probe(sequence=probe.sequence, padding=bytes(probe.answer_bytes))


def _described(kind: Tensors.Kind, round: int, iteration: int) -> str:
    names = Tensors.Kind.DESCRIPTOR.values_by_number
    name = names[kind].name if kind in names else str(kind)
    return f"{name} of round {round}, iteration {iteration}"
