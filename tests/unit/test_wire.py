"""Frames and tensors of a conversation: what crosses is what was agreed, and every end ends."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("grpc")
torch = pytest.importorskip("torch")

import grpc  # noqa: E402

from card.lab import wire, wire_pb2  # noqa: E402
from card.lab.wire import Limits, TensorSpec, connect, listen  # noqa: E402
from card.lab.wire_pb2 import (  # noqa: E402
    Assignment,
    Finished,
    Frame,
    Hello,
    Probe,
    Report,
    Tensors,
    Welcome,
)
from card.refusal import ScenarioError  # noqa: E402

ROOT = Path(wire.__file__).parents[2]
LOOPBACK = "127.0.0.1:0"
LIMITS = Limits(frame_bytes=2**20, silence_s=20)
SOON_S = 10.0  # far longer than anything here takes; a test that waits so long fails
ADAPTERS = {
    "block.0.q_proj.lora_A": torch.arange(24.0).reshape(4, 6),
    "block.0.q_proj.lora_B": torch.full((6, 4), -0.1, dtype=torch.bfloat16),
    "labels": torch.tensor([[1, -100]], dtype=torch.int32),
}


@contextmanager
def pair(on_join, limits=LIMITS, **options):
    """Device's end of a stream whose server's end `on_join` holds."""
    with (
        listen(LOOPBACK, None, limits, on_join, **options) as server,
        connect(server.address, None, limits) as stream,
    ):
        yield stream


def silent(stream, name):
    """Wait until the device leaves."""
    with pytest.raises(wire.PeerGone):
        stream.receive("hello", timeout_s=SOON_S)


def card_threads():
    """Threads that a stream could have left behind."""
    return [thread for thread in threading.enumerate() if thread is not threading.main_thread()]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(card_threads())
    yield
    deadline = time.monotonic() + SOON_S
    while set(card_threads()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(card_threads()) - before == set()


class TestGeneratedCode:
    def test_is_that_of_the_protocol_file(self, tmp_path):
        target = tmp_path / "descriptors"
        command = ["-m", "grpc_tools.protoc", "-I.", f"--descriptor_set_out={target}"]
        subprocess.run([sys.executable, *command, "card/lab/wire.proto"], check=True, cwd=ROOT)
        files = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file
        shipped = descriptor_pb2.FileDescriptorProto.FromString(wire_pb2.DESCRIPTOR.serialized_pb)
        for message in [m for f in files for m in f.message_type]:
            for field in message.field:
                field.ClearField("json_name")  # only this way of writing it adds these
        assert list(files) == [shipped]

    def test_frame_has_a_field_for_every_message(self):
        fields = Frame.DESCRIPTOR.fields
        assert [f.name for f in fields] == [f.message_type.name.lower() for f in fields]


class TestTensors:
    def test_come_back_bit_for_bit(self):
        back = wire.decode(wire.encode(ADAPTERS), wire.specs(ADAPTERS))
        assert back.keys() == ADAPTERS.keys()
        for name, value in ADAPTERS.items():
            assert back[name].dtype == value.dtype
            assert torch.equal(back[name], value)

    def test_may_be_none_or_empty(self):
        assert wire.decode(wire.encode({}), {}) == {}
        empty = {"adapter": torch.empty(0, 8)}
        assert wire.decode(wire.encode(empty), wire.specs(empty))["adapter"].shape == (0, 8)

    def test_may_lie_in_memory_in_any_order_and_need_gradients(self):
        turned = torch.arange(6.0).reshape(2, 3).t().requires_grad_()
        (back,) = wire.decode(wire.encode({"x": turned}), {"x": specification(turned)}).values()
        assert torch.equal(back, turned)
        assert not back.requires_grad

    def test_payload_is_that_of_the_elements(self):
        # 24 elements of 4 byte, 24 of 2, 2 of 4
        assert wire.payload_bit(ADAPTERS) == 8 * (96 + 48 + 8)
        assert wire.payload_bit({}) == 0

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"labels": None}, "'labels' is missing"),
            ({"more": torch.ones(1)}, "'more' is not agreed"),
            ({"labels": torch.tensor([[1, 2]])}, "is int64 .1, 2., but int32 .1, 2. was agreed"),
            ({"labels": torch.ones(2, 1, dtype=torch.int32)}, "is int32 .2, 1., but int32 .1, 2."),
            ({"labels": torch.ones(2, dtype=torch.int32)}, "is int32 .2., but int32 .1, 2."),
        ],
        ids=["missing", "additional", "number format", "transposed", "rank"],
    )
    def test_that_differ_are_refused_by_name(self, change, said):
        sent = {k: v for k, v in (ADAPTERS | change).items() if v is not None}
        with pytest.raises(wire.WireError, match=said):
            wire.decode(wire.encode(sent), wire.specs(ADAPTERS))

    @pytest.mark.parametrize(
        "header",
        [
            b"",
            b"[]",
            b"nonsense",
            b"[" * 300,
            b'{"x": {"dtype": "F32"}}',
            b'{"x": {"dtype": "F33", "shape": [2], "data_offsets": [0, 8]}}',
            b'{"x": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}',
            b'{"x": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}',
            b'{"x": {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}}',
            b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
            b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}',
            b'{"x": {"dtype": "F32", "shape": [2]}, "x": {"dtype": "F32", "shape": [2]}}',
            b'{"__metadata__": {"a": "b"}, "x": {"dtype": "F32", "shape": [2]}}',
            b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}' + b" " * 400,
        ],
        ids=range(14),
    )
    def test_with_a_forged_header_are_refused(self, header):
        data = len(header).to_bytes(8, "little") + header + bytes(8)
        with pytest.raises(wire.WireError):
            wire.decode(data, {"x": TensorSpec(torch.float32, (2,))})

    def test_that_claim_a_huge_header_are_refused_before_it_is_read(self):
        with pytest.raises(wire.WireError, match="no header of an agreed size"):
            wire.decode((2**63).to_bytes(8, "little") + b"{}", {})

    @pytest.mark.parametrize("data", [b"", b"\0" * 7])
    def test_that_are_hardly_any_bytes_are_refused(self, data):
        with pytest.raises(wire.WireError, match="no header"):
            wire.decode(data, {})

    @pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + b"\0"])
    def test_of_another_size_are_refused(self, change):
        with pytest.raises(wire.WireError, match="bytes, but 152 were agreed"):
            wire.decode(change(wire.encode(ADAPTERS)), wire.specs(ADAPTERS))

    @given(st.data())
    def test_with_any_flipped_byte_are_refused_or_still_as_agreed(self, data):
        sent = bytearray(wire.encode(ADAPTERS))
        sent[data.draw(st.integers(0, len(sent) - 1))] ^= data.draw(st.integers(1, 255))
        try:
            back = wire.decode(bytes(sent), wire.specs(ADAPTERS))
        except wire.WireError:
            return
        assert wire.specs(back) == wire.specs(ADAPTERS)

    @given(
        st.dictionaries(
            st.text(max_size=20), st.lists(st.integers(0, 3), max_size=4).map(tuple), max_size=6
        )
    )
    def test_header_limit_holds_whatever_the_names(self, shapes):
        tensors = {name: torch.ones(shape) for name, shape in shapes.items()}
        tensors.pop("__metadata__", None)  # safetensors' own word
        wire.decode(wire.encode(tensors), wire.specs(tensors))


def specification(tensor):
    return wire.specs({"x": tensor})["x"]


class TestConversation:
    def test_messages_arrive_in_order_at_both_ends(self):
        heard = []

        def on_join(stream, name):
            heard.append((name, stream.receive("hello", timeout_s=SOON_S).device))
            stream.send(Welcome(timeout_s=7))
            stream.send(Assignment(round=3, cut=2, frequency_hz=1.5e9, seed=2**64 - 1))
            stream.send_tensors(Tensors.ADAPTERS, 3, 0, ADAPTERS)
            heard.append(stream.receive("report", timeout_s=SOON_S).loss)
            stream.send(Finished(reason="all rounds done"))

        with pair(on_join) as stream:
            stream.send(Hello(version=wire.VERSION, device="device-1"))
            assert stream.receive("welcome", timeout_s=SOON_S).timeout_s == 7
            assert stream.receive("assignment", timeout_s=SOON_S).seed == 2**64 - 1
            tensors, compute_s = stream.receive_tensors(
                Tensors.ADAPTERS, 3, 0, wire.specs(ADAPTERS), timeout_s=SOON_S
            )
            assert torch.equal(tensors["labels"], ADAPTERS["labels"])
            assert compute_s == 0
            stream.send(Report(round=3, loss=0.1))
            with pytest.raises(wire.PeerFinished, match=r"^all rounds done$"):
                stream.receive("assignment", timeout_s=SOON_S)
            with pytest.raises(wire.PeerGone, match="closed the stream"):
                stream.receive("assignment", timeout_s=SOON_S)
        assert heard == [(None, "device-1"), 0.1]

    def test_what_was_sent_before_closing_arrives(self):
        heard = []

        def on_join(stream, name):
            heard.extend(stream.receive("report", timeout_s=SOON_S).iteration for _ in range(20))
            with pytest.raises(wire.PeerGone, match="the device left"):
                stream.receive("report", timeout_s=SOON_S)

        with pair(on_join) as stream:
            for iteration in range(20):
                stream.send(Report(iteration=iteration))
        assert heard == list(range(20))

    def test_counters_of_both_ends_agree_and_tell_payload_from_framing(self):
        ends = []

        def on_join(stream, name):
            stream.receive("tensors", timeout_s=SOON_S)
            stream.send(Welcome())
            ends.append(stream)

        with pair(on_join) as stream:
            stream.send_tensors(Tensors.SMASHED, 1, 1, ADAPTERS, compute_s=0.5)
            stream.receive("welcome", timeout_s=SOON_S)
        (other,) = ends
        assert (stream.bytes_sent, stream.bytes_received) == (
            other.bytes_received,
            other.bytes_sent,
        )
        assert 8 * stream.payload_bytes_sent == wire.payload_bit(ADAPTERS)
        assert other.payload_bytes_received == stream.payload_bytes_sent
        # names, shapes and offsets of three tensors
        assert 0 < stream.bytes_sent - stream.payload_bytes_sent < 400
        assert stream.payload_bytes_received == 0

    @pytest.mark.parametrize(
        ("sent", "said"),
        [
            ((Tensors.SMASHED, 1, 3), "sent SMASHED of round 1, iteration 3 where GRADIENT of"),
            ((Tensors.GRADIENT, 2, 3), "round 2, iteration 3 where GRADIENT of round 1, it"),
            ((Tensors.GRADIENT, 1, 4), "iteration 4 where"),
            ((77, 1, 3), "sent 77 of round 1"),
        ],
    )
    def test_tensors_of_another_step_are_refused(self, sent, said):
        def on_join(stream, name):
            stream.send_tensors(*sent, {})
            silent(stream, name)

        with pair(on_join) as stream, pytest.raises(wire.WireError, match=said):
            stream.receive_tensors(Tensors.GRADIENT, 1, 3, {}, timeout_s=SOON_S)

    def test_another_message_than_agreed_is_refused(self):
        def on_join(stream, name):
            stream.send(Welcome())
            silent(stream, name)

        with (
            pair(on_join) as stream,
            pytest.raises(wire.WireError, match="sent welcome where assignment or tensors was"),
        ):
            stream.receive("assignment", "tensors", timeout_s=SOON_S)

    def test_reason_of_a_refusal_is_one_harmless_line(self):
        def on_join(stream, name):
            stream.refuse("another LLM\n\x1b[2J" + "!" * 5000)

        with pair(on_join) as stream, pytest.raises(wire.PeerRefused) as refused:
            stream.receive("welcome", timeout_s=SOON_S)
        assert re.fullmatch(r"another LLM  \[2J!{1,300}", str(refused.value))

    def test_error_of_the_server_reaches_the_device_as_a_refusal(self):
        def on_join(stream, name):
            stream.receive("hello", timeout_s=SOON_S)

        with pair(on_join) as stream:
            stream.send(Report())
            with pytest.raises(wire.PeerRefused, match="sent report where hello was agreed"):
                stream.receive("welcome", timeout_s=SOON_S)

    def test_a_sender_learns_why_the_other_end_left(self):
        def on_join(stream, name):
            stream.refuse("the turn is over")

        def talk(stream):
            for _ in range(1000):
                stream.send(Report())
                time.sleep(0.01)

        with pair(on_join) as stream, pytest.raises(wire.PeerRefused, match="the turn is over"):
            talk(stream)

    def test_silence_is_told_from_absence(self):
        with pair(silent) as stream:
            begun = time.monotonic()
            with pytest.raises(wire.PeerStalled, match=r"said nothing for 0\.2 s"):
                stream.receive("welcome", timeout_s=0.2)
            assert 0.2 <= time.monotonic() - begun < 2

    def test_own_closed_stream_is_told_from_absence(self):
        with pair(silent) as stream:
            stream.close()
            with pytest.raises(wire.WireError, match="this end has closed"):
                stream.send(Report())
            with pytest.raises(wire.WireError, match="this end has closed"):
                stream.receive("report", timeout_s=SOON_S)

    def test_frame_that_cannot_be_read_is_refused(self):
        refused = []

        def on_join(stream, name):
            with pytest.raises(wire.WireError, match="frame cannot be read") as error:
                stream.receive("hello", timeout_s=SOON_S)
            refused.append(error)

        with listen(LOOPBACK, None, LIMITS, on_join) as server:
            talk_raw(server.address, b"\xff\xff\xff")
        assert refused

    def test_empty_frame_is_refused(self):
        with listen(LOOPBACK, None, LIMITS, lambda s, _: s.receive("hello", timeout_s=9)) as server:
            (answer,) = talk_raw(server.address, b"")
        assert Frame.FromString(answer).refusal.reason == (
            "the device sent an empty frame where hello was agreed"
        )


def talk_raw(address, *frames):
    """What the server says to bytes that need not be frames."""
    done = threading.Event()

    def outgoing():
        yield from frames
        done.wait(SOON_S)

    with grpc.insecure_channel(address) as channel:
        call = channel.stream_stream("/card.v1.SplitFineTuning/Join")(outgoing())
        heard = list(call)
        done.set()
    return heard


class TestProbes:
    def test_are_answered_by_an_end_that_waits_for_something_else(self):
        took = []

        def on_join(stream, name):
            took.extend(stream.probe(size, size, SOON_S) for size in (1, 1000, 10**6))
            stream.send(Welcome())

        with pair(on_join) as stream:
            stream.receive("welcome", timeout_s=SOON_S)
            assert stream.bytes_received > 10**6
            assert stream.bytes_sent > 10**6
        assert len(took) == 3
        assert all(0 < time_s < SOON_S for time_s in took)

    def test_that_ask_for_more_than_a_frame_are_refused(self):
        def on_join(stream, name):
            with pytest.raises(wire.PeerRefused, match="probe of 1048576 bytes, too many"):
                stream.probe(0, 2**20, SOON_S)

        with pair(on_join) as stream, pytest.raises(wire.WireError, match="too many") as error:
            stream.receive("welcome", timeout_s=SOON_S)
        # pair has not left yet, so the server may still be told
        assert "the server at" in str(error.value)

    def test_ask_for_at_least_one_byte(self):
        with pair(silent) as stream, pytest.raises(ValueError, match="answer_bytes = 0"):
            stream.probe(10, 0, SOON_S)

    def test_answers_to_no_probe_are_refused(self):
        def on_join(stream, name):
            with pytest.raises(wire.WireError, match="answered another probe"):
                stream.probe(0, 10, SOON_S)

        with pair(on_join) as stream:
            stream.send(Probe(sequence=9, padding=bytes(10)))
            with pytest.raises(wire.PeerGone):
                stream.receive("welcome", timeout_s=SOON_S)


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            "",
            "host",
            "host:",
            ":50051",
            "host:port",
            "host:65536",
            "http://host:80",
            "a b:1",
            "::1:80",
        ],
    )
    def test_malformed_ones_are_refused_with_an_example(self, address):
        for call in (
            lambda: connect(address, None, LIMITS),
            lambda: listen(address, None, LIMITS, silent),
        ):
            with pytest.raises(
                ScenarioError, match=r"give host:port, such as edge\.example\.org:50051"
            ):
                call()

    @pytest.mark.parametrize(
        "address",
        ["0.0.0.0:0", "[::]:0", "192.0.2.7:50051", "edge.example.org:50051", "128.0.0.1:1", "1:1"],
    )
    def test_others_than_loopback_need_certificates(self, address):
        for call in (
            lambda: connect(address, None, LIMITS),
            lambda: listen(address, None, LIMITS, silent),
        ):
            with pytest.raises(ScenarioError, match=r"needs certificates.*card certs"):
                call()

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.7.6", "localhost"])
    def test_of_loopback_need_none(self, host):
        with listen(f"{host}:0", None, LIMITS, silent) as server:
            connect(server.address, None, LIMITS).close()

    def test_that_are_taken_are_refused(self):
        with (
            listen(LOOPBACK, None, LIMITS, silent) as server,
            pytest.raises(ScenarioError, match="another program has that port"),
        ):
            listen(server.address, None, LIMITS, silent)

    def test_where_nobody_listens_are_soon_said_to_be_out_of_reach(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
            with pytest.raises(wire.PeerGone, match=f"cannot reach the server at {address}"):
                connect(address, None, LIMITS)

    def test_where_nobody_answers_are_given_up_in_time(self):
        with socket.create_server(("127.0.0.1", 0)) as mute:
            address = f"127.0.0.1:{mute.getsockname()[1]}"
            with pytest.raises(wire.PeerGone, match=r"did not answer within 0\.5 s"):
                connect(address, None, LIMITS, timeout_s=0.5)

    def test_of_another_service_are_told_from_ours(self):
        with (
            listen(LOOPBACK, None, LIMITS, silent) as server,
            grpc.insecure_channel(server.address) as c,
        ):
            call = c.unary_unary("/card.v1.SplitFineTuning/Other")
            with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
                call(b"")


class TestLimits:
    def test_largest_frame_holds_any_of_the_tensors_and_little_more(self):
        limit = wire.frame_bytes({}, wire.specs(ADAPTERS))
        frame = Frame(
            tensors=Tensors(
                kind=Tensors.ADAPTERS,
                round=2**32 - 1,
                iteration=2**32 - 1,
                safetensors=wire.encode(ADAPTERS),
                compute_s=1e9,
            )
        )
        assert frame.ByteSize() <= limit < frame.ByteSize() + 5000
        assert wire.frame_bytes() > Frame(welcome=Welcome(timeout_s=1)).ByteSize()

    def test_own_frame_over_the_limit_does_not_leave(self):
        with pair(silent) as stream:
            with pytest.raises(wire.WireError, match="is larger than the 1048576 agreed"):
                stream.send(Tensors(safetensors=bytes(2**20)))
            assert stream.bytes_sent == 0

    def test_frame_of_a_device_over_the_limit_is_refused_and_the_server_goes_on(self):
        lost = []

        def on_join(stream, name):
            with pytest.raises(wire.PeerGone, match="or a frame was over 1048576 bytes") as error:
                stream.receive("tensors", timeout_s=SOON_S)
            lost.append(error)

        generous = replace(LIMITS, frame_bytes=2**22)
        with listen(LOOPBACK, None, LIMITS, on_join) as server:
            for count in (1, 2):
                with connect(server.address, None, generous) as stream:
                    stream.send(Tensors(safetensors=bytes(2**21)))
                    with pytest.raises(wire.WireError, match=r"frame is larger than .* allows"):
                        stream.receive("welcome", timeout_s=SOON_S)
                assert len(lost) == count

    def test_frame_of_a_server_over_the_limit_is_refused(self):
        def on_join(stream, name):
            stream.send(Tensors(safetensors=bytes(2**21)))
            silent(stream, name)

        with (
            listen(LOOPBACK, None, replace(LIMITS, frame_bytes=2**22), on_join) as server,
            connect(server.address, None, LIMITS) as stream,
            pytest.raises(wire.WireError, match=r"frame is larger than .* this end allows"),
        ):
            stream.receive("tensors", timeout_s=SOON_S)

    def test_a_peer_that_floods_is_stopped(self):
        leave = threading.Event()

        def on_join(stream, name):
            leave.wait(SOON_S)

        def flood(stream):
            for _ in range(1000):
                stream.send(Tensors(safetensors=bytes(size)))

        size = 2**18
        with pair(on_join, replace(LIMITS, silence_s=1.0)) as stream:
            with pytest.raises(wire.PeerStalled, match="took nothing for 1 s"):
                flood(stream)
            # two frames in the inbox, one in hand, one in the outbox; the rest is what gRPC and the
            # sockets of the system hold at both ends, some MB on loopback
            assert stream.bytes_sent < 64 * size
            leave.set()

    def test_a_device_too_many_is_told_so_and_may_come_later(self):
        with listen(LOOPBACK, None, LIMITS, silent, workers=1) as server:
            with (
                connect(server.address, None, LIMITS),
                pytest.raises(wire.PeerGone, match="has no place left; try again later"),
            ):
                connect(server.address, None, LIMITS)
            deadline = time.monotonic() + SOON_S
            while time.monotonic() < deadline:
                try:
                    connect(server.address, None, LIMITS).close()
                except wire.PeerGone:
                    time.sleep(0.01)
                else:
                    return
            pytest.fail("the place of a device that left stays taken")


DEVICE = """
import sys, time
from card.lab import wire
from card.lab.wire_pb2 import Report
with wire.connect(sys.argv[1], None, wire.Limits(2**20)) as stream:
    stream.send(Report())
    print("joined", flush=True)
    time.sleep(60)
