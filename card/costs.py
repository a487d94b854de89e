"""Delay and energy of one round, defined once for the solver, its rivals, simulation, sweeps.

`system` turns a scenario into arrays, `evaluate` scores decisions on them: CARD's, the benchmarks'
and your own. `delay_s` and `energy_j` say what both add up from; the solver takes them from here.
On torch tensors all of it carries gradients.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from card.base.arguments import GREATEST_COST, check_index, check_positive, check_shapes
from card.base.arrays import Backend, backend_of, by_blocks, is_foreign, locked, stacked
from card.base.errors import ScenarioError
from card.base.units import FloatArray, dbm_to_w
from card.channel.rates import check_state_rates
from card.hardware.power import coefficient_at, power_w
from card.llm import CutProfile, cut_profile, feasible_cuts
from card.scenario import Scenario, read_scenario


@dataclass(frozen=True, eq=False)
class System:
    """A scenario as the arrays that the model computes with.

    Any number but counts and cuts may be a torch tensor in `dataclasses.replace(system, ...)`, for
    gradients with respect to it. NumPy arrays refuse changes in place: results are remembered.
    """

    device_names: tuple[str, ...]
    """Names of the devices, in the order of their turns."""
    profile: CutProfile
    """What each cut asks for."""
    feasible: NDArray[np.bool_]
    """Cuts that fit each device's and the server's memory and the cut range, shape
    `(devices, I + 1)` (C), by :eq:`eq-feasible`."""
    throughput_flops: FloatArray
    """Device compute rate [FLOP/s], shape `(devices,)` (C_D)."""
    device_power_w: FloatArray
    """Device power while it computes [W], shape `(devices,)` (P_D); NaN where unknown."""
    uplink_power_w: float
    """Device transmit power [W] (p_up)."""
    flops_per_hz: float
    """Server work per clock cycle [FLOP] (κ)."""
    static_power_w: float
    """Server power at any clock [W] (P_0)."""
    power_coefficient: float
    """Server power per cubed clock [W/Hz³] (ξ)."""
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
        return len(self.profile.cut) - 1

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
            if name != "feasible" and (isinstance(value, np.ndarray) or is_foreign(value))
        }
        return replace(self, profile=replace(self.profile, **counts), **numbers)


def load_scenario(name_or_path: str | Path, **overrides: Any) -> Scenario:
    """Load a scenario or study, merged with its bases, and refuse whatever is wrong with it.

    Parameters
    ----------
    name_or_path
        Name of a shipped scenario or study, or path of a scenario or study file.
    **overrides
        Values to replace, as nested mappings or dotted paths, e.g. ``{"link.bandwidth_hz": 2e7}``.

    Raises
    ------
    ScenarioError
        If a file is missing or malformed, a key unknown, a value out of range, or if the values do
        not go together: with the LLM, with memory, or on the link.
    """
    return checked(read_scenario(name_or_path, **overrides))


def checked(scenario: Scenario) -> Scenario:
    """The scenario, or a `ScenarioError` if no `system` follows from it, or no rate on a link."""
    System.of(scenario)
    check_state_rates(scenario)
    return scenario


def system(scenario: Scenario | System) -> System:
    """Arrays of a scenario: cut profile, feasible cuts, compute rates, clock limits and power law.

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
    server, gpu = scenario.server, scenario.server.board
    boards = [device.board for device in scenario.devices]
    kappa = server.utilisation * gpu.cores * gpu.flop_per_core_cycle
    throughput = stacked(
        [
            device.utilisation * board.cores * board.flop_per_core_cycle * board.clock_hz
            for device, board in zip(scenario.devices, boards, strict=True)
        ]
    )
    backend = backend_of(throughput, kappa, server.minimum_frequency_hz)
    xp, floats = backend.xp, backend.floats
    floor = floats(server.minimum_frequency_hz)
    clocks = _clocks(scenario, floor.item(), gpu.clock_hz)
    top = gpu.clock_hz if clocks is None else float(clocks[-1])
    with np.errstate(over="ignore"):  # what overflows is more than the highest clock
        matching = floats(throughput) / kappa
    lowest = xp.minimum(xp.maximum(floor, matching), floats(top))
    if clocks is not None:
        lowest = floats(clocks)[xp.searchsorted(floats(clocks), lowest)]
    arrays = System(
        device_names=tuple(device.name for device in scenario.devices),
        profile=profile,
        feasible=feasible_cuts(
            scenario, profile, [board.memory_gb for board in boards], gpu.memory_gb
        ),
        throughput_flops=throughput,
        device_power_w=np.array([board.max_power_w or np.nan for board in boards]),
        uplink_power_w=dbm_to_w(scenario.link.uplink_power_dbm).item(),
        flops_per_hz=kappa,
        static_power_w=server.static_power_w,
        power_coefficient=coefficient_at(
            gpu.max_power_w or np.nan, server.static_power_w, gpu.clock_hz
        ),
        frequency_min_hz=lowest,
        frequency_max_hz=top,
        clocks_hz=clocks,
        local_iterations=scenario.training.local_iterations,
        delay_weight=scenario.objective.delay_weight,
    )
    _check_extent(arrays)
    return locked(arrays)


