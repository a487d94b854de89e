"""Decision policies: CARD and the benchmarks it is compared with, all with one call signature."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from card.base.arguments import check_index, check_positive, check_shapes
from card.base.arrays import backend_of, guarded
from card.base.errors import ScenarioError
from card.base.functions import functions
from card.base.units import BoolArray, FloatArray, IntArray
from card.costs import System, evaluate
from card.solver import (
    Decision,
    Extremes,
    best_frequency,
    extreme_cuts,
    extremes,
    least_delay,
    objective,
    prices,
    solve,
    solve_exhaustive,
)


@dataclass(frozen=True, eq=False)
class Draws:
    """The device-rounds that every policy decides on; arrays of one shape."""

    device: IntArray
    """Device positions."""
    uplink_bps: FloatArray
    """Uplink rates [bit/s]."""
    downlink_bps: FloatArray
    """Downlink rates [bit/s]."""
    extremes: Extremes
    """Extremes of delay and energy over each device-round's feasible set."""

    @classmethod
    def of(
        cls, system: System, device: IntArray, uplink_bps: FloatArray, downlink_bps: FloatArray
    ) -> Draws:
        """Draws with the extremes that follow from them."""
        return cls(
            device, uplink_bps, downlink_bps, extremes(system, device, uplink_bps, downlink_bps)
        )

    def guarded(self) -> Draws:
        """The same draws for one policy, which cannot change those of the others."""
        return Draws(
            guarded(self.device),
            guarded(self.uplink_bps),
            guarded(self.downlink_bps),
            Extremes(*map(guarded, self.extremes)),
        )


Choice = tuple[IntArray, FloatArray]
"""Options and server clocks [Hz], which broadcast to the shape of the draws.

An option is a row of the system's profile. Rows 0..I are the cuts at the first listed bits, so that
a policy that does not decide bits returns cuts.
"""

Policy = Callable[[System, Draws, np.random.Generator], Choice]
"""What decides for all devices, states and rounds at once.

What it is given is not to be changed in place: NumPy arrays refuse it. An option that is not
feasible, or a clock outside the server's range, is refused when it is scored.
"""


_ROUNDING = 1e-9
"""Relative error that a clock may have."""
_DIGITS = ".12g"
"""How a refusal writes clocks: closer than `_ROUNDING`, so that what it offers is accepted."""


def check_decision(system: System, device: Any, cut: Any, frequency_hz: Any) -> None:
    """Refuse a cut that does not fit device and server, or a clock that the server does not have.

    Parameters
    ----------
    system
        A scenario's arrays.
    device
        Device positions.
    cut
        Options, of a shape that broadcasts with the others; the cuts 0..I are the first of them.
    frequency_hz
        Server clocks [Hz].

    Raises
    ------
    ScenarioError
        If a value is out of its range or not finite, a cut not feasible by :eq:`eq-feasible`, or a
        clock not allowed by :eq:`eq-clock-range` or not on a list of clocks.
    """
    backend = backend_of(device, cut, frequency_hz)
    given = {
        "device": check_index("device", device, system.num_devices, backend),
        "cut": check_index("cut", cut, system.num_options, backend),
        "frequency_hz": check_positive("frequency_hz", frequency_hz, backend),
    }
    check_shapes(**given)
    device, cut, clock = np.broadcast_arrays(*map(backend.numpy, given.values()))
    misfits, outside, unlisted = _wrong(system, device, cut, clock)
    if misfits.any():
        index, wrong = device[misfits][0], cut[misfits][0]
        fits = np.flatnonzero(system.feasible[index])
        raise ScenarioError(
            f"cut = {wrong} does not fit {system.device_names[index]} and the server; give one of "
            f"{', '.join(map(str, fits))}."
        )
    if outside.any():
        index, (lowest, highest) = device[outside][0], _clock_range(system)
        raise ScenarioError(
            f"frequency_hz = {clock[outside][0]:{_DIGITS}} is not allowed; give "
            f"{lowest[index]:{_DIGITS}} to {highest:{_DIGITS}} Hz for {system.device_names[index]}."
        )
    if system.clocks_hz is not None and unlisted.any():
        offered = ", ".join(f"{item:{_DIGITS}}" for item in system.clocks_hz)
        raise ScenarioError(
            f"frequency_hz = {clock[unlisted][0]:{_DIGITS}} is not on the list; give one of "
            f"{offered}."
        )


