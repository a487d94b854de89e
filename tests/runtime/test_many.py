"""Many devices, impostors and strangers: each honest device has its turn, nobody is locked out."""

import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conversation import LEARNING_RATE, Log, conversation, tokens
from processes import Run, ends, kept_address
from streams import Relay

import card
from card.base.errors import ScenarioError
from card.training import checkpoint
from card.training.agreement import Job
from card.training.device import Device
from card.training.llm.split import DeviceSide
from card.training.rehearsal import TEXTS, Rehearsal
from card.training.server import DevicesMissingError, Server
from card.training.terms import Terms
from card.training.wire.certificates import (
    device_credentials,
    make_certificates,
    server_credentials,
)
from card.training.wire.door import CALLS_PER_CERTIFICATE, UNHEARD_PER_ADDRESS
from card.training.wire.limits import Limits
from card.training.wire.stream import ANSWER_S, PeerGone, PeerRefused
from card.training.wire.transport import connect

CUT = 2
DEVICES, TURNS = 300, 40
KILLS, KILLED_ROUNDS, PAUSE_S = 8, 40, 2.0


@pytest.fixture(scope="module")
def job():
    return Job.open(card.load_scenario("test-bed"))


@contextmanager
def serving(folder, *, credentials=None, **terms):
    """A server on a thread; its address and its log."""
    log, own = Log(), Job.open(card.load_scenario("test-bed"))
    terms = {"rounds": 1, "timeout_s": 20, "patience_s": 60, "cuts": (CUT,), **terms}
    server = Server(own, Terms(learning_rate=LEARNING_RATE, **terms), folder, log)
    thread = threading.Thread(target=server.run, args=("127.0.0.1:0", credentials))
    thread.start()
    assert log.address.wait(30)
    yield log.events[0]["address"], log
    thread.join(60)
    assert not thread.is_alive()


def honest(job, address, credentials=None, name="device-1"):
    """A device that keeps to what was agreed; its log."""
    log, own = Log(), Job.open(job.scenario)
    Device(own, name, tokens(name, own), log).run(address, credentials, patience_s=30)
    return log


def joined(job, address, credentials=None, name="device-1"):
    """A stream whose device has said hello."""
    stream = connect(address, credentials, Limits(job.largest_frame_bytes))
    stream.send(job.hello(name))
    return stream


class TestOneName:
    def test_second_device_is_refused_while_the_first_lives(self, job, tmp_path):
        """They used to end each other's connection for ever, and a round each time."""
        with serving(tmp_path, wait_for=2, rounds=2) as (address, log):
            first = threading.Thread(target=honest, args=(job, address))
            first.start()
            while not log.named("joined"):
                time.sleep(0.01)
            with pytest.raises(ScenarioError, match="another device that says it is device-1 is"):
                honest(job, address)
            honest(job, address, name="device-2")
            first.join()
        assert [event["device"] for event in log.named("round")] == ["device-1", "device-2"]
        assert log.named("lost") == []

    def test_device_whose_old_connection_is_dead_comes_back(self, job, tmp_path):
        with (
            serving(tmp_path, wait_for=2, rounds=2) as (address, log),
            Relay(address) as relay,
            joined(job, relay.address) as old,
        ):
            old.receive("welcome", timeout_s=10)
            relay.whole.clear()
            begun = time.monotonic()
            again = threading.Thread(target=honest, args=(job, address))
            again.start()
            while len(log.named("joined")) < 2:
                time.sleep(0.01)
            assert time.monotonic() - begun < 2 * ANSWER_S
            honest(job, address, name="device-2")
            again.join()
            relay.whole.set()
        assert [event["device"] for event in log.named("round")] == ["device-1", "device-2"]
        assert log.named("lost") == []


class TestWork:
    def test_device_that_computes_longer_than_the_time_out_keeps_its_round(
        self, tmp_path, monkeypatch
    ):
        forward = DeviceSide.forward

        def slow(self, batch):
            time.sleep(4.0)
            return forward(self, batch)

        scenario = card.load_scenario("test-bed", **{"training.local_iterations": 1})
        log, *_ = conversation(scenario, tmp_path / "quick", ["device-1"], rounds=1, cuts=(CUT,))
        monkeypatch.setattr(DeviceSide, "forward", slow)
        slower, *_ = conversation(
            scenario, tmp_path / "slow", ["device-1"], rounds=1, cuts=(CUT,), timeout_s=2.0
        )
        assert slower.named("lost") == []
        (quick,), (patient,) = log.named("round"), slower.named("round")
        assert (quick["up_bit"], quick["down_bit"]) == (patient["up_bit"], patient["down_bit"])
        # a sign of life every half second, of four bytes each
        beats = (patient["framing_bit"] - quick["framing_bit"]) / 32
        assert 6 <= beats <= 12


