"""Monte Carlo over channel states, devices and rounds; every policy sees the same draws."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from card.base import DISTRIBUTION
from card.base.arguments import check_numbers, check_rounds, check_seed
from card.base.arrays import backend_of, check_library, copied
from card.base.errors import ScenarioError, argument, no_scenario
from card.base.functions import is_stop
from card.base.units import FloatArray, IntArray
from card.channel.rates import check_state_rates, drawn_rates
from card.costs import Costs, System, evaluate
from card.policies import POLICIES, SHIPPED, Draws, Policy, apart, check_decision, named
from card.scenario import Scenario
from card.solver import objective

if TYPE_CHECKING:
    import xarray as xr


UNITS = {
    "cut": "1", "uplink_bits": "bit", "downlink_bits": "bit", "frequency_hz": "Hz",
    "objective": "1", "delay_s": "s", "energy_j": "J", "device_energy_j": "J",
    "device_compute_s": "s", "uplink_s": "s", "server_compute_s": "s", "downlink_s": "s",
    "adapter_s": "s", "uplink_bps": "bit/s", "downlink_bps": "bit/s",
}  # fmt: skip
PARTS = ("device_compute_s", "uplink_s", "server_compute_s", "downlink_s", "adapter_s")
"""What delay adds up from."""


def rounds_and_seed(scenario: Scenario, rounds: int | None, seed: int | None) -> tuple[int, int]:
    """Rounds and seed of a simulation, the scenario's own where None, or an error that says why."""
    if not isinstance(scenario, Scenario):
        raise no_scenario(scenario)
    own = scenario.simulation
    return (
        check_rounds(own.rounds if rounds is None else rounds),
        check_seed(own.seed if seed is None else seed),
    )


def draw(
    system: System,
    scenario: Scenario,
    rounds: int | None = None,
    seed: int | None = None,
    library: str = "numpy",
) -> Draws:
    """Link rates of every channel state, device and round; shape `(states, devices, rounds)`.

    The same numbers of states, devices and rounds and the same seed give the same random numbers,
    so scenarios that differ in other parameters are compared on common draws. So do all libraries:
    NumPy draws the gains, and the library computes what follows from them.
    """
    backend = check_library(library)
    rounds, seed = rounds_and_seed(scenario, rounds, seed)
    _check_memory(rounds, len(scenario.states) * len(scenario.devices))
    up, down = drawn_rates(scenario, rounds, np.random.default_rng(seed), backend)
    device = np.broadcast_to(np.arange(up.shape[1])[None, :, None], tuple(up.shape))
    return Draws.of(system, device, up, down)


def decided(
    system: System, draws: Draws, name: str, policy: Policy, seed: int
) -> tuple[IntArray, FloatArray, Costs]:
    """Options and clocks [Hz] of one policy on given draws, of their shape, and what they cost.

    Raises
    ------
    ScenarioError
        If a decision is none of the feasible ones, whoever's policy it is.
    """
    option, frequency = choice_of(system, draws, name, policy, seed)
    rates = draws.uplink_bps, draws.downlink_bps
    try:
        costs = evaluate(system, draws.device, option, frequency, *rates)
        check_decision(system, draws.device, option, frequency)
    except ScenarioError as error:
        raise ScenarioError(f"the policy {name}: {error}") from error
    return option, frequency, costs


def choice_of(
    system: System, draws: Draws, name: str, policy: Policy, seed: int
) -> tuple[IntArray, FloatArray]:
    """Options and clocks [Hz] of one policy on given draws, of their shape, allowed or not.

    Raises
    ------
    ScenarioError
        If what the policy returns has another shape, or is no pair of arrays of numbers.
    """
    try:
        own = system if name in SHIPPED and policy is SHIPPED[name] else apart(system)
        choice = policy(own, draws.guarded(), np.random.default_rng([seed, 1]))
    except Exception as error:
        error.add_note(f"raised by the policy {name}")
        raise
    try:
        option, frequency = (copied(_spread(draws, part)) for part in choice)
    except BaseException as error:  # whatever an object of a user's own does when it is read
        if is_stop(error):
            raise
        raise ScenarioError(
            f"the policy {name} returns {argument(choice)}, which is not allowed; return cuts and "
            f"clocks [Hz], none masked, that broadcast to the shape {draws.device.shape} of the "
            f"draws."
        ) from None
    backend, real = backend_of(option, frequency), ("integral", "real floating")
    try:
        check_numbers("cut", option, backend, ("integral",), "whole numbers")
        check_numbers("frequency_hz", frequency, backend, real, "clocks in Hz")
    except ScenarioError as error:
        raise ScenarioError(f"the policy {name}: {error}") from None
    return option, frequency


