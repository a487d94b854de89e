"""A journal only grows, all of it is JSON, and nothing of it is lost to a full disk or a fault."""

import json
import math
import random
import resource

import pytest

from card.training.journal import DAMAGED, Journal, read_journal

ROUNDS = range(1, 13)


@pytest.fixture
def path(tmp_path):
    """The journal of twelve rounds."""
    path = tmp_path / "metrics.jsonl"
    with Journal(path, 0) as journal:
        for number in ROUNDS:
            journal.write("round", {"round": number, "device": "device-1", "loss": 1 / number})
    return path


def rounds(path):
    return [event["round"] for event in read_journal(path) if event["event"] == "round"]


def all_json(path):
    """Every line as a strict reader takes it."""

    def refuse(text):
        raise ValueError(text)

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def test_only_grows_when_a_run_goes_on_from_an_earlier_round(path):
    before = path.read_bytes()
    with Journal(path, 7) as journal:
        journal.write("round", {"round": 8})
    assert path.read_bytes().startswith(before)
    assert rounds(path) == [*range(1, 9)]


def test_keeps_what_is_not_of_a_round_when_a_run_begins_anew(path):
    with Journal(path, 0) as journal:
        journal.write("listening", {"address": "here"})
    assert [event["event"] for event in read_journal(path)] == ["listening"]


@pytest.mark.parametrize(
    "damage",
    [
        b'{"event": "rou',
        b"\xff\xfe",
        b"null",
        b"[1]",
        b'{"event": 3}',
        b'{"event": "x", "loss": NaN}',
        b'{"event": "x", "loss": 1e999}',
        b'{"event": "x", "round": "two"}',
        b"[" * 10**5,
    ],
    ids=range(9),
)
def test_sets_damaged_lines_aside_and_keeps_those_behind(path, damage):
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], damage, *lines[1:]]))
    assert rounds(path) == [*ROUNDS]
    with Journal(path, 12) as journal:
        assert journal.damaged == 1
    assert rounds(path) == [*ROUNDS]
    assert all_json(path)
    assert path.with_name(path.name + DAMAGED).read_bytes() == damage + b"\n"


def test_of_files_with_random_faults_loses_the_lines_they_hit_alone(path):
    whole, draw = path.read_bytes(), random.Random(0)
    lines = whole.splitlines()
    for _ in range(150):
        data, hit = bytearray(whole), set()
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(data))
            data[place] ^= 1 << draw.randrange(8)
            # a line break that is hit, or made, costs its neighbour too
            hit |= {whole[:at].count(b"\n") for at in (place, place + 1)}
        if draw.random() < 0.3:
            del data[draw.randrange(len(data)) :]
            hit |= set(range(bytes(data).count(b"\n"), len(lines)))
        path.write_bytes(data)
        with Journal(path, 12) as journal:
            journal.write("listening", {"address": "here"})
        all_json(path)
        kept = path.read_bytes().splitlines()
        assert all(line in kept for number, line in enumerate(lines) if number not in hit)
        aside = path.with_name(path.name + DAMAGED)
        total = kept + (aside.read_bytes().splitlines() if aside.exists() else [])
        assert all(line in total for line in bytes(data).split(b"\n") if line)
        aside.unlink(missing_ok=True)


def test_ends_a_last_line_without_its_break(path):
    path.write_bytes(path.read_bytes()[:-1])
    with Journal(path, 12) as journal:
        journal.write("round", {"round": 13})
    assert rounds(path) == [*ROUNDS, 13]


def test_holds_what_is_no_number_as_null_and_words_of_bounded_length(tmp_path):
    path = tmp_path / "metrics.jsonl"
    words = "\x1b[2J\n\u2028\u202e\ud800" + "x" * 10**6
    with Journal(path, 0) as journal:
        journal.write("round", {"round": 1, "loss": math.nan, "list": [math.inf, {"a": -math.inf}]})
        journal.write("refused", {"device": words})
    data = path.read_bytes()
    assert len(data) < 4000
    assert data.isascii()
    assert b"\x1b" not in data
    first, second = all_json(path)
    assert (first["loss"], first["list"]) == (None, [None, {"a": None}])
    assert second["device"] == words[:1000]
    assert read_journal(path)[1]["device"] == words[:1000]


def test_keeps_events_in_memory_while_the_disk_is_full(path, little_room):
    # longer than a file may be now, so nothing can be added, not even that a run goes on
    before = path.read_bytes()
    with Journal(path, 12) as journal:
        assert "too large" in journal.write("round", {"round": 13})
        assert "too large" in journal.write("round", {"round": 14})
        assert path.read_bytes() == before
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit[1], limit[1]))
        assert journal.write("round", {"round": 15}) is None
    assert rounds(path) == [*ROUNDS, 13, 14, 15]


def test_says_at_its_end_what_it_could_not_write(tmp_path, little_room):
    path = tmp_path / "metrics.jsonl"
    with pytest.raises(OSError, match="last events cannot be written"), Journal(path, 0) as journal:
        journal.write("round", {"round": 1, "words": "x" * 900})
    assert path.read_bytes() == b""
    assert list(tmp_path.iterdir()) == [path]
