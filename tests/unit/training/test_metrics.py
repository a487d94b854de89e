"""An endpoint shows what the journal's events say, of the scenario's devices alone."""

import json
import urllib.request

import pytest

pytest.importorskip("torch")

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from card.base.errors import ScenarioError
from card.training.journal import Journal, read_journal
from card.training.metrics import OTHER, Metrics, published

NAMES = ("device-1", 'a "quoted"\nname\\')
ROUND = {
    "round": 1,
    "device": "device-1",
    "loss": 5.0,
    "validation_loss": None,
    "delay_s": 3.0,
    "server_compute_s": 0.5,
    "device_compute_s": 1.5,
    "predicted_delay_s": 2.5,
    "up_bit": 8000,
    "down_bit": 1600,
    "framing_bit": 80,
    "server_busy_j": 4.0,
    "server_waiting_j": 2.0,
    "device_busy_j": None,
    "device_waiting_j": None,
    "predicted_energy_j": 7.0,
    "predicted_device_energy_j": 9.0,
}


def shown(metrics):
    """Every sample, by its name and its labels' values; times of making are left out."""
    return samples(generate_latest(metrics.registry).decode())


def samples(text):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def noted(*events):
    metrics = Metrics(NAMES)
    for event, fields in events:
        metrics.note(event, fields)
    return shown(metrics)


def test_round_is_counted_by_phase_direction_and_end():
    found = noted(("round", ROUND), ("round", {**ROUND, "round": 2, "loss": 4.0}))
    assert found == {
        ("card_rounds_done",): 2,
        ("card_rounds_total", "device-1"): 2,
        ("card_loss", "device-1", "training"): 4.0,
        ("card_seconds_total", "device-1", "server"): 1.0,
        ("card_seconds_total", "device-1", "device"): 3.0,
        ("card_seconds_total", "device-1", "link"): 2.0,
        ("card_predicted_seconds_total", "device-1"): 5.0,
        ("card_bytes_total", "device-1", "up"): 2000,
        ("card_bytes_total", "device-1", "down"): 400,
        ("card_bytes_total", "device-1", "framing"): 20,
        ("card_joules_total", "device-1", "server", "busy"): 8.0,
        ("card_joules_total", "device-1", "server", "waiting"): 4.0,
        ("card_predicted_joules_total", "device-1", "server"): 14.0,
        ("card_predicted_joules_total", "device-1", "device"): 18.0,
    }


def test_turn_is_that_of_one_device_and_ends_with_the_run():
    planned = ("planned", {"device": "device-1"}), ("planned", {"device": NAMES[1]})
    assert noted(*planned)["card_turn", NAMES[1]] == 1
    assert ("card_turn", "device-1") not in noted(*planned)
    assert noted(*planned, ("finished", {})).keys() == {("card_rounds_done",)}


@pytest.mark.parametrize("event", ["joined", "refused", "lost"])
def test_strangers_share_one_label(event):
    names = [f"stranger-{number}" for number in range(100)]
    found = noted(*((event, {"device": name}) for name in [*names, *NAMES]))
    counts = {key[1]: value for key, value in found.items() if len(key) == 2}
    assert counts == {OTHER: 100, **dict.fromkeys(NAMES, 1)}


@pytest.mark.parametrize("value", [None, "5", -1.0, float("nan"), float("inf"), [1], {}])
def test_what_is_no_measured_number_is_left_out(value):
    found = noted(("round", dict.fromkeys(ROUND, value) | {"device": ["device-1"]}))
    kinds = {key[0] for key, count in found.items() if count and key[0] != "card_loss"}
    assert kinds <= {"card_rounds_total", "card_rounds_done"}
    assert found["card_rounds_total", OTHER] == 1


def test_what_an_earlier_server_wrote_counts_as_the_journal_has_it(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with Journal(path, 0) as journal:
        for number in (1, 2, 3):
            journal.write("round", {**ROUND, "round": number})
    with Journal(path, 2):  # the third is played again
        pass
    with published(0, NAMES, read_journal(path)) as (url, note):
        assert get(url)["card_rounds_total", "device-1"] == 2
        note("round", {**ROUND, "round": 3})
        found = get(url)
    events = [json.loads(json.dumps({**ROUND, "round": number})) for number in (1, 2, 3)]
    assert found == noted(*(("round", event) for event in events))
    with pytest.raises(OSError, match="refused"):
        get(url)


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return samples(answer.read().decode())


def test_port_that_is_taken_is_refused():
    with published(0, NAMES, []) as (url, _):
        port = int(url.rpartition(":")[2].partition("/")[0])
        with (
            pytest.raises(ScenarioError, match=f"--metrics-port = {port} cannot be had"),
            published(port, NAMES, []),
        ):
            pass
