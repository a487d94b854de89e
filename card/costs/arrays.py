"""A scenario as the arrays that the model computes with: rates, limits, every option's demands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from card.base.arguments import GREATEST_COST
from card.base.arrays import Backend, backend_of, is_foreign, locked, stacked
from card.base.errors import ScenarioError
from card.base.units import FloatArray, IntArray, dbm_to_w
from card.hardware.catalogue import Hardware, Measured
from card.hardware.power import clock_at, coefficient_at, power_w
from card.hardware.profile import PARTS, PartName
from card.llm import CutProfile, cut_profile, feasible_cuts, option_leakage, option_penalty
from card.scenario import Device, Scenario, Server


@dataclass(frozen=True, eq=False)
class System:
    """A scenario as the arrays that the model computes with.

    Any number but counts and cuts may be a torch tensor in `dataclasses.replace(system, ...)`, for
    gradients with respect to it. NumPy arrays refuse changes in place: results are remembered.
    """

    device_names: tuple[str, ...]
    """Names of the devices, in the order of their turns."""
    profile: CutProfile
    """What each option asks for; an option is a row of it, a cut with bits up and down."""
    feasible: NDArray[np.bool_]
    """Options whose cuts fit each device's and the server's memory, the cut range and the limit of
    leakage, shape `(devices, options)` (C), by :eq:`eq-feasible`."""
    throughput_flops: FloatArray
    """Device compute rate [FLOP/s], shape `(devices,)` (C_D)."""
    device_power_w: FloatArray
    """Device power while it computes [W], shape `(devices,)` (P_D); NaN where unknown."""
    uplink_power_w: float | FloatArray
    """Transmit power of every device, or of each where they differ [W] (p_up)."""
    flops_per_hz: float
    """Server work per clock cycle [FLOP] (κ)."""
    static_power_w: float
    """Server power at any clock [W] (P_0)."""
    linear_power_w_per_hz: float
    """Server power per clock [W/Hz] (P_1)."""
    power_coefficient: float
    """Server power per cubed clock [W/Hz³] (ξ)."""
    waiting_power_w: float
    """Server power while it waits [W] (P_w)."""
    device_waiting_power_w: FloatArray
    """Device power while it waits [W], shape `(devices,)` (P_w,D)."""
    server_overhead_s: FloatArray
    """Time of a local iteration on the server that no clock changes [s], shape `(options,)`
    (o_S)."""
    server_launch_s: FloatArray
    """Part of it in which the server waits for launches [s], shape `(options,)` (o_L)."""
    device_overhead_s: FloatArray
    """The same on each device [s], shape `(devices, options)` (o_D)."""
    device_launch_s: FloatArray
    """Part of it in which a device waits for launches [s], shape `(devices, options)`."""
    round_trip_s: float | FloatArray
    """Time that each message takes beyond its bits [s], likewise (t_rt)."""
    frequency_min_hz: FloatArray
    """Lowest server clock for each device [Hz], shape `(devices,)` (F_min), by
    :eq:`eq-clock-range`."""
    frequency_max_hz: float
    """Highest server clock [Hz] (F_max)."""
    clocks_hz: FloatArray | None
    """The clocks on offer, ascending [Hz]; None for a continuous clock."""
    local_iterations: int
    """Mini-batches per round (T)."""
    delay_weight: float
    """Weight of delay (w)."""
    energy_budget_j: float | None = None
    """Mean server energy of a round that may be spent [J] (B), if there is a budget."""
    device_energy_budget_j: float | None = None
    """Mean energy of a device in its round that may be spent [J] (B_D), likewise."""
    queue_weight: float = 1e4
    """What delay counts against a queue of energy [J²/s] (V)."""
    in_flight: int = 1
    """Micro-batches in flight at once (m); 1 where one thing happens after the other."""
    leakage: FloatArray | None = None
    """Share of tokens that a curious server recovers with each option [1], shape `(options,)`
    (Λ), by :eq:`eq-leakage`; None where the scenario has no table."""
    loss_penalty: FloatArray | None = None
    """Loss on held-out text beyond that of 16 bits with each option [nat], shape `(options,)`; None
    where the scenario has no table."""

    @classmethod
    def of(cls, scenario: Scenario | System) -> System:
        """Arrays of a scenario, as `card.system` gives them; arrays stay what they are."""
        return scenario if isinstance(scenario, System) else _arrays_of(scenario)

    @property
    def num_devices(self) -> int:
        """Number of devices."""
        return len(self.device_names)

    @property
    def num_blocks(self) -> int:
        """Number of transformer blocks (I)."""
        return self.profile.num_blocks

    @property
    def num_options(self) -> int:
        """Number of options, I + 1 cuts for each pair of bits up and down."""
        return self.profile.num_options

    def backend(self, *values: Any) -> Backend:
        """The library of these values and of the system's own arrays."""
        return backend_of(*values, *vars(self.profile).values(), *vars(self).values())

    def on(self, backend: Backend) -> System:
        """The system with its numbers as doubles of a library; NumPy's is the system itself."""
        if backend.xp is np:
            return self
        counts = {name: backend.floats(value) for name, value in vars(self.profile).items()}
        numbers = {
            name: backend.floats(value)
            for name, value in vars(self).items()
            if name not in ("feasible", "leakage", "loss_penalty")
            and (isinstance(value, np.ndarray) or is_foreign(value))
        }
        return replace(self, profile=replace(self.profile, **counts), **numbers)


