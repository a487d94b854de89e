"""What `card serve`, `card join` and `card certs` refuse, and say, before anything is trained."""

import os
import shutil
import sys

import pytest
from commands import refusal, run
from conversation import LEARNING_RATE, conversation

import card
from card.training import checkpoint
from card.training.journal import read_journal
from card.training.rehearsal import TEXTS
from card.training.run_folder import LOCK, claimed

TEXT = TEXTS["device-1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cut", 9], "cut = 9 is not allowed; give one that fits all devices, of 0, 1, 2, 3, 4"),
        (["--address", "edge"], "address = 'edge' is not allowed; give host:port"),
        (["--address", "192.0.2.7:7070"], "needs certificates, since others can reach it"),
        (["--certs", "nowhere"], "nowhere"),
        (["--folder", TEXT], "cannot be used (it is a file); give a folder that this user may"),
        (["--threads", 100_000], "--threads = 100000 is not allowed; give 1 to "),
        (["--learning-rate", "1e9"], "--learning-rate = 1e9 is not allowed; give a finite number"),
        (["--learning-rate", "inf"], "--learning-rate = 'inf' is not allowed; give a finite num"),
        (["--timeout", "inf"], "--timeout = 'inf' is not allowed; give a finite number from 0.1"),
        (["--timeout", "nan"], "--timeout = 'nan' is not allowed"),
        (["--timeout", "0"], "--timeout = 0 is not allowed"),
        (["--patience", "-1"], "--patience = -1 is not allowed"),
        (["--weights", "nowhere"], "nowhere holds no checkpoint"),
        (["--rates", "trace"], "takes one trace in link.trace, and this scenario has 0; name one"),
        (["--metrics-port", "70000"], "--metrics-port = 70000 is not allowed; give a whole number"),
        (["--set", "training.activation_bits=8"], "training.activation_bits = 8 cannot be trained"),
        (["--resume", "round-000007"], "round-000007 is not a checkpoint"),
    ],
)
def test_server_refuses(arguments, message, tmp_path):
    folder = [] if "--folder" in arguments else ["--folder", tmp_path / "run"]
    assert message in refusal("serve", "test-bed", *folder, *arguments)


def test_missing_certificates_are_refused_before_the_llm_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "card.training.agreement", None)  # cannot be imported
    found = refusal("serve", "test-bed", "--folder", tmp_path, "--certs", tmp_path / "nowhere")
    assert "make certificates with card certs" in found


def test_second_server_on_a_folder_is_refused_before_it_touches_anything(finished):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    with claimed(finished):
        found = refusal("serve", "test-bed", "--folder", finished, "--address", "127.0.0.1:0")
    assert f"is in use by process {os.getpid()}" in found
    lock = finished / LOCK
    after = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert {path: data for path, data in after.items() if path != lock} == before


def test_damaged_journal_does_not_stop_a_run(finished):
    journal = finished / "metrics.jsonl"
    journal.write_bytes(b'{"event": "rou\n\xff\n{"event": "noted", "round": 1}\n')
    again = run(
        "serve", "test-bed", "--folder", finished, "--rounds", "2", "--address", "127.0.0.1:0",
        "--learning-rate", LEARNING_RATE,
    )  # fmt: skip
    assert again.exit_code == 0, again.output
    assert "damaged lines of metrics.jsonl were moved beside it: 2" in again.stderr
    assert read_journal(journal)[0] == {"event": "noted", "round": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "device-9", "--data", TEXT], "device = 'device-9' is unknown"),
        (["--device", "device-1", "--data", "nowhere.txt"], "nowhere.txt cannot be read"),
        (["--device", "device-1", "--data", TEXT, "--certs", "nowhere"], "nowhere"),
        (["--device", "device-1", "--data", TEXT, "--address", "edge"], "give host:port"),
    ],
)
def test_device_refuses(arguments, message):
    assert message in refusal("join", "test-bed", *arguments)


def test_weights_of_another_llm_are_refused(tmp_path):
    found = refusal(
        "serve", "test-bed", "--set", "llm=tiny-llama-8m", "--folder", tmp_path,
        "--weights", card.base.data_files.DATA / "checkpoints" / "tiny-llama-0.5m",
    )  # fmt: skip
    assert "is not tiny-llama-8m: its num_blocks is 4, not 8" in found


def test_certificates_are_never_written_over(tmp_path):
    folder = tmp_path / "certificates"
    made = run("certs", folder)
    assert made.exit_code == 0
    names = {path.name for path in folder.iterdir()}
    assert {"ca.pem", "server.pem", "device-3.key"} <= names
    assert str(folder) in refusal("certs", folder)


@pytest.fixture
def finished(tmp_path):
    """Folder of a run of two rounds."""
    conversation(card.load_scenario("test-bed"), tmp_path, ["device-1"], rounds=2)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--set", "objective.delay_weight=0.9"], "scenario"),
        (["--learning-rate", "0.5"], "learning rate"),
        (["--policy", "delay_optimal"], "policy"),
        (["--cut", "1"], "list of cuts"),
    ],
)
def test_folder_of_another_run_is_refused(finished, options, what):
    same = [] if what == "learning rate" else ["--learning-rate", LEARNING_RATE]
    found = refusal("serve", "test-bed", "--folder", finished, *same, *options)
    assert f"holds a run of another {what}; choose another folder" in found


def test_folder_of_a_run_by_other_link_rates_is_refused(tmp_path):
    trace = tmp_path / "trace.csv"
    rows = [f"device-{number},0,2e6,8e6" for number in (1, 2, 3)]
    trace.write_text("\n".join(["device,round,uplink_bps,downlink_bps", *rows]))
    scenario = card.load_scenario("test-bed", **{"link.trace": [str(trace)]})
    conversation(scenario, tmp_path / "run", ["device-1"], rounds=1)
    found = refusal(
        "serve", "test-bed", "--folder", tmp_path / "run", "--learning-rate", LEARNING_RATE,
        "--set", f"link.trace=[{trace}]", "--rates", "trace",
        "--address", "127.0.0.1:0", "--patience", "0.1",
    )  # fmt: skip
    assert "holds a run of another source of link rates; choose another folder" in found


def test_damaged_checkpoint_is_refused_and_the_one_before_offered(finished):
    path = finished / "round-000002" / "adapters.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    found = refusal("serve", "test-bed", "--folder", finished)
    assert "adapters.safetensors is truncated" in found
    assert "resume from round-000001 with --resume round-000001" in found
    resumed = run(
        "serve", "test-bed", "--folder", finished, "--resume", "round-000001",
        "--rounds", "1", "--learning-rate", LEARNING_RATE, "--address", "127.0.0.1:0",
    )  # fmt: skip
    assert resumed.exit_code == 0, resumed.output
    assert "going on after round 1" in resumed.stderr
    shutil.rmtree(finished / "round-000002")
    assert checkpoint.latest(finished).round == 1


def test_device_out_of_reach_of_its_server_says_so():
    result = run(
        "join", "test-bed", "--device", "device-1", "--data", TEXT,
        "--address", "127.0.0.1:9", "--patience", "0",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "Error: 127.0.0.1:9 was out of reach for 0 s" in " ".join(result.stderr.split())


def test_server_without_devices_says_so(tmp_path):
    result = run(
        "serve", "test-bed", "--folder", tmp_path, "--address", "127.0.0.1:0",
        "--patience", "0.1",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "no device connected for 0.1 s; start one with card join" in result.stderr
