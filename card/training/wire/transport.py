"""The conversation of an edge server and a device: one stream of frames, the same at both ends.

The device opens it, so a device behind a home router needs no open port. gRPC carries it (HTTP/2,
TLS with certificates on both sides); `wire.proto` says what the frames are.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Self

import grpc
from grpc import aio

from card.base.errors import ScenarioError
from card.training.wire import event_loop
from card.training.wire.door import CALLS_PER_CERTIFICATE, Door
from card.training.wire.event_loop import EventLoop
from card.training.wire.limits import Limits
from card.training.wire.stream import (
    PeerGone,
    Stream,
    one_line,
)
from card.training.wire.tensors import WireError
from card.training.wire.wire_pb2 import Refusal

VERSION = 3
"""Of the conversation; both ends must have the same."""

_SERVICE = "card.v1.SplitFineTuning"
_METHOD = "Join"
_TAKEN_IN = ("card", "joined")
_FAILED = (grpc.RpcError, aio.BaseError, asyncio.InvalidStateError)
_CLOSE_S = 5.0
_HANDSHAKE_MS = 20_000


class Listener:
    """The place where an edge server takes devices in; made by `listen`.

    Parameters
    ----------
    address
        Where it listens, with the port that it has.
    server, door, events
        gRPC's server, who is let in, and the loop on which both run.
    """

    def __init__(self, address: str, server: aio.Server, door: Door, events: EventLoop) -> None:
        self.address = address
        self.door = door
        """Who is in, and who found no place."""
        self._server: aio.Server | None = server
        self._events = events

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Stop listening."""
        self.stop()

    def stop(self, grace_s: float = 1.0) -> None:
        """Take nobody in, let open streams end for so long [s], and end the rest."""
        server, self._server = self._server, None
        if server:
            self._events.call(server.stop(grace_s))
            self._events.call(self.door.empty())
            self._events.give_back()


class _Accepted:
    """The server's end of a call."""

    def __init__(self, context: Any, gone: PeerGone) -> None:
        self.context: Any | None = context
        """Of gRPC, while the call lasts."""
        self._gone = gone
        self.over = asyncio.Event()

    async def read(self) -> bytes:
        with suppress(grpc.RpcError, aio.BaseError):
            data: bytes = await self.context.read() if self.context else aio.EOF
            if data is not aio.EOF:
                return data
        raise self._gone

    async def write(self, data: bytes) -> None:
        with suppress(grpc.RpcError, aio.BaseError):  # the reader finds out why
            if self.context:
                await self.context.write(data)

    async def end(self) -> None:
        self.over.set()

    async def hang_up(self) -> None:
        self.over.set()


class _Called:
    """The device's end of a call."""

    def __init__(
        self, address: str, credentials: grpc.ChannelCredentials | None, limits: Limits
    ) -> None:
        options = [
            *_options(limits),
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),
            # else a channel that failed before makes this one wait
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if credentials is None:
            self._channel: Any = aio.insecure_channel(address, options)
        else:
            self._channel = aio.secure_channel(address, credentials, options)
        self._call: Any = self._channel.stream_stream(f"/{_SERVICE}/{_METHOD}")()
        self._taken_in = False
        self.server = f"the server at {address}"

    async def join(self, timeout_s: float) -> None:
        timer = asyncio.get_running_loop().call_later(timeout_s, self._call.cancel)
        begun = time.monotonic()
        try:
            self._taken_in = _TAKEN_IN in map(tuple, await self._call.initial_metadata() or ())
            if not self._taken_in:
                await self.read()
        except PeerGone:
            if time.monotonic() - begun < timeout_s:
                raise
        finally:
            timer.cancel()
        if not self._taken_in:
            raise PeerGone(f"{self.server} did not answer within {timeout_s:g} s")

    async def read(self) -> bytes:
        reason: WireError = PeerGone(f"{self.server} closed the stream")
        # raised outside, for a reason that is kept is not to keep the call by what it came from
        try:
            data: bytes = await self._call.read() if self._call else aio.EOF
            if data is not aio.EOF:
                return data
        except grpc.RpcError as error:
            reason = _explained(error, self.server, self._taken_in)
        except asyncio.CancelledError:
            pass  # this end has hung up
        raise reason

    async def write(self, data: bytes) -> None:
        with suppress(*_FAILED):  # the reader finds out why
            if self._call:
                await self._call.write(data)

    async def end(self) -> None:
        with suppress(*_FAILED, TimeoutError):
            await self._call.done_writing()
            await asyncio.wait_for(self._call.code(), _CLOSE_S)

    async def hang_up(self) -> None:
        self._call.cancel()
        await self._channel.close()
        self._call = self._channel = None  # gRPC keeps a thread as long as one of them is held


