"""Looks of policies: whoever reads a picture can tell any two policies in it apart."""

from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from matplotlib.lines import Line2D

from card.figures.policies import headline, label_of, labels_of
from card.figures.style import POLICY_LOOKS, looks
from card.figures.sweeps import along
from card.policies import SHIPPED

OWN = [f"my_policy_{number}" for number in range(12)]


def test_every_policy_of_the_package_has_a_mark_of_its_own():
    assert set(POLICY_LOOKS) == set(SHIPPED)
    assert len({look.marker for look in POLICY_LOOKS.values()}) == len(POLICY_LOOKS)


def test_no_two_policies_share_colour_and_mark():
    found = looks([*SHIPPED, *OWN])
    for one, other in combinations(found, 2):
        assert found[one] != found[other], (one, other)


def test_a_policy_of_the_package_looks_alike_in_every_picture():
    for name, look in POLICY_LOOKS.items():
        assert looks([*OWN, name])[name] == look


def test_own_policies_share_neither_with_the_few_beside_them():
    found = looks(["card", "device_only", "server_only", *OWN[:5]])
    known = [found.pop(name) for name in ("card", "device_only", "server_only")]
    for name, look in found.items():
        assert all(set(look).isdisjoint(one) for one in known), name


@pytest.mark.parametrize("draw", ["a sweep", "a comparison"])
def test_pictures_draw_the_policies_apart(draw):
    names = ["card", "budget", "budget_online", "clock_only", "cut_only", "evolution", *OWN[:2]]
    level = np.arange(1.0, 1.0 + len(names))
    if draw == "a sweep":
        dims = ("policy", "state", "device", "x")
        data = np.broadcast_to(level[:, None, None, None], (len(names), 1, 1, 2))
        at = {"policy": names, "state": ["s"], "device": ["d"], "x": [1.0, 2.0]}
        swept = xr.Dataset(dict.fromkeys(("delay_s", "energy_j"), (dims, data)), at)
        panel = along(swept, "x").axes[0]
    else:
        mean = (("policy", "statistic"), np.tile(level[:, None], 3))
        (panel,) = headline(xr.Dataset({"delay_s": mean, "energy_j": mean}, {"policy": names})).axes
    lines = [
        line for line in panel.get_lines() if line.get_marker() not in ("None", None, "_", "|")
    ]
    assert len({look_of(line) for line in lines}) == len(names)


def look_of(line: Line2D) -> tuple[object, object]:
    return line.get_color(), line.get_marker()


def test_long_names_of_own_policies_are_told_apart():
    names = ["card", "my_lyapunov_variant_one", "my_lyapunov_variant_two"]
    assert len(set(labels_of(names))) == 3
    assert labels_of(names)[0] == label_of("card")
