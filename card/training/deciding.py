"""What the edge server decides for one round, and what the model foretells of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from card.base.errors import ScenarioError
from card.channel.rates import traced_rates
from card.costs import evaluate
from card.llm.cuts import CutProfile
from card.policies import Draws, Policy, check_decision
from card.scenario import Scenario
from card.simulation import decided
from card.training.agreement import Job
from card.training.wire.link_probe import LinkRates


@dataclass(frozen=True)
class Plan:
    """What is decided for one round."""

    round: int
    device: str
    cut: int
    uplink_bits: int
    downlink_bits: int
    frequency_hz: float
    predicted_delay_s: float
    predicted_energy_j: float
    predicted_device_energy_j: float
    stretch: float
    uplink_bps: float
    downlink_bps: float
    round_trip_s: float | None


def traced(scenario: Scenario, number: int, device: str) -> LinkRates:
    """Link rates that the scenario's trace has for a round, from 1, and a device.

    Raises
    ------
    ScenarioError
        If the scenario has none, or several.
    """
    if len(scenario.traces) != 1:
        raise ScenarioError(
            f"--rates trace takes one trace in link.trace, and this scenario has "
            f"{len(scenario.traces)}; name one there, or give --rates measured."
        )
    (up,), (down,) = traced_rates(scenario)
    own = scenario.device_index(device)
    sample = (number - 1) % up.shape[1]
    return LinkRates(float(up[own, sample]), float(down[own, sample]), None)


def decide(
    job: Job,
    policy: tuple[str, Policy],
    cuts: Sequence[int],
    number: int,
    device: str,
    rates: LinkRates,
) -> Plan:
    """Decide a round.

    Parameters
    ----------
    job
        LLM and scenario.
    policy
        What decides, with its name.
    cuts
        Cuts to go through, round by round, in place of the policy's; none lets it decide.
    number
        The round, from 1.
    device
        Whose turn it is.
    rates
        What its link carries, measured or of the trace.

    Raises
    ------
    ScenarioError
        If the policy decides what is not allowed.
    """
    arrays = job.system
    index = arrays.device_names.index(device)
    up, down = rates.uplink_bps, rates.downlink_bps
    draws = Draws.of(arrays, np.array([index]), np.array([up]), np.array([down]))
    seed = job.scenario.simulation.seed + number - 1
    (own,), (clock,), _ = decided(arrays, draws, *policy, seed)
    option = int(own)
    if cuts:
        option = _at_cut(job, index, cuts[(number - 1) % len(cuts)], option)
    check_decision(arrays, index, option, clock)
    costs = evaluate(arrays, index, option, clock, up, down)
    fastest = evaluate(arrays, index, option, arrays.frequency_max_hz, up, down)
    shortest_s = float(fastest.server_compute_s)
    cut, uplink_bits, downlink_bits = _chosen(arrays.profile, option)
    return Plan(
        round=number,
        device=device,
        cut=cut,
        uplink_bits=uplink_bits,
        downlink_bits=downlink_bits,
        frequency_hz=float(clock),
        predicted_delay_s=float(costs.delay_s),
        predicted_energy_j=float(costs.energy_j),
        predicted_device_energy_j=float(costs.device_energy_j),
        stretch=float(costs.server_compute_s) / shortest_s if shortest_s else 1.0,
        uplink_bps=up,
        downlink_bps=down,
        round_trip_s=rates.round_trip_s,
    )


def _at_cut(job: Job, device: int, cut: int, own: int) -> int:
    """The option at a cut; with the bits of the policy's own if they fit."""
    profile = job.system.profile
    fit = np.flatnonzero((profile.cut == cut) & job.system.feasible[device]).tolist()
    own_bits = _chosen(profile, own)[1:]
    return min(fit, key=lambda option: _chosen(profile, option)[1:] != own_bits)


def _chosen(profile: CutProfile, option: int) -> tuple[int, int, int]:
    """Cut, bits up and bits down of an option."""
    columns = profile.cut, profile.uplink_bits, profile.downlink_bits
    cut, up, down = (int(column[option]) for column in columns)
    return cut, up, down
