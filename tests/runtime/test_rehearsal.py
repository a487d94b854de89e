"""Rehearsals: real processes that end together, fail in words and leave nothing behind."""

import itertools
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

import card
from card.base.processes import STANDSTILL_S
from card.training.in_process import count_traffic, recovered_tokens, rehearse, train_unsplit
from card.training.rehearsal import TEXTS, Rehearsal, RehearsalError

DORA = {"lora.targets": "all-linear", "lora.dora": True, "lora.rslora": True, "lora.alpha": 16}
ONE = {"device-1": TEXTS["device-1"]}


def running(folder):
    """Processes that have a file of a folder open."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it may have ended meanwhile
            found += [one for one in process.open_files() if Path(one.path).parent == folder]
    return found


@pytest.mark.slow
def test_processes_train_as_one_process_does_and_a_longer_run_goes_on():
    with Rehearsal.open("test-bed", {"training.local_iterations": 2}) as run:
        run.play(ONE, rounds=1, cuts=[2])
        events = run.play(ONE, rounds=2, cuts=[2])
        assert "going on after round 1" in run.log("server")
    losses = [event["loss"] for event in events if event["event"] == "iteration"]
    chosen = card.load_scenario("test-bed", **{"training.local_iterations": 2})
    # equal arithmetic in another process: the same bits on the same machine
    assert losses == train_unsplit(chosen, ONE, rounds=2)


@pytest.mark.slow
def test_a_failing_device_is_told_in_its_own_words_and_no_process_is_left(tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("Too short.", encoding="utf-8")
    with Rehearsal.open("test-bed") as run:
        with pytest.raises(
            RehearsalError, match=r"device-1 ended with exit code 2.*\n.*at least 64"
        ):
            run.play({"device-1": short}, rounds=1)
        assert running(run.folder) != [], "the server waits for devices"
    assert not run.folder.exists()
    assert running(run.folder) == []


def test_a_scenario_that_does_not_exist_is_told_at_once():
    with pytest.raises(RehearsalError, match="test-bad"), Rehearsal.open("test-bad"):
        pass


@pytest.mark.slow
def test_patience_ends(monkeypatch):
    with Rehearsal.open("test-bed") as run:
        run.serve(rounds=1)
        run.until("listening")
        leaps = itertools.count(step=STANDSTILL_S)
        clock = SimpleNamespace(monotonic=lambda: next(leaps), sleep=time.sleep)
        monkeypatch.setattr("card.training.rehearsal.time", clock)
        with pytest.raises(RehearsalError, match=r"no .*'round'.* for 600 s; server is at"):
            run.until("round")


def test_a_run_in_one_process_says_what_is_wrong(tmp_path):
    before = threading.active_count()
    with pytest.raises(card.ScenarioError, match="cannot be read"):
        rehearse(card.load_scenario("test-bed"), {"device-1": tmp_path / "none.txt"}, rounds=1)
    assert threading.active_count() == before


def test_smashed_data_at_cut_0_are_rows_of_the_embedding():
    chosen = card.load_scenario("test-bed", **{"training.topology": "u-shaped"})
    assert recovered_tokens(chosen, TEXTS["device-1"], 0)["value"] == 1.0
    deep = recovered_tokens(chosen, TEXTS["device-1"], 3)
    assert deep["low"] < deep["value"] < deep["high"] < 0.5


def test_dora_on_all_linear_trains_apart_as_in_one_piece():
    small = {"llm": "tiny-llama-0.5m", "training.sequence_length": 32}
    chosen = card.load_scenario("test-bed", **small, **DORA, **{"training.local_iterations": 2})
    events = rehearse(chosen, ONE, rounds=1, cuts=[2])
    losses = [event["loss"] for event in events if event["event"] == "iteration"]
    assert losses == train_unsplit(chosen, ONE, rounds=1)
    plain = chosen.updated({"lora.dora": False, "lora.alpha": 8})
    assert losses[0] == pytest.approx(train_unsplit(plain, ONE, rounds=1)[0], rel=1e-6)
    assert losses[1] != train_unsplit(plain, ONE, rounds=1)[1]


@pytest.mark.slow
@pytest.mark.parametrize("adapters", [{}, DORA], ids=["lora", "dora"])
def test_counted_traffic_stands_beside_the_models(adapters):
    chosen = card.load_scenario("test-bed", **{"training.local_iterations": 1}, **adapters)
    rows = count_traffic(chosen, "device-1", TEXTS["device-1"])
    assert [row["cut"] for row in rows] == [0, 1, 2, 3, 4]
    assert all(row["up_bit"] == row["smashed_bit"] + row["adapter_bit"] for row in rows)
    assert all(row["down_bit"] == row["gradients_bit"] + row["adapter_bit"] for row in rows)


@pytest.mark.slow
def test_no_process_outlives_a_rehearsal_that_is_killed():
    program = """
from card.training.rehearsal import Rehearsal, TEXTS
with Rehearsal.open() as run:
    run.serve(rounds=50)
    run.join("device-1", TEXTS["device-1"])
    run.until("iteration")
    print("trains", flush=True)
    run.until("never")
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b"trains\n"
    started = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    parent.communicate()
    assert len(started) >= 3, "a server, a device and what they are forked from"
    assert psutil.wait_procs(started, timeout=60)[1] == []
