"""One end of a run in a process of its own, which dies where the caller says.

`python ends.py server SCENARIO --folder F` or `python ends.py device SCENARIO --device NAME`; what
happens goes to stdout, one JSON object per line.
"""

import argparse
import json
import os
import signal
from pathlib import Path

import torch

from card.costs import load_scenario
from card.training import checkpoint
from card.training.agreement import Job
from card.training.device import Device
from card.training.llm.text import read_tokens
from card.training.server import Server, Terms
from card.training.wire.certificates import device_credentials, server_credentials

LEARNING_RATE = 1e-2


def reporter(die_at):
    """Prints events; kills this process, as a power cut would, at the EVENT:ROUND named."""

    def report(event, fields):
        print(json.dumps({"event": event, **fields}), flush=True)
        if die_at in (event, f"{event}:{fields.get('round')}"):
            os.kill(os.getpid(), signal.SIGKILL)

    return report


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("end", choices=["server", "device"])
    parser.add_argument("scenario")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--address", default="127.0.0.1:0")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--patience", type=float, default=600.0)
    parser.add_argument("--wait-for", type=int, default=1)
    parser.add_argument("--cuts", type=json.loads, default=[])
    parser.add_argument("--certs", type=Path)
    parser.add_argument("--device")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--die-at")
    given = parser.parse_args()
    torch.set_num_threads(1)
    report = reporter(given.die_at)
    settings = {path: json.loads(value) for path, _, value in (s.partition("=") for s in given.set)}
    job = Job.open(load_scenario(given.scenario, **settings))
    if given.end == "device":
        credentials = device_credentials(given.certs, given.device) if given.certs else None
        tokens = read_tokens(given.data, job.tokenizer)
        device = Device(job, given.device, tokens, report)
        device.run(given.address, credentials, patience_s=given.patience)
        return
    credentials = server_credentials(given.certs) if given.certs else None
    terms = Terms(
        rounds=given.rounds,
        learning_rate=LEARNING_RATE,
        timeout_s=given.timeout,
        patience_s=given.patience,
        wait_for=given.wait_for,
        cuts=tuple(given.cuts),
    )
    server = Server(job, terms, given.folder, report)
    if found := checkpoint.latest(given.folder):
        server.resume(found)
    server.run(given.address, credentials)


if __name__ == "__main__":
    main()
