"""Ends that are let in and lie about values then: the liar is named and others go on."""

import asyncio
import errno
import math
import threading
from contextlib import contextmanager

import pytest
import torch
from conversation import LEARNING_RATE, Log, conversation, tokens

import card
from card.base.errors import ScenarioError
from card.training import checkpoint
from card.training.agreement import Job
from card.training.device import Device
from card.training.llm.split import AdaptedLlm
from card.training.server import Server
from card.training.terms import Terms
from card.training.trust import BREACHES, DivergedError
from card.training.wire.limits import Limits
from card.training.wire.round_messages import Exchange
from card.training.wire.stream import PeerRefused
from card.training.wire.transport import connect, listen
from card.training.wire.wire_pb2 import Assignment, Report, Tensors, Welcome

SHAPE = (4, 64, 128)
SOON_S = 20


@pytest.fixture(scope="module")
def job():
    return Job.open(card.load_scenario("test-bed"))


@contextmanager
def serving(folder, *, rounds=1, cut=2, patience_s=60):
    """A server on a thread; its address, its log, and what it failed with."""
    log, own, failures = Log(), Job.open(card.load_scenario("test-bed")), []
    terms = Terms(rounds, LEARNING_RATE, timeout_s=10, patience_s=patience_s, cuts=(cut,))
    server = Server(own, terms, folder, log)

    def run():
        try:
            server.run("127.0.0.1:0", None)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert log.address.wait(30)
    yield log.events[0]["address"], log, failures
    thread.join(60)
    assert not thread.is_alive()


def honest(job, address, name="device-2"):
    own = Job.open(job.scenario)
    Device(own, name, tokens(name, own), lambda *_: None).run(address, None, patience_s=30)


@contextmanager
def assigned(job, address, name="device-1"):
    """A stream that has said hello and got an assignment, and the exchange of its round."""
    with connect(address, None, Limits(job.largest_frame_bytes)) as stream:
        stream.send(job.hello(name))
        stream.receive("welcome", timeout_s=SOON_S)
        task = stream.receive("assignment", timeout_s=SOON_S)
        forms = job.forms(task.uplink_bits, task.downlink_bits)
        yield stream, task, Exchange(stream, task.round, SOON_S, forms)


def poisoned(job, address, value):
    """Train a round as agreed, and send adapters of one value back."""
    with assigned(job, address) as (stream, task, exchange):
        sent = exchange.receive(Tensors.ADAPTERS, job.adapters(task.cut))
        for exchange.iteration in range(1, task.iterations + 1):
            hidden = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
            labels = torch.ones(SHAPE[:2], dtype=torch.int32)
            exchange.send(Tensors.SMASHED, {"hidden": hidden, "labels": labels})
            exchange.told()
            exchange.receive(Tensors.GRADIENT, job.activations)
        stream.send_tensors(
            Tensors.ADAPTERS, task.round, task.iterations,
            {name: torch.full_like(tensor, value) for name, tensor in sent.items()},
        )  # fmt: skip
        with pytest.raises(PeerRefused) as refusal:
            stream.receive("assignment", timeout_s=SOON_S)
    return str(refusal.value)


@pytest.mark.parametrize("value", [3e38, 1.0], ids=["absurd", "more than AdamW can"])
def test_poisoned_adapters_are_undone_and_their_sender_is_named(value, job, tmp_path):
    with serving(tmp_path) as (address, log, failures):
        reason = poisoned(job, address, value)
        honest(job, address)
    assert not failures
    (lost,) = log.named("lost")
    assert (lost["device"], lost["reason"]) == ("device-1", reason)
    (done,) = log.named("round")
    assert done["device"] == "device-2"
    adapters = checkpoint.latest(tmp_path).adapters
    assert max(float(tensor.abs().max()) for tensor in adapters.values()) < 1


def test_who_sends_poison_again_and_again_is_set_aside(job, tmp_path):
    with serving(tmp_path) as (address, log, _):
        for _ in range(BREACHES):
            poisoned(job, address, 3e38)
        with pytest.raises(ScenarioError, match=f"set aside for this run after {BREACHES} bad"):
            honest(job, address, "device-1")
        honest(job, address)
    assert [event["device"] for event in log.named("set_aside")] == ["device-1"]
    assert [event["device"] for event in log.named("round")] == ["device-2"]


def smashed(**changes):
    tensors = {"hidden": torch.zeros(SHAPE), "labels": torch.ones(SHAPE[:2], dtype=torch.int32)}
    return {**tensors, **changes}


