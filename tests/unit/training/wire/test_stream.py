"""A conversation of frames: it keeps its order and its limits, and every end ends."""

import re
import threading
import time
from dataclasses import replace
from queue import Queue

import pytest

grpc = pytest.importorskip("grpc")
torch = pytest.importorskip("torch")

from streams import ADAPTERS, LIMITS, LOOPBACK, SOON_S, listen, pair, silent

from card.training.wire.limits import frame_bytes
from card.training.wire.stream import PeerFinished, PeerGone, PeerRefused, PeerStalled
from card.training.wire.tensors import WireError, encode, specs
from card.training.wire.transport import (
    VERSION,
    connect,
)
from card.training.wire.wire_pb2 import (
    Assignment,
    Beat,
    Finished,
    Frame,
    Hello,
    Probe,
    Report,
    Tensors,
    Welcome,
)

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


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
            stream.send(Hello(version=VERSION, device="device-1"))
            assert stream.receive("welcome", timeout_s=SOON_S).timeout_s == 7
            assert stream.receive("assignment", timeout_s=SOON_S).seed == 2**64 - 1
            tensors, compute_s = stream.receive_tensors(
                Tensors.ADAPTERS, 3, 0, specs(ADAPTERS), timeout_s=SOON_S
            )
            assert torch.equal(tensors["labels"], ADAPTERS["labels"])
            assert compute_s == 0
            stream.send(Report(round=3, loss=0.1))
            with pytest.raises(PeerFinished, match=r"^all rounds done$"):
                stream.receive("assignment", timeout_s=SOON_S)
            with pytest.raises(PeerGone, match="closed the stream"):
                stream.receive("assignment", timeout_s=SOON_S)
        assert heard == [(None, "device-1"), 0.1]

    def test_what_was_sent_before_closing_arrives(self):
        heard = []

        def on_join(stream, name):
            heard.extend(stream.receive("report", timeout_s=SOON_S).iteration for _ in range(20))
            with pytest.raises(PeerGone, match="the device left"):
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
        assert stream.payload_bytes_sent == sum(value.nbytes for value in ADAPTERS.values())
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

        with pair(on_join) as stream, pytest.raises(WireError, match=said):
            stream.receive_tensors(Tensors.GRADIENT, 1, 3, {}, timeout_s=SOON_S)

    def test_another_message_than_agreed_is_refused(self):
        def on_join(stream, name):
            stream.send(Welcome())
            silent(stream, name)

        with (
            pair(on_join) as stream,
            pytest.raises(WireError, match="sent welcome where assignment or tensors was"),
        ):
            stream.receive("assignment", "tensors", timeout_s=SOON_S)

    def test_reason_of_a_refusal_is_one_harmless_line(self):
        def on_join(stream, name):
            stream.refuse("another LLM\n\x1b[2J" + "!" * 5000)

        with pair(on_join) as stream, pytest.raises(PeerRefused) as refused:
            stream.receive("welcome", timeout_s=SOON_S)
        assert re.fullmatch(r"another LLM  \[2J!{1,300}", str(refused.value))

    def test_error_of_the_server_reaches_the_device_as_a_refusal(self):
        def on_join(stream, name):
            stream.receive("hello", timeout_s=SOON_S)

        with pair(on_join) as stream:
            stream.send(Report())
            with pytest.raises(PeerRefused, match="sent report where hello was agreed"):
                stream.receive("welcome", timeout_s=SOON_S)

    def test_a_sender_learns_why_the_other_end_left(self):
        def on_join(stream, name):
            stream.refuse("the turn is over")

        def talk(stream):
            for _ in range(1000):
                stream.send(Report())
                time.sleep(0.01)

        with pair(on_join) as stream, pytest.raises(PeerRefused, match="the turn is over"):
            talk(stream)

    def test_silence_is_told_from_absence(self):
        with pair(silent) as stream:
            begun = time.monotonic()
            with pytest.raises(PeerStalled, match=r"said nothing for 0\.2 s"):
                stream.receive("welcome", timeout_s=0.2)
            assert 0.2 <= time.monotonic() - begun < 2

    def test_own_closed_stream_is_told_from_absence(self):
        with pair(silent) as stream:
            stream.close()
            with pytest.raises(WireError, match="this end has closed"):
                stream.send(Report())
            with pytest.raises(WireError, match="this end has closed"):
                stream.receive("report", timeout_s=SOON_S)

    def test_frame_that_cannot_be_read_is_refused(self):
        refused = []

        def on_join(stream, name):
            with pytest.raises(WireError, match="frame cannot be read") as error:
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
            with pytest.raises(PeerGone):
                stream.probe(0, 2**20, SOON_S)

        asks = "the server at .* asks for a probe of 1048576 bytes, too many"
        with pair(on_join) as stream, pytest.raises(WireError, match=asks):
            stream.receive("welcome", timeout_s=SOON_S)

    def test_ask_for_at_least_one_byte(self):
        with pair(silent) as stream, pytest.raises(ValueError, match="answer_bytes = 0"):
            stream.probe(10, 0, SOON_S)

    def test_answers_to_no_probe_are_refused(self):
        def on_join(stream, name):
            with pytest.raises(WireError, match="answered another probe"):
                stream.probe(0, 10, SOON_S)

        with pair(on_join) as stream:
            stream.send(Probe(sequence=9, padding=bytes(10)))
            with pytest.raises(PeerGone):
                stream.receive("welcome", timeout_s=SOON_S)


