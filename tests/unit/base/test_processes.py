"""`card.base.processes`: one signal ends a tree, no child outlives its parent, work is not cut."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from card.base import processes
from card.base.processes import STANDSTILL_S, StandstillError, run

SLEEPS = "import time; time.sleep(600)"
CHILD = f"""
import subprocess, sys, time
from card.base.processes import {{how}}
grandchild = [sys.executable, "-c", "{SLEEPS}"]
"""
TREE = f"""
{CHILD.format(how="end_on_signals, python_child")}
end_on_signals()
inner = "import subprocess, sys; subprocess.run(sys.argv[1:])"
process = subprocess.Popen(python_child(inner, *grandchild))
alone = subprocess.Popen(grandchild, start_new_session=True)  # as kernels are
print("ready", flush=True)
{{then}}
"""
WAIT = "time.sleep(600)"
# what libraries do with Ctrl-C, and what waits for a thread
DEAF = """
while True:
    try:
        time.sleep(600)
    except BaseException:
        pass
"""
# a library that computes, meanwhile lets no handler run, and cannot be broken off
COMPUTING = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
# what libraries tear down when Python ends, once no thread runs any more
TEARDOWN = """
class Torn:
    def __del__(self):
        while True: pass
torn = Torn()
time.sleep(600)
"""


def tree(then: str) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    # a shell that runs the tests in the background has it ignored, which is inherited
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        root = subprocess.Popen(
            [sys.executable, "-c", TREE.format(then=then)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, heard)
    assert root.stdout is not None
    assert root.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 60
    while not all_started(found := psutil.Process(root.pid).children(recursive=True)):
        assert time.monotonic() < deadline, "child, its child, and the one in another session"
        time.sleep(0.05)
    return root, found


def all_started(found: list[psutil.Process]) -> bool:
    """Whether two sleep; one that was forked just now has its parent's command for a moment."""
    return sum(one.cmdline()[1:] == ["-c", SLEEPS] for one in found) == 2


def survivors(found: list[psutil.Process]) -> list[psutil.Process]:
    _, alive = psutil.wait_procs(found, timeout=10)
    for one in alive:
        one.kill()
    return alive


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "then"),
    [
        pytest.param("SIGINT", WAIT, id="SIGINT"),
        pytest.param("SIGTERM", WAIT, id="SIGTERM"),
        pytest.param("SIGHUP", WAIT, id="SIGHUP"),
        pytest.param("SIGINT", DEAF, id="what is raised is swallowed"),
        pytest.param("SIGTERM", COMPUTING, id="no handler runs"),
        pytest.param("SIGTERM", TEARDOWN, id="Python does not end"),
    ],
)
def test_one_signal_ends_the_whole_tree_with_one_line(name: str, then: str) -> None:
    root, found = tree(then)
    root.send_signal(getattr(signal, name))
    _, said = root.communicate(timeout=10)
    assert root.returncode == 128 + getattr(signal, name)
    assert said == f"Stopped by {name}.\n"
    assert survivors(found) == []


@pytest.mark.slow
def test_what_was_started_to_follow_ends_when_its_parent_is_killed() -> None:
    root, found = tree(WAIT)
    following = [one for one in found if "end_with_parent" in " ".join(one.cmdline())]
    following += following[0].children()
    assert len(following) == 2
    (alone,) = set(found) - set(following)
    root.kill()
    root.wait()
    for pipe in (root.stdout, root.stderr):
        pipe.close()  # type: ignore[union-attr]
    left = survivors(following)
    alone.kill()
    assert left == []


ENDING = """
import atexit, time
from card.base.processes import end_on_signals
def slow():
    print("ending", flush=True)
    end = time.monotonic() + 2
    while time.monotonic() < end: pass
end_on_signals()
atexit.register(slow)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_second_signal_while_python_ends_keeps_the_exit_code() -> None:
    root = subprocess.Popen(
        python(ENDING), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert root.stdout is not None
    for line in ("ready", "ending"):
        assert root.stdout.readline() == f"{line}\n"
        root.send_signal(signal.SIGTERM)
    _, said = root.communicate(timeout=30)
    assert (root.returncode, said) == (128 + signal.SIGTERM, "Stopped by SIGTERM.\n")


def test_an_ignored_signal_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    set_: list[int] = []
    ignored = {signal.SIGHUP: signal.SIG_IGN}
    monkeypatch.setattr(signal, "getsignal", lambda number: ignored.get(number))
    monkeypatch.setattr(signal, "signal", lambda number, _: set_.append(number))
    monkeypatch.setattr(signal, "set_wakeup_fd", lambda *_, **__: -1)
    processes.end_on_signals()
    assert set_ == [signal.SIGINT, signal.SIGTERM], "as nohup wants it"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_command_that_stands_still_is_ended_and_says_so(tmp_path: Path) -> None:
    started = tmp_path / "started"
    code = f"open({str(started)!r}, 'w'); import time; time.sleep(600)"
    others = psutil.Process().children(recursive=True)
    with pytest.raises(StandstillError, match=r"no progress for 2 s"):
        run(python(code), limit_s=2)
    assert started.exists()
    assert set(psutil.Process().children(recursive=True)) <= set(others)


def test_a_command_that_works_longer_than_the_limit_goes_on() -> None:
    work = "import time\nend = time.monotonic() + 4\nwhile time.monotonic() < end: pass\nprint(7)"
    done = run(python(work), limit_s=1)
    assert (done.stdout, done.returncode) == ("7\n", 0)


def test_a_process_that_only_waits_is_given_up_at_the_stated_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It works for 100 s, then looks now and then whether it still waits, as kernels do."""
    now_s, works_s, idle_share = 0.0, 100.0, 0.006
    clock = SimpleNamespace(monotonic=lambda: now_s)
    monkeypatch.setattr(processes, "time", clock)
    used = lambda _: min(now_s, works_s) + idle_share * max(0.0, now_s - works_s)  # noqa: E731
    monkeypatch.setattr(processes, "_used_s", used)
    still = processes.Standstill(1)
    while not still.reached():
        now_s += 0.5
    assert now_s - works_s == pytest.approx(STANDSTILL_S, rel=0.1)
