"""`card.policies.checks`: which decisions may be taken, and what is said of others."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from handmade import handmade

from card.base.errors import ScenarioError
from card.policies import check_decision


class TestCheckDecision:
    """Devices may take cuts 0 and 1, and clocks from 10 or 5 Hz to 20 Hz."""

    SYSTEM = handmade(feasible=np.array([[True, True, False], [True, True, True]]))

    def test_feasible_decisions_pass(self):
        check_decision(self.SYSTEM, np.array([0, 1]), np.array([1, 2]), np.array([10.0, 5.0]))
        check_decision(self.SYSTEM, 0, 0, 20.0 * (1 + 1e-12))

    @pytest.mark.parametrize(
        ("device", "cut", "clock", "message"),
        [
            (0, 2, 20.0, "cut = 2 does not fit fast and the server; give one of 0, 1."),
            ([1, 0], 2, 20.0, "cut = 2 does not fit fast and the server; give one of 0, 1."),
            (0, 0, 9e12, "frequency_hz = 9e+12 is not allowed; give 10 to 20 Hz for fast."),
            (0, 0, 5.0, "frequency_hz = 5 is not allowed; give 10 to 20 Hz for fast."),
            ([0, 1], 0, [15.0, 4.0], "frequency_hz = 4 is not allowed; give 5 to 20 Hz for slow."),
            (0, 3, 20.0, "cut = 3 is out of range; give 0 to 2."),
            (0, -1, 20.0, "cut = -1 is out of range; give 0 to 2."),
            (2, 0, 20.0, "device = 2 is out of range; give 0 to 1."),
        ],
    )
    def test_others_are_refused(self, device, cut, clock, message):
        with pytest.raises(ScenarioError) as refusal:
            check_decision(self.SYSTEM, np.array(device), np.array(cut), np.array(clock))
        assert str(refusal.value) == message

    @pytest.mark.parametrize(
        ("device", "cut", "clock", "wrong"),
        [
            (0, 0.5, 20.0, "cut = "),
            (0, math.nan, 20.0, "cut = "),
            (0, 0, math.nan, "frequency_hz = nan is not allowed"),
            (0, 0, math.inf, "frequency_hz = inf is not allowed"),
            (0, 0, [15.0, -1.0], "frequency_hz = -1"),
            (0.0, 0, 20.0, "device = "),
            ([0, 1], [0, 1, 0], 20.0, "the shapes do not broadcast together"),
        ],
    )
    def test_what_is_no_decision_is_refused_as_costs_refuse_it(self, device, cut, clock, wrong):
        with pytest.raises(ScenarioError, match=wrong):
            check_decision(self.SYSTEM, device, cut, clock)

    def test_bounds_and_clocks_are_written_so_that_they_are_accepted(self):
        third = handmade(frequency_min_hz=np.array([1e9 / 3] * 2), frequency_max_hz=2e9 / 3)
        listed = replace(third, clocks_hz=np.array([1e9 / 3, 1e9 / 2.1]))
        for system in (third, listed):
            with pytest.raises(ScenarioError) as refusal:
                check_decision(system, 0, 0, 3.3333e8 if system is third else 4e8)
            offered = re.findall(r"[\d.e+]*\d", str(refusal.value).partition("give ")[2])
            assert len(offered) == 2
            for clock in offered:
                check_decision(system, 0, 0, float(clock))

    def test_clock_beside_a_list_is_refused(self):
        listed = handmade(clocks_hz=np.array([10.0, 20.0]))
        check_decision(listed, 0, 0, 10.0)
        with pytest.raises(ScenarioError, match="= 15 is not on the list; give one of 10, 20"):
            check_decision(listed, 0, 0, 15.0)