def _check_extent(arrays: System) -> None:
    """Refuse rounds that take or spend more than can be computed with."""
    xp, every = arrays.backend().xp, slice(None)
    with np.errstate(all="ignore"):  # what overflows is refused
        own_s = fixed_parts(arrays, every, -1, up=1.0, down=1.0)[0]
        worst = own_s * (1.0 + xp.nan_to_num(arrays.device_power_w))
        for clock in (arrays.frequency_min_hz, arrays.frequency_max_hz):
            busy_s = xp.max(server_cycles(arrays, every)) / clock
            worst = worst + busy_s * (1.0 + server_power_w(arrays, clock))
    for name, extent in zip(arrays.device_names, worst, strict=True):
        if not extent <= GREATEST_COST:
            raise ScenarioError(
                f"devices.{name}: a round takes or spends {float(extent):.3g} s and J; give "
                f"utilisation, clocks and power that leave at most {GREATEST_COST:g}."
            )


def _clocks(scenario: Scenario, floor: float, top: float) -> FloatArray | None:
    server, step = scenario.server, scenario.server.clock_step_hz
    if step:
        listed = top - step * np.arange(int((top - floor) / step) + 1)
    elif server.clocks_hz:
        listed = np.asarray(server.clocks_hz)
    else:
        return None
    return np.unique(listed[(listed > 0) & (listed >= floor)])


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
    """Server computing [s]."""
    server_power_w: FloatArray
    """Server power while it computes [W]."""
    device_power_w: FloatArray
    """Device power while it computes [W]."""
    uplink_power_w: float
    """Device transmit power [W]."""

    @property
    def adapter_s(self) -> FloatArray:
        """Adapters down and up [s]."""
        return self.adapter_down_s + self.adapter_up_s

    @property
    def delay_s(self) -> FloatArray:
        """Delay of the round [s] (D), :eq:`eq-delay` of the book."""
        sent_s = self.uplink_s + self.downlink_s + self.adapter_down_s + self.adapter_up_s
        return delay_s(waited_s(self.device_compute_s, sent_s), self.server_compute_s)

    @property
    def energy_j(self) -> FloatArray:
        """Server energy [J] (E), :eq:`eq-energy` of the book."""
        return energy_j(self.server_compute_s, self.server_power_w)

    @property
    def device_energy_j(self) -> FloatArray:
        """Device energy of computing and sending [J] (E_D); reported, not optimised.

        Equation :eq:`eq-device-energy` of the book.
        """
        sending_s = self.uplink_s + self.adapter_up_s
        return self.device_compute_s * self.device_power_w + sending_s * self.uplink_power_w


