"""Commands on the model: every number of it, as a table or as one JSON document."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from card import costs as model
from card.base.errors import ScenarioError, unknown
from card.base.schema import Natural
from card.base.units import BITS_PER_BYTE, BYTES_PER_GB
from card.channel.rates import state_rates, traced_rates
from card.cli.options import AsJson, Name, Policies, Rate, Rounds, Seed, Settings, Text, option
from card.cli.terminal import (
    MEANS,
    check_place,
    column,
    given,
    interval,
    load,
    names,
    netcdf,
    note,
    percent,
    print_json,
    print_table,
    progress,
    quantity,
    refusals,
    save,
)
from card.scenario import Scenario
from card.simulation import means
from card.simulation import simulate as run_simulation
from card.solver import Decision, best_frequency, objective, prices
from card.solver import solve as run_solver
from card.studies.bootstrap import reductions
from card.studies.claims import claims as recompute_claims
from card.studies.scenario_values import by_fleet, parameters

if TYPE_CHECKING:
    import xarray as xr

app = typer.Typer()


@app.command()
def show(scenario: Name, settings: Settings = None, as_json: AsJson = False) -> None:
    """Show the whole resolved scenario with the origin of every value."""
    with refusals():
        chosen = load(scenario, settings)
    if as_json:
        print_json(_resolved(chosen))
        return
    rows = [("title", chosen.title, "", "")]
    for item in by_fleet(parameters(chosen)):
        origin = (item.source.kind, item.source.source) if item.source else ("", "")
        rows.append((item.path, quantity(item.value, item.unit), *origin))
    print_table(chosen.title, ("key", "value", "kind", "source"), rows)


_COLUMNS = {
    "cut": ("cut", 1),
    "device_flop": ("device [GFLOP]", 1e9),
    "server_flop": ("server [GFLOP]", 1e9),
    "uplink_bit": ("uplink [MB]", 1e6 * BITS_PER_BYTE),
    "downlink_bit": ("downlink [MB]", 1e6 * BITS_PER_BYTE),
    "adapter_bit": ("adapters [MB]", 1e6 * BITS_PER_BYTE),
    "device_memory_bit": ("device memory [GB]", 1e9 * BITS_PER_BYTE),
    "server_memory_bit": ("server memory [GB]", 1e9 * BITS_PER_BYTE),
    "server_overhead_s": ("server overhead [ms]", 1e-3),
    "device_overhead_s": ("device overhead [ms]", 1e-3),
}
"""Headings and units of what the table of `card costs` shows."""


@app.command()
def costs(
    scenario: Name,
    device: Annotated[
        str | None, option(Text, help="Device whose overhead to print; the first if not given.")
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Print work, traffic, memory and overhead of every cut."""
    with refusals():
        chosen = load(scenario, settings)
        arrays = model.system(chosen)
        index = 0 if device is None else chosen.device_index(device)
        times = {
            "server_overhead_s": arrays.server_overhead_s,
            "server_launch_s": arrays.server_launch_s,
            "server_cycles": arrays.profile.server_flop / arrays.flops_per_hz,
            "device_overhead_s": arrays.device_overhead_s[index],
        }
        table = {
            **arrays.profile.as_dict(),
            **{name: time.tolist() for name, time in times.items()},
        }
        left_out = {
            name: _unfit(chosen, arrays, index) for index, name in enumerate(arrays.device_names)
        }
    if as_json:
        print_json({"scenario": chosen.title, **table, "unfit": left_out})
        return
    shown = {
        heading: [f"{value / scale:,.6g}" for value in table[name]]
        for name, (heading, scale) in _COLUMNS.items()
        if any(table[name]) or name not in times
    }
    rows = list(zip(*shown.values(), strict=True))
    print_table(f"{chosen.title}: per local iteration, adapters per round", list(shown), rows)
    for name, groups in left_out.items():
        for cuts in groups:
            progress(f"{name}: cuts {_span(cuts['cuts'])} are not taken: {cuts['reason']}")