class TestLimits:
    def test_largest_frame_holds_any_of_the_tensors_and_little_more(self):
        limit = frame_bytes({}, specs(ADAPTERS))
        frame = Frame(
            tensors=Tensors(
                kind=Tensors.ADAPTERS,
                round=2**32 - 1,
                iteration=2**32 - 1,
                safetensors=encode(ADAPTERS),
                compute_s=1e9,
            )
        )
        assert frame.ByteSize() <= limit < frame.ByteSize() + 5000
        assert frame_bytes() > Frame(welcome=Welcome(timeout_s=1)).ByteSize()

    def test_own_frame_over_the_limit_does_not_leave(self):
        with pair(silent) as stream:
            with pytest.raises(WireError, match="is larger than the 1048576 agreed"):
                stream.send(Tensors(safetensors=bytes(2**20)))
            assert stream.bytes_sent == 0

    def test_frame_of_a_device_over_the_limit_is_refused_and_the_server_goes_on(self):
        lost = Queue()

        def on_join(stream, name):
            with pytest.raises(PeerGone) as error:
                stream.receive("tensors", timeout_s=SOON_S)
            lost.put(str(error.value))

        generous = replace(LIMITS, frame_bytes=2**22)
        with listen(LOOPBACK, None, LIMITS, on_join) as server:
            for _ in range(2):
                with connect(server.address, None, generous) as stream:
                    stream.probe(1, 1, timeout_s=SOON_S)  # the server's end listens, too
                    stream.send(Tensors(safetensors=bytes(2**21)))
                    with pytest.raises(WireError, match=r"frame is larger than .* allows"):
                        stream.receive("welcome", timeout_s=SOON_S)
                # the server's end may learn of it after the device's
                assert "or a frame was over 1048576 bytes" in lost.get(timeout=SOON_S)
        assert lost.empty()

    def test_frame_of_a_server_over_the_limit_is_refused(self):
        def on_join(stream, name):
            stream.send(Tensors(safetensors=bytes(2**21)))
            silent(stream, name)

        with (
            listen(LOOPBACK, None, replace(LIMITS, frame_bytes=2**22), on_join) as server,
            connect(server.address, None, LIMITS) as stream,
            pytest.raises(WireError, match=r"frame is larger than .* this end allows"),
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
            with pytest.raises(PeerStalled, match="took nothing for 1 s"):
                flood(stream)
            # two frames in the inbox, one in hand, one in the outbox; the rest is what gRPC and the
            # sockets of the system hold at both ends, some MB on loopback
            assert stream.bytes_sent < 64 * size
            leave.set()


class TestSignsOfLife:
    def test_an_end_that_works_is_not_silent(self):
        worked_s = []

        def on_join(stream, name):
            begun = time.monotonic()
            with stream.working(0.1):
                time.sleep(3.0)
            worked_s.append(time.monotonic() - begun)
            stream.send(Welcome())

        with pair(on_join) as stream:
            stream.send(Hello())
            stream.receive("welcome", timeout_s=1.5)
            # 29 or 30 of four bytes, beside the message of four; a busy machine may sleep longer
            assert 4 + 4 * 9 <= stream.bytes_received <= 4 + 4 * (10 * worked_s[0] + 1)
            assert stream.payload_bytes_received == 0

    def test_an_end_that_does_not_work_is(self):
        def on_join(stream, name):
            with stream.working(0.1):
                time.sleep(0.3)
            stream.receive("hello", timeout_s=SOON_S)
            silent(stream, name)

        with pair(on_join) as stream:
            stream.send(Hello())
            with pytest.raises(PeerStalled, match=r"said nothing for 0\.5 s"):
                stream.receive("welcome", timeout_s=0.5)

    def test_work_that_never_ends_is_given_up(self):
        def on_join(stream, name):
            with stream.working(0.05):
                stream.receive("hello", timeout_s=SOON_S)
                silent(stream, name)

        with pair(on_join, replace(LIMITS, work_s=1.0)) as stream:
            stream.send(Hello())
            begun = time.monotonic()
            with pytest.raises(PeerStalled, match="was still working after 1 s"):
                stream.receive("welcome", timeout_s=0.5)
            assert 1 <= time.monotonic() - begun < SOON_S

    def test_both_ends_answer_at_once_while_they_wait_or_compute(self):
        lives = Queue()

        def on_join(stream, name):
            stream.receive("hello", timeout_s=SOON_S)
            stream.send(Welcome())
            lives.put(stream._events.call(stream.alive(SOON_S)))
            silent(stream, name)

        with pair(on_join) as stream:
            stream.send(Hello())
            stream.receive("welcome", timeout_s=SOON_S)
            lives.put(stream._events.call(stream.alive(SOON_S)))
            # whoever left now would not answer the other
            assert [lives.get(timeout=2 * SOON_S) for _ in range(2)] == [True, True]

    def test_of_a_stranger_do_not_count(self):
        """Else a stream that says no more than that it works would keep its place for long."""
        stalled = []

        def on_join(stream, name):
            with pytest.raises(PeerStalled, match=r"said nothing for 0\.5 s") as error:
                stream.receive("hello", timeout_s=0.5)
            stalled.append((error, stream.bytes_sent))

        with pair(on_join) as stream, stream.working(0.05):
            assert not stream._events.call(stream.alive(0.3))
            with pytest.raises(PeerGone):
                stream.receive("welcome", timeout_s=SOON_S)
        assert stalled[0][1] == 0

    def test_a_flood_of_them_is_stopped(self):
        flood = Frame(beat=Beat(sign=Beat.ASKED)).SerializeToString()
        ends = []

        def on_join(stream, name):
            ends.append(stream)
            stream.send(Welcome())
            silent(stream, name)

        with pair(on_join) as stream:
            stream.receive("welcome", timeout_s=SOON_S)

            async def send_all():
                for _ in range(1000):
                    await stream.hand_over(flood)

            begun = time.monotonic()
            sending = stream._events.begin(send_all())
            time.sleep(1.0)
            sending.cancel()
            received = ends[0].bytes_received, stream.bytes_received
            # 50 each second are taken in, and answered
            most = 4 * (50 * (time.monotonic() - begun) + 10)
            assert all(0 < size <= most for size in received)