def system(scenario: Scenario | System) -> System:
    """Arrays of a scenario: cut profile, feasible options, rates, clock limits and power law.

    Raises
    ------
    ScenarioError
        If the cut range is empty or no cut fits a device's memory and the server's.

    Notes
    -----
    Compute rates are :eq:`eq-throughput` of the book.
    """
    return System.of(scenario)


def _arrays_of(scenario: Scenario) -> System:
    profile = cut_profile(scenario)  # also says so if it is none
    server, run = scenario.server, scenario.training
    leakage, penalty = option_leakage(scenario, profile), option_penalty(scenario, profile)
    own = {index: cell.link for cell, at in scenario.cells for index in at}
    links = [own[index] for index in sorted(own)]
    shape = run.micro_batch_size, run.sequence_length
    gpu, *boards = (end.board.at(*shape) for end in (server, *scenario.devices))
    memory_gb = [board.memory_gb for board in boards]
    kappa = server.flop_per_cycle(gpu)
    throughput = stacked(
        [
            device.flop_per_cycle(board) * board.clock_hz
            for device, board in zip(scenario.devices, boards, strict=True)
        ]
    )
    law = _power_law(server, gpu)
    backend = backend_of(throughput, kappa, server.minimum_frequency_hz)
    xp, floats = backend.xp, backend.floats
    floor = floats(server.minimum_frequency_hz)
    top = _top_clock(server, law)
    clocks = _clocks(server, law, floor.item(), floats(top).item())
    top = top if clocks is None else float(clocks[-1])
    with np.errstate(over="ignore"):  # what overflows is more than the highest clock
        matching = floats(throughput) / kappa
    lowest = xp.minimum(xp.maximum(floor, matching), floats(top))
    if clocks is not None:
        lowest = floats(clocks)[xp.searchsorted(floats(clocks), lowest)]
    held = run.accumulation * profile.device_parts
    inside = run.accumulation * ((profile.cut > 0) & (profile.server_flop > 0))
    above, tokens = held[-1] - held, shape[0] * shape[1]
    overhead_s, launch_s = _overheads(
        server, gpu, above, inside, tokens, profile.server_flop, kappa * gpu.clock_hz
    )
    on_devices = [
        _overheads(device, board, held, np.zeros_like(inside), tokens, profile.device_flop, rate)
        for device, board, rate in zip(scenario.devices, boards, throughput, strict=True)
    ]
    arrays = System(
        device_names=tuple(device.name for device in scenario.devices),
        profile=profile,
        feasible=feasible_cuts(scenario, profile, memory_gb, gpu.memory_gb, leakage, penalty),
        throughput_flops=throughput,
        device_power_w=np.array([board.max_power_w or np.nan for board in boards]),
        uplink_power_w=_alike([dbm_to_w(link.uplink_power_dbm).item() for link in links]),
        flops_per_hz=kappa,
        **law,
        waiting_power_w=server.waiting_power_w,
        device_waiting_power_w=stacked([device.waiting_power_w for device in scenario.devices]),
        server_overhead_s=overhead_s,
        server_launch_s=launch_s,
        device_overhead_s=stacked([times_s for times_s, _ in on_devices]),
        device_launch_s=stacked([times_s for _, times_s in on_devices]),
        round_trip_s=_alike([link.round_trip_s for link in links]),
        frequency_min_hz=lowest,
        frequency_max_hz=top,
        clocks_hz=clocks,
        local_iterations=run.local_iterations,
        in_flight=run.in_flight,
        **dict(scenario.objective),
        leakage=leakage,
        loss_penalty=penalty,
    )
    _check_extent(arrays)
    return locked(arrays)


def check_one_in_flight(system: System, what: str) -> None:
    """Refuse several micro-batches in flight, for what only holds with one thing after the other.

    Raises
    ------
    ScenarioError
        If there are several.
    """
    if system.in_flight > 1:
        raise ScenarioError(
            f"training.schedule = 'pipelined' is not allowed for {what}, where one thing happens "
            f"after the other; give alternate."
        )


def _alike(values: list[Any]) -> Any:
    """One number where devices have the same, or else that of each."""
    return values[0] if all(value == values[0] for value in values) else stacked(values)


def of_device(values: Any, device: Any) -> Any:
    """A number that all devices may share, of some of them."""
    return values[device] if getattr(values, "ndim", 0) else values


