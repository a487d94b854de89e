"""What happens in a round, in order: who is busy, what is sent, and what energy is spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from card.base.units import FloatArray
from card.costs import Costs, System, check_one_in_flight, evaluate
from card.llm import CutProfile, llm_costs
from card.scenario import Scenario

if TYPE_CHECKING:
    import xarray as xr

LANES = ("device", "uplink", "server", "downlink")
"""Who is busy, from top to bottom of a timeline."""
ADAPTERS = "adapters"
"""What the steps are called in which adapters move."""
PARTS = (
    *("device_compute_s", "uplink_s", "server_compute_s", "downlink_s"),
    *("adapter_down_s", "adapter_up_s"),
)
"""Parts of the delay that steps fill, those of the lanes in their order before the adapters."""


class Step(NamedTuple):
    """One busy interval of a round."""

    lane: str
    """Who is busy, one of `LANES`."""
    label: str
    """What happens."""
    start_s: float
    """Start in the round [s]."""
    duration_s: float
    """Duration [s]."""

    @property
    def part(self) -> str:
        """Part of the delay that it belongs to, one of `PARTS`."""
        if self.label == ADAPTERS:
            return "adapter_down_s" if self.lane == "downlink" else "adapter_up_s"
        return PARTS[LANES.index(self.lane)]


def round_steps(
    scenario: Scenario,
    system: System,
    device: int,
    cut: int,
    frequency_hz: float,
    uplink_bps: float,
    downlink_bps: float,
) -> list[Step]:
    """Busy intervals of one round in order, from the model's own cost function.

    Parameters
    ----------
    scenario
        The scenario.
    system
        Its arrays.
    device
        Device position.
    cut
        Option.
    frequency_hz
        Server clock [Hz].
    uplink_bps, downlink_bps
        Link rates [bit/s].

    Raises
    ------
    ScenarioError
        If several micro-batches are in flight, so that steps overlap.
    """
    check_one_in_flight(system, "a timeline")
    costs = evaluate(system, device, cut, frequency_hz, uplink_bps, downlink_bps)
    iterations = system.local_iterations
    stages = dict(zip(LANES, costs.stages_s, strict=False))
    stages_s = {lane: float(costs_s) for lane, costs_s in stages.items()}
    clock, steps = 0.0, []

    def run(lane: str, label: str, duration_s: float) -> None:
        nonlocal clock
        if duration_s > 0:
            steps.append(Step(lane, label, clock, duration_s))
            clock += duration_s

    run("downlink", ADAPTERS, float(costs.adapter_down_s))
    for _ in range(iterations):
        for lane, label, share in mini_batch_steps(scenario, system, cut):
            run(lane, label, step_s(share, stages_s[lane], iterations))
    run("uplink", ADAPTERS, float(costs.adapter_up_s))
    return steps


def step_s(share: Any, stage_s: Any, iterations: Any) -> Any:
    """Duration of a step of a mini-batch [s]: a share of what its lane takes for one of several."""
    return share * stage_s / iterations


def mini_batch_steps(scenario: Scenario, system: System, cut: int) -> list[tuple[str, str, float]]:
    """Lane, label and share of that lane's time of each step of a mini-batch.

    A lane's time is split between its steps as their work is (`assumed`).

    Parameters
    ----------
    scenario
        The scenario.
    system
        Its arrays.
    cut
        Option.
    """
    training, costs = scenario.training, llm_costs(scenario)
    head, parts = costs.head, (costs.embedding, *costs.blocks)
    blocks = int(system.profile.cut[cut])
    forward = sum(part.forward_flop for part in parts[: blocks + 1])
    all_forward = sum(part.forward_flop for part in parts)
    on_device = int(system.profile.device_flop[cut])
    on_server = int(system.profile.server_flop[cut])
    ahead = forward / on_device if on_device else 0.0
    middle = head.flop / on_device if on_device else 0.0
    if blocks == system.num_blocks:
        return [
            ("device", "forward", ahead),
            ("device", "head, loss", middle),
            ("device", "backward", 1.0 - ahead - middle),
        ]
    if training.topology == "vanilla":
        return [
            ("device", "forward", ahead),
            ("uplink", "smashed data, labels", 1.0),
            ("server", "forward, loss, backward", 1.0),
            ("downlink", "gradients", 1.0),
            ("device", "backward", 1.0 - ahead),
        ]
    rising = (all_forward - forward) / on_server
    returned = 0.5 if blocks else 1.0
    return [
        ("device", "forward", ahead),
        ("uplink", "smashed data", 0.5),
        ("server", "forward", rising),
        ("downlink", "final states", returned),
        ("device", "head, loss", middle),
        ("uplink", "gradients", 0.5),
        ("server", "backward", 1.0 - rising),
        ("downlink", "gradients", 1.0 - returned),
        ("device", "backward", 1.0 - ahead - middle),
    ]


def busy(scenario: Scenario, found: xr.Dataset, delay_weight: float) -> list[Step]:
    """Busy intervals of CARD's round on one link; none if the server has nothing to do.

    Parameters
    ----------
    scenario
        The scenario explored.
    found
        Decisions on one link over `(policy, delay_weight)`, as `card.explorer` finds them.
    delay_weight
        Weight of the decision, one of those found.
    """
    arrays, at = System.of(scenario), _decided(scenario, found, delay_weight)
    if arrays.profile.cut[at[1]] == arrays.num_blocks:
        return []
    return round_steps(scenario, arrays, *at)


def costs_of(scenario: Scenario, found: xr.Dataset, delay_weight: float) -> Costs:
    """What CARD's round on one link costs; parameters as for `busy`."""
    return evaluate(scenario, *_decided(scenario, found, delay_weight))