def allowed(system: System, device: Any, cut: Any, frequency_hz: Any) -> BoolArray:
    """Whether each decision may be taken, as `check_decision` says, whatever numbers it has.

    Returns
    -------
    BoolArray
        One truth value per decision, of their broadcast shape.
    """
    backend = backend_of(device, cut, frequency_hz)
    device, cut, clock = np.broadcast_arrays(*map(backend.numpy, (device, cut, frequency_hz)))
    known = np.isin(cut, np.arange(system.num_options))
    misfits, outside, unlisted = _wrong(system, device, np.where(known, cut, 0).astype(int), clock)
    whole: BoolArray = known & np.isfinite(clock) & ~(misfits | outside | unlisted)
    return whole


def _wrong(system: System, device: Any, cut: Any, clock: Any) -> tuple[BoolArray, ...]:
    """Where a cut does not fit, a clock is out of its range, and a clock is not on the list."""
    lowest, highest = _clock_range(system)
    outside = (clock < lowest[device] * (1 - _ROUNDING)) | (clock > highest * (1 + _ROUNDING))
    unlisted = np.zeros(clock.shape, dtype=bool)
    if system.clocks_hz is not None:
        near = np.isclose(clock[..., None], system.clocks_hz, rtol=_ROUNDING, atol=0)
        unlisted = ~near.any(axis=-1)
    return ~system.feasible[device, cut], outside, unlisted


def _clock_range(system: System) -> tuple[FloatArray, FloatArray]:
    """Lowest clock of each device, and the highest of all [Hz]."""
    ends = system.frequency_min_hz, system.frequency_max_hz
    lowest, highest = (backend_of(end).numpy(end) for end in ends)
    return lowest, highest


