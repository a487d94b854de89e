"""The conversation of an edge server and a device: one stream of frames, the same at both ends.

The device opens it, so a device behind a home router needs no open port. gRPC carries it (HTTP/2,
TLS with certificates on both sides); `wire.proto` says what the frames are.
"""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Self

import grpc

from card.base.errors import ScenarioError
from card.training.wire.limits import Limits
from card.training.wire.stream import (
    PeerGone,
    Stream,
    one_line,
)
from card.training.wire.tensors import WireError

VERSION = 1
"""Of the conversation; both ends must have the same."""

_SERVICE = "card.v1.SplitFineTuning"
_METHOD = "Join"
_TAKEN_IN = ("card", "joined")
_STOP_S = 5.0


class Listener:
    """The place where an edge server takes devices in; made by `listen`.

    Parameters
    ----------
    address
        Where it listens, with the port that it has.
    server, pool, conversations
        gRPC's server, the threads that send, and those that hold a conversation.
    """

    def __init__(
        self,
        address: str,
        server: grpc.Server,
        pool: ThreadPoolExecutor,
        conversations: set[threading.Thread],
    ) -> None:
        self.address = address
        self._server = server
        self._pool = pool
        self._conversations = conversations

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Stop listening."""
        self.stop()

    def stop(self, grace_s: float = 1.0) -> None:
        """Take nobody in, let open streams end for so long [s], end the rest and all threads."""
        self._server.stop(grace_s).wait()
        self._pool.shutdown()
        for thread in self._conversations - {threading.current_thread()}:
            thread.join(_STOP_S)


def listen(
    address: str,
    credentials: grpc.ServerCredentials | None,
    limits: Limits,
    on_join: Callable[[Stream, str | None], None],
    workers: int = 16,
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
        Called with the stream of a device and the name in its certificate, in a thread of its own.
        When it returns, or raises, the stream is closed; the words of a `WireError` reach the
        device as a `Refusal`.
    workers
        How many devices may be joined at the same time.

    Raises
    ------
    ScenarioError
        If the address is malformed, taken, or needs certificates.
    """
    host = _checked(address, credentials)
    conversations: set[threading.Thread] = set()

    def read(stream: Stream, incoming: Iterator[bytes], gone: PeerGone) -> None:
        with suppress(grpc.RpcError):
            stream.take_in(incoming)
        stream.lose(gone)

    def converse(stream: Stream, incoming: Iterator[bytes], gone: PeerGone) -> None:
        reader = threading.Thread(target=read, args=(stream, incoming, gone), daemon=True)
        reader.start()
        try:
            on_join(stream, stream.peer_name)
        except WireError as error:
            stream.refuse(str(error))
        finally:
            stream.close()
            reader.join()
            conversations.discard(threading.current_thread())

    def join(incoming: Iterator[bytes], context: Any) -> Iterator[bytes]:
        names = context.auth_context().get("x509_common_name", [])
        name = names[0].decode() if names else None
        stream = Stream(limits, name or "the device", name)
        stream.hang_up = context.cancel
        gone = PeerGone(
            f"{stream.peer} left, its connection broke off, or a frame was over"
            f" {limits.frame_bytes} bytes"
        )
        if not context.add_callback(lambda: stream.lose(gone)):
            return
        context.send_initial_metadata((_TAKEN_IN,))
        thread = threading.Thread(target=converse, args=(stream, incoming, gone), daemon=True)
        conversations.add(thread)
        thread.start()
        yield from stream.outgoing()

    pool = ThreadPoolExecutor(workers, thread_name_prefix="card-stream")
    options = [*_options(limits), ("grpc.so_reuseport", 0), ("grpc.http2.max_ping_strikes", 0)]
    server = grpc.server(pool, options=options, maximum_concurrent_rpcs=workers)
    handlers = {_METHOD: grpc.stream_stream_rpc_method_handler(join)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError:
        raise ScenarioError(
            f"cannot listen on {address}: another program has that port, or the address is not"
            " this machine's; give another."
        ) from None
    server.start()
    return Listener(f"{host}:{port}", server, pool, conversations)


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
    _checked(address, credentials)
    options = [
        *_options(limits),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
        # else a channel that failed before makes this one wait
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if credentials is None:
        channel = grpc.insecure_channel(address, options)
    else:
        channel = grpc.secure_channel(address, credentials, options)
    stream = Stream(limits, f"the server at {address}")
    call = channel.stream_stream(f"/{_SERVICE}/{_METHOD}")(stream.outgoing())
    joined: Future[None] = Future()

    def read() -> None:
        taken_in = _TAKEN_IN in map(tuple, call.initial_metadata() or ())
        if taken_in:
            joined.set_result(None)
        try:
            stream.take_in(call)
            reason: WireError = PeerGone(f"{stream.peer} closed the stream")
        except grpc.RpcError as error:
            reason = _explained(error, stream, taken_in)
        stream.lose(reason)
        if not taken_in:
            joined.set_exception(reason)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()

    def hang_up() -> None:
        call.cancel()
        reader.join()
        channel.close()

    stream.hang_up = hang_up
    try:
        joined.result(timeout_s)
    except TimeoutError:
        hang_up()
        raise PeerGone(f"{stream.peer} did not answer within {timeout_s:g} s") from None
    except WireError:
        hang_up()
        raise
    return stream


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


def _checked(address: str, credentials: object) -> str:
    """Host of an address that may be used with these credentials."""
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


def _explained(error: grpc.RpcError, stream: Stream, taken_in: bool) -> WireError:
    """What a failed call means."""
    code, details = error.code(), one_line(error.details() or "")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
        return WireError(f"a frame is larger than {stream.peer} or this end allows ({details})")
    if taken_in:
        return PeerGone(f"{stream.peer} is gone ({details or code.name})")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return PeerGone(f"{stream.peer} has no place left; try again later")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return PeerGone(f"{stream.peer} is not one of card")
    return PeerGone(
        f"cannot reach {stream.peer}, or its certificate or this end's was not accepted ({details})"
    )
