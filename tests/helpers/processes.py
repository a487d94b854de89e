"""Servers and devices in processes of their own, on loopback."""

import socket
import sys
import threading
import time
from contextlib import contextmanager, suppress

import ends as run_ends
import psutil

from card.training.rehearsal import PROCESSES, TEXTS

_LOOK_S = 0.5


class Patience:
    """How long the ends of a test may do nothing, all of them; a busy machine only slows them."""

    def __init__(self, company, limit_s):
        self._company, self._limit_s = company, limit_s
        self._worked_s, self._since_s = self._work(), time.monotonic()

    def _work(self):
        """Time on processors of all ends [s]."""
        total = 0.0
        for end in self._company:
            with suppress(psutil.Error):
                times = psutil.Process(end.process.pid).cpu_times()
                total += times.user + times.system
        return total

    def over(self):
        worked_s, now_s = self._work(), time.monotonic()
        if abs(worked_s - self._worked_s) > 0.01 * self._limit_s:  # not just kept alive
            self._worked_s, self._since_s = worked_s, now_s
        return now_s - self._since_s > self._limit_s


class End:
    """A running end, "server" or "device", and the events it has told so far.

    The ends of the same test are its company: it waits for one that starts or computes.
    """

    def __init__(self, end, company=None, **options):
        self._company = [] if company is None else company
        self._company.append(self)
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

    def until(self, event, count=1, still_s=60):
        """Wait for an event's `count`-th occurrence; returns it."""
        patience = Patience(self._company, still_s)
        with self._news:
            while len(self.named(event)) < count:
                if not self._reader.is_alive() or patience.over():
                    raise AssertionError(
                        f"no {event}; last were {self.events[-3:]}; {self.error[-2000:]}"
                    )
                self._news.wait(_LOOK_S)
        return self.named(event)[count - 1]

    def ends(self, still_s=60):
        """Wait for the process to end; returns its exit code."""
        patience = Patience(self._company, still_s)
        while self.process.exitcode is None:
            assert not patience.over(), f"still runs; last were {self.events[-3:]}"
            self.process.join(_LOOK_S)
        self._reader.join()
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
        return End(end, company=running, **options)

    try:
        yield begin
    finally:
        for end in running:
            end.kill()


@contextmanager
def kept_address():
    """Address with a port for servers that come and go, which no connection of others takes."""
    with socket.socket() as port:
        # bound without listening it leaves the port to a server, which asks for the same
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{port.getsockname()[1]}"
        if sys.platform != "linux":  # other systems let nobody share it
            port.close()
        yield address


class Run:
    """Starts the ends of one run, again and again on the same address and folder."""

    def __init__(self, start, folder, address, changes=None):
        self._start, self.folder = start, folder
        self._common = {"address": address, "changes": changes}

    def server(self, **options):
        return self._start("server", folder=self.folder, **self._common, **options)

    def device(self, name, **options):
        return self._start("device", name=name, data=TEXTS[name], **self._common, **options)

    def fleet(self, names, text, **options):
        """Many devices in one process."""
        return self._start("fleet", names=names, data=text, **self._common, **options)
