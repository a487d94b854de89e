"""Commands on the model: every number of it, as a table or as one JSON document."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from card import costs as model
from card.base.errors import unknown
from card.base.units import BITS_PER_BYTE
from card.channel.rates import state_rates
from card.cli.terminal import (
    AsJson,
    Name,
    Settings,
    interval,
    load,
    percent,
    print_json,
    print_table,
    refusals,
    text,
)
from card.llm import public_config
from card.scenario import Scenario
from card.simulation import means
from card.simulation import simulate as run_simulation
from card.solver import Decision, objective
from card.solver import solve as run_solver
from card.studies.bootstrap import reductions
from card.studies.claims import claims as recompute_claims
from card.studies.scenario_values import parameters

app = typer.Typer()

Rate = Annotated[float | None, typer.Option(help="Link rate in bit/s; the state's when not given.")]


@app.command()
def show(scenario: Name, settings: Settings = None, as_json: AsJson = False) -> None:
    """Show the whole resolved scenario with the origin of every value."""
    with refusals():
        chosen = load(scenario, settings)
    if as_json:
        print_json(_resolved(chosen))
        return
    rows = [("title", chosen.title, "", "")]
    for item in parameters(chosen):
        origin = (item.source.kind, item.source.source) if item.source else ("", "")
        rows.append((item.path, text(item.value), *origin))
    print_table(chosen.title, ("key", "value", "kind", "source"), rows)


@app.command()
def costs(scenario: Name, settings: Settings = None, as_json: AsJson = False) -> None:
    """Print work, traffic and memory of every cut."""
    with refusals():
        chosen = load(scenario, settings)
        table = model.system(chosen).profile.as_dict()
    if as_json:
        print_json(table)
        return
    head = {
        "cut": 1,
        "device [GFLOP]": 1e9,
        "server [GFLOP]": 1e9,
        "uplink [MB]": 1e6 * BITS_PER_BYTE,
        "downlink [MB]": 1e6 * BITS_PER_BYTE,
        "adapters [MB]": 1e6 * BITS_PER_BYTE,
        "device memory [GB]": 1e9 * BITS_PER_BYTE,
        "server memory [GB]": 1e9 * BITS_PER_BYTE,
    }
    rows = [
        [f"{value / scale:,.6g}" for value, scale in zip(row, head.values(), strict=True)]
        for row in zip(*table.values(), strict=True)
    ]
    print_table(f"{chosen.title}: per local iteration, adapters per round", list(head), rows)


@app.command()
def solve(
    scenario: Name,
    device: Annotated[str, typer.Option(help="Name of the device.")],
    uplink_bps: Rate = None,
    downlink_bps: Rate = None,
    state: Annotated[
        str | None, typer.Option(help="Channel state whose unshadowed rates to use.")
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Decide cut layer and server frequency of one device for one round."""
    with refusals():
        chosen = load(scenario, settings)
        arrays, index = model.system(chosen), chosen.device_index(device)
        up, down = _rates(chosen, index, uplink_bps, downlink_bps, state)
        decision = run_solver(arrays, index, up, down)
        document = _decision(arrays, index, decision, up, down)
    if as_json:
        print_json(document)
        return
    title = (
        f"{document['device']}: cut {document['cut']} of {arrays.num_blocks}, "
        f"{document['delay_s']:.2f} s, {document['energy_j']:.1f} J "
        f"(up {up / 1e6:.1f} Mbit/s, down {down / 1e6:.1f} Mbit/s)"
    )
    rows = [
        (
            str(row["cut"]),
            f"{row['frequency_hz'] / 1e9:.3f}",
            f"{row['delay_s']:.3f}",
            f"{row['energy_j']:.2f}",
            f"{row['objective']:.4f}",
        )
        for row in document["table"]
    ]
    head = ("cut", "frequency [GHz]", "delay [s]", "server energy [J]", "objective")
    print_table(title, head, rows)


@app.command()
def simulate(
    scenario: Name,
    rounds: Annotated[int | None, typer.Option(help="Rounds per device and state.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the draws.")] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Simulate every policy on common draws; means, and CARD's reductions with 95 % intervals."""
    with refusals():
        results = run_simulation(load(scenario, settings), rounds=rounds, seed=seed)
        averages, saved = means(results), reductions(results)
    if as_json:
        print_json({"policies": averages, "reductions": saved})
        return
    rows = [
        [policy, *(f"{value:.2f}" for value in mean.values())]
        + [interval(**item) for item in saved.get(policy, {}).values()]
        for policy, mean in averages.items()
    ]
    head = (
        "policy",
        "delay [s]",
        "server [J]",
        "device [J]",
        "delay saved by CARD",
        "energy saved",
    )
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
                claim.status,
            )
            for claim in found
        ]
        head = ("id", "claim", "published", "nominal", "calibrated", "status")
        print_table("Published claims", head, rows)
    for claim in found:
        if claim.drift:
            typer.echo(f"{claim.id} drifted: {claim.drift}", err=True)
    if any(claim.status != "holds when calibrated" for claim in found):
        raise typer.Exit(1)


def _rates(
    scenario: Scenario, device: int, uplink: float | None, downlink: float | None, state: str | None
) -> tuple[float, float]:
    """Rates given, or those of a channel state without shadowing; the middle state when unnamed."""
    if uplink is not None and downlink is not None:
        return uplink, downlink
    states = list(scenario.channel_states)
    chosen = states[len(states) // 2] if state is None else state
    if chosen not in states:
        raise unknown("state", chosen, states)
    up, down = (float(rate[states.index(chosen), device]) for rate in state_rates(scenario))
    return up if uplink is None else uplink, down if downlink is None else downlink


def _decision(
    arrays: model.System, device: int, decision: Decision, up: float, down: float
) -> dict[str, Any]:
    """Decision, its inputs, and every feasible cut at the best frequency, which they share."""
    chosen = model.evaluate(arrays, device, decision.cut, decision.frequency_hz, up, down)
    numbers = {
        "cut": decision.cut,
        "frequency_hz": decision.frequency_hz,
        "frequency_min_hz": decision.frequency_min_hz,
        "frequency_max_hz": decision.frequency_max_hz,
        "throughput_flops": arrays.throughput_flops[device],
        "flops_per_hz": arrays.flops_per_hz,
        "static_power_w": arrays.static_power_w,
        "power_coefficient": arrays.power_coefficient,
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
    spent = model.evaluate(arrays, device, cuts, decision.frequency_hz, up, down)
    values = objective(decision.extremes, arrays.delay_weight, spent.delay_s, spent.energy_j)
    columns = {
        "cut": cuts,
        "frequency_hz": np.broadcast_to(decision.frequency_hz, cuts.shape),
        "delay_s": spent.delay_s,
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
        "llm_config": public_config(scenario.llm),
    }
