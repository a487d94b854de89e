"""The cluster that a sweep names by its address."""

import socket

import pytest

from card.base.errors import ScenarioError
from card.cli import clusters

pytest.importorskip("distributed")


def test_what_listens_there_but_is_no_scheduler_is_refused_in_time(monkeypatch):
    monkeypatch.setattr(clusters, "_PATIENCE_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = "tcp://{}:{}".format(*mute.getsockname())
        with (
            pytest.raises(ScenarioError, match="does not answer"),
            clusters.cluster(address),
        ):
            pass
