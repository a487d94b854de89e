"""While `card serve` trains, its endpoint shows what metrics.jsonl has."""

import re
import subprocess
import sys
import urllib.request
from collections import defaultdict

import pytest
from conversation import tokens
from prometheus_client.parser import text_string_to_metric_families

import card
from card.training.agreement import Job
from card.training.device import Device
from card.training.journal import read_journal

ROUNDS, LAST = 2, 3


def told(process, pattern):
    """What a pattern finds in the lines of a process, which goes on."""
    for line in process.stderr:
        if found := re.search(pattern, line):
            return found[1]
    raise AssertionError(f"the server ended without {pattern!r}")


@pytest.fixture
def server(tmp_path):
    """`card serve` in a process of its own; where its metrics are, and where it listens."""
    command = [
        *(sys.executable, "-m", "card", "serve", "test-bed", "--rounds", LAST, "--cut", 2),
        *("--threads", 1, "--address", "127.0.0.1:0", "--metrics-port", 0, "--folder", tmp_path),
    ]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as process:
        try:
            url = told(process, r"metrics are at (\S+)")
            yield process, url, told(process, r"listening on (\S+)")
        finally:
            process.kill()


def test_endpoint_agrees_with_the_journal_while_a_run_goes(server, tmp_path):
    process, url, address = server
    scraped = []

    def report(event, fields):
        # the server has written all of the rounds before, and waits for this one's first tensors
        if event == "assigned" and fields["round"] == LAST:
            with urllib.request.urlopen(url, timeout=10) as answer:
                scraped.append(answer.read().decode())

    job = Job.open(card.load_scenario("test-bed"))
    Device(job, "device-1", tokens("device-1", job), report).run(address, None)
    assert process.wait(60) == 0
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(scraped[0])
        for sample in family.samples
    }
    rounds = [e for e in read_journal(tmp_path / "metrics.jsonl") if e["event"] == "round"][:ROUNDS]
    assert len(rounds) == ROUNDS
    total = defaultdict(float)
    for one in rounds:
        for key, value in one.items():
            if isinstance(value, float | int):
                total[key] += value
    assert found["card_rounds_done",] == found["card_rounds_total", "device-1"] == ROUNDS
    assert found["card_turn", "device-1"] == found["card_joined_total", "device-1"] == 1
    assert found["card_loss", "device-1", "training"] == rounds[-1]["loss"]
    close = pytest.approx
    for what in ("up", "down", "framing"):
        assert 8 * found["card_bytes_total", "device-1", what] == close(total[f"{what}_bit"])
    for end in ("server", "device"):
        assert found["card_seconds_total", "device-1", end] == close(total[f"{end}_compute_s"])
    phases = [value for key, value in found.items() if key[0] == "card_seconds_total"]
    assert sum(phases) == close(total["delay_s"])
    foretold_s = found["card_predicted_seconds_total", "device-1"]
    assert foretold_s == close(total["predicted_delay_s"])
    foretold_j = found["card_predicted_joules_total", "device-1", "server"]
    assert foretold_j == close(total["predicted_energy_j"])
