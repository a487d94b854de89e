"""Servers and devices in processes of their own, on loopback."""

import socket
import threading
import time
from contextlib import contextmanager, suppress
from multiprocessing import get_context

import ends as run_ends

from card.training.rehearsal import TEXTS

# each is forked from a process that has imported torch for all of them
PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["card.training.device", "card.training.server"])


class End:
    """A running end, "server" or "device", and the events it has told so far."""

    def __init__(self, end, **options):
        self._told, tell = PROCESSES.Pipe(duplex=False)
        self.process = PROCESSES.Process(target=run_ends.play, args=(end, tell), kwargs=options)
        self.process.start()
        tell.close()
        self.events, self._news = [], threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        with suppress(EOFError, OSError):  # killed between two events, or within one
            while True:
                event = self._told.recv()
                with self._news:
                    self.events.append(event)
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def named(self, event):
        return [item for item in self.events if item["event"] == event]

    def until(self, event, count=1, timeout_s=60):
        """Wait for an event's `count`-th occurrence; returns it."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            while len(self.named(event)) < count:
                left = deadline - time.monotonic()
                if left <= 0 or not self._reader.is_alive():
                    raise AssertionError(
                        f"no {event}; last were {self.events[-3:]}; {self.error[-2000:]}"
                    )
                self._news.wait(min(left, 0.5))
        return self.named(event)[count - 1]

    def ends(self, timeout_s=60):
        """Wait for the process to end; returns its exit code."""
        self._reader.join(timeout_s)
        self.process.join(timeout_s)
        assert self.process.exitcode is not None, f"still runs; last were {self.events[-3:]}"
        return self.process.exitcode

    @property
    def error(self):
        return "".join(event["traceback"] for event in self.named("failed"))

    def kill(self):
        self.process.kill()
        self.ends()
        self._told.close()


@contextmanager
def ends():
    """Starts ends, and stops them all."""
    running = []

    def begin(end, **options):
        running.append(End(end, **options))
        return running[-1]

    try:
        yield begin
    finally:
        for end in running:
            end.kill()


class Run:
    """Starts the ends of one run, again and again on the same port and folder."""

    def __init__(self, start, folder, changes=None):
        self._start, self.folder = start, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self._common = {"address": address, "changes": changes}

    def server(self, **options):
        return self._start("server", folder=self.folder, **self._common, **options)

    def device(self, name, **options):
        return self._start("device", name=name, data=TEXTS[name], **self._common, **options)
