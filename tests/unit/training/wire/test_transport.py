"""Ends that find each other, tell each other apart from strangers, and notice a loss."""

import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from queue import Queue

import pytest
from google.protobuf import descriptor_pb2

grpc = pytest.importorskip("grpc")
pytest.importorskip("torch")

from streams import LIMITS, LOOPBACK, SOON_S, Relay, listen, silent

from card.base.errors import ScenarioError
from card.training.wire import transport as wire
from card.training.wire import wire_pb2
from card.training.wire.stream import PeerGone
from card.training.wire.transport import connect
from card.training.wire.wire_pb2 import Frame, Report

pytestmark = pytest.mark.usefixtures("no_thread_is_left")
ROOT = Path(wire.__file__).parents[3]


class TestGeneratedCode:
    def test_is_that_of_the_protocol_file(self, tmp_path):
        target = tmp_path / "descriptors"
        command = ["-m", "grpc_tools.protoc", "-I.", f"--descriptor_set_out={target}"]
        subprocess.run(
            [sys.executable, *command, "card/training/wire/wire.proto"], check=True, cwd=ROOT
        )
        files = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file
        shipped = descriptor_pb2.FileDescriptorProto.FromString(wire_pb2.DESCRIPTOR.serialized_pb)
        for message in [m for f in files for m in f.message_type]:
            for field in message.field:
                field.ClearField("json_name")  # only this way of writing it adds these
        assert list(files) == [shipped]

    def test_frame_has_a_field_for_every_message(self):
        fields = Frame.DESCRIPTOR.fields
        assert [f.name for f in fields] == [f.message_type.name.lower() for f in fields]


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
            lambda: listen(address, None, LIMITS, silent).__enter__(),
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
            lambda: listen(address, None, LIMITS, silent).__enter__(),
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
            listen(server.address, None, LIMITS, silent).__enter__()

    def test_where_nobody_listens_are_soon_said_to_be_out_of_reach(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
            with pytest.raises(PeerGone, match=f"cannot reach the server at {address}"):
                connect(address, None, LIMITS)

    def test_where_nobody_answers_are_given_up_in_time(self):
        with socket.create_server(("127.0.0.1", 0)) as mute:
            address = f"127.0.0.1:{mute.getsockname()[1]}"
            with pytest.raises(PeerGone, match=r"did not answer within 0\.5 s"):
                connect(address, None, LIMITS, timeout_s=0.5)

    def test_of_another_service_are_told_from_ours(self):
        with (
            listen(LOOPBACK, None, LIMITS, silent) as server,
            grpc.insecure_channel(server.address) as c,
        ):
            call = c.unary_unary("/card.v1.SplitFineTuning/Other")
            with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
                call(b"")


class TestPlaces:
    def test_a_device_too_many_is_told_so_and_may_come_later(self):
        with listen(LOOPBACK, None, LIMITS, silent, places=1) as server:
            with (
                connect(server.address, None, LIMITS),
                pytest.raises(PeerGone, match="has no place left; try again later"),
            ):
                connect(server.address, None, LIMITS)
            deadline = time.monotonic() + SOON_S
            while time.monotonic() < deadline:
                try:
                    connect(server.address, None, LIMITS).close()
                except PeerGone:
                    time.sleep(0.01)
                else:
                    return
            pytest.fail("the place of a device that left stays taken")


DEVICE = """
import sys, time
from card.training.wire.limits import Limits
from card.training.wire.transport import connect
from card.training.wire.wire_pb2 import Report
with connect(sys.argv[1], None, Limits(2**20)) as stream:
    stream.send(Report())
    print("joined", flush=True)
    time.sleep(60)
"""


CUT = """
import subprocess, sys, threading, time
sys.path.insert(0, "tests/helpers")
from streams import listen
from card.training.wire.limits import Limits
from card.training.wire.transport import connect
from card.training.wire.stream import PeerGone, PeerStalled
from card.training.wire.wire_pb2 import Report

limits, cut_s = Limits(2**20, silence_s=6), float(sys.argv[1])
joined, down = threading.Event(), threading.Event()

def link(state):
    subprocess.run(["ip", "link", "set", "lo", state], check=True)

def say(end, outcome):
    # in one piece, for both ends may speak at once
    print(f"{end} {outcome}\\n", end="", flush=True)

def wait(stream, end):
    joined.set()
    try:
        stream.receive("report", timeout_s=30)
        say(end, "survived")
    except PeerGone:
        lost = time.monotonic()
        down.wait()
        say(end, lost - cut)

def on_join(stream, name):
    wait(stream, "server")
    stream.send(Report())
    joined.wait()

link("up")
with listen("127.0.0.1:0", None, limits, on_join) as server:
    with connect(server.address, None, limits) as stream:
        joined.wait()
        link("down")
        cut = time.monotonic()
        down.set()
        if cut_s < limits.silence_s:
            time.sleep(cut_s)
            link("up")
            stream.send(Report())
        wait(stream, "device")
"""


class TestLoss:
    def test_a_killed_device_is_noticed_at_once(self):
        lost = []

        def on_join(stream, name):
            stream.receive("report", timeout_s=60)
            child.send_signal(signal.SIGKILL)
            begun = time.monotonic()
            with pytest.raises(PeerGone, match="the device left"):
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
            with stream, pytest.raises(PeerGone, match=f"{server.address} is gone"):
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
        lost = Queue()

        def wait(stream, name=None):
            with pytest.raises(PeerGone):
                stream.receive("report", timeout_s=60)
            lost.put(time.monotonic())

        limits = replace(LIMITS, silence_s=0.6)
        with listen(LOOPBACK, None, limits, wait) as server, Relay(server.address) as relay:
            with connect(relay.address, None, limits) as stream:
                relay.whole.clear()
                cut = time.monotonic()
                wait(stream)
            lost_s = [lost.get(timeout=60) - cut for _ in range(2)]
        # ten times the silence, after the 0.2 s until a sign of life is due, and a third to spare
        assert max(lost_s) < 10 * 0.6 + 0.2 + 2

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