@pytest.mark.parametrize(
    ("tensors", "compute_s", "reason"),
    [
        (smashed(hidden=torch.full(SHAPE, 3e38)), 0, "'hidden' holds 3e.38, beyond"),
        (smashed(hidden=torch.full(SHAPE, math.inf)), 0, "'hidden' holds numbers that are not fin"),
        (smashed(labels=torch.full(SHAPE[:2], -100, dtype=torch.int32)), 0, "all labels are mask"),
        (smashed(), math.nan, "it says that it computed for nan s"),
        (smashed(), 1e300, r"it says that it computed for 1e.300 s"),
    ],
    ids=["absurd", "infinite", "masked", "time not a number", "time beyond all"],
)
def test_absurd_smashed_data_cost_their_round_alone(tensors, compute_s, reason, job, tmp_path):
    with serving(tmp_path) as (address, log, failures):
        with assigned(job, address) as (stream, task, exchange):
            exchange.receive(Tensors.ADAPTERS, job.adapters(task.cut))
            stream.send_tensors(Tensors.SMASHED, task.round, 1, tensors, compute_s)
            with pytest.raises(PeerRefused, match=reason):
                stream.receive("report", timeout_s=SOON_S)
        honest(job, address)
    assert not failures
    assert [event["device"] for event in log.named("lost")] == ["device-1"]
    assert [event["device"] for event in log.named("round")] == ["device-2"]
    assert math.isfinite(log.named("round")[0]["loss"])


@contextmanager
def lying_server(job, lie, welcome=30.0):
    """A server that lets a device in and then says what it likes; its address and what it heard."""
    heard = []

    def converse(stream):
        stream.receive("hello", timeout_s=SOON_S)
        stream.send(Welcome(timeout_s=welcome))
        try:
            lie(stream)
            stream.receive("report", timeout_s=SOON_S)
        except PeerRefused as refusal:
            heard.append(str(refusal))

    async def on_join(stream, _):
        await asyncio.to_thread(converse, stream)

    with listen("127.0.0.1:0", None, Limits(job.largest_frame_bytes), on_join) as listener:
        yield listener.address, heard


def assignment(job, **changes):
    scenario = job.scenario
    agreed = {
        "round": 1, "cut": 2, "iterations": scenario.training.local_iterations,
        "learning_rate": LEARNING_RATE, "frequency_hz": 1e9, "seed": scenario.simulation.seed,
    }  # fmt: skip
    agreed |= dict.fromkeys(("uplink_bits", "downlink_bits"), scenario.training.activation_bits)
    return Assignment(**agreed | changes)


@pytest.mark.parametrize(
    "changes",
    [{"cut": 99}, {"learning_rate": math.nan}, {"iterations": 10**9}, {"seed": 2**64 - 1}],
    ids=str,
)
def test_device_leaves_a_server_that_assigns_what_was_not_agreed(changes, job):
    (name,) = changes
    lie = assignment(job, **changes)
    with (
        lying_server(job, lambda stream: stream.send(lie)) as (address, heard),
        pytest.raises(ScenarioError, match=f"breaks the agreement, .*: {name} = "),
    ):
        honest(job, address)
    assert name in heard[0]


@pytest.mark.parametrize("value", [math.nan, 3e38])
def test_device_leaves_a_server_that_sends_absurd_adapters(value, job):
    def lie(stream):
        stream.send(assignment(job))
        absurd = {n: torch.full(s.shape, value, dtype=s.dtype) for n, s in job.adapters(2).items()}
        stream.send_tensors(Tensors.ADAPTERS, 1, 0, absurd)
        stream.receive("tensors", timeout_s=SOON_S)

    with (
        lying_server(job, lie) as (address, heard),
        pytest.raises(ScenarioError, match=r"breaks the agreement, .*: tensor 'block\.\d"),
    ):
        honest(job, address)
    assert "holds" in heard[0]


@pytest.mark.parametrize("time_out", [math.nan, math.inf, 0.0, -1.0])
def test_device_leaves_a_server_with_a_time_out_that_nobody_waits_by(time_out, job):
    with (
        lying_server(job, lambda stream: None, time_out) as (address, _),
        pytest.raises(ScenarioError, match=r"breaks the agreement, .*: timeout_s = "),
    ):
        honest(job, address)