def card(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """CARD: the joint optimum of each device-round."""
    return _choice(solve(system, draws.device, draws.uplink_bps, draws.downlink_bps))


def exhaustive(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """The joint optimum by a search over every feasible option."""
    return _choice(solve_exhaustive(system, draws.device, draws.uplink_bps, draws.downlink_bps))


def delay_optimal(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """Shortest delay, whatever the server's energy (w = 1)."""
    return _choice(solve(system, draws.device, draws.uplink_bps, draws.downlink_bps, 1.0))


def energy_optimal(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """Least server energy, whatever the delay (w = 0)."""
    return _choice(solve(system, draws.device, draws.uplink_bps, draws.downlink_bps, 0.0))


def device_only(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """Everything on the device, or as many blocks as fit it; the server's clock is CARD's."""
    cut = np.where(system.feasible, system.profile.cut, -1).argmax(axis=1)[draws.device]
    return cut, _card_frequency(system, draws, cut)


def server_only(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """As much on the server as fits it and the cut range allows, at full clock."""
    first = np.where(system.feasible, system.profile.cut, system.num_options).argmin(axis=1)
    backend = backend_of(system.frequency_max_hz)
    top = backend.floats(system.frequency_max_hz)
    return first[draws.device], backend.xp.broadcast_to(top, draws.device.shape)


def random_cut(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """A cut drawn evenly from the feasible ones; the server's clock is CARD's."""
    feasible = _at_first_bits(system)
    counts = feasible.sum(axis=1)
    ordered = np.argsort(~feasible, axis=1, kind="stable")
    pick = (rng.random(draws.device.shape) * counts[draws.device]).astype(np.int64)
    cut = ordered[draws.device, pick]
    return cut, _card_frequency(system, draws, cut)


def static_cut(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """The one option and clock, the same for all devices and states, of lowest mean objective.

    Chosen with hindsight over all draws, so no other static decision is better on them.
    """
    common = np.logical_and.reduce(system.feasible, axis=0)
    if not common.any():
        raise ScenarioError("policies: static_cut needs a cut that fits every device; none does.")
    delay_price, energy_price = prices(draws.extremes, system.delay_weight)
    slowest = np.array([int(np.argmax(system.frequency_min_hz))])
    mean_prices = delay_price.mean(), energy_price.mean()
    clocks = {
        cut: float(best_frequency(system, slowest, *mean_prices, cut)[0])
        for cut in extreme_cuts(
            system.profile, common, system.server_launch_s, *system.device_launch_s
        )
    }

    def score(cut: int) -> float:
        costs = evaluate(
            system, draws.device, cut, clocks[cut], draws.uplink_bps, draws.downlink_bps
        )
        return float(
            objective(draws.extremes, system.delay_weight, costs.delay_s, costs.energy_j).mean()
        )

    cut = min(clocks, key=score)
    shape = draws.device.shape
    return np.full(shape, cut), np.full(shape, clocks[cut])


def clock_only(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """The cut of `server_only`; the server's clock is CARD's."""
    cut, _ = server_only(system, draws, rng)
    return cut, _card_frequency(system, draws, cut)


def cut_only(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """The best option of each device-round at the clock of `server_only`, which is full."""
    _, top = server_only(system, draws, rng)
    rates, weight = (draws.uplink_bps, draws.downlink_bps), system.delay_weight

    def score(cut: int) -> FloatArray:
        costs = evaluate(system, draws.device, cut, top, *rates)
        value = objective(draws.extremes, weight, costs.delay_s, costs.energy_j)
        return np.where(system.feasible[draws.device, cut], backend_of(value).numpy(value), np.inf)

    scores = np.array([score(cut) for cut in range(system.num_options)])
    return scores.argmin(axis=0), top


def budget(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """Least mean delay within the scenario's mean energies, or at CARD's own if it has none.

    With hindsight over all draws, by one price of a joule for all of them.
    """
    rounds = draws.device, draws.uplink_bps, draws.downlink_bps
    return _choice(least_delay(system, *rounds, *_budgets(system, draws)).decision)


def budget_online(system: System, draws: Draws, rng: np.random.Generator) -> Choice:
    """`budget` without hindsight: a joule costs more the further the rounds so far are over it.

    Each budget has a virtual queue, which grows in a round by the mean energy over devices and
    states and shrinks by the budget. Every round takes the decisions of least drift plus penalty,
    with V (`objective.queue_weight`) as the price of a second and the queue as that of a joule
    (Neely 2010, doi 10.2200/S00271ED1V01Y201006CNT007). So after n rounds the mean energy is at
    most the budget and an n-th of the queue.
    """
    budgets = _budgets(system, draws)
    queues, found = [0.0, 0.0], []
    for now in range(draws.device.shape[-1]):
        each = draws.device[..., now], draws.uplink_bps[..., now], draws.downlink_bps[..., now]
        one = solve(
            system, *each, delay_price=system.queue_weight,
            energy_price=queues[0], device_energy_price=queues[1],
        )  # fmt: skip
        found.append(_choice(one))
        spent = evaluate(system, each[0], *found[-1], *each[1:])
        energies = spent.energy_j, spent.device_energy_j
        queues = [
            queue if limit is None else max(queue + float(energy.mean()) - limit, 0.0)
            for queue, energy, limit in zip(queues, energies, budgets, strict=True)
        ]
    xp = backend_of(draws.uplink_bps).xp
    option, clock = (xp.stack(part, axis=-1) for part in zip(*found, strict=True))
    return option, clock


def _budgets(system: System, draws: Draws) -> tuple[float | None, float | None]:
    """Budgets of the server and of a device [J]; without any, what CARD's server spends."""
    given = system.energy_budget_j, system.device_energy_budget_j
    unknown_power = np.flatnonzero(np.isnan(system.device_power_w))
    if given[1] is not None and unknown_power.size:
        raise ScenarioError(
            f"objective.device_energy_budget_j = {given[1]:g} needs the power of "
            f"{system.device_names[unknown_power[0]]}; give its hardware max_power_w."
        )
    if any(given):
        return given
    decision = solve(system, draws.device, draws.uplink_bps, draws.downlink_bps)
    return float(decision.energy_j.mean()), None


POLICIES: dict[str, Policy] = {
    "card": card,
    "device_only": device_only,
    "server_only": server_only,
    "random_cut": random_cut,
    "static_cut": static_cut,
    "delay_optimal": delay_optimal,
    "energy_optimal": energy_optimal,
    "exhaustive": exhaustive,
}
"""CARD and its benchmarks, which are compared where nobody names policies.

Those that decide no bits take the first listed ones.
"""

HALVES: dict[str, Policy] = {"clock_only": clock_only, "cut_only": cut_only}
"""What is left of CARD without one of its two decisions."""

BUDGETS: dict[str, Policy] = {"budget": budget, "budget_online": budget_online}
"""What takes one price of a joule for all device-rounds, in place of weights."""


def named(names: Iterable[str]) -> dict[str, Policy]:
    """Policies by name, in the order given; FILE.py:FUNCTION goes by the function's name.

    Raises
    ------
    ScenarioError
        If a name is unknown, or a function's file, or its name, is refused.
    """
    return functions("policies", names, POLICIES | HALVES | BUDGETS)


def _choice(decision: Decision) -> Choice:
    return decision.option, decision.frequency_hz


def _at_first_bits(system: System) -> BoolArray:
    """Feasible options, of each cut that at the first listed bits where it is feasible."""
    by_bits = system.feasible.reshape(system.num_devices, -1, system.num_blocks + 1)
    first: BoolArray = by_bits & (by_bits.cumsum(axis=1) == 1)
    return first.reshape(system.feasible.shape)


def _card_frequency(system: System, draws: Draws, cut: IntArray) -> FloatArray:
    """Clock that CARD gives a cut."""
    delay_price, energy_price = prices(draws.extremes, system.delay_weight)
    return best_frequency(system, draws.device, delay_price, energy_price, cut)
