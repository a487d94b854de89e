"""Whole runs of split fine-tuning on one machine, for lessons and for a first try.

Server and devices are processes of their own, `card serve` and `card join`, with certificates, as
they would be on machines of their own.
"""

from __future__ import annotations

import json
import os
import runpy
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import get_all_start_methods, get_context, parent_process
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from card.base.data_files import DATA
from card.base.processes import STANDSTILL_S, end_after
from card.training.journal import read_journal

Event = dict[str, Any]
"""What happened, as a line of `metrics.jsonl` has it."""

TEXTS = {
    "device-1": DATA / "books" / "carroll.txt",
    "device-2": DATA / "books" / "shakespeare.txt",
    "device-3": DATA / "books" / "milton.txt",
}
"""A book of its own for each device of the test bed.

:meta hide-value:
"""

PROCESSES: ForkServerContext | SpawnContext = (
    get_context("forkserver") if "forkserver" in get_all_start_methods() else get_context("spawn")
)
"""How processes start, each as a fork of one that has imported torch where the system can."""
PROCESSES.set_forkserver_preload(["card.training.device", "card.training.server"])

_SERVER = "server"
_LAST_WORDS = 12
_LOOK_S = 0.01


class RehearsalError(RuntimeError):
    """A process failed or nothing happened in time; the message has the process's last words."""


