"""What a round of all devices takes by each schedule: in turns, in pipelined turns, all at once.

Each takes the decisions of least delay, at full clock. All train the same mini-batches; how well
the LLM learns from them is not compared: turns hand one set of adapters on, devices that train at
once each have their own, whose average is a step of another algorithm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from card.base.arguments import check_rounds
from card.base.units import FloatArray, IntArray
from card.channel import state_rates
from card.costs import System, server_power_w
from card.scenario import Scenario
from card.simulation import draw, rounds_and_seed
from card.solver import solve
from card.solver.parallel import Parallel, least_makespan

if TYPE_CHECKING:
    import xarray as xr

SCHEDULES = ("alternate", "pipelined", "parallel")
"""Names of the schedules, as figures and tables order them."""
TURNS = SCHEDULES[:2]
"""Those in which devices take turns."""


class Turns(NamedTuple):
    """A round in which every device has its turn; arrays `(devices,)`."""

    option: IntArray
    """Option of each device."""
    delay_s: FloatArray
    """Delay of its turn [s]."""
    energy_j: FloatArray
    """Server energy of its turn [J]."""


def in_micro_batches(scenario: Scenario, count: int) -> Scenario:
    """The scenario with that many of its micro-batches in every mini-batch."""
    run = scenario.training
    size = {"training.batch_size": count * run.micro_batch_size, "training.accumulation": count}
    return scenario.updated(size, "as many micro-batches as are compared")


def systems(scenario: Scenario) -> dict[str, System]:
    """Arrays of a scenario by schedule; devices at once do one thing after the other, as in turns.

    Raises
    ------
    ScenarioError
        If all that is in flight fits no device.
    """
    turns = {
        name: System.of(scenario.updated({"training.schedule": name}, "the schedule compared"))
        for name in TURNS
    }
    return {**turns, "parallel": turns["alternate"]}


def take_turns(
    system: System, device: ArrayLike, uplink_bps: ArrayLike, downlink_bps: ArrayLike
) -> Turns:
    """A round of some devices, one after the other, each with the whole band and server.

    Parameters
    ----------
    system
        Arrays of a scenario.
    device
        Device positions, shape `(devices,)`.
    uplink_bps, downlink_bps
        Link rates [bit/s].
    """
    found = solve(system, device, uplink_bps, downlink_bps, 1.0)
    return Turns(found.option, found.delay_s, found.energy_j)


def parallel_energy_j(system: System, found: Parallel) -> float:
    """Server energy of a round of all devices at once, at full clock [J]."""
    power_w = float(server_power_w(system, system.frequency_max_hz))
    waiting_s = found.makespan_s - found.busy_s
    return found.busy_s * power_w + waiting_s * system.waiting_power_w


def by_devices(
    scenario: Scenario,
    counts: list[int],
    rounds: int | None = None,
    seed: int | None = None,
) -> xr.Dataset:
    """Time of a round of all devices by schedule and number of devices, on common draws.

    More devices than the scenario has are more of the same, with draws of their own.

    Parameters
    ----------
    scenario
        The scenario.
    counts
        Numbers of devices.
    rounds
        Rounds per channel state; the scenario's when None.
    seed
        Seed of every random draw; likewise.

    Returns
    -------
    xarray.Dataset
        `round_s`, `energy_j` of the server, and `local`, the share of devices that keep the whole
        LLM, over `(schedule, devices, state, round)`, with units in attributes.
    """
    import xarray as xr  # xarray brings pandas, which `import card` must not load

    rounds, seed = rounds_and_seed(scenario, rounds, seed)
    arrays, own, most = systems(scenario), len(scenario.devices), max(counts)
    copies = -(-most // own)
    drawn = draw(arrays["alternate"], scenario, check_rounds(copies * rounds), seed)
    # (states, devices, copies x rounds) as (states, rounds, copies x devices)
    up, down = (
        rate.reshape(len(rate), own, copies, rounds)
        .transpose(0, 3, 2, 1)
        .reshape(len(rate), rounds, -1)
        for rate in (drawn.uplink_bps, drawn.downlink_bps)
    )
    device = np.tile(np.arange(own), copies)
    found = {name: np.empty((len(SCHEDULES), len(counts), *up.shape[:2])) for name in _UNITS}
    for place in np.ndindex(len(SCHEDULES), len(counts)):
        name, count = SCHEDULES[place[0]], counts[place[1]]
        decide = _at_once if name == "parallel" else _in_turns
        told = decide(arrays[name], device[:count], up[..., :count], down[..., :count])
        for key, values in zip(_UNITS, told, strict=True):
            found[key][place] = values
    dims = ("schedule", "devices", "state", "round")
    return xr.Dataset(
        {name: (dims, found[name], {"units": unit}) for name, unit in _UNITS.items()},
        coords={"schedule": list(SCHEDULES), "devices": counts, "state": list(scenario.states)},
        attrs={"title": scenario.title, "seed": seed},
    )


_UNITS = {"round_s": "s", "energy_j": "J", "local": "1"}
"""What is told of a round of all devices, with its unit."""


def _in_turns(
    system: System, device: IntArray, up: FloatArray, down: FloatArray
) -> tuple[FloatArray, ...]:
    """Time, server energy and share of whole LLMs of rounds in turns, the devices last."""
    turns = take_turns(system, device, up, down)
    local = _local(system, turns.option).mean(axis=-1)
    return turns.delay_s.sum(axis=-1), turns.energy_j.sum(axis=-1), local


def _at_once(
    system: System, device: IntArray, up: FloatArray, down: FloatArray
) -> tuple[FloatArray, ...]:
    """The same of rounds of all devices at once."""
    each = [
        least_makespan(system, device, up[place], down[place])
        for place in np.ndindex(up.shape[:-1])
    ]
    rows = [
        (one.makespan_s, parallel_energy_j(system, one), _local(system, one.option).mean())
        for one in each
    ]
    return tuple(np.reshape(column, up.shape[:-1]) for column in zip(*rows, strict=True))


def _local(system: System, option: IntArray) -> NDArray[np.bool_]:
    """Whether an option keeps the whole LLM on the device."""
    whole: NDArray[np.bool_] = system.profile.cut[option] == system.num_blocks
    return whole


def by_micro_batches(scenario: Scenario, counts: list[int]) -> dict[str, FloatArray]:
    """Mean time of a turn for each micro-batch of a mini-batch, one or all in flight [s].

    Over all devices and channel states, without shadowing.

    Parameters
    ----------
    scenario
        The scenario, whose micro-batches stay as long as they are.
    counts
        Micro-batches of a mini-batch.

    Returns
    -------
    dict[str, FloatArray]
        An array like `counts` for each of `TURNS`.
    """
    device = np.arange(len(scenario.devices))
    times: dict[str, list[float]] = {name: [] for name in TURNS}
    for count in counts:
        arrays = systems(in_micro_batches(scenario, count))
        for name, found in times.items():
            turns = take_turns(arrays[name], device, *state_rates(scenario))
            found.append(float(turns.delay_s.mean()) / count)
    return {name: np.array(found) for name, found in times.items()}
