"""What no band, server or device may do to the least makespan."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import powers, systems

from card.solver import solve
from card.solver.parallel import least_makespan

CLOSE = 1e-8
"""Relative error of a makespan, whose proof is to 1e-9."""


@st.composite
def rounds_of_all(draw):
    system = draw(systems())
    rates = st.lists(powers(3, 10), min_size=system.num_devices, max_size=system.num_devices)
    return system, np.arange(system.num_devices), np.array(draw(rates)), np.array(draw(rates))


@given(rounds_of_all(), st.floats(1, 100))
def test_more_bandwidth_takes_no_longer(case, times):
    system, device, up, down = case
    narrow = least_makespan(system, device, up, down)
    wide = least_makespan(system, device, times * up, times * down)
    assert wide.bound_s <= narrow.makespan_s * (1 + CLOSE)
    if wide.bound_s == wide.makespan_s:
        assert wide.makespan_s <= narrow.makespan_s * (1 + CLOSE)


@given(rounds_of_all())
def test_between_the_longest_turn_and_all_turns(case):
    """Nobody is faster than alone, and shares as long as turns make all of them end together."""
    system, device, up, down = case
    found = least_makespan(system, device, up, down)
    turns = solve(system, device, up, down, 1.0).delay_s
    assert turns.max() <= found.makespan_s * (1 + CLOSE)
    assert found.bound_s <= found.makespan_s
    reached = found.makespan_s if found.bound_s == found.makespan_s else found.bound_s
    assert reached <= turns.sum() * (1 + CLOSE)


@given(rounds_of_all())
def test_a_device_less_takes_no_longer(case):
    system, device, up, down = case
    if system.num_devices == 1:
        return
    whole = least_makespan(system, device, up, down)
    fewer = least_makespan(system, device[1:], up[1:], down[1:])
    assert fewer.bound_s <= whole.makespan_s * (1 + CLOSE)


@given(rounds_of_all())
def test_a_faster_server_takes_no_longer(case):
    system, device, up, down = case
    slow = least_makespan(system, device, up, down)
    faster = replace(system, flops_per_hz=2 * system.flops_per_hz)
    assert least_makespan(faster, device, up, down).bound_s <= slow.makespan_s * (1 + CLOSE)
