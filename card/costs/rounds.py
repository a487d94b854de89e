"""Delay and energy of one round, defined once for the solver, its rivals, simulation, sweeps.

`evaluate` scores decisions on a system's arrays: CARD's, the benchmarks' and your own. `delay_s`
and `energy_j` say what both add up from; the solver takes them from here. On torch tensors all of
it carries gradients.

Where several micro-batches are in flight, a mini-batch goes through a pipeline of four stages:
device, uplink, server, downlink (`assumed`). Each stage takes one micro-batch after the other, all
take the same time in it, and the next mini-batch begins when the last one has left, since its
weights follow from it. What a stage does for a micro-batch is one piece of work, also where the
device works at both ends of the pipeline: if it does all its forward passes first, the pipeline of
topology `vanilla` needs no longer than that. A message holds its link for its round trip, too.
Adapters move before and after.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial, reduce
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from card.base.arguments import check_index, check_positive, check_shapes
from card.base.arrays import backend_of, by_blocks
from card.base.units import FloatArray
from card.costs.arrays import System, of_device
from card.hardware.power import power_w
from card.scenario import Scenario


@dataclass(frozen=True, eq=False)
class Costs:
    """Where the time and energy of one round go; all arrays of one broadcast shape."""

    device_compute_s: FloatArray
    """Device computing [s]."""
    uplink_s: FloatArray
    """Smashed data up [s]."""
    downlink_s: FloatArray
    """Gradients down [s]."""
    adapter_down_s: FloatArray
    """Adapters down [s]."""
    adapter_up_s: FloatArray
    """Adapters up [s]."""
    server_compute_s: FloatArray
    """Server computing, its launches included [s]."""
    server_launch_s: FloatArray
    """Part of it in which the server waits for launches [s]."""
    sending_s: FloatArray
    """Device's radio sending, which is the bits alone [s]."""
    smashed_s: FloatArray
    """Part of it in which it sends smashed data [s]."""
    server_power_w: FloatArray
    """Server power while it computes [W]."""
    device_power_w: FloatArray
    """Device power while it computes [W]."""
    uplink_power_w: FloatArray
    """Device transmit power [W]."""
    waiting_power_w: float
    """Server power while it waits [W]."""
    device_waiting_power_w: FloatArray
    """Device power while it waits [W]."""
    in_flight: int
    """Micro-batches in flight at once (m)."""

    @property
    def adapter_s(self) -> FloatArray:
        """Adapters down and up [s]."""
        return self.adapter_down_s + self.adapter_up_s

    @property
    def stages_s(self) -> tuple[FloatArray, ...]:
        """What device, uplink, server and downlink take for all mini-batches [s]."""
        return self.device_compute_s, self.uplink_s, self.server_compute_s, self.downlink_s

    @property
    def delay_s(self) -> FloatArray:
        """Delay of the round [s] (D), :eq:`eq-delay` and :eq:`eq-real-delay` of the book.

        With several micro-batches in flight :eq:`eq-pipeline`.
        """
        sent_s = self.uplink_s + self.downlink_s + self.adapter_down_s + self.adapter_up_s
        in_turn_s = delay_s(waited_s(self.device_compute_s, sent_s), self.server_compute_s)
        if self.in_flight == 1:
            return in_turn_s
        saved_s: FloatArray = overlapped_s(self.in_flight, *self.stages_s)
        return in_turn_s - saved_s

    @property
    def busy_s(self) -> FloatArray:
        """Time in which the server is busy [s] (τ), computing and not waiting for launches."""
        return self.server_compute_s - self.server_launch_s

    @property
    def energy_j(self) -> FloatArray:
        """Server energy [J] (E), :eq:`eq-energy` of the book."""
        waiting_s = self.delay_s - self.busy_s
        return energy_j(self.busy_s, self.server_power_w, waiting_s, self.waiting_power_w)

    @property
    def device_energy_j(self) -> FloatArray:
        """Device energy of computing, sending and waiting [J] (E_D); reported, not optimised.

        Equation :eq:`eq-device-energy` of the book. A device that computes while it sends waits in
        neither time; how long that is follows from the two stages alone (`assumed`).
        """
        both_s: FloatArray = overlapped_s(self.in_flight, self.device_compute_s, self.smashed_s)
        waiting_s = self.delay_s - self.device_compute_s - self.sending_s + both_s
        return (
            self.device_compute_s * self.device_power_w
            + self.sending_s * self.uplink_power_w
            + waiting_s * self.device_waiting_power_w
        )