def _check_extent(arrays: System) -> None:
    """Refuse rounds that take or spend more than can be computed with."""
    backend = arrays.backend()
    xp, arrays = backend.xp, arrays.on(backend)
    profile, count = arrays.profile, float(arrays.local_iterations)
    with np.errstate(all="ignore"):  # what overflows is refused
        own_s = profile.device_flop[-1] / arrays.throughput_flops + arrays.device_overhead_s[:, -1]
        worst = own_s * (1.0 + xp.nan_to_num(arrays.device_power_w))
        for clock in (arrays.frequency_min_hz, arrays.frequency_max_hz):
            cycles_s = profile.server_flop[0] / (arrays.flops_per_hz * clock)
            busy_s = cycles_s + arrays.server_overhead_s[0]
            power = arrays.static_power_w, arrays.power_coefficient, arrays.linear_power_w_per_hz
            worst = worst + busy_s * (1.0 + power_w(clock, *power))
        waiting_w = arrays.waiting_power_w + arrays.device_waiting_power_w
        worst = count * worst * (1.0 + waiting_w) + count * arrays.round_trip_s
    for name, extent in zip(arrays.device_names, worst, strict=True):
        if not extent <= GREATEST_COST:
            raise ScenarioError(
                f"devices.{name}: a round takes or spends {float(extent):.3g} s and J; give "
                f"utilisation, clocks, power and overheads that leave at most {GREATEST_COST:g}."
            )


def _overheads(
    end: Server | Device,
    board: Hardware,
    parts: IntArray,
    arrivals: IntArray,
    tokens: int,
    flop: IntArray,
    rate: Any,
) -> tuple[FloatArray, FloatArray]:
    """Time of a local iteration that no clock changes, and its part in launches [s].

    Both for each row of parts held, and of `arrivals`, how often this end begins inside the LLM;
    with micro-batches, each of them counts.
    Launches go on while earlier ones are worked off, so that the longer of the two counts.
    """
    backend = backend_of(end.block_overhead_s, end.head_overhead_s)
    _, first, other, head = backend.floats(parts).T
    busy_s = (first + other) * end.block_overhead_s + head * end.head_overhead_s
    launch_s: FloatArray = np.zeros(len(parts))
    if isinstance(board, Measured):
        own = backend_of(rate)
        arrived_s = board.arrival_s * arrivals  # of a GPU, all launches
        beyond_s = tokens * _summed(board.overhead_s_per_token, parts)
        beyond_s = beyond_s + (not board.accelerator) * arrived_s
        asked_s = _summed(board.launch_s, parts) + board.accelerator * arrived_s
        busy_s = busy_s + backend.floats(beyond_s)
        work_s = own.floats(flop) / rate + own.floats(beyond_s)
        launch_s = own.xp.maximum(own.floats(asked_s) - work_s, 0.0)
    both = backend_of(busy_s, launch_s)
    return both.floats(busy_s) + both.floats(launch_s), launch_s


def _summed(times_s: Mapping[PartName, float], parts: IntArray) -> FloatArray:
    total: FloatArray = parts @ np.array([times_s[name] for name in PARTS])
    return total


def _power_law(server: Server, board: Hardware) -> dict[str, Any]:
    """P(f) of a server, which reaches the board's highest power at its highest clock.

    Where the scenario has no P₁, it is that of the board's swept law, if there is one.
    """
    static_w, linear = server.static_power_w, server.linear_power_w_per_hz
    top_w = board.max_power_w or np.nan
    if isinstance(board, Measured):
        linear = linear or board.linear_power_w_per_hz
        if static_w + linear * board.clock_hz >= top_w:
            raise ScenarioError(
                f"server.static_power_w = {static_w:g} and {linear:g} W/Hz are not allowed with "
                f"{board.title}, which draws {top_w:g} W at {board.clock_hz:g} Hz; give less, and "
                f"server.linear_power_w_per_hz where the profile's own is too much."
            )
    return {
        "static_power_w": static_w,
        "linear_power_w_per_hz": linear,
        "power_coefficient": coefficient_at(top_w, static_w, board.clock_hz, linear),
    }


def _top_clock(server: Server, law: dict[str, Any]) -> Any:
    """Highest clock [Hz], at which the power is not above a cap."""
    top, cap_w = server.board.clock_hz, server.power_cap_w
    if cap_w is None or cap_w >= power_w(top, **law):
        return top
    capped = clock_at(cap_w, **law)
    if capped < server.minimum_frequency_hz:
        least_w = power_w(server.minimum_frequency_hz, **law)
        raise ScenarioError(
            f"server.power_cap_w = {cap_w:g} is not allowed; give at least {least_w:g} W, which "
            f"the server draws at its lowest clock."
        )
    return capped


def _clocks(server: Server, law: dict[str, Any], floor: float, top: float) -> FloatArray | None:
    if server.clock_step_hz:
        highest = server.board.clock_hz
        steps = int((highest - floor) / server.clock_step_hz)
        listed = highest - server.clock_step_hz * np.arange(steps + 1)
    elif server.clocks_hz:
        listed = np.asarray(server.clocks_hz)
    else:
        return None
    offered: FloatArray = np.unique(listed[(listed > 0) & (listed >= floor)])
    clocks = offered[offered <= top]
    if not clocks.size:
        least_w = float(power_w(offered[0], **law))
        raise ScenarioError(
            f"server.power_cap_w = {server.power_cap_w:g} is not allowed; give at least "
            f"{least_w:.6g} W, which the server draws at its lowest clock."
        )
    return clocks
