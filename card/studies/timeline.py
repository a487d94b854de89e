"""What happens in a round, in order: who is busy, what is sent, and what energy is spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from card.base.units import FloatArray
from card.costs import System, check_one_in_flight, evaluate
from card.llm import CutProfile, llm_costs
from card.scenario import Scenario

if TYPE_CHECKING:
    import xarray as xr

LANES = ("device", "uplink", "server", "downlink")
"""Who is busy, from top to bottom of a timeline."""


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
        Option, with blocks on the device below the number of blocks: there is a server to talk to.
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
    per_batch = {
        "device": float(costs.device_compute_s) / iterations,
        "uplink": float(costs.uplink_s) / iterations,
        "server": float(costs.server_compute_s) / iterations,
        "downlink": float(costs.downlink_s) / iterations,
    }
    clock, steps = 0.0, []

    def run(lane: str, label: str, duration_s: float) -> None:
        nonlocal clock
        if duration_s > 0:
            steps.append(Step(lane, label, clock, duration_s))
            clock += duration_s

    run("downlink", "adapters", float(costs.adapter_down_s))
    for _ in range(iterations):
        for lane, label, share in _batch(scenario, system, cut):
            run(lane, label, share * per_batch[lane])
    run("uplink", "adapters", float(costs.adapter_up_s))
    return steps


def _batch(scenario: Scenario, system: System, cut: int) -> list[tuple[str, str, float]]:
    """Lane, label and share of that lane's time of each step of a mini-batch."""
    training, costs = scenario.training, llm_costs(scenario)
    head, parts = costs.head, (costs.embedding, *costs.blocks)
    blocks = int(system.profile.cut[cut])
    forward = sum(part.forward_flop for part in parts[: blocks + 1])
    all_forward = sum(part.forward_flop for part in parts)
    on_device = int(system.profile.device_flop[cut])
    on_server = int(system.profile.server_flop[cut])
    ahead = forward / on_device if on_device else 0.0
    if training.topology == "vanilla":
        return [
            ("device", "forward", ahead),
            ("uplink", "smashed data", 1.0),
            ("server", "forward, loss, backward", 1.0),
            ("downlink", "gradients", 1.0),
            ("device", "backward", 1.0 - ahead),
        ]
    rising, middle = (all_forward - forward) / on_server, head.flop / on_device
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
    one, arrays = found.sel(policy="card", delay_weight=delay_weight), System.of(scenario)
    option, device = int(one.option), scenario.device_index(found.device.item())
    if one.cut == arrays.num_blocks:
        return []
    rates = float(found.uplink_bps), float(found.downlink_bps)
    return round_steps(scenario, arrays, device, option, float(one.frequency_hz), *rates)


def spent_j(
    decision: xr.Dataset, steps: Sequence[Step], at_s: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Energy that server and device have spent at moments of a round [J].

    Parameters
    ----------
    decision
        One decision of CARD, as `card.studies.explorer` finds them.
    steps
        Busy intervals of its round, in order.
    at_s
        Moments since the round began [s].
    """

    def share(lane: str) -> FloatArray:
        """Part of a lane's work that is done."""
        mine = [step for step in steps if step.lane == lane]
        start, whole = (np.array([getattr(s, name) for s in mine]) for name in Step._fields[2:])
        done = np.clip(np.asarray(at_s)[..., None] - start, 0.0, whole).sum(axis=-1)
        part: FloatArray = done / (whole.sum() or 1.0)
        return part

    energy, device, sending = (
        float(decision[name]) for name in ("energy_j", "device_energy_j", "sending_j")
    )
    return energy * share("server"), (device - sending) * share("device") + sending * share(
        "uplink"
    )


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