_PARTS = tuple(item.name for item in fields(Costs) if item.name != "uplink_power_w")


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
    `card.policies.check_decision` says whether a decision may be taken.

    Numbers and NumPy arrays give NumPy arrays, torch tensors give tensors with gradients, and Dask
    arrays give lazy ones.

    Parameters
    ----------
    system
        A scenario, or its arrays.
    device
        Device position [1].
    cut
        Blocks on the device (c), 0..I.
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
        return Costs(**named, uplink_power_w=arrays.uplink_power_w)
    index = check_index("device", device, arrays.num_devices, backend)
    blocks = check_index("cut", cut, arrays.num_blocks + 1, backend)
    frequency = check_positive("frequency_hz", frequency_hz, backend)
    up = check_positive("uplink_bps", uplink_bps, backend)
    down = check_positive("downlink_bps", downlink_bps, backend)
    check_shapes(device=index, cut=blocks, frequency_hz=frequency, uplink_bps=up, downlink_bps=down)
    return round_costs(arrays.on(backend), index, blocks, frequency, up, down)


def _full_parts(arrays: System, *values: Any) -> tuple[FloatArray, ...]:
    """All arrays of `Costs`, each of the broadcast shape of the values."""
    costs = evaluate(arrays, *values)
    return tuple(np.broadcast_to(getattr(costs, name), costs.delay_s.shape) for name in _PARTS)


def round_costs(
    arrays: System, device: Any, cut: Any, frequency: FloatArray, up: FloatArray, down: FloatArray
) -> Costs:
    """`evaluate` without its checks, for loops that have made them."""
    return Costs(
        *fixed_parts(arrays, device, cut, up, down),
        server_compute_s=server_cycles(arrays, cut) / frequency,
        server_power_w=server_power_w(arrays, frequency),
        device_power_w=arrays.device_power_w[device],
        uplink_power_w=arrays.uplink_power_w,
    )


def fixed_parts(
    arrays: System, device: Any, cut: Any, up: Any, down: Any
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """The parts of delay that no server clock changes [s]: the first five fields of `Costs`."""
    profile, rounds = arrays.profile, float(arrays.local_iterations)  # whole products overflow
    adapter_bit = profile.adapter_bit[cut]
    return (
        rounds * profile.device_flop[cut] / arrays.throughput_flops[device],
        rounds * profile.uplink_bit[cut] / up,
        rounds * profile.downlink_bit[cut] / down,
        adapter_bit / down,
        adapter_bit / up,
    )


def server_cycles(arrays: System, cut: Any) -> FloatArray:
    """Server clock cycles of a round (Q)."""
    cycles: FloatArray = (
        arrays.local_iterations / arrays.flops_per_hz
    ) * arrays.profile.server_flop[cut]
    return cycles


def server_power_w(arrays: System, frequency_hz: Any) -> FloatArray:
    """Server power at a clock [W], by :py:func:`card.hardware.power.power_w`."""
    return power_w(frequency_hz, arrays.static_power_w, arrays.power_coefficient)


def waited_s(device_compute_s: Any, sent_s: Any) -> FloatArray:
    """Time of a round in which the server waits for the device or the link [s]."""
    total: FloatArray = device_compute_s + sent_s
    return total


def delay_s(waited_s: Any, busy_s: Any) -> FloatArray:
    """Delay of a round (D) [s]: the server waits, then it is busy.

    Notes
    -----
    Equation :eq:`eq-delay` of the book.
    """
    total: FloatArray = waited_s + busy_s
    return total


def energy_j(busy_s: Any, power_w: Any) -> FloatArray:
    """Server energy of a round (E) [J]: power as long as the server is busy.

    Notes
    -----
    Equation :eq:`eq-energy` of the book.
    """
    spent: FloatArray = busy_s * power_w
    return spent
