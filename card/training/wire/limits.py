"""What one end of a conversation bears from the other: the size of a frame, and silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from card.training.wire.tensors import TensorSpec, header_limit_bytes

FRAME_SLACK_BYTES = 4096
"""Room in a frame for all that is not tensors [byte]."""


@dataclass(frozen=True)
class Limits:
    """What one end bears from the other."""

    frame_bytes: int
    """Largest frame that may come or go [byte]."""
    silence_s: float = 60.0
    """How long the link may be dead before the peer counts as gone [s].

    After a cut, TCP waits up to as long again as the cut took until it tries anew, so this is to be
    more than twice the longest cut to survive. A peer that hangs while its system still answers, or
    runs on a system whose TCP knows no such limit, counts as gone after ten times as long.
    """
    work_s: float = 600.0
    """How long the peer may compute for one message, while it says that it does [s]."""


def frame_bytes(*messages: Mapping[str, TensorSpec]) -> int:
    """Largest frame of those that carry the given tensors, with room for any other [byte]."""
    sizes = (
        header_limit_bytes(message) + sum(spec.size_bytes for spec in message.values())
        for message in messages
    )
    return max(sizes, default=0) + FRAME_SLACK_BYTES