_ALIKE = ("waiting_power_w", "in_flight")
_PARTS = tuple(item.name for item in fields(Costs) if item.name not in _ALIKE)


def evaluate(
    system: System | Scenario,
    device: ArrayLike,
    cut: ArrayLike,
    frequency_hz: ArrayLike,
    uplink_bps: ArrayLike,
    downlink_bps: ArrayLike,
) -> Costs:
    """Delay and energy of one round of one device; every argument broadcasts.

    Scores whatever is asked, also what memory or clock range forbid;
    `card.policies.checks.check_decision` says whether a decision may be taken.

    Numbers and NumPy arrays give NumPy arrays, torch tensors give tensors with gradients, and Dask
    arrays give lazy ones.

    Parameters
    ----------
    system
        A scenario, or its arrays.
    device
        Device position [1].
    cut
        Options, by their rows in the system's profile. Rows 0..I are the cuts (c) at the first
        listed bits up and down, and all there are where the scenario's `wire` lists no others.
    frequency_hz
        Server clock (f) [Hz], above 0.
    uplink_bps, downlink_bps
        Link rates [bit/s], above 0.

    Raises
    ------
    ScenarioError
        If a value is out of its range or not finite.

    Notes
    -----
    Equations :eq:`eq-delay` and :eq:`eq-energy` of the book.

    Examples
    --------
    >>> import card
    >>> costs = evaluate(card.load_scenario("nominal"), 0, [0, 16], 2e9, 20e6, 60e6)
    >>> costs.delay_s.round(1).tolist()  # all on the server, all on the device
    [19.8, 10.8]
    >>> costs.energy_j.round().tolist()
    [237.0, 0.0]
    """
    arrays = System.of(system)
    values = (device, cut, frequency_hz, uplink_bps, downlink_bps)
    backend = arrays.backend(*values)
    if backend.is_lazy:
        parts = by_blocks(partial(_full_parts, arrays), [np.float64] * len(_PARTS), *values)
        named = dict(zip(_PARTS, parts, strict=True))
        return Costs(**named, **{name: getattr(arrays, name) for name in _ALIKE})
    index = check_index("device", device, arrays.num_devices, backend)
    option = check_index("cut", cut, arrays.num_options, backend)
    frequency = check_positive("frequency_hz", frequency_hz, backend)
    up = check_positive("uplink_bps", uplink_bps, backend)
    down = check_positive("downlink_bps", downlink_bps, backend)
    check_shapes(device=index, cut=option, frequency_hz=frequency, uplink_bps=up, downlink_bps=down)
    return round_costs(arrays.on(backend), index, option, frequency, up, down)


def _full_parts(arrays: System, *values: Any) -> tuple[FloatArray, ...]:
    """All arrays of `Costs`, each of the broadcast shape of the values."""
    costs = evaluate(arrays, *values)
    return tuple(np.broadcast_to(getattr(costs, name), costs.delay_s.shape) for name in _PARTS)


def round_costs(
    arrays: System, device: Any, cut: Any, frequency: FloatArray, up: FloatArray, down: FloatArray
) -> Costs:
    """`evaluate` without its checks, for loops that have made them."""
    compute_s, up_s, down_s, adapter_down_s, adapter_up_s = fixed_parts(
        arrays, device, cut, up, down
    )
    up_trips_s, down_trips_s, adapter_trip_s = trips_s(arrays, device, cut)
    launch_s = arrays.local_iterations * arrays.server_launch_s[cut]
    busy = busy_s(busy_overhead_s(arrays, cut), server_cycles(arrays, cut), frequency)
    return Costs(
        device_compute_s=compute_s,
        uplink_s=up_s + up_trips_s,
        downlink_s=down_s + down_trips_s,
        adapter_down_s=adapter_down_s + adapter_trip_s,
        adapter_up_s=adapter_up_s + adapter_trip_s,
        server_compute_s=busy + launch_s,
        server_launch_s=launch_s,
        sending_s=up_s + adapter_up_s,
        smashed_s=up_s,
        server_power_w=server_power_w(arrays, frequency),
        device_power_w=arrays.device_power_w[device],
        uplink_power_w=of_device(arrays.uplink_power_w, device),
        waiting_power_w=arrays.waiting_power_w,
        device_waiting_power_w=arrays.device_waiting_power_w[device],
        in_flight=arrays.in_flight,
    )


