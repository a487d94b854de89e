"""Devices that are not who they say, or send what was not agreed: told why, at one round's cost."""

import threading
from contextlib import contextmanager

import pytest
import torch
from conversation import LEARNING_RATE, Log, tokens

import card
from card.base.errors import ScenarioError
from card.training.agreement import Job
from card.training.device import Device
from card.training.journal import Journal, read_journal
from card.training.server import Server
from card.training.terms import Terms
from card.training.wire.certificates import (
    device_credentials,
    make_certificates,
    server_credentials,
)
from card.training.wire.limits import Limits
from card.training.wire.stream import PeerRefused
from card.training.wire.tensors import WireError, encode
from card.training.wire.transport import connect
from card.training.wire.wire_pb2 import Report, Tensors

CUT = 2


@pytest.fixture(scope="module")
def job():
    return Job.open(card.load_scenario("test-bed"))


@contextmanager
def serving(folder, *, rounds=2, credentials=None, timeout_s=5.0):
    """A server on a thread; its address and its log."""
    log, own = Log(), Job.open(card.load_scenario("test-bed"))
    terms = Terms(rounds, LEARNING_RATE, timeout_s=timeout_s, patience_s=60, cuts=(CUT,))
    server = Server(own, terms, folder, log)
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


def joined(job, address, name="device-1", **changes):
    """A stream whose device has said hello, with some of it changed."""
    stream = connect(address, None, Limits(job.largest_frame_bytes))
    hello = job.hello(name)
    for field, value in changes.items():
        setattr(hello, field, value)
    stream.send(hello)
    return stream


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"device": "device-9"}, "'device-9' is no device of the scenario"),
        ({"device": "\x1b[2J\nx" + "y" * 1000}, "'[2J x" + "y" * 34 + "…' is no device"),
        ({"tokenizer_hash": "\x1b[2J" * 500}, "the tokenizer differs: [2J"),
        ({"version": 7}, "the version of the conversation differs: 7 there"),
        ({"lora_rank": 4}, "the rank of the adapters differs: 4 there, 8 at the server"),
        ({"activation_dtype": "torch.float16"}, "the number format of activations differs"),
        (
            {"weight_dtype": "torch.bfloat16"},
            "the number format of weights differs: torch.bfloat16 there, torch.float32 at the",
        ),
        ({"attention": "sdpa"}, "the way in which attention is computed differs: sdpa there"),
        ({"llm_fingerprint": "0" * 64}, "the LLM (configuration and frozen weights) differs"),
        ({"scenario_hash": "0" * 64}, "the scenario differs: 000000000000… there"),
        ({"tokenizer_hash": "0" * 64}, "the tokenizer differs"),
    ],
)
def test_device_that_differs_is_turned_away_with_the_reason(changes, reason, job, tmp_path):
    with serving(tmp_path, rounds=1) as (address, log):
        with joined(job, address, **changes) as stream, pytest.raises(PeerRefused) as refusal:
            stream.receive("welcome", timeout_s=10)
        assert reason in str(refusal.value)
        honest(job, address)
    assert [event["reason"] for event in log.named("refused")] == [str(refusal.value)]


def test_device_with_another_scenario_stops_with_the_reason(job, tmp_path):
    other = Job.open(card.load_scenario("test-bed", **{"training.local_iterations": 9}))
    with serving(tmp_path, rounds=1) as (address, _):
        with pytest.raises(ScenarioError, match="turned device-1 away: the scenario differs"):
            honest(other, address)
        honest(job, address)


SHAPE = (4, 64, 128)


def smashed(**changes):
    tensors = {"hidden": torch.zeros(SHAPE), "labels": torch.zeros(SHAPE[:2], dtype=torch.int32)}
    return encode({**tensors, **changes})


