"""Commands on the model: every number of it, as a table or as one JSON document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from card import costs as model
from card.base.schema import Natural
from card.base.terminals import tell
from card.base.units import BITS_PER_BYTE
from card.book.markdown import interval as ends
from card.book.markdown import reproduced
from card.cli.one_device import absurd, decided, rates_of, span, unfit
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
from card.solver import solve as run_solver
from card.studies.bootstrap import reductions
from card.studies.claims import BROKEN
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


_BITS = {"uplink_bits": "bits up", "downlink_bits": "bits down"}
"""Headings of what a table shows where there is a choice."""

_COLUMNS = {
    "cut": ("cut", 1),
    **{name: (heading, 1) for name, heading in _BITS.items()},
    "device_flop": ("device [GFLOP]", 1e9),
    "server_flop": ("server [GFLOP]", 1e9),
    "uplink_bit": ("uplink [MB]", 1e6 * BITS_PER_BYTE),
    "downlink_bit": ("downlink [MB]", 1e6 * BITS_PER_BYTE),
    "adapter_bit": ("adapters [MB]", 1e6 * BITS_PER_BYTE),
    "device_memory_bit": ("device memory [GB]", 1e9 * BITS_PER_BYTE),
    "server_memory_bit": ("server memory [GB]", 1e9 * BITS_PER_BYTE),
    "server_overhead_s": ("server overhead [ms]", 1e-3),
    "device_overhead_s": ("device overhead [ms]", 1e-3),
    "leakage": ("leakage", 1),
    "loss_penalty": ("loss penalty [nat]", 1),
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
    """Print work, traffic, memory and overhead of every cut, at all bits that may be sent."""
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
        if arrays.leakage is not None:
            table["leakage"] = arrays.leakage.tolist()
        if arrays.loss_penalty is not None:
            table["loss_penalty"] = arrays.loss_penalty.tolist()
        left_out = {
            name: unfit(chosen, arrays, index) for index, name in enumerate(arrays.device_names)
        }
    if as_json:
        print_json({"scenario": chosen.title, **table, "unfit": left_out})
        return
    shown = {
        heading: [f"{value / scale:,.6g}" for value in table[name]]
        for name, (heading, scale) in _COLUMNS.items()
        if name in table
        and (len(set(table[name])) > 1 if name in _BITS else any(table[name]) or name not in times)
    }
    rows = list(zip(*shown.values(), strict=True))
    print_table(f"{chosen.title}: per local iteration, adapters per round", list(shown), rows)
    for name, groups in left_out.items():
        for cuts in groups:
            progress(f"{name}: cuts {span(cuts['cuts'])} are not taken: {cuts['reason']}")


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
    """Decide cut layer, bits sent and server frequency of one device for one round."""
    with refusals():
        chosen = load(scenario, settings)
        arrays, index = model.system(chosen), chosen.device_index(device)
        up, down, taken = rates_of(chosen, index, uplink_bps, downlink_bps, state, trace_round)
        decision = run_solver(arrays, index, up, down)
        odd_rates = [*absurd("uplink_bps", up), *absurd("downlink_bps", down)]
        document = {
            "scenario": chosen.title,
            **decided(arrays, index, decision, up, down),
            "state": taken,
            "unfit": unfit(chosen, arrays, index),
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
    table = {key: [row[key] for row in document["table"]] for key in document["table"][0]}
    bits = {key: heading for key, heading in _BITS.items() if len(set(table[key])) > 1}
    taken_bits = "".join(f"{document[key]} {heading}, " for key, heading in bits.items())
    title = (
        f"{document['device']}: cut {document['cut']} of {arrays.num_blocks}, {taken_bits}"
        f"{quantity(float(decision.delay_s), 's')}, {quantity(float(decision.energy_j), 'J')} "
        f"(up {quantity(up, 'bit/s')} {up_from}, down {quantity(down, 'bit/s')} {down_from})"
    )
    columns = [
        ["cut", *map(str, table["cut"])],
        *([heading, *map(str, table[key])] for key, heading in bits.items()),
        column("frequency", "Hz", table["frequency_hz"]),
        column("delay", "s", table["delay_s"]),
        column("server energy", "J", table["energy_j"]),
        ["objective", *(f"{value:.4f}" for value in table["objective"])],
    ]
    head, *rows = zip(*columns, strict=True)
    print_table(title, head, rows)
    for cuts in document["unfit"]:
        progress(f"cuts {span(cuts['cuts'])} are not taken: {cuts['reason']}")


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
                reproduced(claim.as_dict(), "nominal"),
                f"{reproduced(claim.as_dict(), 'calibrated')} ({ends(claim.low, claim.high)})",
                reproduced(claim.as_dict(), "realistic"),
                claim.status,
            )
            for claim in found
        ]
        head = ("id", "claim", "published", "nominal", "calibrated", "realistic", "status")
        print_table("Published claims", head, rows)
    for claim in found:
        if claim.drift:
            tell(f"{claim.id} drifted: {claim.drift}", err=True)
    if any(claim.status in BROKEN for claim in found):
        raise typer.Exit(1)


def _file(results: xr.Dataset, name: str) -> bytes:
    """Results of every round as CSV or as netCDF."""
    if name.endswith(".csv"):
        return results.to_dataframe().to_csv(lineterminator="\n").encode()
    return netcdf(results)


def _resolved(scenario: Scenario) -> dict[str, Any]:
    """Scenario with the catalogue entries it names."""
    return {
        **scenario.model_dump(mode="json"),
        "catalogue": {name: b.model_dump(mode="json") for name, b in scenario.boards.items()},
        "llm_config": scenario.llm_config,
    }