class TestDivergence:
    """The loss is made to be none after some mini-batches, wherever it is computed."""

    @pytest.fixture
    def diverging(self, monkeypatch):
        own, calls = AdaptedLlm.loss, []

        def loss(self, hidden, labels):
            calls.append(None)
            return own(self, hidden, labels) * (math.nan if len(calls) > 10 else 1.0)

        # from now on, for a job that opens computes losses, too
        return lambda: monkeypatch.setattr(AdaptedLlm, "loss", loss)

    @pytest.mark.parametrize(
        ("cut", "topology"), [(2, "vanilla"), (4, "vanilla"), (2, "u-shaped")], ids=str
    )
    def test_ends_both_ends_with_the_reason_and_the_last_good_checkpoint(
        self, cut, topology, diverging, tmp_path
    ):
        scenario = card.load_scenario("test-bed", **{"training.topology": topology})
        log, failures = Log(), {}
        own, other = Job.open(scenario), Job.open(scenario)
        diverging()
        terms = Terms(5, LEARNING_RATE, timeout_s=10, patience_s=60, cuts=(cut,))
        server = Server(own, terms, tmp_path, log)

        def run(end, work, *arguments):
            try:
                work(*arguments)
            except Exception as error:
                failures[end] = error

        thread = threading.Thread(target=run, args=("server", server.run, "127.0.0.1:0", None))
        thread.start()
        assert log.address.wait(30)
        device = Device(other, "device-1", tokens("device-1", other), lambda *_: None)
        run("device", device.run, log.events[0]["address"], None)
        thread.join(30)
        assert not thread.is_alive()
        assert [event["round"] for event in log.named("round")] == [1]
        for end in ("server", "device"):
            assert isinstance(failures[end], DivergedError)
            assert "the loss of mini-batch 3 is nan" in str(failures[end])
        assert f"The last good checkpoint: {tmp_path / 'round-000001'}" in str(failures["server"])
        assert len(log.named("diverged")) == 1
        assert checkpoint.latest(tmp_path).round == 1


def test_a_device_alone_cannot_end_the_run_of_others_by_calling_it_diverged(job, tmp_path):
    with serving(tmp_path, cut=4) as (address, log, failures):
        waiting = threading.Thread(target=honest, args=(job, address))
        with assigned(job, address) as (stream, task, exchange):
            waiting.start()
            while len(log.named("joined")) < 2:
                waiting.join(0.05)
            exchange.receive(Tensors.ADAPTERS, job.adapters(task.cut))
            stream.send(Report(round=task.round, iteration=1, loss=math.nan))
        waiting.join(30)
    assert not failures
    assert [event["device"] for event in log.named("set_aside")] == ["device-1"]
    assert [event["device"] for event in log.named("round")] == ["device-2"]


class TestFullDisk:
    """Only the one function that writes files is made to fail, as the system does."""

    @pytest.fixture
    def full(self, monkeypatch):
        own, attempts = checkpoint._fill, []

        def fill(folder, contents):
            attempts.append(folder)
            if len(attempts) in (1, 3, 4):
                raise OSError(errno.ENOSPC, "No space left on device")
            own(folder, contents)

        monkeypatch.setattr(checkpoint, "_fill", fill)
        return attempts

    def test_keeps_rounds_in_memory_and_writes_them_when_it_can(self, full, tmp_path):
        scenario = card.load_scenario("test-bed")
        log, llm, _ = conversation(scenario, tmp_path, ["device-1"], rounds=3)
        assert len(log.named("round")) == 3
        assert [event["round"] for event in log.named("unsaved")] == [1, 3]
        assert "No space left" in log.named("unsaved")[0]["reason"]
        assert [event["round"] for event in log.named("saved")] == [2, 3]
        assert len(full) == 5
        found = checkpoint.latest(tmp_path)
        assert found.round == 3
        own = llm.adapters(0, llm.num_blocks)
        assert all(torch.equal(own[name], tensor) for name, tensor in found.adapters.items())


def test_honest_devices_at_any_cut_are_believed(tmp_path):
    scenario = card.load_scenario("test-bed")
    log, _, _ = conversation(scenario, tmp_path, ["device-1"], rounds=4, cuts=(1, 2, 3, 4))
    assert not log.named("lost")


@pytest.mark.parametrize(
    "values",
    [
        {"learning_rate": math.inf}, {"learning_rate": 1e9}, {"learning_rate": math.nan},
        {"rounds": 0}, {"timeout_s": math.inf}, {"timeout_s": 0}, {"patience_s": math.nan},
    ],
    ids=str,
)  # fmt: skip
def test_terms_out_of_range_are_refused(values):
    (name,) = values
    with pytest.raises(ScenarioError, match=f"{name} = .* is not allowed; give"):
        Terms(**{"rounds": 1, "learning_rate": LEARNING_RATE} | values)
