"""Both ends of a stream in one process, and what the tests of the wire send over it."""

import asyncio
import socket
import threading
from contextlib import contextmanager

import pytest
import torch

from card.training.wire import transport
from card.training.wire.limits import Limits
from card.training.wire.stream import PeerGone
from card.training.wire.transport import connect

LOOPBACK = "127.0.0.1:0"
LIMITS = Limits(frame_bytes=2**20, silence_s=20)
SOON_S = 10.0  # far longer than anything here takes; a test that waits so long fails
ADAPTERS = {
    "block.0.q_proj.lora_A": torch.arange(24.0).reshape(4, 6),
    "block.0.q_proj.lora_B": torch.full((6, 4), -0.1, dtype=torch.bfloat16),
    "labels": torch.tensor([[1, -100]], dtype=torch.int32),
}


@contextmanager
def listen(address, credentials, limits, on_join, **options):
    """A listener whose conversations block, each on a thread of its own.

    What one of them expected in vain fails the test, at the end.
    """
    failed = []

    def held(stream, name):
        try:
            on_join(stream, name)
        except (AssertionError, pytest.fail.Exception) as error:
            failed.append(error)
            raise

    async def on_a_thread(stream, name):
        await asyncio.to_thread(held, stream, name)

    with transport.listen(address, credentials, limits, on_a_thread, **options) as server:
        yield server
    for error in failed:
        raise error


@contextmanager
def pair(on_join, limits=LIMITS, **options):
    """Device's end of a stream whose server's end `on_join` holds."""
    with (
        listen(LOOPBACK, None, limits, on_join, **options) as server,
        connect(server.address, None, limits) as stream,
    ):
        yield stream


def silent(stream, name):
    """Wait until the device leaves."""
    with pytest.raises(PeerGone):
        stream.receive("hello", timeout_s=SOON_S)


class Relay:
    """A link in between that can be cut: nothing passes, yet no connection is closed."""

    def __init__(self, target):
        host, port = target.rsplit(":", 1)
        self.target = (host, int(port))
        self.whole = threading.Event()
        self.whole.set()
        self.over = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self):
        near, _ = self.listener.accept()
        far = socket.create_connection(self.target)
        for ends in ((near, far), (far, near)):
            self.threads.append(threading.Thread(target=self.carry, args=ends))
            self.threads[-1].start()

    def carry(self, source, sink):
        with source:
            source.settimeout(0.05)
            while not self.over:
                self.whole.wait()
                try:
                    data = source.recv(2**16)
                    if not data:
                        break
                    self.whole.wait()
                    sink.sendall(data)
                except TimeoutError:
                    continue
                except OSError:
                    break
            sink.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.over = True
        self.whole.set()
        self.listener.close()
        for thread in self.threads:
            thread.join()
