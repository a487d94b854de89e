"""Reading JSON that others wrote."""

import os
from pathlib import Path

import pytest

from card.base.errors import ScenarioError
from card.base.text_files import read_json_object

REFUSED = {
    "empty": (b"", "is not a whole JSON document: Expecting value"),
    "cut off": (b'{"a": [1, 2', "is not a whole JSON document: Expecting ',' delimiter"),
    "binary": (b"\x7fELF\x00\xff", "is not UTF-8 text (byte 6); save it as UTF-8."),
    "other encoding": ('{"a": "\u00e9"}'.encode("latin-1"), "is not UTF-8 text (byte 8)"),
    "not a number": (b'{"a": NaN}', "is not a whole JSON document: NaN is no number of JSON"),
    "infinite": (b'{"a": -Infinity}', "-Infinity is no number of JSON"),
    "key twice": (b'{"a": 1, "a": 2}', "the key 'a' is written twice"),
    "key twice among many": (
        b"{" + b",".join(b'"%d": 1' % i for i in range(90_000)) + b', "89999": 2}',
        "the key '89999' is written twice",
    ),
    "deep": (b"[" * 100_000, "nested deeper than 32 levels"),
    "deep and whole": (b'{"a": ' + b"[" * 90 + b"]" * 90 + b"}", "nested deeper than 32 levels"),
    "long number": (
        b'{"a": ' + b"1" * 6000 + b"}",
        "the number 111111… has 6,000 digits, more than 1,000; write it again.",
    ),
    "half a letter": (b'{"a": "\\ud800"}', "holds '\\ud800', which is no whole letter; write it"),
    "half a letter in a key": (b'{"\\udfff": 1}', "holds '\\udfff', which is no whole letter"),
    "list": (b"[1, 2]", "holds [1, 2], not a mapping"),
    "word": (b'"a"', "holds 'a', not a mapping"),
    "large": (b" " * (2**20 + 1), "is larger than 1,048,576 bytes, which is not allowed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_names_the_file_and_the_remedy_in_one_line(tmp_path, name):
    content, message = REFUSED[name]
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ScenarioError) as refusal:
        read_json_object(path, "write it again")
    assert str(refusal.value).startswith(str(path))
    assert message in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["", "none.json", "a\0b"])
def test_what_is_no_file_is_refused(tmp_path, name):
    with pytest.raises(ScenarioError, match="cannot be read: "):
        read_json_object(tmp_path / name, "write it again")


def test_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}', "utf-8-sig")
    assert read_json_object(path, "") == {"a": 1}


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path):
    os.mkfifo(tmp_path / "h.json")
    with pytest.raises(ScenarioError) as refusal:
        read_json_object(tmp_path / "h.json", "write it again")
    assert str(refusal.value) == (
        f"{tmp_path / 'h.json'} is a pipe, a socket or a device; give a regular file."
    )


def test_a_refusal_of_its_own_is_said_once(tmp_path):
    (tmp_path / "a.json").write_bytes(b" " * (2**20 + 1))
    for path in (tmp_path / "a.json", Path("/dev/zero")):
        with pytest.raises(ScenarioError) as refusal:
            read_json_object(path, "write it again")
        assert "cannot be read" not in str(refusal.value)
