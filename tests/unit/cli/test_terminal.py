"""What commands print is whole on any stream: pipe, file or terminal, in any encoding."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from card.cli.terminal import print_table

CARD = [sys.executable, "-m", "card"]
POOR = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
OUTSIDE = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}


def said(*arguments, **environment):
    """What a command writes to a pipe, as bytes."""
    done = subprocess.run(
        [*CARD, *arguments], env=OUTSIDE | environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    return done.stdout


def on_terminal(*arguments, **environment):
    """What a command writes to a terminal, as text."""
    ours, theirs = pty.openpty()
    environment = OUTSIDE | {"TERM": "xterm"} | environment
    with subprocess.Popen([*CARD, *arguments], env=environment, stdout=theirs) as process:
        os.close(theirs)
        parts = []
        try:
            while part := os.read(ours, 65536):
                parts.append(part)
        except OSError:  # the other end is closed
            pass
        os.close(ours)
    assert process.returncode == 0
    return b"".join(parts).decode()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_off_a_terminal_no_value_is_cut_wrapped_or_coloured_in_any_encoding(encoding):
    text = said("show", "nominal", PYTHONIOENCODING=encoding, COLUMNS="40").decode(encoding)
    assert "…" not in text
    assert "\x1b" not in text
    shown = next(line for line in text.splitlines() if "lora.targets" in line)
    for words in ("q_proj, v_proj", "assumed", "Query and value projections", "(2021)."):
        assert words in shown


@pytest.mark.parametrize("columns", ["0", "20", "79"])
def test_off_a_terminal_a_narrow_one_means_nothing(columns):
    usual = said("sweep", "--help")
    assert b"--output" in usual
    assert said("sweep", "--help", COLUMNS=columns) == usual
    title, *_ = said("solve", "nominal", "--device", "device-1", COLUMNS=columns).splitlines()
    assert title.startswith(b"device-1: cut ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((sign, "1") for sign in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "TTY_COMPATIBLE")),
        *(("TERMINAL_WIDTH", width) for width in ("20", "abc", "-1", "9" * 5000)),
    ],
)
def test_off_a_terminal_nothing_that_is_set_colours_cuts_or_stops_help(name, value):
    assert said("sweep", "--help", **{name: value}) == said("sweep", "--help")


@pytest.mark.parametrize("width", ["abc", "0"])
def test_on_a_terminal_a_width_that_is_none_is_passed_over(width):
    text = on_terminal("sweep", "--help", TERMINAL_WIDTH=width)
    assert "--output" in re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("sign", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_a_bar_is_never_drawn_into_a_file(sign):
    over = ["--over", "objective.delay_weight=[0.2]", "--rounds", "2", "--policies", "card"]
    done = subprocess.run(
        [*CARD, "sweep", "nominal", *over],
        env=OUTSIDE | {sign: "1"},
        capture_output=True,
        check=True,
    )
    assert b"\x1b" not in done.stderr + done.stdout


def test_a_poor_locale_neither_breaks_what_is_printed_nor_what_is_read_and_written(tmp_path):
    study = tmp_path / "größe.yml"
    told = "base: nominal\ntitle: Größe ≥ 1 → «x»\nlink: {bandwidth_hz: 5e6}\n"
    study.write_text(told, encoding="utf-8")
    whole = json.loads(said("show", study, "--json", **POOR))
    assert whole["title"] == "Größe ≥ 1 → «x»"
    assert whole["sources"]["link.bandwidth_hz"]["source"] == "set by größe.yml"
    page = tmp_path / "page.html"
    said("compare", "nominal", study, "--rounds", "2", "--html", page, **POOR)
    assert "Größe ≥ 1 → «x»" in page.read_text("utf-8")
    assert b"Usage" in said("sweep", "--help", **POOR)


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_on_a_terminal_nothing_is_cut_however_narrow(columns):
    text = on_terminal("show", "nominal", COLUMNS=columns)
    assert "…" not in text
    letters = re.sub(r"\x1b\[[0-9;]*m|[^a-z]", "", text)
    assert letters.count("assumed") >= 20
    assert "\x1b[" in text


def test_no_color_is_heeded():
    assert not re.search(r"\x1b\[3[0-9]", on_terminal("show", "nominal", NO_COLOR="1"))


def test_a_reader_that_leaves_early_is_no_error():
    with subprocess.Popen(
        [*CARD, "show", "nominal", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_file_is_no_terminal_even_where_colour_is_forced(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    print_table("t" * 30, ["a", "b"], [["x" * 30, "y" * 30]])
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "x" * 30 in said


def test_a_command_whose_reader_has_left_ends_silently_as_on_sigpipe():
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = subprocess.run(
            [*CARD, "show", "nominal"], stdout=theirs, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [("show", "nominal"), ("--version",)])
def test_a_full_output_is_one_line(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*CARD, *arguments], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert done.stderr.decode().count("\n") == 1
    assert b"No space left" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("stdout", ["&-", "/dev/full", "/dev/null"])
@pytest.mark.parametrize("stderr", ["&-", "/dev/full"])
@pytest.mark.parametrize(
    ("arguments", "code"), [(("nope",), 2), (("show",), 2), (("--version",), 0)]
)
def test_where_errors_go_nowhere_the_exit_code_is_the_same(arguments, code, stdout, stderr):
    line = ["sh", "-c", f'"$@" >{stdout} 2>{stderr}', "sh", *CARD, *arguments]
    full = stdout == "/dev/full"
    assert subprocess.run(line, check=False).returncode == (2 if full else code)


@pytest.mark.parametrize("arguments", [("sweep", "--help"), ("--version",), ("check", "nominal")])
def test_a_reader_that_has_left_ends_help_and_version_as_on_sigpipe(arguments):
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as left:
        done = subprocess.run([*CARD, *arguments], stdout=left, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_closed_output_is_no_error():
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *CARD, "--version"], stderr=subprocess.PIPE, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
