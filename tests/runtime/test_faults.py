"""Processes that die or stall, and a link that is cut, cost the round they are in, nothing else."""

import os
import signal
from itertools import count

import pytest
import torch

from card.training import checkpoint

ROUNDS = 3
CUTS = [2, 1, 3]

pytestmark = pytest.mark.slow


def adapters(run):
    """What a run has learned."""
    found = checkpoint.latest(run.folder)
    assert found.round == ROUNDS
    return found.adapters


def equal(found, expected):
    assert found.keys() == expected.keys()
    return all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, module_run):
    """Adapters of a run of one device that nothing happens to."""
    server = module_run.server(rounds=ROUNDS, cuts=CUTS)
    device = module_run.device("device-1")
    assert server.ends() == device.ends() == 0
    assert [event["cut"] for event in server.named("round")] == CUTS
    return adapters(module_run)


@pytest.mark.parametrize("phase", ["joined", "assigned:2", "iterating:2", "iteration:2", "round:2"])
def test_device_killed(phase, run, undisturbed):
    server = run.server(rounds=ROUNDS, cuts=CUTS)
    run.device("device-1", die_at=phase).ends()
    returned = run.device("device-1")
    assert server.ends() == returned.ends() == 0, server.error
    lost = [event["round"] for event in server.named("lost")]
    print(f"\ndevice killed at {phase}: rounds lost {lost}")
    assert lost in ([], [1], [2], [3])
    assert [event["round"] for event in server.named("round")] == [1, 2, 3]
    assert equal(adapters(run), undisturbed)


@pytest.mark.parametrize(
    "phase", ["listening", "joined", "planned:2", "iteration:2", "round:2", "saved:2"]
)
def test_server_killed(phase, run, undisturbed):
    device = run.device("device-1")
    run.server(rounds=ROUNDS, cuts=CUTS, die_at=phase).ends()
    again = run.server(rounds=ROUNDS, cuts=CUTS)
    assert again.ends() == device.ends() == 0, again.error
    print(f"\nserver killed at {phase}: went on after round {again.named('listening')[0]['round']}")
    assert equal(adapters(run), undisturbed)


def test_stalled_device_loses_its_round_while_others_go_on_and_comes_back(run):
    server = run.server(rounds=6, wait_for=2, cuts=[2], timeout_s=3)
    stalled, other = run.device("device-1"), run.device("device-2")
    stalled.until("iteration", count=3)
    os.kill(stalled.process.pid, signal.SIGSTOP)
    # on a busy machine the other may be silent for as long
    places = count(1)
    while (lost := server.until("lost", next(places)))["device"] != "device-1":
        pass
    assert "said nothing for 3 s" in lost["reason"]
    server.until("round", count=len(server.named("round")) + 1)
    os.kill(stalled.process.pid, signal.SIGCONT)
    assert server.ends() == other.ends() == 0
    stalled.ends()
    turns = [event["device"] for event in server.named("round")]
    assert len(turns) == 6
    assert turns.count("device-2") >= 2


def test_round_after_a_lost_one_starts_from_the_last_completed_one(run, undisturbed):
    """The server's own blocks had trained when the device died: that is undone."""
    server = run.server(rounds=ROUNDS, cuts=CUTS)
    run.device("device-1", die_at="iteration:2").ends()
    server.until("lost")
    run.device("device-1")
    assert server.ends() == 0
    replayed = [event["loss"] for event in server.named("iteration") if event["round"] == 2]
    iterations = len(replayed) - 8
    assert iterations >= 1
    assert replayed[:iterations] == replayed[iterations : 2 * iterations]