class Rehearsal:
    """A server and its devices, each a process of its own, on loopback; `open` makes one.

    Parameters
    ----------
    folder
        Where certificates, logs and the run lie.
    chosen
        Arguments that choose the scenario on the command line.
    learning_rate
        Step size of AdamW.
    patience_s
        Longest time in which nothing happens [s].
    """

    def __init__(
        self, folder: Path, chosen: Sequence[str], learning_rate: float, patience_s: float
    ) -> None:
        self.folder = folder
        """Where certificates, logs and the run lie while the rehearsal lasts."""
        self._chosen, self._learning_rate, self._patience_s = chosen, learning_rate, patience_s
        self._running: dict[str, BaseProcess] = {}
        self._seen = 0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{free.getsockname()[1]}"

    @classmethod
    @contextmanager
    def open(
        cls,
        scenario: str = "test-bed",
        settings: Mapping[str, Any] | None = None,
        *,
        learning_rate: float = 1e-2,
        patience_s: float = STANDSTILL_S,
    ) -> Iterator[Rehearsal]:
        """Context with a temporary folder and certificates; at its end nothing of it is left.

        Use it as `with Rehearsal.open() as run:`.

        Parameters
        ----------
        scenario
            Name or file of a scenario.
        settings
            Values that replace the scenario's, by path.
        learning_rate
            Step size of the optimiser.
        patience_s
            Longest time in which nothing happens [s]; a slow run that goes on is not stopped.

        Raises
        ------
        RehearsalError
            If the certificates cannot be made, and later if any process fails.
        """
        chosen = [scenario]
        for path, value in (settings or {}).items():
            chosen += ["--set", f"{path}={json.dumps(value)}"]
        with tempfile.TemporaryDirectory(prefix="card-rehearsal-") as folder:
            made = cls(Path(folder), chosen, learning_rate, patience_s)
            try:
                made._start("certs", "certs", made._certificates, "--scenario", scenario)
                made._wait(["certs"])
                yield made
            finally:
                for name in list(made._running):
                    made.kill(name)

    def play(
        self,
        texts: Mapping[str, Path],
        *,
        rounds: int,
        cuts: Sequence[int] = (),
    ) -> list[Event]:
        """Run server and devices until all rounds are completed; a run that is there goes on.

        Parameters
        ----------
        texts
            Text file of each device that takes part; the first round waits for all of them.
        rounds
            Rounds in all, with those of the run that goes on.
        cuts
            Cuts to go through in place of CARD's.

        Returns
        -------
        list of Event
            Everything that the server noted, oldest first.
        """
        self.serve(rounds=rounds, wait_for=len(texts), cuts=cuts)
        for device, text in texts.items():
            self.join(device, text)
        self._wait([_SERVER, *texts])
        return self.events()

    def serve(self, *, rounds: int, wait_for: int = 1, cuts: Sequence[int] = ()) -> None:
        """Start the server; it is not awaited."""
        options: dict[str, object] = {
            "rounds": rounds,
            "wait-for": wait_for,
            "folder": self._run,
            "learning-rate": self._learning_rate,
            "timeout": max(self._patience_s, 0.1),
        }
        self._begin(_SERVER, "serve", options, [f"--cut={cut}" for cut in cuts])

    def join(self, device: str, text: Path) -> None:
        """Start a device with its text; it is not awaited."""
        self._begin(device, "join", {"device": device, "data": text})

    def kill(self, name: str) -> None:
        """Kill a device, or the `server`, as a power cut would."""
        process = self._running.pop(name)
        process.kill()
        process.join()

    def events(self) -> list[Event]:
        """Everything that the server has noted so far, oldest first."""
        return list(read_journal(self._run / "metrics.jsonl"))

    def log(self, name: str) -> str:
        """What a device, or the `server`, has printed so far."""
        return self._log(name).read_text(encoding="utf-8")

    def until(self, event: str, **fields: Any) -> Event:
        """Wait for the server's next event of a name and with some fields.

        Looks only at what came after the event that was found last.
        """
        wanted = {"event": event, **fields}

        def found() -> bool:
            for place, noted in enumerate(self.events()[self._seen :], start=self._seen + 1):
                if wanted.items() <= noted.items():
                    self._seen = place
                    return True
            return False

        self._look(found, f"no {wanted}")
        return self.events()[self._seen - 1]

    @property
    def _certificates(self) -> Path:
        return self.folder / "certs"

    @property
    def _run(self) -> Path:
        return self.folder / "run"

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _begin(
        self, name: str, command: str, options: Mapping[str, object], more: Sequence[str] = ()
    ) -> None:
        always = {
            "address": self._address,
            "certs": self._certificates,
            "patience": 2 * self._patience_s,  # a run gives up before its processes do
            "threads": 1,
        }
        flags = [f"--{key}={value}" for key, value in {**options, **always}.items()]
        self._start(name, command, *self._chosen, *flags, *more)

    def _start(self, name: str, *arguments: object) -> None:
        words = list(map(str, arguments))
        told = (self._log(name), Path.cwd(), dict(os.environ), words)
        process = PROCESSES.Process(target=_command, args=told, daemon=True)
        process.start()
        self._running[name] = process

    def _wait(self, names: Sequence[str]) -> None:
        """Wait until processes have ended well."""

        def ended() -> bool:
            return all(self._running[name].exitcode == 0 for name in names)

        self._look(ended, f"{', '.join(names)} did not end")
        for name in names:
            del self._running[name]

    def _look(self, found: Callable[[], bool], otherwise: str) -> None:
        """Look again and again, while no process fails; every word renews patience."""
        said, since_s = self._said(), time.monotonic()
        while not found():
            if (now := self._said()) != said:
                said, since_s = now, time.monotonic()
            for name, process in self._running.items():
                if process.exitcode:
                    raise RehearsalError(
                        f"{name} ended with exit code {process.exitcode}{self._words(name)}"
                    )
            if time.monotonic() - since_s > self._patience_s:
                last = _SERVER if _SERVER in self._running else next(iter(self._running))
                raise RehearsalError(
                    f"{otherwise}, and nothing happened for {self._patience_s:g} s; "
                    f"{last} is at{self._words(last)}"
                )
            time.sleep(_LOOK_S)

    def _said(self) -> int:
        """Size of all that the processes have written [byte]."""
        return sum(path.stat().st_size for path in self._written() if path.is_file())

    def _written(self) -> Iterator[Path]:
        yield self._run / "metrics.jsonl"
        yield from map(self._log, self._running)

    def _words(self, name: str) -> str:
        lines = self.log(name).splitlines()[-_LAST_WORDS:]
        return "; its last words:\n  " + "\n  ".join(lines) if lines else " without a word"


def _command(log: Path, folder: Path, environment: Mapping[str, str], words: list[str]) -> None:
    """Be the command `card` with these arguments, in a process of its own."""
    if parent := parent_process():
        end_after(parent.join)
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    os.chdir(folder)
    # Jupyter asks programs for colours, which would be noise in a file
    os.environ.clear()
    os.environ.update((key, value) for key, value in environment.items() if key != "FORCE_COLOR")
    sys.argv = ["card", *words]
    runpy.run_module("card", run_name="__main__")