class TestTurns:
    def test_device_waits_for_its_turn_longer_than_its_patience(self, job, tmp_path):
        """Of a thousand devices, each waits for the turns of all others."""
        own, log = Job.open(job.scenario), Log()
        with serving(tmp_path, wait_for=2, rounds=2) as (address, _):
            device = Device(own, "device-1", tokens("device-1", own), log)
            run = partial(device.run, address, None, patience_s=0.3)
            waiting = threading.Thread(target=run)
            waiting.start()
            time.sleep(2)
            honest(job, address, name="device-2")
            waiting.join()
        assert log.named("lost") == []


class TestWords:
    def test_more_devices_than_there_are_cannot_be_waited_for(self, job, tmp_path):
        terms = Terms(1, LEARNING_RATE, wait_for=9)
        with pytest.raises(ScenarioError, match=r"wait-for = 9 is not allowed.*3 devices; give 1"):
            Server(job, terms, tmp_path, Log())

    def test_devices_that_are_missing_are_counted(self, job, tmp_path, monkeypatch):
        log = Log()
        terms = Terms(1, LEARNING_RATE, wait_for=3, patience_s=60)
        # patience ends when the first of them has come, however long that takes
        clock = SimpleNamespace(monotonic=lambda: 60.0 * len(log.named("joined")))
        monkeypatch.setattr("card.training.roster.time", clock)
        server = Server(Job.open(job.scenario), terms, tmp_path, log)
        failed = []

        def run():
            try:
                server.run("127.0.0.1:0", None)
            except DevicesMissingError as error:
                failed.append(str(error))

        thread = threading.Thread(target=run)
        thread.start()
        assert log.address.wait(30)
        with joined(job, log.events[0]["address"]) as stream:
            stream.receive("welcome", timeout_s=10)
            thread.join(30)
        assert failed[0].startswith("1 of the 3 devices to wait for connected in 60 s; start more")

    def test_device_without_a_turn_is_told_and_named(self, tmp_path):
        scenario = card.load_scenario("test-bed")
        log, _, logs = conversation(scenario, tmp_path, ["device-1", "device-2"], rounds=1)
        (finished,) = log.named("finished")
        assert finished["without_turn"] == ["device-2"]
        (told,) = logs["device-2"].named("finished")
        assert told["reason"] == "all rounds are completed; device-2 had no turn"
        (told,) = logs["device-1"].named("finished")
        assert told["reason"] == "all rounds are completed"

    @pytest.mark.parametrize(
        "name", ["x" * 2**20, "device-1\n\x1b[2Jround 7: done", "\u202edevice-1"]
    )
    def test_names_are_bounded_at_the_door(self, name, job, tmp_path):
        with serving(tmp_path) as (address, log):
            stream = connect(address, None, Limits(job.largest_frame_bytes))
            hello = job.hello("device-1")
            hello.device = name
            with stream:
                stream.send(hello)
                with pytest.raises(PeerRefused):
                    stream.receive("welcome", timeout_s=10)
            honest(job, address)
        (refused,) = log.named("refused")
        for words in (refused["device"], refused["reason"]):
            assert len(words) <= 300
            assert words.isprintable()


class TestStrangers:
    def test_silent_streams_of_one_certificate_lock_nobody_out(self, job, tmp_path):
        """Sixteen of them used to take every place."""
        made = make_certificates(
            tmp_path / "certs", server_names=["127.0.0.1"], devices=["device-1", "device-2"]
        )
        limits, bad = Limits(job.largest_frame_bytes), device_credentials(made, "device-2")
        server = serving(tmp_path / "run", credentials=server_credentials(made))
        with server as (address, log), ExitStack() as held:
            for _ in range(CALLS_PER_CERTIFICATE):
                held.enter_context(connect(address, bad, limits))
            for _ in range(3 * CALLS_PER_CERTIFICATE):
                with pytest.raises(PeerGone, match=r"has no place left; try again later .device-2"):
                    connect(address, bad, limits)
            honest(job, address, device_credentials(made, "device-1"))
        assert len(log.named("round")) == 1
        assert log.named("finished")[0]["turned_away"] == ["device-2"]

    def test_silent_streams_from_one_address_are_so_many(self, job, tmp_path):
        limits = Limits(job.largest_frame_bytes)
        # all have to be there before the first is given up
        with serving(tmp_path, timeout_s=6) as (address, log), ExitStack() as held:
            for _ in range(UNHEARD_PER_ADDRESS):
                held.enter_context(connect(address, None, limits))
            with pytest.raises(PeerGone, match=f"{UNHEARD_PER_ADDRESS} from there"):
                connect(address, None, limits)
            begun = time.monotonic()
            honest(job, address)  # comes back until the silent ones are given up
            assert time.monotonic() - begun < 20
        assert len(log.named("round")) == 1

    def test_garbage_silence_and_a_byte_at_a_time_hold_nobody_up(self, job, tmp_path):
        drawn = random.Random(0)
        over = threading.Event()

        def drip(connection, data):
            for place in range(len(data)):
                if over.wait(0.05):
                    return
                try:
                    connection.send(data[place : place + 1])
                except OSError:
                    return

        with serving(tmp_path, rounds=2) as (address, log), ExitStack() as held:
            host, port = address.rsplit(":", 1)
            drips = []
            for kind in range(60):
                connection = held.enter_context(socket.create_connection((host, int(port))))
                if kind % 3 == 1:
                    connection.sendall(drawn.randbytes(4096))
                elif kind % 3 == 2:
                    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + drawn.randbytes(200)
                    drips.append(threading.Thread(target=drip, args=(connection, preface)))
                    drips[-1].start()
            honest(job, address)
            over.set()
            for thread in drips:
                thread.join()
        assert [event["round"] for event in log.named("round")] == [1, 2]
        assert log.named("lost") == []