def _decided(
    scenario: Scenario, found: xr.Dataset, delay_weight: float
) -> tuple[int, int, float, float, float]:
    """Device, option, clock and rates of CARD's decision on one link."""
    one, device = found.sel(policy="card", delay_weight=delay_weight), found.device.item()
    rates = float(found.uplink_bps), float(found.downlink_bps)
    return scenario.device_index(device), int(one.option), float(one.frequency_hz), *rates


def so_far(costs: Costs, done: Mapping[str, Any]) -> Costs:
    """What a round has cost by a moment, of which delay and energies follow as for a whole one.

    Parameters
    ----------
    costs
        Costs of the whole round, with one mini-batch in flight.
    done
        Share in [0, 1] of each of `PARTS` that is done by then.
    """
    smashed_s = costs.smashed_s * done["uplink_s"]
    adapters_s = (costs.sending_s - costs.smashed_s) * done["adapter_up_s"]
    return replace(
        costs,
        **{name: getattr(costs, name) * done[name] for name in PARTS},
        server_launch_s=costs.server_launch_s * done["server_compute_s"],
        smashed_s=smashed_s,
        sending_s=smashed_s + adapters_s,
    )


def spent(costs: Costs, steps: Sequence[Step], at_s: ArrayLike) -> Costs:
    """What a round has cost by moments of it.

    Parameters
    ----------
    costs
        Costs of the whole round.
    steps
        Its busy intervals, in order.
    at_s
        Moments since the round began [s].
    """

    def share(part: str) -> FloatArray:
        """Share of a part that is done."""
        mine = [step for step in steps if step.part == part]
        start, whole = (np.array([getattr(s, name) for s in mine]) for name in Step._fields[2:])
        done = np.clip(np.asarray(at_s)[..., None] - start, 0.0, whole).sum(axis=-1)
        found: FloatArray = done / (whole.sum() or 1.0)
        return found

    return so_far(costs, {part: share(part) for part in PARTS})


class Frame(NamedTuple):
    """One message between a device and the server."""

    up: bool
    """From the device to the server."""
    text: str
    """What it holds."""
    bit: int
    """Tensors in it [bit]; none in a loss alone."""


def mini_batch_frames(profile: CutProfile, cut: int, topology: str) -> list[Frame]:
    """Frames of one mini-batch in order, with the sizes that the model counts.

    Parameters
    ----------
    profile
        Traffic per option.
    cut
        Option of an inner cut, 1..I-1: the device trains, and the server too.
    topology
        `vanilla` or `u-shaped`.
    """
    up, down = int(profile.uplink_bit[cut]), int(profile.downlink_bit[cut])
    if topology == "vanilla":
        return [
            Frame(True, "smashed data, labels", up),
            Frame(False, "loss", 0),
            Frame(False, "gradients", down),
        ]
    return [
        Frame(True, "smashed data", up // 2),
        Frame(False, "final hidden states", down // 2),
        Frame(True, "loss", 0),
        Frame(True, "gradients of those", up // 2),
        Frame(False, "gradients", down // 2),
    ]
