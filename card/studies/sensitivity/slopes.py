"""How steep results are where the scenario stands: slopes in every continuous parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from card.base.errors import extra
from card.costs import System
from card.policies import POLICIES
from card.scenario import Scenario
from card.simulation import decided, draw, rounds_and_seed
from card.studies.sensitivity.variations import LEVELS, Effect, Variation, numbers

if TYPE_CHECKING:
    import xarray as xr

REDUCTIONS: Mapping[str, tuple[str, str]] = {
    "delay_reduction": ("delay_s", "device_only"),
    "energy_reduction": ("energy_j", "server_only"),
}
"""Quantity and benchmark of each reduction with slopes, as C1 and C2 are read."""

CONTINUOUS: Mapping[str, str] = {
    "server.utilisation": "1",
    "server.static_power_w": "W",
    "server.linear_power_w_per_hz": "W/Hz",
    "server.waiting_power_w": "W",
    "server.power_cap_w": "W",
    "server.block_overhead_s": "s",
    "server.head_overhead_s": "s",
    "server.minimum_frequency_hz": "Hz",
    "devices.utilisation": "1",
    "devices.distance_m": "m",
    "devices.block_overhead_s": "s",
    "devices.head_overhead_s": "s",
    "link.bandwidth_hz": "Hz",
    "link.uplink_power_dbm": "dBm",
    "link.downlink_power_dbm": "dBm",
    "link.noise_dbm_per_hz": "dBm/Hz",
    "link.reference_loss_db": "dB",
    "link.shadowing_db": "dB",
    "link.noise_figure_db": "dB",
    "link.gap_db": "dB",
    "link.spectral_efficiency_max": "bit/s/Hz",
    "link.overhead_share": "1",
    "link.round_trip_s": "s",
    "channel_states.path_loss_exponent": "1",
    "objective.delay_weight": "1",
}
"""Parameters with slopes, without the names of devices and states, and their units.

Counts, bit widths and lists of clocks go in steps, and a memory share only lets cuts in or out.

:meta hide-value:
"""


def gradients(scenario: Scenario, rounds: int | None = None, seed: int | None = None) -> xr.Dataset:
    """Slopes of CARD's means and reductions in every continuous parameter, by autodiff.

    Parameters
    ----------
    scenario
        Where the slopes are taken.
    rounds
        Rounds per device and channel state; the scenario's when None. The draws are those of
        `card.simulate`, whatever the parameters: shadowing is its deviation times a normal.
    seed
        Seed of the draws; likewise.

    Returns
    -------
    xarray.Dataset
        Dataset over `(parameter, quantity)`. Parameters are the paths of `CONTINUOUS`, one per
        device and state; quantities are CARD's mean `delay_s` and `energy_j` and the `REDUCTIONS`.
        `derivative` is per unit of the parameter. `elasticity` is the relative change of the
        quantity per relative change of the parameter, or per decibel for levels, as `per` says; 0
        where the parameter is 0, NaN where the quantity is.

    Raises
    ------
    ScenarioError
        If torch is not installed, or rounds or seed are out of range.

    Notes
    -----
    Every device-round keeps its cut, and its clock follows. That is the derivative almost
    everywhere: CARD takes the least of finitely many objectives, one per cut, so that a small
    enough step changes no cut. Where one does change, only the objective is continuous; delay and
    energy jump, and with them their means and the reductions. No slope shows that, however many
    rounds are drawn, so that slopes speak of small changes only.

    At an end of a parameter's range the slope is the one into the range. A lowest clock at the
    highest one is a kink without a slope.
    """
    with extra("lab", "gradients"):
        import torch
    import xarray as xr  # xarray brings pandas, which `import card` must not load

    generics, paths, point = zip(
        *(row for row in numbers(scenario) if row[0] in CONTINUOUS), strict=True
    )
    leaves = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in point]
    found = _reported(scenario, dict(zip(paths, leaves, strict=True)), rounds, seed)
    rows = [
        torch.autograd.grad(value, leaves, retain_graph=True, materialize_grads=True)
        for value in found.values()
    ]
    derivative = torch.stack([torch.stack(row) for row in rows], dim=-1).numpy()
    values = torch.stack(list(found.values())).detach().numpy()
    is_level = np.array([generic.endswith(LEVELS) for generic in generics])
    scale = np.where(is_level, 1.0, point)[:, None]
    dims = ("parameter", "quantity")
    return xr.Dataset(
        {
            "derivative": (dims, derivative),
            "elasticity": (dims, derivative * scale / np.where(values, values, np.nan)),
            "value": ("quantity", values),
        },
        coords={
            "parameter": list(paths),
            "quantity": list(found),
            "parameter_unit": ("parameter", [CONTINUOUS[name] for name in generics]),
            "quantity_unit": ("quantity", ["s", "J", "1", "1"]),
            "per": ("parameter", np.where(is_level, "dB", "1")),
        },
        attrs={"title": scenario.title},
    )


def tangents(scenario: Scenario, changes: Sequence[Variation], slopes: xr.Dataset) -> list[Effect]:
    """Effects that variations would have were all results straight lines with the slopes given.

    Parameters
    ----------
    scenario
        The scenario as it is.
    changes
        Variations; those that change anything without a slope are left out.
    slopes
        Result of `gradients` for the scenario.
    """
    now = {path: value for _, path, value in numbers(scenario)}
    of = slopes.sel(quantity=list(REDUCTIONS))
    found = []
    for change in changes:
        if set(change.overrides) <= set(slopes.parameter.values.tolist()):
            steps = np.array([value - now[path] for path, value in change.overrides.items()])
            slope = of.derivative.sel(parameter=list(change.overrides)).values
            first, second = (of.value.values + steps @ slope).tolist()
            found.append(Effect(change.parameter, change.change, change.side, (first, second)))
    return found


def _reported(
    scenario: Scenario, at: Mapping[str, Any], rounds: int | None, seed: int | None
) -> dict[str, Any]:
    """CARD's means and reductions, as tensors that depend on those of the parameters."""
    here, (rounds, seed) = _at(scenario, at, ""), rounds_and_seed(scenario, rounds, seed)
    arrays = System.of(here)
    draws = draw(arrays, here, rounds, seed, "torch")
    means = {}
    for policy in ("card", *(benchmark for _, benchmark in REDUCTIONS.values())):
        *_, costs = decided(arrays, draws, policy, POLICIES[policy], seed)
        means[policy] = {"delay_s": costs.delay_s.mean(), "energy_j": costs.energy_j.mean()}
    return means["card"] | {
        name: 1.0 - means["card"][quantity] / means[benchmark][quantity]
        for name, (quantity, benchmark) in REDUCTIONS.items()
    }


def _at(part: Any, values: Mapping[str, Any], path: str) -> Any:
    """Part of a scenario below a path with other values, which copies of its models take as is."""
    if isinstance(part, BaseModel):
        fields = {key: _at(value, values, f"{path}.{key}") for key, value in part}
        return part.model_copy(update=fields)
    if isinstance(part, Mapping):
        return {key: _at(value, values, f"{path}.{key}") for key, value in part.items()}
    if isinstance(part, tuple) and part and isinstance(part[0], BaseModel):
        return tuple(_at(item, values, f"{path}.{item.name}") for item in part)
    return values.get(path.removeprefix("."), part)
