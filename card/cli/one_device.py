"""What one device decides in one round, its rates, and why it may not take some cuts."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np

from card import costs as model
from card.base.errors import ScenarioError, unknown
from card.base.units import BITS_PER_BYTE, BYTES_PER_GB, FloatArray
from card.channel.rates import state_rates, traced_rates
from card.scenario import Scenario
from card.solver import Decision, best_frequency, objective, prices

_SLOW_BPS, _FAST_BPS = 1e4, 1e12
"""Rates [bit/s] beyond which one was probably meant in another unit."""


def absurd(name: str, rate_bps: float) -> list[str]:
    """What to say of a rate that no link has."""
    if rate_bps < _SLOW_BPS:
        near = 1e6 * rate_bps > _SLOW_BPS
        meant = f"did you mean {rate_bps:g}e6?" if near else f"give at least {_SLOW_BPS:g}"
    elif rate_bps > _FAST_BPS:
        near = rate_bps < 1e6 * _FAST_BPS
        meant = f"did you mean {rate_bps / 1e6:g}?" if near else f"give at most {_FAST_BPS:g}"
    else:
        return []
    return [f"{name} = {rate_bps:g} bit/s is far from what links reach; {meant}"]


def span(cuts: list[int]) -> str:
    """Whole numbers in order, runs of them as from first to last."""
    runs = [
        [cut for _, cut in run] for _, run in groupby(enumerate(cuts), lambda at: at[1] - at[0])
    ]
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def unfit(scenario: Scenario, arrays: model.System, device: int) -> list[dict[str, Any]]:
    """Cuts that a device may not take, grouped by the reason."""
    first, last = scenario.training.cut_range
    last = arrays.num_blocks if last is None else last
    cuts, chosen, profile = range(arrays.num_blocks + 1), scenario.devices[device], arrays.profile
    usable_gb = chosen.memory_share * chosen.board.memory_gb
    server_gb = scenario.server.board.memory_gb

    def least_of(of_options: FloatArray | None) -> FloatArray:
        """Least of each cut's options, whose bits may differ."""
        options = np.zeros(len(cuts)) if of_options is None else of_options
        least: FloatArray = options.reshape(-1, len(cuts)).min(axis=0)
        return least

    limit, least = scenario.privacy.leakage_max, least_of(arrays.leakage)
    loss_limit, least_loss = scenario.wire.loss_limit, least_of(arrays.loss_penalty)
    reasons: dict[str, list[int]] = {}
    for cut in cuts:
        own_gb, left_gb = (
            float(need[cut]) / BITS_PER_BYTE / BYTES_PER_GB
            for need in (profile.device_memory_bit, profile.server_memory_bit)
        )
        if not first <= cut <= last:
            reason = f"training.cut_range is [{first}, {last}]."
        elif limit is not None and least[cut] > limit:
            reason = f"they leak more than privacy.leakage_max, {limit:g}."
        elif loss_limit is not None and least_loss[cut] > loss_limit:
            reason = f"they cost more loss than wire.loss_limit, {loss_limit:g} nat."
        elif own_gb > usable_gb:
            reason = (
                f"they need more memory than {chosen.name} may use, {chosen.memory_share:g} x "
                f"{chosen.board.memory_gb:g} GB."
            )
        elif left_gb > server_gb:
            reason = f"they leave more to the server than its memory of {server_gb:g} GB holds."
        else:
            continue
        reasons.setdefault(reason, []).append(cut)
    return [{"cuts": cuts, "reason": reason} for reason, cuts in reasons.items()]


def rates_of(
    scenario: Scenario,
    device: int,
    uplink: float | None,
    downlink: float | None,
    state: str | None,
    trace_round: int | None,
) -> tuple[float, float, str | None]:
    """Rates given, or those of a channel state without shadowing; the middle state when unnamed.

    Of a trace, those of a round, or their average.

    Also the state that a rate is of; None where both are given.
    """
    if uplink is not None and downlink is not None:
        if state is not None:
            raise ScenarioError(
                f"--state {state} and both rates exclude each other; give one of them."
            )
        if trace_round is not None:
            raise ScenarioError(
                f"--round {trace_round} and both rates exclude each other; give one of them."
            )
        return uplink, downlink, None
    states = list(scenario.states)
    chosen = states[len(states) // 2] if state is None else state
    if chosen not in states:
        raise unknown("state", chosen, states)
    place = states.index(chosen)
    if trace_round is None:
        up, down = (float(rate[place, device]) for rate in state_rates(scenario))
    elif scenario.traces:
        ways = (way[place][device] for way in traced_rates(scenario))
        up, down = (float(way[trace_round % len(way)]) for way in ways)
    else:
        raise ScenarioError(
            f"--round {trace_round} is of a trace, and link.trace is none; name one, or leave out "
            f"the round."
        )
    return up if uplink is None else uplink, down if downlink is None else downlink, chosen


def decided(
    arrays: model.System, device: int, decision: Decision, up: float, down: float
) -> dict[str, Any]:
    """Decision, its inputs, and every feasible option at its best frequency."""
    chosen = model.evaluate(arrays, device, decision.option, decision.frequency_hz, up, down)
    numbers = {
        "cut": decision.cut,
        "uplink_bits": decision.uplink_bits,
        "downlink_bits": decision.downlink_bits,
        "frequency_hz": decision.frequency_hz,
        "frequency_min_hz": decision.frequency_min_hz,
        "frequency_max_hz": decision.frequency_max_hz,
        "throughput_flops": arrays.throughput_flops[device],
        "flops_per_hz": arrays.flops_per_hz,
        "static_power_w": arrays.static_power_w,
        "linear_power_w_per_hz": arrays.linear_power_w_per_hz,
        "power_coefficient": arrays.power_coefficient,
        "waiting_power_w": arrays.waiting_power_w,
        "delay_weight": arrays.delay_weight,
        "uplink_bps": up,
        "downlink_bps": down,
        "delay_s": decision.delay_s,
        "energy_j": decision.energy_j,
        "device_energy_j": chosen.device_energy_j,
        "objective": decision.objective,
    }
    return {
        "device": arrays.device_names[device],
        **{name: np.asarray(value).item() for name, value in numbers.items()},
        "table": _every_option(arrays, device, decision, up, down),
    }


def _every_option(
    arrays: model.System, device: int, decision: Decision, up: float, down: float
) -> list[dict[str, Any]]:
    options, profile = np.flatnonzero(arrays.feasible[device]), arrays.profile
    at_prices = prices(decision.extremes, arrays.delay_weight)
    own = np.full(options.shape, device)
    clocks = best_frequency(arrays, own, *at_prices, options, up, down)
    spent = model.evaluate(arrays, device, options, clocks, up, down)
    values = objective(decision.extremes, arrays.delay_weight, spent.delay_s, spent.energy_j)
    columns = {
        "cut": profile.cut[options],
        "uplink_bits": profile.uplink_bits[options],
        "downlink_bits": profile.downlink_bits[options],
        "frequency_hz": clocks,
        "delay_s": spent.delay_s,
        "busy_s": spent.busy_s,
        "energy_j": spent.energy_j,
        "objective": values,
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]