@app.command()
def solve(
    scenario: Name,
    device: Annotated[str, option(Text, help="Name of the device.")],
    uplink_bps: Rate = None,
    downlink_bps: Rate = None,
    state: Annotated[
        str | None, option(Text, help="Channel state whose unshadowed rates to use.")
    ] = None,
    trace_round: Annotated[
        int | None,
        option(Natural, "--round", help="Round of the link's trace, from 0, whose rates to use."),
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Decide cut layer and server frequency of one device for one round."""
    with refusals():
        chosen = load(scenario, settings)
        arrays, index = model.system(chosen), chosen.device_index(device)
        up, down, taken = _rates(chosen, index, uplink_bps, downlink_bps, state, trace_round)
        decision = run_solver(arrays, index, up, down)
        odd_rates = [*_absurd("uplink_bps", up), *_absurd("downlink_bps", down)]
        document = {
            "scenario": chosen.title,
            **_decision(arrays, index, decision, up, down),
            "state": taken,
            "unfit": _unfit(chosen, arrays, index),
            "notes": [*model.notes(chosen), *odd_rates],
        }
    note(odd_rates)
    if as_json:
        print_json(document)
        return
    up_from, down_from = (
        "as given" if rate is not None else f"of state {taken}"
        for rate in (uplink_bps, downlink_bps)
    )
    title = (
        f"{document['device']}: cut {document['cut']} of {arrays.num_blocks}, "
        f"{quantity(float(decision.delay_s), 's')}, {quantity(float(decision.energy_j), 'J')} "
        f"(up {quantity(up, 'bit/s')} {up_from}, down {quantity(down, 'bit/s')} {down_from})"
    )
    table = {key: [row[key] for row in document["table"]] for key in document["table"][0]}
    columns = [
        ["cut", *map(str, table["cut"])],
        column("frequency", "Hz", table["frequency_hz"]),
        column("delay", "s", table["delay_s"]),
        column("server energy", "J", table["energy_j"]),
        ["objective", *(f"{value:.4f}" for value in table["objective"])],
    ]
    head, *rows = zip(*columns, strict=True)
    print_table(title, head, rows)
    for cuts in document["unfit"]:
        progress(f"cuts {_span(cuts['cuts'])} are not taken: {cuts['reason']}")


@app.command()
def simulate(
    scenario: Name,
    rounds: Rounds = None,
    seed: Seed = None,
    policies: Policies = None,
    output: Annotated[
        str | None, option(Text, help="File for every round's results, .nc or .csv.")
    ] = None,
    baseline: Annotated[
        str | None, option(Text, metavar="NAME", help="What the others save against this policy.")
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Simulate every policy on common draws; means, and CARD's reductions with 95 % intervals."""
    with refusals():
        check_place("--output", output, (".nc", ".csv"))
        also = {
            "simulation.rounds": given("--rounds", rounds),
            "simulation.seed": given("--seed", seed),
        }
        results = run_simulation(load(scenario, settings, also), names(policies), rounds, seed)
        averages = means(results)
        compared = baseline is not None or "card" in averages
        saved = reductions(results, baseline=baseline) if compared else {}
        if output is not None:
            save("--output", output, _file(results, output))
    if as_json:
        print_json(
            {
                "scenario": results.attrs["title"],
                "rounds": results.sizes["round"],
                "seed": results.attrs["seed"],
                "policies": averages,
                "reductions": saved,
            }
        )
        return
    columns = [["policy", *averages]]
    for name, key, unit in MEANS:
        columns.append(column(name, unit, [mean[key] for mean in averages.values()]))
    for part in ("delay", "energy"):
        cells = [interval(**saved[name][part]) if name in saved else "–" for name in averages]
        against = f"against {baseline}" if baseline else "by CARD"
        columns.append([f"{part} saved {against}", *cells])
    head, *rows = zip(*columns, strict=True)
    print_table(results.attrs["title"], head, rows)


@app.command()
def claims(as_json: AsJson = False) -> None:
    """Recompute the published claims; exit 1 if a value drifted from the record."""
    with refusals():
        found = recompute_claims()
    if as_json:
        print_json([claim.as_dict() for claim in found])
    else:
        rows = [
            (
                claim.id,
                claim.text,
                percent(claim.published),
                percent(claim.nominal),
                interval(claim.calibrated, claim.low, claim.high),
                percent(claim.realistic),
                claim.status,
            )
            for claim in found
        ]
        head = ("id", "claim", "published", "nominal", "calibrated", "realistic", "status")
        print_table("Published claims", head, rows)
    for claim in found:
        if claim.drift:
            typer.echo(f"{claim.id} drifted: {claim.drift}", err=True)
    if any(claim.status != "holds when calibrated" for claim in found):
        raise typer.Exit(1)


def _file(results: xr.Dataset, name: str) -> bytes:
    """Results of every round as CSV or as netCDF."""
    if name.endswith(".csv"):
        return results.to_dataframe().to_csv(lineterminator="\n").encode()
    return netcdf(results)


_SLOW_BPS, _FAST_BPS = 1e4, 1e12
"""Rates [bit/s] beyond which one was probably meant in another unit."""


def _absurd(name: str, rate_bps: float) -> list[str]:
    """What to say of a rate that no link has."""
    if rate_bps < _SLOW_BPS:
        meant = f"did you mean {rate_bps:g}e6?"
    elif rate_bps > _FAST_BPS:
        near = rate_bps < 1e6 * _FAST_BPS
        meant = f"did you mean {rate_bps / 1e6:g}?" if near else f"give at most {_FAST_BPS:g}"
    else:
        return []
    return [f"{name} = {rate_bps:g} bit/s is far from what links reach; {meant}"]


def _span(cuts: list[int]) -> str:
    """Whole numbers in order, runs of them as from first to last."""
    runs = [
        [cut for _, cut in run] for _, run in groupby(enumerate(cuts), lambda at: at[1] - at[0])
    ]
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _unfit(scenario: Scenario, arrays: model.System, device: int) -> list[dict[str, Any]]:
    """Cuts that a device may not take, grouped by the reason."""
    first, last = scenario.training.cut_range
    last = arrays.num_blocks if last is None else last
    cuts, chosen, profile = range(arrays.num_blocks + 1), scenario.devices[device], arrays.profile
    usable_gb = chosen.memory_share * chosen.board.memory_gb
    server_gb = scenario.server.board.memory_gb
    reasons: dict[str, list[int]] = {}
    for cut in cuts:
        own_gb, left_gb = (
            float(need[cut]) / BITS_PER_BYTE / BYTES_PER_GB
            for need in (profile.device_memory_bit, profile.server_memory_bit)
        )
        if not first <= cut <= last:
            reason = f"training.cut_range is [{first}, {last}]."
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


def _rates(
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


def _decision(
    arrays: model.System, device: int, decision: Decision, up: float, down: float
) -> dict[str, Any]:
    """Decision, its inputs, and every feasible cut at its best frequency."""
    chosen = model.evaluate(arrays, device, decision.cut, decision.frequency_hz, up, down)
    numbers = {
        "cut": decision.cut,
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
        "table": _every_cut(arrays, device, decision, up, down),
    }


def _every_cut(
    arrays: model.System, device: int, decision: Decision, up: float, down: float
) -> list[dict[str, Any]]:
    cuts = np.flatnonzero(arrays.feasible[device])
    at_prices = prices(decision.extremes, arrays.delay_weight)
    clocks = best_frequency(arrays, np.full(cuts.shape, device), *at_prices, cuts)
    spent = model.evaluate(arrays, device, cuts, clocks, up, down)
    values = objective(decision.extremes, arrays.delay_weight, spent.delay_s, spent.energy_j)
    columns = {
        "cut": cuts,
        "frequency_hz": clocks,
        "delay_s": spent.delay_s,
        "busy_s": spent.busy_s,
        "energy_j": spent.energy_j,
        "objective": values,
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _resolved(scenario: Scenario) -> dict[str, Any]:
    """Scenario with the catalogue entries it names."""
    return {
        **scenario.model_dump(mode="json"),
        "catalogue": {name: b.model_dump(mode="json") for name, b in scenario.boards.items()},
        "llm_config": scenario.llm_config,
    }