def outcomes(system: System, draws: Draws, name: str, policy: Policy, seed: int) -> dict[str, Any]:
    """Decision and costs of one policy on given draws, by the names of `UNITS`.

    Arrays of the shape and the library of the draws.
    """
    option, frequency, costs = decided(system, draws, name, policy, seed)
    value = objective(draws.extremes, system.delay_weight, costs.delay_s, costs.energy_j)
    backend, profile = backend_of(draws.uplink_bps), system.profile
    chosen = ("cut", "uplink_bits", "downlink_bits")
    return {
        **{column: backend.array(getattr(profile, column))[option] for column in chosen},
        "frequency_hz": frequency,
        "objective": value,
        "delay_s": costs.delay_s,
        "energy_j": costs.energy_j,
        "device_energy_j": costs.device_energy_j,
        **{part: _spread(draws, getattr(costs, part)) for part in PARTS},
    }


def simulate(
    scenario: Scenario,
    policies: Sequence[str] | Mapping[str, Policy] | None = None,
    rounds: int | None = None,
    seed: int | None = None,
    library: str = "numpy",
) -> xr.Dataset:
    """Decisions and costs of every policy on common draws.

    Parameters
    ----------
    scenario
        What to simulate.
    policies
        Names from `card.policies.suite`, or FILE.py:FUNCTION, or a mapping of names to policies of
        your own; when None, all shipped ones and those that the scenario names.
    rounds
        Rounds per device and channel state; the scenario's when None.
    seed
        Seed of every random draw; likewise.
    library
        What computes: `numpy`, `torch`, or `torch:cuda` for torch on a GPU. All give the same cuts
        and bits, and the same numbers but for rounding.

    Returns
    -------
    xarray.Dataset
        Dataset over `(policy, state, device, round)` with units in attributes; link rates have no
        policy dimension.

    Raises
    ------
    ScenarioError
        If the scenario or an argument is refused, or a policy takes a cut that does not fit or a
        clock that the server does not have.
    """
    import xarray as xr  # xarray brings pandas, which `import card` must not load

    rounds, seed = rounds_and_seed(scenario, rounds, seed)
    chosen = _chosen(scenario, policies)
    arrays = System.of(scenario)
    check_state_rates(scenario)
    draws, backend = draw(arrays, scenario, rounds, seed, library), check_library(library)
    results = [outcomes(arrays, draws, *entry, seed) for entry in chosen.items()]
    dims = ("policy", "state", "device", "round")
    variables = {
        name: (
            dims,
            np.stack([backend.numpy(result[name]) for result in results]),
            {"units": UNITS[name]},
        )
        for name in results[0]
    }
    rates = {"uplink_bps": draws.uplink_bps, "downlink_bps": draws.downlink_bps}
    coherence = scenario.link.shadowing_coherence_rounds
    return xr.Dataset(
        {
            **variables,
            **{
                name: (dims[1:], backend.numpy(rate), {"units": UNITS[name]})
                for name, rate in rates.items()
            },
        },
        coords={
            "policy": list(chosen),
            "state": list(scenario.states),
            "device": list(arrays.device_names),
            "round": np.arange(draws.device.shape[-1]),
        },
        attrs={
            "title": scenario.title,
            "source": f"card {metadata.version(DISTRIBUTION)}",
            "scenario_hash": scenario.digest,
            "seed": seed,
            "delay_weight": arrays.delay_weight,
            **({"shadowing_coherence_rounds": coherence} if coherence else {}),
        },
    )


