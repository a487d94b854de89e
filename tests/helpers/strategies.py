"""Random systems, far beyond any real hardware, and the model once more in plain Python."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, product

import numpy as np
from hypothesis import strategies as st

from card.costs import System
from card.llm import CutProfile


@dataclass(frozen=True)
class Layers:
    """Costs of the blocks, from which the costs of every cut add up."""

    block_flop: list[int]
    block_adapter_bit: list[int]
    head_flop: int
    hidden_bit: int
    label_bit: int
    ushaped: bool
    wire: tuple[tuple[int, ...], tuple[int, ...]] = ((16,), (16,))

    def sent_bit(self, bits: int) -> int:
        """What `hidden_bit` of 16-bit numbers are in other bits, scales of integers included."""
        return self.hidden_bit * bits // 16 + (bits < 16) * (self.hidden_bit // 64)

    def profile(self) -> CutProfile:
        """Costs per option, as section 2 of the book adds them up."""
        count = len(self.block_flop)
        device = np.array([0, *accumulate(self.block_flop)])
        adapters = np.array([0, *accumulate(self.block_adapter_bit)])
        cut = np.arange(count + 1)
        split, trains = cut < count, cut > 0
        head_below = np.full(count + 1, True) if self.ushaped else ~split
        labels = 0 if self.ushaped else self.label_bit

        def at(up: int, down: int) -> CutProfile:
            return CutProfile(
                cut=cut,
                uplink_bits=np.full(count + 1, up),
                downlink_bits=np.full(count + 1, down),
                device_flop=device + head_below * self.head_flop,
                server_flop=device[-1] - device + ~head_below * self.head_flop,
                uplink_bit=split * ((1 + self.ushaped) * self.sent_bit(up) + labels),
                downlink_bit=split * (trains * 1 + self.ushaped) * self.sent_bit(down),
                adapter_bit=adapters,
                device_memory_bit=adapters + split,
                server_memory_bit=adapters[-1] - adapters,
                messages=split * (1 + trains + 2 * self.ushaped),
                device_parts=np.stack([cut**0, trains, cut - trains, head_below], axis=1),
            )

        ways = [vars(at(up, down)) for up, down in product(*self.wire)]
        return CutProfile(**{name: np.concatenate([one[name] for one in ways]) for name in ways[0]})


@dataclass(frozen=True)
class Real:
    """What a real machine spends beyond the textbook's; nothing if not said otherwise."""

    linear_share: float = 0.0
    waiting_power_w: float = 0.0
    device_waiting_power_w: float = 0.0
    server_part_s: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    launch_part_s: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    device_part_s: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    round_trip_s: float = 0.0


