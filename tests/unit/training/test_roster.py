"""Turns among devices that come and go: whoever has waited longest, and one device of a name."""

import asyncio

import pytest

pytest.importorskip("torch")

from card.training.roster import Roster
from card.training.wire.tensors import WireError

NAMES = [f"device-{place}" for place in range(1, 6)]


class Connection:
    """A device's stream, of which a roster asks only whether it lives."""

    def __init__(self, lives=True):
        self.lives, self.dropped = lives, False

    async def alive(self, timeout_s):
        await asyncio.sleep(0)
        return self.lives

    def drop(self):
        self.dropped = True


def turns(roster, count):
    return [roster.next(patience_s=0)[0] for _ in range(count)]


def with_devices(*names):
    roster = Roster(NAMES)
    for name in names:
        roster.enter(name, Connection())
    return roster


def test_turns_follow_the_scenario_where_all_are_there():
    roster = with_devices(*reversed(NAMES))
    assert turns(roster, 10) == NAMES + NAMES
    assert roster.served == NAMES


def test_whoever_has_waited_longest_is_next():
    roster = with_devices("device-1", "device-3")
    assert turns(roster, 3) == ["device-1", "device-3", "device-1"]
    for late in ("device-5", "device-2"):
        roster.enter(late, Connection())
    assert turns(roster, 5) == ["device-2", "device-5", "device-3", "device-1", "device-2"]


def test_waiting_goes_on_after_a_resume():
    before = with_devices(*NAMES)
    turns(before, 7)
    after = with_devices(*NAMES)
    after.resume(before.served)
    assert turns(after, 5) == ["device-3", "device-4", "device-5", "device-1", "device-2"]


def test_a_device_that_keeps_coming_back_has_no_more_turns_than_others():
    roster = with_devices("device-1", "device-2")
    counted = []
    for _ in range(10):
        name, stream = roster.next(patience_s=0)
        counted.append(name)
        roster.leave("device-1", stream)
        if name == "device-1":
            roster.enter("device-1", Connection())
    assert counted == ["device-1", "device-2"] * 5


def test_those_without_a_turn_are_known():
    roster = with_devices("device-4", "device-2", "device-1")
    roster.leave("device-4", roster._streams["device-4"])
    turns(roster, 1)
    assert roster.without_turn == ["device-2", "device-4"]


def test_too_few_are_not_enough():
    roster = with_devices("device-1", "device-2")
    assert roster.next(patience_s=0.05, at_least=3) is None
    assert roster.connected == 2


@pytest.mark.parametrize("lives", [True, False])
def test_a_second_device_of_a_name_enters_only_when_the_first_is_dead(lives):
    roster, first = Roster(NAMES), Connection(lives)
    roster.enter("device-1", first)
    assert asyncio.run(roster.vacant("device-1")) is not lives
    assert first.dropped is not lives
    if lives:
        with pytest.raises(WireError, match="another device that says it is device-1 was quicker"):
            roster.enter("device-1", Connection())
    else:
        roster.enter("device-1", Connection())
