"""A run's events as metrics that Prometheus collects while it goes.

The events are those of `card.training.journal`, and nothing else is counted: what an endpoint shows
follows from the lines of the journal, also of those that an earlier server wrote.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from card.base.errors import ScenarioError, extra
from card.base.units import BITS_PER_BYTE
from card.training.journal import Report

with extra("metrics", "card.training.metrics"):
    from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

HOST = "127.0.0.1"
"""Address of the endpoint, which this machine alone reaches."""
OTHER = "other"
"""Label of whatever says that it is a device and is none of the scenario's."""

_ENDS = ("server", "device")


class Metrics:
    """What an endpoint shows, by the events so far.

    Parameters
    ----------
    devices
        Names of the scenario's devices. No other becomes a label, for strangers may have any number
        of names.
    """

    def __init__(self, devices: Iterable[str]) -> None:
        self._devices = frozenset(devices)
        self.registry = CollectorRegistry()
        """What prometheus_client collects."""
        self._done = self._gauge("rounds_done", "Last completed round")
        self._turn = self._gauge("turn", "1 for the device whose turn it is", "device")
        self._loss = self._gauge("loss", "Mean loss of the last round", "device", "text")
        self._rounds = self._counter("rounds", "Completed rounds", "device")
        self._bytes = self._counter("bytes", "What crossed the link", "device", "what")
        self._seconds = self._counter("seconds", "Delay of rounds", "device", "phase")
        self._foretold_s = self._counter("predicted_seconds", "Their predicted delay", "device")
        self._joules = self._counter("joules", "Energy of rounds", "device", "end", "spent")
        self._foretold_j = self._counter("predicted_joules", "As predicted", "device", "end")
        self._lost = self._counter("lost_rounds", "Rounds that failed", "device")
        self._joined = self._counter("joined", "Times that a device joined", "device")
        self._refused = self._counter("refused", "Times that one was turned away", "device")
        self._aside = self._gauge("set_aside", "1 for a device that is set aside", "device")

    def note(self, event: str, fields: Mapping[str, Any]) -> None:
        """Count an event, as `card.training.journal.Journal.write` takes it."""
        device = fields.get("device")
        device = device if isinstance(device, str) and device in self._devices else OTHER
        match event:
            case "planned":
                self._turn.clear()
                self._turn.labels(device).set(1)
            case "round":
                self._round(device, {key: _number(value) for key, value in fields.items()})
            case "lost":
                self._lost.labels(device).inc()
            case "joined":
                self._joined.labels(device).inc()
            case "refused":
                self._refused.labels(device).inc()
            case "set_aside":
                self._aside.labels(device).set(1)
            case "finished":
                self._turn.clear()

    def _round(self, device: str, of: Mapping[str, float | None]) -> None:
        self._rounds.labels(device).inc()
        if (number := of.get("round")) is not None:
            self._done.set(number)
        for text, key in (("training", "loss"), ("held_out", "validation_loss")):
            if (loss := of.get(key)) is not None:
                self._loss.labels(device, text).set(loss)
        for what in ("up", "down", "framing"):
            _add(self._bytes, of.get(f"{what}_bit"), device, what, scale=1 / BITS_PER_BYTE)
        computed_s = {end: of.get(f"{end}_compute_s") or 0.0 for end in _ENDS}
        link_s = (of.get("delay_s") or 0.0) - sum(computed_s.values())
        for phase, seconds in {**computed_s, "link": link_s}.items():
            _add(self._seconds, seconds, device, phase)
        _add(self._foretold_s, of.get("predicted_delay_s"), device)
        _add(self._foretold_j, of.get("predicted_energy_j"), device, "server")
        _add(self._foretold_j, of.get("predicted_device_energy_j"), device, "device")
        for end in _ENDS:
            for spent in ("busy", "waiting"):
                _add(self._joules, of.get(f"{end}_{spent}_j"), device, end, spent)

    def _gauge(self, name: str, says: str, *labels: str) -> Gauge:
        return Gauge(f"card_{name}", says, labels, registry=self.registry)

    def _counter(self, name: str, says: str, *labels: str) -> Counter:
        return Counter(f"card_{name}", says, labels, registry=self.registry)


@contextmanager
def published(
    port: int, devices: Iterable[str], before: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, Report]]:
    """Serve the metrics of a run on `HOST`, as long as the context lasts.

    Parameters
    ----------
    port
        Where; 0 is any free one.
    devices
        Names of the scenario's devices.
    before
        What happened so far, from `card.training.journal.read_journal`.

    Yields
    ------
    tuple
        The endpoint's URL, and what takes each event.

    Raises
    ------
    ScenarioError
        If another program has the port.
    """
    metrics = Metrics(devices)
    for event in before:
        metrics.note(event["event"], event)
    try:
        server, thread = start_http_server(port, HOST, metrics.registry)
    except OSError as error:
        raise ScenarioError(
            f"--metrics-port = {port} cannot be had ({error.strerror}); give another, or 0 for "
            f"any that is free."
        ) from None
    try:
        yield f"http://{HOST}:{server.server_port}/metrics", metrics.note
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _add(counter: Counter, value: float | None, *labels: str, scale: float = 1.0) -> None:
    """Add what was measured, if it was; a difference may be a little below zero."""
    if value is not None and value >= 0:
        counter.labels(*labels).inc(value * scale)


def _number(value: object) -> float | None:
    """A number as rounds have it, and nothing else that a file may hold."""
    return float(value) if isinstance(value, int | float) and 0 <= value < math.inf else None
