"""`card.llm.memory`: the cuts that a device may take."""

import numpy as np
import pytest

import card
from card.base.errors import ScenarioError

NOMINAL = card.load_scenario("nominal")


def test_memory_and_cut_range_bound_the_feasible_cuts():
    system = card.system(
        NOMINAL.updated({"training.cut_range": [2, 14], "devices.device-4.memory_share": 0.2})
    )
    assert np.flatnonzero(system.feasible[0]).tolist() == list(range(2, 15))
    usable = 0.2 * 8 * 8e9
    fits = np.flatnonzero(system.profile.device_memory_bit <= usable)
    assert np.flatnonzero(system.feasible[3]).tolist() == [c for c in fits if 2 <= c <= 14]
    assert 2 < system.feasible[3].sum() < 13


def test_memory_too_small_for_any_cut_names_the_device_and_the_need():
    with pytest.raises(ScenarioError, match=r"devices.device-2: no cut fits .* 0.525 GB, usable"):
        card.system(NOMINAL.updated({"devices.device-2.memory_share": 0.01}))