def means(results: xr.Dataset) -> dict[str, dict[str, float]]:
    """Mean delay [s], server energy [J] and device energy [J] of every policy.

    Device energy is NaN where that of one device is not known.
    """
    averaged = results[["delay_s", "energy_j", "device_energy_j"]].mean(
        ("state", "device", "round"), skipna=False
    )
    return {
        policy: {str(name): float(averaged[name].sel(policy=policy)) for name in averaged}
        for policy in results.policy.values.tolist()
    }


def energy_parts(results: xr.Dataset, system: System) -> xr.Dataset:
    """Mean energy per policy [J], split by what spends it.

    What a server draws at any clock and while it waits is static, and what a device draws while it
    waits is counted with its sending. The parts of devices are NaN where one's energy is not known.

    Parameters
    ----------
    results
        Dataset of `card.simulate`.
    system
        The arrays of the scenario.
    """
    working_s, waiting_s = results.server_compute_s, results.delay_s - results.server_compute_s
    static = working_s * system.static_power_w + waiting_s * system.waiting_power_w
    each = results.delay_s.isel(policy=0, state=0, round=0, drop=True)
    power = each.copy(data=system.device_power_w)
    computing = results.device_compute_s * power
    parts = {
        "dynamic_j": results.energy_j - static,
        "static_j": static,
        "computing_j": computing,
        "sending_j": results.device_energy_j - computing,
    }
    return results.assign(parts)[list(parts)].mean(("state", "device", "round"), skipna=False)


def reduction(card: FloatArray, benchmark: FloatArray) -> float | None:
    """Reduction of a mean against a benchmark's [1]; None where the benchmark spends nothing.

    Notes
    -----
    Equation :eq:`eq-reduction` of the book.
    """
    spent = float(np.mean(benchmark))
    return 1.0 - float(np.mean(card)) / spent if spent > 0 else None


_DRAW_BYTES = 1200
"""What all policies' results of one device-round take [byte], and a little more."""


def _check_memory(rounds: int, draws: int) -> None:
    """Refuse rounds whose results this machine has no memory for, before anything is drawn."""
    if not hasattr(os, "sysconf"):  # only Unix says how much there is
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    most = memory // (_DRAW_BYTES * draws)
    if rounds > most:
        raise ScenarioError(
            f"rounds = {rounds} is out of range; this machine has {memory / 1e9:.3g} GB of memory, "
            f"enough for {most}."
        )


def _spread(draws: Draws, part: Any) -> Any:
    """An array in the shape and the library of the draws; without a mask, which would be lost."""
    if np.ma.is_masked(part):
        raise ValueError(part)
    backend = backend_of(draws.uplink_bps)
    return backend.xp.broadcast_to(backend.array(part), draws.device.shape)


def _chosen(
    scenario: Scenario, policies: Sequence[str] | Mapping[str, Policy] | None
) -> dict[str, Policy]:
    if policies is None:
        return POLICIES | named(scenario.policies)
    return chosen_policies(policies)


def chosen_policies(policies: Sequence[str] | Mapping[str, Policy]) -> dict[str, Policy]:
    """Policies by name, from names or a mapping of names to functions.

    Raises
    ------
    ScenarioError
        If they are neither, or a name is unknown.
    """
    if isinstance(policies, str) or not isinstance(policies, (Sequence, Mapping)) or not policies:
        raise ScenarioError(
            f"policies = {argument(policies)} is not allowed; give a list of "
            f"{', '.join(POLICIES)}, or a mapping of names to functions."
        )
    if isinstance(policies, Mapping):
        for name, policy in policies.items():
            if not isinstance(name, str) or not callable(policy):
                raise ScenarioError(
                    f"policies = {{{name!r}: {argument(policy)}}} is not allowed; give a mapping "
                    "of names to functions of (system, draws, rng), e.g. "
                    "{'mine': card.policies.card}."
                )
        return dict(policies)
    return named(list(policies))
