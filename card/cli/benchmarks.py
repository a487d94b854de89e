"""The command that scores policies on the benchmark suite."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from card.base.functions import functions_in
from card.cli.options import AsJson, Rounds, Seed, Text, argument, option, scenario_files
from card.cli.terminal import (
    MEANS,
    check_place,
    column,
    names,
    netcdf,
    percent,
    print_json,
    print_table,
    refusals,
    save,
)
from card.studies.benchmark import ROUNDS, SCORES, SEED, SUITE
from card.studies.benchmark import benchmark as run_benchmark

app = typer.Typer()


@app.command()
def benchmark(
    policies: Annotated[
        list[str] | None,
        argument(
            "[FILE.py[:FUNCTION]|NAME…]",
            "Policies of your own: a function of a file, or all of it that take "
            "(system, draws, rng). Or the general optimisers evolution and genetic, which take "
            "up to half a second for each device-round: ask for few rounds.",
        ),
    ] = None,
    scenarios: Annotated[
        str | None,
        option(
            Text,
            metavar="NAME,…",
            help="Scenarios in place of the suite.",
            autocompletion=scenario_files,
        ),
    ] = None,
    rounds: Rounds = None,
    seed: Seed = None,
    output: Annotated[str | None, option(Text, help="File for the scores, .nc.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score policies of your own beside the shipped ones on a suite of scenarios."""
    with refusals():
        check_place("--output", output, (".nc",))
        chosen = [
            name
            for given in policies or []
            for name in (functions_in(given, 3) if given.casefold().endswith(".py") else [given])
        ]
        suite = names(scenarios, "--scenarios") or SUITE
        scores = run_benchmark(chosen, suite, rounds or ROUNDS, SEED if seed is None else seed)
        if output is not None:
            save("--output", output, netcdf(scores))
    told = {name: _scores(scores.sel(scenario=name)) for name in scores.scenario.values.tolist()}
    if as_json:
        hashes = scores.attrs["scenario_hash"].split(", ")
        print_json(
            {
                **{key: scores.attrs[key] for key in ("source", "rounds", "seed")},
                "scenarios": {
                    name: {"hash": digest, "policies": policies}
                    for (name, policies), digest in zip(told.items(), hashes, strict=True)
                },
            }
        )
        return
    for name, found in told.items():
        ranked = dict(sorted(found.items(), key=lambda item: _place(item[1])))
        columns = [["policy", *ranked], ["objective", *map(_objective, ranked.values())]]
        for head, key, unit in MEANS:
            of = [one[key] for one in ranked.values()]
            ends = ([one[end] for one in of] for end in ("value", "low", "high"))
            columns.append(column(head, unit, *ends))
        columns.append(["infeasible", *(percent(one["infeasible"]) for one in ranked.values())])
        titles, *rows = zip(*columns, strict=True)
        print_table(name, titles, rows)


def _scores(row: Any) -> dict[str, dict[str, Any]]:
    """Scores of one scenario by policy."""
    ends = {"value": "", "low": "_low", "high": "_high"}
    return {
        policy: {
            **{
                name: {end: float(one[name + suffix]) for end, suffix in ends.items()}
                for name in SCORES
            },
            "infeasible": None if one.infeasible.isnull() else float(one.infeasible),
        }
        for policy in row.policy.values.tolist()
        for one in [row.sel(policy=policy)]
    }


def _place(scores: dict[str, Any]) -> float:
    """Objective to rank by; those without one come last."""
    value = float(scores["objective"]["value"])
    return value if value == value else float("inf")


def _objective(scores: dict[str, Any]) -> str:
    value, low, high = scores["objective"].values()
    ends = f" ({low:.4f} to {high:.4f})" if low == low else ""  # one round has no interval
    return f"{value:.4f}{ends}" if value == value else "–"