def make_system(
    layers: Layers,
    *,
    throughput_flops: list[float],
    flops_per_hz: float,
    gpu_clock_hz: float,
    peak_power_w: float,
    static_share: float = 0.0,
    minimum_share: float = 0.0,
    clock_shares: list[float] | None = None,
    feasible: list[list[bool]] | None = None,
    local_iterations: int = 1,
    delay_weight: float = 0.5,
    real: Real | None = None,
) -> System:
    """A system whose clock limits and power law follow from the hardware, as the book says."""
    profile, throughput = layers.profile(), np.array(throughput_flops)
    clocks = None
    if clock_shares is not None:
        clocks = np.unique(np.array(clock_shares)) * gpu_clock_hz
    top = gpu_clock_hz if clocks is None else float(clocks[-1])
    lowest = np.minimum(np.maximum(minimum_share * top, throughput / flops_per_hz), top)
    if clocks is not None:
        lowest = np.array([clocks[clocks >= low].min() for low in lowest])
    static, real = static_share * peak_power_w, real or Real()
    linear = real.linear_share * (peak_power_w - static) / gpu_clock_hz
    below = profile.device_parts
    above = below[-1] - below
    launch_s = above @ np.array(real.launch_part_s)
    allowed = np.full((len(throughput), profile.num_options), True)
    if feasible is not None:  # of every option, or of every cut whatever the bits
        given = np.array(feasible)
        allowed = np.tile(given, (1, profile.num_options // given.shape[1]))
    return System(
        device_names=tuple(f"device-{i + 1}" for i in range(len(throughput))),
        profile=profile,
        feasible=allowed,
        throughput_flops=throughput,
        device_power_w=np.full(len(throughput), 15.0),
        uplink_power_w=0.2,
        flops_per_hz=flops_per_hz,
        static_power_w=static,
        linear_power_w_per_hz=linear,
        power_coefficient=(peak_power_w - static - linear * gpu_clock_hz) / gpu_clock_hz**3,
        waiting_power_w=real.waiting_power_w,
        device_waiting_power_w=np.full(len(throughput), real.device_waiting_power_w),
        server_overhead_s=above @ np.array(real.server_part_s) + launch_s,
        server_launch_s=launch_s,
        device_overhead_s=np.tile(below @ np.array(real.device_part_s), (len(throughput), 1)),
        device_launch_s=np.zeros((len(throughput), len(below))),
        round_trip_s=real.round_trip_s,
        frequency_min_hz=lowest,
        frequency_max_hz=top,
        clocks_hz=clocks,
        local_iterations=local_iterations,
        delay_weight=delay_weight,
    )


def powers(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers between 10^low and 10^high, evenly spread over the orders of magnitude."""
    return st.floats(low, high).map(lambda exponent: 10.0**exponent)


def amounts(low: float, high: float) -> st.SearchStrategy[int]:
    """Whole numbers between 10^low and 10^high."""
    return powers(low, high).map(int)


def scattered(low: float, high: float, size: int) -> st.SearchStrategy[list[float]]:
    """Unlike numbers between 10^low and 10^high; one seed stands for them all, which is quick."""
    seeds = st.integers(0, 2**32 - 1)
    return seeds.map(
        lambda seed: (10.0 ** np.random.default_rng(seed).uniform(low, high, size)).tolist()
    )


def subsets(size: int) -> st.SearchStrategy[list[bool]]:
    """Not empty subsets of a range, as flags."""
    return st.integers(1, 2**size - 1).map(lambda bits: [bool(bits >> i & 1) for i in range(size)])


def or_zero(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[float]:
    """These numbers, or 0."""
    return st.one_of(st.just(0.0), numbers)


part_times = or_zero(powers(-6, 0)).flatmap(
    lambda scale: scattered(-1, 0, 4).map(lambda row: tuple(scale * item for item in row))
)

reals = st.builds(
    Real,
    linear_share=st.sampled_from([0.0, 0.3, 0.9]),
    waiting_power_w=or_zero(powers(-1, 2)),
    device_waiting_power_w=or_zero(powers(-1, 2)),
    server_part_s=part_times,
    launch_part_s=part_times,
    device_part_s=part_times,
    round_trip_s=or_zero(powers(-4, 0)),
)

bit_lists = st.one_of(
    st.just((16,)),
    st.lists(st.sampled_from([16, 8, 4]), min_size=1, max_size=3, unique=True).map(tuple),
)

weights = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0.001, 0.999))


@st.composite
def layer_stacks(draw: st.DrawFn, *, equal: bool | None = None) -> Layers:
    """Blocks that are all alike but the first, or all different."""
    count = draw(st.integers(1, 12))
    if draw(st.booleans()) if equal is None else equal:
        first, other = draw(amounts(9, 13)), draw(amounts(9, 13))
        flop = [first] + [other] * (count - 1)
        adapters = [draw(amounts(4, 8))] * count
    else:
        flop = list(map(int, draw(scattered(9, 13, count))))
        adapters = list(map(int, draw(scattered(4, 8, count))))
    return Layers(
        block_flop=flop,
        block_adapter_bit=adapters,
        head_flop=draw(amounts(8, 13)),
        hidden_bit=draw(amounts(5, 9)),
        label_bit=draw(amounts(3, 6)),
        ushaped=draw(st.booleans()),
        wire=(draw(bit_lists), draw(bit_lists)),
    )


@st.composite
def systems(
    draw: st.DrawFn,
    *,
    equal: bool | None = None,
    clocks: bool | None = None,
    real: Real | None = None,
) -> System:
    """Systems with fast and slow devices, poor and ample memory, any power law and clock list."""
    layers = draw(layer_stacks(equal=equal))
    cuts, devices = len(layers.block_flop) + 1, draw(st.integers(1, 3))
    options = cuts * len(layers.wire[0]) * len(layers.wire[1])
    listed = draw(st.booleans()) if clocks is None else clocks
    runs = st.tuples(st.integers(0, cuts - 1), st.integers(0, cuts - 1)).map(
        lambda ends: [min(ends) <= option % cuts <= max(ends) for option in range(options)]
    )
    row = st.one_of(st.just([True] * options), runs, subsets(options))
    shares = st.one_of(
        st.integers(1, 8).flatmap(lambda size: scattered(-1.3, 0, size)),
        st.integers(1, 60).map(lambda steps: [step / steps for step in range(1, steps + 1)]),
    )
    return make_system(
        layers,
        throughput_flops=draw(scattered(10, 15, devices)),
        flops_per_hz=draw(powers(2, 5)),
        gpu_clock_hz=draw(powers(8, 10)),
        peak_power_w=draw(powers(0.5, 3)),
        static_share=draw(st.sampled_from([0.0, 0.1, 0.5, 0.95])),
        minimum_share=draw(st.sampled_from([0.0, 0.2, 1.0])),
        clock_shares=draw(shares) if listed else None,
        feasible=[draw(row) for _ in range(devices)],
        local_iterations=draw(st.integers(1, 50)),
        delay_weight=draw(weights),
        real=draw(st.one_of(st.none(), reals)) if real is None else real,
    )


@st.composite
def rounds(draw: st.DrawFn, system: System, size: int = 20) -> tuple[np.ndarray, ...]:
    """Devices, uplink and downlink rates of some rounds, from 1 kbit/s to 10 Gbit/s."""
    devices = np.arange(size) % system.num_devices
    return devices, *(np.array(draw(scattered(3, 10, size))) for _ in range(2))


@dataclass(frozen=True)
class Plain:
    """Equations (delay), (power) and (energy) for one device-round, without numpy or `card`.

    The delay is that beyond what the cut `origin` waits. Taken off in whole numbers, this keeps
    small differences of long delays exact.
    """

    waited_s: list[float]
    overhead_s: list[float]
    cycles: list[float]
    static_power_w: float
    linear_power_w_per_hz: float
    power_coefficient: float
    waiting_power_w: float

    @classmethod
    def of(cls, system: System, device: int, up: float, down: float, origin: int) -> Plain:
        profile, count = system.profile, system.local_iterations
        throughput = float(system.throughput_flops[device])
        columns = [
            [value - column.tolist()[origin] for value in column.tolist()]
            for column in (
                profile.device_flop,
                profile.uplink_bit,
                profile.downlink_bit,
                profile.adapter_bit,
                profile.messages,
                (profile.adapter_bit > 0).astype(int),
                system.device_overhead_s[device],
                system.server_launch_s,
            )
        ]
        return cls(
            waited_s=[
                count * (work / throughput + above / up + below / down + own + launch)
                + adapter / down
                + adapter / up
                + (count * messages + 2 * moved) * system.round_trip_s
                for work, above, below, adapter, messages, moved, own, launch in zip(
                    *columns, strict=True
                )
            ],
            overhead_s=(count * (system.server_overhead_s - system.server_launch_s)).tolist(),
            cycles=[count * work / system.flops_per_hz for work in profile.server_flop.tolist()],
            static_power_w=system.static_power_w,
            linear_power_w_per_hz=system.linear_power_w_per_hz,
            power_coefficient=system.power_coefficient,
            waiting_power_w=system.waiting_power_w,
        )

    def busy_s(self, cut: int, frequency: float) -> float:
        return self.overhead_s[cut] + self.cycles[cut] / frequency

    def delay_s(self, cut: int, frequency: float) -> float:
        return self.waited_s[cut] + self.busy_s(cut, frequency)

    def power_w(self, frequency: float) -> float:
        linear, cubic = self.linear_power_w_per_hz, self.power_coefficient
        return self.static_power_w + linear * frequency + cubic * frequency**3

    def energy_j(self, cut: int, frequency: float) -> float:
        busy = self.busy_s(cut, frequency) * self.power_w(frequency)
        return busy + self.waiting_power_w * self.waited_s[cut]
