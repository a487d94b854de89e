"""Delay per round for every cut over a link that the kernel shapes, beside what the model predicts.

`python tests/helpers/shaped.py FILE` records what the book shows. It needs root, for network
namespaces, and takes a few minutes.
"""

import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from processes import End

import card
from card.hardware import hardware, read_profile
from card.training.rehearsal import TEXTS
from card.training.wire.certificates import make_certificates

LLM = "tiny-llama-8m"
RATES_BPS = (20e6, 100e6)
PORT = 7070
# of this process alone, for two links with one address would take each other's messages
_NETWORK = os.getpid() % (256 * 64)
SERVER, DEVICE = (f"10.213.{_NETWORK // 64}.{_NETWORK % 64 * 4 + end}" for end in (1, 2))
FAR = "device0"
BURST_BYTES = 1 << 15


class NotPermittedError(Exception):
    """This machine does not let us make network namespaces."""


def command(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPermittedError(f"{' '.join(words)}: {done.stderr.strip()}")


@contextmanager
def shaped_link(rate_bps):
    """A link of the given rate each way; yields the namespace at its far end."""
    missing = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    if missing or os.geteuid():
        raise NotPermittedError(f"{', '.join(missing)} missing" if missing else "not root")
    space, near, far = f"card{os.getpid()}", f"card{os.getpid()}n", FAR
    command("ip", "netns", "add", space)
    try:
        command("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
        command("ip", "address", "add", f"{SERVER}/30", "dev", near)
        command("ip", "-n", space, "address", "add", f"{DEVICE}/30", "dev", far)
        command("ip", "link", "set", near, "up")
        command("ip", "-n", space, "link", "set", far, "up")
        shape = ("root", "tbf", "rate", f"{rate_bps:.0f}bit", "burst", str(BURST_BYTES))
        command("tc", "qdisc", "add", "dev", near, *shape, "latency", "400ms")
        inside = ("ip", "netns", "exec", space)
        command(*inside, "tc", "qdisc", "add", "dev", far, *shape, "latency", "400ms")
        yield space
    finally:
        subprocess.run(["ip", "netns", "delete", space], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", near], check=False, capture_output=True)


def reshape(space, up_bps, down_bps):
    """Give the link of a namespace other rates, at once."""
    near = f"{space}n"
    for way, device, rate_bps in (((), near, down_bps), (("-n", space), FAR, up_bps)):
        shape = ("root", "tbf", "rate", f"{rate_bps:.0f}bit", "burst", str(BURST_BYTES))
        command("tc", *way, "qdisc", "change", "dev", device, *shape, "latency", "400ms")


def measured_shares(folder):
    """Utilisation of the scenario's processors that gives the rate a profile measures here."""
    path = Path(folder) / "here.json"
    profile = ["profile", "test-bed", "--set", f"llm={LLM}", "--quick", "--output", str(path)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "card", *profile], check=True, env=one_thread)
    measured, scenario = read_profile(path), card.load_scenario("test-bed")
    used = {"server": scenario.server.hardware, "device": scenario.devices[0].hardware}
    return measured, {
        end: measured.throughput_flops / hardware(end, name).peak_flops["fp32"]
        for end, name in used.items()
    }


def play(space, folder, changes, *, rounds, cuts=()):
    """Start a server here and a device in a namespace; returns both ends."""
    certificates = make_certificates(
        Path(folder) / "certificates", server_names=[SERVER], devices=["device-1"]
    )
    common = {"address": f"{SERVER}:{PORT}", "changes": changes, "certs": certificates}
    company = []
    server = End(
        "server",
        company=company,
        folder=Path(folder) / "run",
        rounds=rounds,
        cuts=cuts,
        timeout_s=60,
        **common,
    )
    server.until("listening", still_s=120)  # a device that comes before it counts a lost round
    device = End(
        "device", name="device-1", data=TEXTS["device-1"], inside=space, company=company, **common
    )
    return server, device


def rounds_at(rate_bps, shares, folder):
    """One round for every cut, over a link of one rate."""
    changes = {
        "llm": LLM,
        "server.utilisation": shares["server"],
        "devices.device-1.utilisation": shares["device"],
    }
    cuts = card.cut_profile(card.load_scenario("test-bed", llm=LLM)).cut.tolist()
    with shaped_link(rate_bps) as space:
        # a round to warm up comes first
        ends = play(space, folder, changes, rounds=len(cuts) + 1, cuts=[cuts[-1], *cuts])
        try:
            if any(end.ends(600) for end in ends):
                raise RuntimeError("".join(end.error for end in ends))
            return ends[0].named("round")[1:]
        finally:
            for end in ends:
                end.kill()


def record():
    """Everything that the figure of the book needs."""
    with tempfile.TemporaryDirectory() as folder:
        profile, shares = measured_shares(folder)
        rates = [
            {"rate_bps": rate, "rounds": rounds_at(rate, shares, Path(folder) / f"{rate:.0f}")}
            for rate in RATES_BPS
        ]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{profile.machine.processor}, one core",
        "software": profile.software,
        "llm": LLM,
        "throughput_flops": profile.throughput_flops,
        "rates": rates,
    }


def errors(recorded):
    """Relative error of the predicted delay, per rate [bit/s] and cut."""
    return {
        (rate["rate_bps"], one["cut"]): one["predicted_delay_s"] / one["delay_s"] - 1
        for rate in recorded["rates"]
        for one in rate["rounds"]
    }


if __name__ == "__main__":
    found = record()
    for (rate_bps, cut), error in errors(found).items():
        print(f"{rate_bps / 1e6:.0f} Mbit/s, cut {cut}: {error:+.1%}")
    print(f"median {statistics.median(map(abs, errors(found).values())):.1%}")
    Path(sys.argv[1]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