def fixed_parts(
    arrays: System, device: Any, cut: Any, up: Any, down: Any
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """What no server clock changes [s]: device computing, bits up and down, adapters down and up.

    Without what messages take beyond their bits, which `trips_s` gives.
    """
    profile, rounds = arrays.profile, float(arrays.local_iterations)  # whole products overflow
    adapter_bit = profile.adapter_bit[cut]
    return (
        rounds * profile.device_flop[cut] / arrays.throughput_flops[device]
        + rounds * arrays.device_overhead_s[device, cut],
        rounds * profile.uplink_bit[cut] / up,
        rounds * profile.downlink_bit[cut] / down,
        adapter_bit / down,
        adapter_bit / up,
    )


def trips_s(arrays: System, device: Any, cut: Any) -> tuple[FloatArray, FloatArray, FloatArray]:
    """What a round's messages take beyond their bits [s]: up, down, and adapters each way."""
    profile, each_s = arrays.profile, of_device(arrays.round_trip_s, device)
    messages = profile.messages[cut]
    down = messages // 2  # the first of an iteration goes up, then they take turns
    rounds = float(arrays.local_iterations)
    adapter_bit = profile.adapter_bit[cut]
    moved = backend_of(adapter_bit).floats(adapter_bit > 0)  # torch makes floats of truths short
    return rounds * (messages - down) * each_s, rounds * down * each_s, moved * each_s


def busy_overhead_s(arrays: System, cut: Any) -> FloatArray:
    """Time of a round that the server computes whatever its clock [s]."""
    own_s: FloatArray = arrays.server_overhead_s[cut] - arrays.server_launch_s[cut]
    return arrays.local_iterations * own_s


def server_cycles(arrays: System, cut: Any) -> FloatArray:
    """Server clock cycles of a round (Q)."""
    cycles: FloatArray = (
        arrays.local_iterations / arrays.flops_per_hz
    ) * arrays.profile.server_flop[cut]
    return cycles


def server_power_w(arrays: System, frequency_hz: Any) -> FloatArray:
    """Server power at a clock [W], by :py:func:`card.hardware.power.power_w`."""
    return power_w(
        frequency_hz,
        arrays.static_power_w,
        arrays.power_coefficient,
        arrays.linear_power_w_per_hz,
    )


def waited_s(own_s: Any, sent_s: Any) -> FloatArray:
    """Time of a round in which the server waits [s]: for device, messages, launches, the link."""
    total: FloatArray = own_s + sent_s
    return total


def busy_s(overhead_s: Any, cycles: Any, frequency_hz: Any) -> FloatArray:
    """Time of a round in which the server is busy (τ) [s].

    Notes
    -----
    Equation :eq:`eq-busy` of the book.
    """
    total: FloatArray = overhead_s + cycles / frequency_hz
    return total


def delay_s(waited_s: Any, busy_s: Any) -> FloatArray:
    """Delay of a round (D) [s]: the server waits, then it is busy.

    Notes
    -----
    Equation :eq:`eq-delay` of the book.
    """
    total: FloatArray = waited_s + busy_s
    return total


def overlapped_s(in_flight: int, *stages_s: Any) -> Any:
    """Time of a round that several micro-batches in flight save [s].

    One at a time, the stages take their sum. In flight, the first micro-batch takes an m-th of it,
    and each of the m - 1 others follows by an m-th of the slowest stage.

    Parameters
    ----------
    in_flight
        Micro-batches in flight at once [1] (m); with one, nothing is saved.
    *stages_s
        What each stage takes for all micro-batches of the round [s].

    Notes
    -----
    Equation :eq:`eq-pipeline` of the book.
    """
    if in_flight == 1:
        return 0.0
    xp = backend_of(*stages_s).xp
    slowest_s = reduce(xp.maximum, stages_s)
    return (1.0 - 1.0 / in_flight) * (sum(stages_s) - slowest_s)


def energy_j(busy_s: Any, power_w: Any, waited_s: Any, waiting_power_w: Any) -> FloatArray:
    """Server energy of a round (E) [J]: its power while busy, and that while it waits.

    Notes
    -----
    Equations :eq:`eq-energy` and :eq:`eq-real-energy` of the book.
    """
    spent: FloatArray = busy_s * power_w + waited_s * waiting_power_w
    return spent
