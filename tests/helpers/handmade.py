"""A system of two blocks and two devices with numbers that a reader can follow by hand."""

from dataclasses import replace
from typing import Any

import numpy as np

from card.costs import System
from card.llm import CutProfile

DEVICE_SLOW, DEVICE_FAST = 1, 0
UP, DOWN = 80.0, 40.0


def handmade(**changes: Any) -> System:
    """Devices of 100 and 50 FLOP/s; a server of 10 FLOP per cycle, 20 Hz, P(f) = 1 + f³/1000."""
    profile = CutProfile(
        cut=np.array([0, 1, 2]),
        uplink_bits=np.full(3, 16),
        downlink_bits=np.full(3, 16),
        device_flop=np.array([0, 100, 300]),
        server_flop=np.array([300, 200, 0]),
        uplink_bit=np.array([80, 80, 0]),
        downlink_bit=np.array([0, 40, 0]),
        adapter_bit=np.array([0, 6, 12]),
        device_memory_bit=np.array([1, 2, 3]),
        server_memory_bit=np.array([3, 2, 0]),
        messages=np.array([1, 2, 0]),
        device_parts=np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]]),
    )
    system = System(
        device_names=("fast", "slow"),
        profile=profile,
        feasible=np.full((2, 3), True),
        throughput_flops=np.array([100.0, 50.0]),
        device_power_w=np.array([30.0, 7.0]),
        uplink_power_w=0.5,
        flops_per_hz=10.0,
        static_power_w=1.0,
        linear_power_w_per_hz=0.0,
        power_coefficient=0.001,
        waiting_power_w=0.0,
        device_waiting_power_w=np.zeros(2),
        server_overhead_s=np.zeros(3),
        server_launch_s=np.zeros(3),
        device_overhead_s=np.zeros((2, 3)),
        device_launch_s=np.zeros((2, 3)),
        round_trip_s=0.0,
        frequency_min_hz=np.array([10.0, 5.0]),
        frequency_max_hz=20.0,
        clocks_hz=None,
        local_iterations=2,
        delay_weight=0.5,
    )
    return replace(system, **changes)
