"""A server and its devices on threads of one process: a whole run in a second or two."""

import threading
from dataclasses import dataclass, field

from card.training.actuation import PLAIN
from card.training.agreement import Job
from card.training.device import Device
from card.training.llm.text import read_tokens
from card.training.rehearsal import TEXTS
from card.training.server import Server
from card.training.terms import Terms

LEARNING_RATE = 1e-2


def tokens(name, job):
    """The text of a device."""
    return read_tokens(TEXTS[name], job.tokenizer)


@dataclass
class Log:
    """What a run reported."""

    events: list = field(default_factory=list)
    address: threading.Event = field(default_factory=threading.Event)

    def __call__(self, event, fields):
        self.events.append({"event": event, **fields})
        if event == "listening":
            self.address.set()

    def named(self, event):
        return [item for item in self.events if item["event"] == event]


def conversation(
    scenario, folder, names, *, rounds, cuts=(), machine=PLAIN, device_machine=PLAIN, **terms
):
    """Play a run; the server's log, its LLM, and each device's log."""
    job, log = Job.open(scenario, compute=machine.compute), Log()
    terms = Terms(rounds, LEARNING_RATE, wait_for=len(names), cuts=cuts, **terms)
    server = Server(job, terms, folder, log, machine)
    failures = []

    def guarded(function, *arguments):
        def call():
            try:
                function(*arguments)
            except Exception as error:
                failures.append(error)

        return threading.Thread(target=call)

    threads = [guarded(server.run, "127.0.0.1:0", None)]
    threads[0].start()
    assert log.address.wait(30)
    address, logs = log.events[0]["address"], {name: Log() for name in names}
    for name in names:
        own = Job.open(scenario, compute=device_machine.compute)
        device = Device(own, name, tokens(name, own), logs[name], device_machine)
        threads.append(guarded(device.run, address, None))
        threads[-1].start()
    for thread in threads:
        thread.join(120)
    assert not failures, failures
    return log, job.llm, logs