def status(process):
    """What Linux says of a process: its memory [kB] and its threads."""
    path = Path("/proc", str(process.pid), "status")
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    found = {words[0]: words[1] for words in lines if len(words) > 1}
    return int(found["VmRSS:"]), int(found["Threads:"])


def finished(run):
    """Rounds in the journal of a rehearsal."""
    return [event["round"] for event in run.events() if event["event"] == "round"]


@pytest.mark.slow
def test_hundreds_wait_at_the_price_of_a_stream_and_each_has_its_turn(tmp_path):
    if not Path("/proc/self/status").is_file():
        pytest.skip("needs Linux' account of memory and threads")
    fleet = {"name": "device", "hardware": "jetson-orin-nano-8gb", "utilisation": 0.01}
    changes = {
        "training.local_iterations": 1,
        "devices": [{**fleet, "distance_m": 60, "count": DEVICES}],
    }
    names = [device.name for device in card.load_scenario("test-bed", **changes).devices]
    with ends() as start, kept_address() as address:
        run = Run(start, tmp_path / "run", address, changes)
        server = run.server(rounds=TURNS, wait_for=DEVICES, cuts=[CUT], timeout_s=60)
        server.until("listening")
        before_kb, threads = status(server.process)
        fleets = [run.fleet(names[place::2], TEXTS["device-1"]) for place in range(2)]
        server.until("joined", count=DEVICES)
        after_kb, threads_then = status(server.process)
        each_kb = (after_kb - before_kb) / DEVICES
        print(f"\n{each_kb:.0f} kB a device that waits, {threads_then - threads} threads more")
        assert each_kb < 200
        # gRPC has as many threads as it finds work for, whoever is connected
        assert threads_then - threads < 10
        assert server.ends() == 0, server.error
        assert [each.ends() for each in fleets] == [0, 0]
    assert [event["device"] for event in server.named("round")] == names[:TURNS]
    assert server.named("lost") == []
    assert len(server.named("finished")[0]["without_turn"]) == DEVICES - TURNS


@pytest.mark.slow
def test_kills_stops_and_interrupts_cost_time_alone(tmp_path):
    """Of server and device, at moments drawn at random: no round is lost, or done otherwise."""
    drawn, text = random.Random(0), TEXTS["device-1"]
    settings = {"training.local_iterations": 2}
    with Rehearsal.open(settings=settings) as run:
        run.play({"device-1": text}, rounds=KILLED_ROUNDS, cuts=[CUT])
        undisturbed = checkpoint.latest(run.folder / "run").adapters
    with Rehearsal.open(settings=settings) as run:
        begin = {
            "server": lambda: run.serve(rounds=KILLED_ROUNDS, cuts=[CUT]),
            "device-1": lambda: run.join("device-1", text),
        }
        for started in begin.values():
            started()
        done = []
        while len(done) < KILLS:
            time.sleep(drawn.uniform(0.1, PAUSE_S))
            if len(finished(run)) > KILLED_ROUNDS - 3:
                break  # or a device that begins anew would find no server
            name, what = drawn.choice(list(begin)), drawn.choice(["kill", "interrupt", "stop"])
            done.append((name, what))
            process = run._running[name]
            if what == "stop":
                os.kill(process.pid, signal.SIGSTOP)
                time.sleep(drawn.uniform(0.0, 1.0))
                os.kill(process.pid, signal.SIGCONT)
                continue
            if what == "interrupt":
                os.kill(process.pid, signal.SIGINT)
                process.join(30)
                assert process.exitcode is not None
            run.kill(name)
            begin[name]()
        run._wait(["server", "device-1"])
        rounds = finished(run)
        adapters = checkpoint.latest(run.folder / "run").adapters
    print(f"\n{len(done)} blows in {KILLED_ROUNDS} rounds: {Counter(done)}")
    assert rounds == list(range(1, KILLED_ROUNDS + 1))
    assert all(torch.equal(adapters[name], undisturbed[name]) for name in undisturbed)
