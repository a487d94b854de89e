"""Servers and devices in processes of their own, on loopback."""

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from card.base.data_files import DATA

ENDS = Path(__file__).with_name("ends.py")
_LOOK_S = 0.5
TEXTS = {"device-1": "weather", "device-2": "recipes", "device-3": "timetable"}


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
    """A running end, and the events it has printed so far.

    The ends of the same test are its company: it waits for one that starts or computes.
    """

    def __init__(self, *arguments, inside=None, company=None):
        self._company = [] if company is None else company
        self._company.append(self)
        space = ["ip", "netns", "exec", inside] if inside else []
        command = [*space, sys.executable, str(ENDS), *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.events, self._news, self._errors = [], threading.Condition(), []
        self._readers = [threading.Thread(target=target) for target in (self._read, self._collect)]
        for reader in self._readers:
            reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _collect(self):
        self._errors.append(self.process.stderr.read())

    def named(self, event):
        return [item for item in self.events if item["event"] == event]

    def until(self, event, count=1, still_s=60):
        """Wait for an event's `count`-th occurrence; returns it."""
        patience = Patience(self._company, still_s)
        with self._news:
            while len(self.named(event)) < count:
                ended = self.process.poll() is not None and not self._readers[0].is_alive()
                if ended or patience.over():
                    raise AssertionError(
                        f"no {event}; last were {self.events[-3:]}; {self.error[-2000:]}"
                    )
                self._news.wait(_LOOK_S)
        return self.named(event)[count - 1]

    def ends(self, still_s=60):
        """Wait for the process to end; returns its exit code."""
        patience = Patience(self._company, still_s)
        while True:
            try:
                code = self.process.wait(_LOOK_S)
                break
            except subprocess.TimeoutExpired:
                if patience.over():
                    raise
        for reader in self._readers:
            reader.join()
        return code

    @property
    def error(self):
        return "".join(self._errors)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.ends()
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()


@contextmanager
def ends():
    """Starts ends, and stops them all."""
    running = []

    def begin(*arguments):
        return End(*arguments, company=running)

    try:
        yield begin
    finally:
        for end in running:
            end.kill()


class Run:
    """Starts the ends of one run, again and again on the same port and folder."""

    scenario = "test-bed"

    def __init__(self, start, folder):
        self._start, self.folder = start, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"

    def server(self, **options):
        return self.begin("server", folder=self.folder, **options)

    def device(self, name, **options):
        return self.begin("device", device=name, data=self.text(name), **options)

    def begin(self, end, *arguments, **options):
        options = {"address": self.address, **options}
        flags = [
            item
            for name, value in options.items()
            for item in (f"--{name.replace('_', '-')}", value)
        ]
        return self._start(end, self.scenario, *arguments, *flags)

    @staticmethod
    def text(name):
        """Text of a device."""
        return DATA / "text" / f"{TEXTS[name]}.txt"