"""


CUT = """
import subprocess, sys, threading, time
from card.lab import wire
from card.lab.wire_pb2 import Report

limits, cut_s = wire.Limits(2**20, silence_s=6), float(sys.argv[1])
joined = threading.Event()

def link(state):
    subprocess.run(["ip", "link", "set", "lo", state], check=True)

def wait(stream, end):
    joined.set()
    begun = time.monotonic()
    try:
        stream.receive("report", timeout_s=30)
        print(end, "survived", flush=True)
    except wire.PeerGone:
        print(end, time.monotonic() - begun, flush=True)

def on_join(stream, name):
    wait(stream, "server")
    stream.send(Report())
    joined.wait()

link("up")
with wire.listen("127.0.0.1:0", None, limits, on_join) as server:
    with wire.connect(server.address, None, limits) as stream:
        joined.wait()
        link("down")
        if cut_s < limits.silence_s:
            time.sleep(cut_s)
            link("up")
            stream.send(Report())
        wait(stream, "device")
"""


class Relay:
    """A link in between that can be cut: nothing passes, yet no connection is closed."""

    def __init__(self, target):
        host, port = target.rsplit(":", 1)
        self.target = (host, int(port))
        self.whole = threading.Event()
        self.whole.set()
        self.over = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self):
        near, _ = self.listener.accept()
        far = socket.create_connection(self.target)
        for ends in ((near, far), (far, near)):
            self.threads.append(threading.Thread(target=self.carry, args=ends))
            self.threads[-1].start()

    def carry(self, source, sink):
        with source:
            source.settimeout(0.05)
            while not self.over:
                self.whole.wait()
                try:
                    data = source.recv(2**16)
                    if not data:
                        break
                    self.whole.wait()
                    sink.sendall(data)
                except TimeoutError:
                    continue
                except OSError:
                    break
            sink.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.over = True
        self.whole.set()
        self.listener.close()
        for thread in self.threads:
            thread.join()


class TestLoss:
    def test_a_killed_device_is_noticed_at_once(self):
        lost = []

        def on_join(stream, name):
            stream.receive("report", timeout_s=60)
            child.send_signal(signal.SIGKILL)
            begun = time.monotonic()
            with pytest.raises(wire.PeerGone, match="the device left"):
                stream.receive("report", timeout_s=60)
            lost.append(time.monotonic() - begun)

        with listen(LOOPBACK, None, LIMITS, on_join) as server:
            child = subprocess.Popen([sys.executable, "-c", DEVICE, server.address], cwd=ROOT)
            child.wait(timeout=60)
        assert lost[0] < SOON_S

    def test_a_stopped_server_is_noticed_at_once(self):
        with listen(LOOPBACK, None, LIMITS, silent) as server:
            stream = connect(server.address, None, LIMITS)
            stopper = threading.Thread(target=server.stop, args=(0.1,))
            stopper.start()
            with stream, pytest.raises(wire.PeerGone, match=f"{server.address} is gone"):
                stream.receive("welcome", timeout_s=SOON_S)
            stopper.join()

    @pytest.mark.slow
    def test_a_peer_that_hangs_for_a_short_time_is_waited_for(self):
        def on_join(stream, name):
            for _ in range(2):
                stream.send(stream.receive("report", timeout_s=30))
            silent(stream, name)

        limits = replace(LIMITS, silence_s=0.6)
        with (
            listen(LOOPBACK, None, limits, on_join) as server,
            Relay(server.address) as relay,
            connect(relay.address, None, limits) as stream,
        ):
            relay.whole.clear()
            time.sleep(2.5)  # many times the 0.2 s between two signs of life
            relay.whole.set()
            stream.send(Report(loss=1))
            assert stream.receive("report", timeout_s=SOON_S).loss == 1
            relay.whole.clear()
            stream.send(Report(loss=2))
            time.sleep(2.5)
            relay.whole.set()
            assert stream.receive("report", timeout_s=SOON_S).loss == 2

    @pytest.mark.slow
    def test_a_peer_that_hangs_is_given_up_at_both_ends(self):
        lost = []

        def wait(stream, name=None):
            begun = time.monotonic()
            with pytest.raises(wire.PeerGone):
                stream.receive("report", timeout_s=60)
            lost.append(time.monotonic() - begun)

        limits = replace(LIMITS, silence_s=0.3)
        with listen(LOOPBACK, None, limits, wait) as server, Relay(server.address) as relay:
            with connect(relay.address, None, limits) as stream:
                relay.whole.clear()
                wait(stream)
            while len(lost) < 2:
                time.sleep(0.01)
        # ten times the silence, after the 0.1 s until a sign of life is due, and a second to spare
        assert max(lost) < 10 * 0.3 + 0.1 + 1

    @pytest.mark.slow
    @pytest.mark.parametrize(("cut_s", "survives"), [(2.5, True), (60.0, False)])
    def test_a_cut_of_the_link_is_survived_or_noticed_within_the_agreed_silence(
        self, cut_s, survives
    ):
        apart = ["unshare", "--net", "--map-root-user"]
        if not shutil.which("unshare") or not shutil.which("ip"):
            pytest.skip("needs Linux' network namespaces")
        if subprocess.run([*apart, "ip", "link", "set", "lo", "up"], check=False).returncode:
            pytest.skip("needs the right to make a network namespace")
        command = [*apart, sys.executable, "-c", CUT, str(cut_s)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        outcomes = dict(line.split() for line in result.stdout.splitlines())
        assert outcomes.keys() == {"server", "device"}
        # a sign of life every 2 s, 4 s for its answer, and a second to spare
        assert all(
            end == "survived" if survives else float(end) < 6 + 1 for end in outcomes.values()
        )
