"""Decisions on all that a reader of the Explorer can move: device, channel and objective.

The rates are those of a channel state without shadowing, as `card solve --state` takes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from card.base.errors import ScenarioError, unknown
from card.base.units import FloatArray
from card.channel import mean_gain
from card.channel.rates import expected_rates
from card.costs import System
from card.policies import Draws, named
from card.scenario import Scenario
from card.simulation import decided

if TYPE_CHECKING:
    import xarray as xr

POLICIES = ("card", "device_only", "server_only")
"""CARD, and the two benchmarks that the claims are read against."""
DELAY_WEIGHTS = tuple(step / 20 for step in range(21))
"""Delay weights on offer [1]."""
FARTHEST_M = 500.0
"""Distance on offer at most, unless a device is farther [m]."""
MOST_DEVICES = 24
"""Devices on offer at most, the first of the scenario, as more would make a page heavy."""
UNITS = {
    "option": "1",
    "cut": "1",
    "frequency_hz": "Hz",
    "device_compute_s": "s",
    "uplink_s": "s",
    "server_compute_s": "s",
    "downlink_s": "s",
    "adapter_down_s": "s",
    "adapter_up_s": "s",
    "delay_s": "s",
    "energy_j": "J",
    "device_energy_j": "J",
    "sending_j": "J",
}
"""What is known of every decision, and its unit; `option` is the row of the system's profile that
says cut and bits, and `sending_j` is the radio's part of the device's
energy."""


@dataclass(frozen=True)
class Board:
    """Devices that differ in nothing but their name and their place."""

    title: str
    """Name of the hardware."""
    devices: tuple[str, ...]
    """Names of the devices."""


def boards(scenario: Scenario) -> list[Board]:
    """Kinds of board among the devices on offer, in the order of their first devices."""
    kinds: dict[tuple[str, str], list[int]] = {}
    for index, device in enumerate(scenario.devices[:MOST_DEVICES]):
        told = device.model_dump_json(exclude={"name", "distance_m", "hardware"})
        kind = device.board.model_dump_json(), told
        kinds.setdefault(kind, []).append(index)
    return [
        Board(
            scenario.devices[members[0]].board.title,
            tuple(scenario.devices[index].name for index in members),
        )
        for members in kinds.values()
    ]


def ladder(values: Sequence[float], own: Sequence[float]) -> tuple[float, ...]:
    """Values on offer together with the scenario's own, ascending."""
    return tuple(sorted({*map(float, values), *map(float, own)}))


