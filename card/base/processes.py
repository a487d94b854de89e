"""Processes that end together, and that are given up only when they stand still.

One signal ends a process with all that it started, and no child outlives its parent.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

STANDSTILL_S = 600.0
"""Time without progress after which a process is given up [s]."""

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_GRACE_S = 3.0
_SIGNALLED = 128
"""Exit codes above it say which signal ended a process."""
_stopped: list[int] = []
"""Exit code of this process once a signal has stopped it."""
_LOOK_S = 0.5
_LEAST_SHARE = 0.01
"""Share of a processor below which a process does no more than keep itself alive."""
_SPANS = 20
"""Spans that a limit is cut into; whoever works in one of them has not stood still."""


class StandstillError(RuntimeError):
    """A process made no progress for too long; it has been ended."""


def end_on_signals() -> None:
    """Let SIGINT, SIGTERM and SIGHUP end this process with all that it started.

    The signal becomes one line on stderr and `SystemExit` with the usual code, 128 and its number,
    so that files are closed and temporary folders removed. Whoever takes longer than three seconds
    for that, or gets a second signal, is ended at once, also while a library computes and lets no
    handler run. A signal that is ignored stays so.
    """
    for number in _signals():
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    heard, hears = os.pipe()
    if os.name == "posix":
        os.set_blocking(hears, False)  # or Python refuses it
        # what is forked hears its own signals, not its parent
        os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    signal.set_wakeup_fd(hears, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(heard,), daemon=True).start()
    atexit.register(_end_at_once)


def _signals() -> list[int]:
    """Numbers of the signals that end a process; Windows has no SIGHUP."""
    return [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]


def _end_at_once() -> None:
    """Keep the exit code: Python gives handlers up before it has ended, and a second signal kills.

    Registered first, and so done last, when files are closed and folders removed. After a signal
    that is the end: what libraries tear down then takes seconds, and no watch is kept any more.
    """
    if _stopped:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # where it is full or closed
                stream.flush()
        os._exit(_stopped[0])
    for number in _signals():
        signal.signal(number, signal.SIG_IGN)


def _watch(heard: int) -> None:
    """End a process that a signal has not ended soon, or that gets a second one.

    The numbers of signals come through a pipe, as soon as they do; a handler has to wait until the
    library that computes just now returns.
    """
    first = _next_signal(heard)
    timer = threading.Timer(_GRACE_S, _end_now, (_code(first),))
    timer.daemon = True
    timer.start()
    _next_signal(heard)
    _end_now(_code(first))


def _next_signal(heard: int) -> int:
    """Number of the next signal that shall end this process; others have handlers, too."""
    while (number := os.read(heard, 1)[0]) not in _signals():
        pass
    return number


def _stop(number: int, _: FrameType | None) -> None:
    if not _stopped:
        _tell_stopped(_code(number))
        end_descendants()
        raise SystemExit(_stopped[0])


def _code(number: int) -> int:
    return _SIGNALLED + number


def _tell_stopped(code: int) -> None:
    """Say once which signal ends this process."""
    if not _stopped:
        _stopped.append(code)
        with suppress(OSError):  # where stderr is full or closed
            # not print, which may be at work just now
            os.write(2, f"Stopped by {signal.Signals(code - _SIGNALLED).name}.\n".encode())


def _end_now(code: int) -> None:
    _tell_stopped(code)
    end_descendants()
    os._exit(code)


def end_descendants() -> None:
    """Kill all that this process started, and what that started in turn."""
    if _has_children():
        _end_all(_below(os.getpid()))


def _has_children() -> bool:
    """Whether this process may have started others; most never do, and need not look for them."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    except AttributeError:  # macOS and Windows cannot ask
        pass
    return True


def _below(process: int) -> list[Any]:
    """All that a process started, and what that started in turn."""
    import psutil  # type: ignore[import-untyped]  # the command line starts without it

    return list(psutil.Process(process).children(recursive=True))


def _end_all(processes: Iterable[Any]) -> None:
    import psutil

    for process in processes:
        try:
            # it only tidies up after this process, and ends with it
            if not any("resource_tracker" in word for word in process.cmdline()):
                process.kill()
        except psutil.Error:
            continue


def end_with_parent(parent: int) -> None:
    """Let this process, with all that it starts, end as soon as its parent has.

    Parameters
    ----------
    parent
        Process number of the parent, as it was when it started this one.
    """

    def gone() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)

    end_after(gone)


def end_after(wait: Callable[[], object]) -> None:
    """Let this process, with all that it starts, end as soon as `wait` returns."""

    def watch() -> None:
        wait()
        end_descendants()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def python_child(program: str, *arguments: str) -> list[str]:
    """Command that runs a Python program with arguments, and ends when this process does."""
    follow = f"from card.base.processes import end_with_parent; end_with_parent({os.getpid()})"
    return [sys.executable, "-c", f"{follow}\n{program}", *arguments]


class Standstill:
    """Whether a process and all that it started have stopped to work; asked again and again.

    Work is time on a processor, of which a machine under load gives less, but some. What a process
    that waits takes to look whether it still has to is no work, however long that goes on.

    Parameters
    ----------
    process
        Number of the process.
    limit_s
        How long nothing may happen [s].
    """

    def __init__(self, process: int, limit_s: float = STANDSTILL_S) -> None:
        self._process, self._limit_s = process, limit_s
        self._span_s = max(limit_s / _SPANS, 1.0)  # processors' time is told in steps of 10 ms
        self._used_s, self._looked_s = 0.0, time.monotonic()
        self._since_s = self._looked_s

    def reached(self) -> bool:
        """Whether nothing has happened for the whole limit."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= self._span_s:
            used_s = _used_s(self._process)
            if abs(used_s - self._used_s) > _LEAST_SHARE * (now_s - self._looked_s):
                self._since_s = now_s
            self._used_s, self._looked_s = used_s, now_s
        return now_s - self._since_s > self._limit_s


def _used_s(process: int) -> float:
    """Time on processors of a process and all that it started, as far as they live [s]."""
    import psutil

    total = 0.0
    try:
        root = psutil.Process(process)
        for one in (root, *root.children(recursive=True)):
            times = one.cpu_times()
            total += times.user + times.system
    except psutil.Error:
        pass
    return total


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    limit_s: float = STANDSTILL_S,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, however long that takes as long as it works.

    Parameters
    ----------
    command
        Program and arguments.
    environment
        Its environment; this process's when None.
    limit_s
        How long it may stand still [s].

    Raises
    ------
    StandstillError
        If it stood still for longer; it and all that it started have been killed.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=environment,
    ) as process:
        still = Standstill(process.pid, limit_s)
        while True:
            try:
                out, said = process.communicate(timeout=_LOOK_S)
                return subprocess.CompletedProcess(command, process.returncode, out, said)
            except subprocess.TimeoutExpired:
                if still.reached():
                    below = _below(process.pid)
                    process.kill()
                    _end_all(below)
                    raise StandstillError(f"no progress for {limit_s:g} s") from None
