"""What an end of a run does in a process of its own, which dies where the caller says."""

import ctypes
import os
import signal
import threading
import traceback
from pathlib import Path

import torch

from card.costs import load_scenario
from card.training import checkpoint
from card.training.agreement import Job
from card.training.device import Device
from card.training.llm.text import read_tokens
from card.training.server import Server
from card.training.terms import Terms
from card.training.wire.certificates import device_credentials, server_credentials

LEARNING_RATE = 1e-2
_NETWORK = 0x40000000  # what Linux calls CLONE_NEWNET


def play(end, tell, *, changes=None, die_at=None, inside=None, **options):
    """Be a "server" or a "device", within a network namespace if one is named, and tell events.

    `die_at` names an EVENT or EVENT:ROUND at which this process kills itself, as a power cut would.
    """
    one_at_a_time = threading.Lock()

    def report(event, fields):
        with one_at_a_time:
            tell.send({"event": event, **fields})
            if die_at in (event, f"{event}:{fields.get('round')}"):
                os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    try:
        if inside:
            _enter(inside)
        job = Job.open(load_scenario("test-bed", **(changes or {})))
        {"server": _serve, "device": _join, "fleet": _fleet}[end](job, report, **options)
    except Exception:
        report("failed", {"traceback": traceback.format_exc()})
        raise SystemExit(1) from None


def _enter(namespace):
    """Move this thread, and those that it starts, into a network namespace."""
    with Path("/run/netns", namespace).open() as file:
        if ctypes.CDLL(None).setns(file.fileno(), _NETWORK):
            raise OSError(f"the namespace {namespace} cannot be entered")


def _serve(job, report, *, address, folder, certs=None, cuts=(), **terms):
    defaults = {"rounds": 3, "timeout_s": 20, "patience_s": 60}
    terms = Terms(learning_rate=LEARNING_RATE, cuts=tuple(cuts), **(defaults | terms))
    server = Server(job, terms, folder, report)
    if found := checkpoint.latest(folder):
        server.resume(found)
    server.run(address, server_credentials(certs) if certs else None)


def _join(job, report, *, address, name, data, certs=None):
    credentials = device_credentials(certs, name) if certs else None
    device = Device(job, name, read_tokens(data, job.tokenizer), report)
    device.run(address, credentials, patience_s=60)


def _fleet(job, report, *, address, names, data, certs=None):
    """Many devices on threads of this process, which share one LLM: only one has its turn."""
    tokens = read_tokens(data, job.tokenizer)

    def run(name):
        def told(event, fields):
            if event in ("joined", "lost", "finished"):
                report(event, {**fields, "device": name})

        credentials = device_credentials(certs, name) if certs else None
        Device(job, name, tokens, told).run(address, credentials, patience_s=600)

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