def listen(
    address: str,
    credentials: grpc.ServerCredentials | None,
    limits: Limits,
    on_join: Callable[[Stream, str | None], Awaitable[None]],
    places: int = 1024,
) -> Listener:
    """Take devices in at an address, until the server is stopped.

    Parameters
    ----------
    address
        "host:port"; port 0 is any free one, see `Listener.address`.
    credentials
        From `certificates.server_credentials`; None, on a loopback address alone, for no TLS.
    limits
        What this end bears from a device.
    on_join
        Called with the stream of a device and the name in its certificate, on the event loop. When
        it returns, or raises, the stream is closed; the words of a `WireError` reach the device as
        a `Refusal`. It is cancelled when the device leaves.
    places
        How many devices may be joined at the same time.

    Raises
    ------
    ScenarioError
        If the address is malformed, taken, or needs certificates.
    """
    host = check_address(address, credentials)
    events = event_loop.borrow()

    async def join(_: object, context: Any) -> None:
        names = context.auth_context().get("x509_common_name", [])
        name = names[0].decode() if names else None
        peer_address = context.peer().rpartition(":")[0]
        if reason := door.objection(name, peer_address):
            context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
            context.set_details(reason)
            return
        peer = name or "the device"
        gone = PeerGone(
            f"{peer} left, its connection broke off, or a frame was over {limits.frame_bytes} bytes"
        )
        carrier = _Accepted(context, gone)
        stream = Stream(carrier, events, limits, peer, name)
        door.enter(stream, peer_address)
        conversation = None
        try:
            await context.send_initial_metadata((_TAKEN_IN,))
            conversation = events.loop.create_task(_conversation(on_join, stream))
            await carrier.over.wait()
        finally:
            stream.lose(gone)
            if conversation:
                conversation.cancel()
            carrier.context = None  # as in `_Called.hang_up`
            await door.leave(stream)

    async def start() -> tuple[aio.Server, int] | None:
        server = aio.server(options=_server_options(limits))
        handlers = {_METHOD: grpc.stream_stream_rpc_method_handler(join)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
        with suppress(RuntimeError):
            if credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, credentials)
            await server.start()
            return server, port
        await server.stop(None)
        return None

    door = Door(places)
    started = events.call(start())
    if not started:
        events.give_back()
        raise ScenarioError(
            f"cannot listen on {address}: another program has that port, or the address is not"
            " this machine's; give another."
        )
    return Listener(f"{host}:{started[1]}", started[0], door, events)


async def _conversation(
    on_join: Callable[[Stream, str | None], Awaitable[None]], stream: Stream
) -> None:
    try:
        await on_join(stream, stream.peer_name)
    except WireError as error:
        await stream.leave(Refusal(reason=one_line(str(error))))
    finally:
        await stream.shut()


def connect(
    address: str,
    credentials: grpc.ChannelCredentials | None,
    limits: Limits,
    timeout_s: float = 20.0,
) -> Stream:
    """Join the edge server at an address.

    Parameters
    ----------
    address
        "host:port" of the server.
    credentials
        From `certificates.device_credentials`; None, on a loopback address alone, for no TLS.
    limits
        What this end bears from the server.
    timeout_s
        How long to try [s].

    Raises
    ------
    ScenarioError
        If the address is malformed or needs certificates.
    PeerGone
        If nobody answers there, or one of the certificates is not accepted.
    """
    check_address(address, credentials)
    events = event_loop.borrow()

    async def join() -> Stream:
        carrier = _Called(address, credentials, limits)
        try:
            await carrier.join(timeout_s)
        except BaseException:
            await carrier.hang_up()
            raise
        return Stream(carrier, events, limits, carrier.server)

    try:
        stream = events.call(join())
    except BaseException:
        events.give_back()
        raise
    stream.on_closed = events.give_back
    return stream


def _server_options(limits: Limits) -> list[tuple[str, int]]:
    return [
        *_options(limits),
        ("grpc.so_reuseport", 0),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        ("grpc.max_connection_idle_ms", _HANDSHAKE_MS),
        ("grpc.max_concurrent_streams", CALLS_PER_CERTIFICATE),
    ]


def _options(limits: Limits) -> list[tuple[str, int]]:
    """Of a channel and of a server: bounded frames, and a dead link is noticed in time."""
    third_ms = round(1e3 * limits.silence_s / 3)
    return [
        ("grpc.max_receive_message_length", limits.frame_bytes),
        ("grpc.keepalive_time_ms", third_ms),
        ("grpc.keepalive_timeout_ms", 2 * third_ms),
        # where a slow link takes long for a large frame, a ping waits behind it; a dead link
        # is noticed earlier, by TCP, to which gRPC hands the time-out above
        ("grpc.http2.ping_timeout_ms", 10 * 3 * third_ms),
        ("grpc.keepalive_permit_without_calls", 1),
        # a device waits in silence while others have their turn
        ("grpc.http2.max_pings_without_data", 0),
    ]


def check_address(address: str, credentials: object) -> str:
    """Host of an address that may be used with these credentials.

    Raises
    ------
    ScenarioError
        If the address is malformed, or reaches beyond this machine without credentials.
    """
    parts = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})", address)
    if not parts or int(parts[2]) > 65535:
        raise ScenarioError(
            f"address = {address[:80]!r} is not allowed; give host:port, such as"
            " edge.example.org:50051, 192.0.2.7:50051 or [2001:db8::7]:50051."
        )
    host = parts[1]
    try:
        loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if credentials is None and not loopback:
        raise ScenarioError(
            f"address = {address!r} needs certificates, since others can reach it; make them with"
            " card certs, or use 127.0.0.1 on one machine."
        )
    return host


def _explained(error: grpc.RpcError, server: str, taken_in: bool) -> WireError:
    """What a failed call means."""
    code, details = error.code(), one_line(error.details() or "")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
        return WireError(f"a frame is larger than {server} or this end allows ({details})")
    if taken_in:
        return PeerGone(f"{server} is gone ({details or code.name})")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return PeerGone(f"{server} has no place left; try again later ({details})")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return PeerGone(f"{server} is not one of card")
    return PeerGone(
        f"cannot reach {server}, or its certificate or this end's was not accepted ({details})"
    )
