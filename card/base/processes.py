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
_GRACE_S = 5.0
_LOOK_S = 0.5
_LEAST_SHARE = 0.01
"""Share of a processor below which a process does no more than keep itself alive."""


class StandstillError(RuntimeError):
    """A process made no progress for too long; it has been ended."""


def end_on_signals() -> None:
    """Let SIGINT, SIGTERM and SIGHUP end this process with all that it started.

    The signal becomes one line on stderr and `SystemExit` with the usual code, 128 and its number,
    so that files are closed and temporary folders removed. Whoever takes longer than five seconds
    for that, or gets a second signal, is ended at once. A signal that is ignored stays so.
    """
    for name in _SIGNALS:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    atexit.register(_ignore_signals)


def _ignore_signals() -> None:
    """Keep the exit code: Python gives handlers up before it has ended, and a second signal kills.

    Registered first, and so done last, when files are closed and folders removed.
    """
    for name in _SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _stop(number: int, _: FrameType | None) -> None:
    code = 128 + number
    for name in _SIGNALS:
        other = getattr(signal, name, None)
        if other is not None:
            signal.signal(other, lambda *_: _end_now(code))
    with suppress(OSError):  # where stderr is full or closed
        # not print, which may be at work just now
        os.write(2, f"Stopped by {signal.Signals(number).name}.\n".encode())
    end_descendants()
    timer = threading.Timer(_GRACE_S, _end_now, (code,))
    timer.daemon = True
    timer.start()
    raise SystemExit(code)


def _end_now(code: int) -> None:
    end_descendants()
    os._exit(code)


def end_descendants() -> None:
    """Kill all that this process started, and what that started in turn."""
    _end_all(_below(os.getpid()))


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
        _end_now(1)

    threading.Thread(target=watch, daemon=True).start()


def python_child(program: str, *arguments: str) -> list[str]:
    """Command that runs a Python program with arguments, and ends when this process does."""
    follow = f"from card.base.processes import end_with_parent; end_with_parent({os.getpid()})"
    return [sys.executable, "-c", f"{follow}\n{program}", *arguments]


class Standstill:
    """Whether a process and all that it started have stopped to work; asked again and again.

    Work is time on a processor, of which a machine under load gives less, but some.

    Parameters
    ----------
    process
        Number of the process.
    limit_s
        How long nothing may happen [s].
    """

    def __init__(self, process: int, limit_s: float = STANDSTILL_S) -> None:
        self._process, self._limit_s = process, limit_s
        self._used_s, self._since_s = 0.0, time.monotonic()

    def reached(self) -> bool:
        """Whether nothing has happened for the whole limit."""
        used_s, now_s = _used_s(self._process), time.monotonic()
        if abs(used_s - self._used_s) > _LEAST_SHARE * self._limit_s:
            self._used_s, self._since_s = used_s, now_s
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