def explore(
    scenario: Scenario,
    device: Sequence[str],
    state: Sequence[str],
    bandwidth_hz: Sequence[float],
    distance_m: Sequence[float],
    delay_weight: Sequence[float],
) -> xr.Dataset:
    """Decisions and costs of CARD and its two benchmarks on links, for every weight.

    Parameters
    ----------
    scenario
        What the other arguments vary.
    device
        Names of devices, one per link.
    state
        Names of channel states, one per link.
    bandwidth_hz
        Bandwidths [Hz], one per link.
    distance_m
        Distances [m], one per link.
    delay_weight
        Weights of delay in [0, 1].

    Returns
    -------
    xarray.Dataset
        Dataset over `(policy, link, delay_weight)` with the quantities of `UNITS`, the rates
        `uplink_bps` and `downlink_bps` and the lowest clock `frequency_min_hz` over `link`, and
        units in attributes.

    Raises
    ------
    ScenarioError
        If a name is unknown, a value out of its range, or the lists of links differ in length.
    """
    import xarray as xr  # xarray brings pandas, which `import card` must not load

    links = (device, state, bandwidth_hz, distance_m)
    if len({len(values) for values in links}) != 1:
        lengths = ", ".join(str(len(values)) for values in links)
        raise ScenarioError(
            f"device, state, bandwidth_hz and distance_m have {lengths} values, which is not "
            "allowed; give one of each per link."
        )
    up, down = np.empty(len(device)), np.empty(len(device))
    for cell, members in scenario.cells:
        own = {scenario.devices[index].name for index in members}
        at = np.array([name in own for name in device])
        each = (np.asarray(values)[at] for values in (state, bandwidth_hz, distance_m))
        up[at], down[at] = rates(cell, *each)
    arrays = System.of(scenario)
    weights: Any = np.asarray(delay_weight, dtype=np.float64)
    weighted = replace(arrays, delay_weight=weights)
    index = np.array([scenario.device_index(name) for name in device])
    shape = len(index), len(weights)
    spread = (np.broadcast_to(part[:, None], shape) for part in (index, up, down))
    draws = Draws.of(weighted, *spread)
    found: dict[str, list[FloatArray]] = {name: [] for name in UNITS}
    for entry in named(POLICIES).items():
        option, frequency, costs = decided(weighted, draws, *entry, scenario.simulation.seed)
        sending_j = costs.sending_s * costs.uplink_power_w
        known = {
            "option": option,
            "cut": arrays.profile.cut[option],
            "frequency_hz": frequency,
            "sending_j": sending_j,
        }
        for name, values in found.items():
            value = known[name] if name in known else getattr(costs, name)
            values.append(np.broadcast_to(value, shape))
    dims = ("policy", "link", "delay_weight")
    per_link = {
        "uplink_bps": (up, "bit/s"),
        "downlink_bps": (down, "bit/s"),
        "frequency_min_hz": (arrays.frequency_min_hz[index], "Hz"),
    }
    return xr.Dataset(
        {name: (dims, np.stack(found[name]), {"units": unit}) for name, unit in UNITS.items()}
        | {name: ("link", array, {"units": unit}) for name, (array, unit) in per_link.items()},
        coords={
            "policy": list(POLICIES),
            "delay_weight": list(delay_weight),
            "device": ("link", list(device)),
            "state": ("link", list(state)),
            "bandwidth_hz": ("link", list(bandwidth_hz), {"units": "Hz"}),
            "distance_m": ("link", list(distance_m), {"units": "m"}),
        },
        attrs={
            "title": scenario.title,
            "topology": scenario.training.topology,
            "num_blocks": arrays.num_blocks,
            "local_iterations": arrays.local_iterations,
            "frequency_max_hz": arrays.frequency_max_hz,
        },
    )


def rates(
    scenario: Scenario,
    state: Sequence[str],
    bandwidth_hz: ArrayLike,
    distance_m: ArrayLike,
) -> tuple[FloatArray, FloatArray]:
    """Uplink and downlink rates [bit/s] of channel states without shadowing.

    Parameters
    ----------
    scenario
        Its link budget and its channel states.
    state
        Names of channel states, one per link.
    bandwidth_hz
        Bandwidths [Hz], one per link.
    distance_m
        Distances [m], one per link.

    Raises
    ------
    ScenarioError
        If a state is unknown, or a bandwidth or a distance out of its range.
    """
    for name in state:
        if name not in scenario.channel_states:
            raise unknown("state", name, scenario.channel_states)
    exponents = [scenario.channel_states[name].path_loss_exponent for name in state]
    bands, distances = np.asarray(bandwidth_hz, dtype=float), np.asarray(distance_m, dtype=float)
    if not ((distances >= 1) & (distances <= 1e6)).all():
        raise ScenarioError("distance_m is not allowed; give distances from 1 to 1e6 m.")
    if not ((bands > 0) & np.isfinite(bands)).all():
        raise ScenarioError("bandwidth_hz is not allowed; give finite numbers above 0.")
    link = scenario.link
    gain = mean_gain(distances, exponents, link.reference_loss_db)
    up, down = np.empty_like(gain), np.empty_like(gain)
    for band in np.unique(bands):
        at = bands == band
        banded = link.model_copy(update={"bandwidth_hz": float(band)})
        up[at], down[at] = expected_rates(gain[at], banded)
    return up, down
