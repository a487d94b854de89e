"""What the other end says of its energy is believed only as far as it can be."""

import math
from types import SimpleNamespace

import pytest

pytest.importorskip("grpc")
pytest.importorskip("torch")

from card.training.wire.round_messages import Exchange
from card.training.wire.tensors import WireError
from card.training.wire.wire_pb2 import Spent


def arriving(message):
    """Round 3 of a conversation in which one message comes."""
    stream = SimpleNamespace(receive=lambda kind, timeout_s: message)
    return Exchange(stream, 3, 1.0, forms=None)  # nothing here is hidden states or gradients


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({"busy_j": 2.5, "waiting_j": 0.0}, (2.5, 0.0)),
        ({}, (None, None)),
        ({"busy_j": 2.5}, (None, None)),
    ],
)
def test_energy_comes_whole_or_not_at_all(sent, found):
    assert arriving(Spent(round=3, **sent)).spent() == found


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0])
def test_energy_that_cannot_be_is_refused(wrong):
    with pytest.raises(WireError, match="the energy of round 3 is "):
        arriving(Spent(round=3, busy_j=1.0, waiting_j=wrong)).spent()


def test_energy_of_another_round_is_refused():
    with pytest.raises(WireError, match="energy of round 2 came in round 3"):
        arriving(Spent(round=2)).spent()
