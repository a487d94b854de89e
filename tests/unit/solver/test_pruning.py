"""`card.solver.pruning`: which cuts are kept, by hand; properties/test_pruning.py has the laws."""

import numpy as np
from handmade import handmade

import card
from card.solver import extreme_cuts


def test_straight_runs_of_cuts_are_pruned_to_their_ends():
    profile = card.cut_profile(card.load_scenario("nominal"))
    everything = np.full(17, True)
    assert extreme_cuts(profile, everything) == [0, 1, 15, 16]
    some = everything.copy()
    some[[0, 1, 16]] = False
    assert extreme_cuts(profile, some) == [2, 15]
    only = np.arange(17) == 7
    assert extreme_cuts(profile, only) == [7]
    # of 16, 8 and 4 bits down, whatever they are: at cut 0 nothing comes down, at 16 nothing at all
    several = {"wire.downlink_bits": [8, 16, 4]}
    profile = card.cut_profile(card.load_scenario("nominal", **several))
    assert extreme_cuts(profile, np.full(51, True)) == [0, 1, 15, 16, 18, 32, 35, 49]
    assert extreme_cuts(profile, everything) == [0, 1, 15, 16]
    # the handmade blocks are unequal, so nothing is on a straight line
    assert extreme_cuts(handmade().profile, np.full(3, True)) == [0, 1, 2]
