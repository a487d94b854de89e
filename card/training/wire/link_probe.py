"""The rates of the link between the edge server and a device, measured by probes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from card.training.wire.stream import Stream

LARGEST_PROBE_BYTES = 1 << 22
"""Longest probe; a link that carries it in less than `ENOUGH_S` is as fast as the two ends."""
ENOUGH_S = 0.1
"""Time on the link after which a probe says enough [s]; longer ones even out bursts."""

_SMALLEST_PROBE_BYTES = 1 << 15


@dataclass(frozen=True)
class LinkRates:
    """What a link carried just now."""

    uplink_bps: float
    """From the device to the server [bit/s]."""
    downlink_bps: float
    """From the server to the device [bit/s]."""
    round_trip_s: float | None
    """A message of one byte there and back [s]; None where nothing was measured."""


def measure_link(stream: Stream, timeout_s: float) -> LinkRates:
    """Time short and ever longer probes, first up, then down.

    Parameters
    ----------
    stream
        The server's end, while the device waits for a frame.
    timeout_s
        Longest wait for all answers [s].

    Raises
    ------
    WireError
        If the device is gone or does not answer in time.
    """
    until_s = time.monotonic() + timeout_s

    def left_s() -> float:
        return max(0.0, until_s - time.monotonic())

    short_s = min(stream.probe(1, 1, left_s()) for _ in range(3))

    def up_s(size: int) -> float:
        return stream.probe(1, size, left_s()) - short_s

    def down_s(size: int) -> float:
        return stream.probe(size, 1, left_s()) - short_s

    return LinkRates(_rate_bps(up_s), _rate_bps(down_s), short_s)


def _rate_bps(on_link_s: Callable[[int], float]) -> float:
    size = _SMALLEST_PROBE_BYTES
    while True:
        took_s = max(on_link_s(size), 1e-6)  # the short probe may have met a busy moment
        if took_s >= ENOUGH_S or size >= LARGEST_PROBE_BYTES:
            return 8 * size / took_s
        size *= 2
