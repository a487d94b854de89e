"""`card.figures.style`: what tells devices apart when there are more of them than colours."""

from card.figures.style import DEVICE_COLOURS, device_groups


def test_each_device_is_its_own_while_there_are_colours():
    names = [f"device-{number}" for number in range(len(DEVICE_COLOURS))]
    assert device_groups(names) == {name: [index] for index, name in enumerate(names)}


def test_more_devices_share_a_colour_by_kind():
    names = [f"{kind}-{n}" for kind in ("nano", "orin-nx", "xavier") for n in range(1, 5)]
    groups = device_groups(names)
    assert list(groups) == ["nano", "orin-nx", "xavier"]
    assert groups["orin-nx"] == [4, 5, 6, 7]


def test_devices_of_too_many_kinds_are_one_group():
    assert device_groups([f"kind{letter}" for letter in "abcdefghij"]) == {"devices": [*range(10)]}