LIES = {
    "not what was due": lambda: Report(round=1, iteration=1, loss=1.0),
    "another round": lambda: Tensors(
        kind=Tensors.SMASHED, round=2, iteration=1, safetensors=smashed()
    ),
    "another shape": lambda: Tensors(
        kind=Tensors.SMASHED, round=1, iteration=1,
        safetensors=smashed(hidden=torch.zeros(4, 64, 127)),
    ),
    "not finite": lambda: Tensors(
        kind=Tensors.SMASHED, round=1, iteration=1,
        safetensors=smashed(hidden=torch.full(SHAPE, torch.nan)),
    ),
    "labels beyond the vocabulary": lambda: Tensors(
        kind=Tensors.SMASHED, round=1, iteration=1,
        safetensors=smashed(labels=torch.full(SHAPE[:2], 512, dtype=torch.int32)),
    ),
    "truncated": lambda: Tensors(
        kind=Tensors.SMASHED, round=1, iteration=1, safetensors=smashed()[:-1]
    ),
    "no safetensors": lambda: Tensors(
        kind=Tensors.SMASHED, round=1, iteration=1, safetensors=b"\x80\x04pickle"
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_message_that_was_not_agreed_costs_the_round_and_is_named(lie, job, tmp_path):
    with serving(tmp_path, rounds=1) as (address, log):
        with joined(job, address) as stream:
            for due in ("welcome", "assignment", "tensors"):
                stream.receive(due, timeout_s=10)
            stream.send(LIES[lie]())
            with pytest.raises(PeerRefused) as refusal:
                stream.receive("report", timeout_s=10)
        print(f"\n{lie}: {refusal.value}")
        honest(job, address)
    (lost,) = log.named("lost")
    assert lost["reason"] == str(refusal.value)
    assert [event["round"] for event in log.named("round")] == [1]


def test_oversized_message_ends_that_stream_alone(job, tmp_path):
    with serving(tmp_path, rounds=1) as (address, log):
        large = Limits(4 * job.largest_frame_bytes)
        with connect(address, None, large) as stream:
            stream.send(job.hello("device-1"))
            stream.receive("welcome", timeout_s=10)
            stream.receive("assignment", timeout_s=10)
            data = bytes(2 * job.largest_frame_bytes)
            stream.receive("tensors", timeout_s=10)
            stream.send(Tensors(kind=Tensors.SMASHED, round=1, iteration=1, safetensors=data))
            with pytest.raises(WireError, match="larger than"):
                stream.receive("report", timeout_s=10)
        honest(job, address)
    assert len(log.named("lost")) == len(log.named("round")) == 1


def test_silent_stranger_holds_nobody_up(job, tmp_path):
    limits = Limits(job.largest_frame_bytes)
    with serving(tmp_path, rounds=1) as (address, log), connect(address, None, limits):
        honest(job, address)
    assert len(log.named("round")) == 1


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(
        tmp_path_factory.mktemp("tls") / "certificates",
        server_names=["127.0.0.1"],
        devices=["device-1", "device-2"],
    )


def test_certificates_let_their_own_device_in(job, certificates, tmp_path):
    credentials = server_credentials(certificates)
    with serving(tmp_path, rounds=1, credentials=credentials) as (address, log):
        with pytest.raises(ScenarioError, match="the certificate is that of device-2, not of devi"):
            honest(job, address, device_credentials(certificates, "device-2"))
        honest(job, address, device_credentials(certificates, "device-1"))
    assert [event["device"] for event in log.named("round")] == ["device-1"]


class TestJournal:
    def test_forgets_rounds_that_are_played_again(self, tmp_path):
        path = tmp_path / "run" / "metrics.jsonl"
        with Journal(path, 0) as journal:
            for number in (1, 2, 3):
                journal.write("round", {"round": number})
        with Journal(path, 2) as journal:
            journal.write("listening", {"address": "here"})
        assert [event.get("round") for event in read_journal(path)] == [1, 2, None]

    def test_leaves_out_a_line_that_was_cut_short(self, tmp_path):
        path = tmp_path / "metrics.jsonl"
        path.write_text('{"event": "round", "round": 1}\n{"event": "rou', encoding="utf-8")
        assert [event["round"] for event in read_journal(path)] == [1]
        assert list(read_journal(tmp_path / "none")) == []
