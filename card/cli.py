"""The `card` command: every number of the model, as a table or as one JSON document."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from card import costs as model
from card.channel import draw_gains, link_rates, scenario_gain
from card.claims import claims as recompute_claims
from card.hardware import against_datasheet, catalogue, hardware, load_profile
from card.llm import public_config
from card.merge import parse_value
from card.profiles import Profile
from card.refusal import ScenarioError, unknown
from card.scenario import Scenario, load_scenario
from card.simulate import means, reductions
from card.simulate import simulate as run_simulation
from card.solver import Decision, objective
from card.solver import solve as run_solver
from card.units import BITS_PER_BYTE

app = typer.Typer(
    help="Cut layer and computing resource decision for split fine-tuning of LLMs at the edge.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Accelerator = Literal["cpu", "cuda"]
Name = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="Scenario name, or scenario or study file.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Replace a value; may be given repeatedly."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Rate = Annotated[float | None, typer.Option(help="Link rate [bit/s]; the state's when not given.")]


@app.command()
def show(scenario: Name, settings: Settings = None, as_json: AsJson = False) -> None:
    """Show the whole resolved scenario with the origin of every value."""
    with _refusals():
        chosen = _load(scenario, settings)
    if as_json:
        _print_json(_resolved(chosen))
        return
    rows = []
    for path, value in _leaves(chosen.model_dump(mode="json", exclude={"sources"})):
        source = chosen.source_of(path)
        rows.append((path, _text(value), *((source.kind, source.source) if source else ("", ""))))
    _print_table(chosen.title, ("key", "value", "kind", "source"), rows)


@app.command()
def costs(scenario: Name, settings: Settings = None, as_json: AsJson = False) -> None:
    """Print work, traffic and memory of every cut."""
    with _refusals():
        chosen = _load(scenario, settings)
        table = model.system(chosen).profile.as_dict()
    if as_json:
        _print_json(table)
        return
    head = {
        "cut": 1,
        "device [GFLOP]": 1e9,
        "server [GFLOP]": 1e9,
        "uplink [MB]": 1e6 * BITS_PER_BYTE,
        "downlink [MB]": 1e6 * BITS_PER_BYTE,
        "adapters [MB]": 1e6 * BITS_PER_BYTE,
        "memory [GB]": 1e9 * BITS_PER_BYTE,
    }
    rows = [
        [f"{value / scale:,.6g}" for value, scale in zip(row, head.values(), strict=True)]
        for row in zip(*table.values(), strict=True)
    ]
    _print_table(f"{chosen.title}: per local iteration, adapters per round", list(head), rows)


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
    with _refusals():
        chosen = _load(scenario, settings)
        arrays, index = model.system(chosen), chosen.device_index(device)
        up, down = _rates(chosen, index, uplink_bps, downlink_bps, state)
        decision = run_solver(arrays, index, up, down)
        document = _decision(arrays, index, decision, up, down)
    if as_json:
        _print_json(document)
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
    _print_table(title, head, rows)


@app.command()
def simulate(
    scenario: Name,
    rounds: Annotated[int | None, typer.Option(help="Rounds per device and state.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the draws.")] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Simulate every policy on common draws; means, and CARD's reductions with 95 % intervals."""
    with _refusals():
        results = run_simulation(_load(scenario, settings), rounds=rounds, seed=seed)
        averages, saved = means(results), reductions(results)
    if as_json:
        _print_json({"policies": averages, "reductions": saved})
        return
    rows = [
        [policy, *(f"{value:.2f}" for value in mean.values())]
        + [_interval(**item) for item in saved.get(policy, {}).values()]
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
    _print_table(results.attrs["title"], head, rows)


@app.command()
def claims(as_json: AsJson = False) -> None:
    """Recompute the published claims; exit 1 if a value drifted from the record."""
    with _refusals():
        found = recompute_claims()
    if as_json:
        _print_json([claim.as_dict() for claim in found])
    else:
        rows = [
            (
                claim.id,
                claim.text,
                _percent(claim.published),
                _percent(claim.nominal),
                _interval(claim.calibrated, claim.low, claim.high),
                claim.status,
            )
            for claim in found
        ]
        head = ("id", "claim", "published", "nominal", "calibrated", "status")
        _print_table("Published claims", head, rows)
    for claim in found:
        if claim.drift:
            typer.echo(f"{claim.id} drifted: {claim.drift}", err=True)
    if any(claim.status != "holds when calibrated" for claim in found):
        raise typer.Exit(1)


@app.command()
def profile(
    scenario: Name = "nominal",
    quick: Annotated[bool, typer.Option("--quick", help="Short sequences, few repeats.")] = False,
    accelerator: Annotated[Accelerator, typer.Option(help="Processor to measure.")] = "cpu",
    listed_as: Annotated[
        str | None, typer.Option("--hardware", help="Catalogue entry that this machine is.")
    ] = None,
    clocks: Annotated[bool, typer.Option("--clocks", help="Also sweep the GPU's clocks.")] = False,
    output: Annotated[str | None, typer.Option(metavar="FILE", help="File to write.")] = None,
    compare: Annotated[
        str | None,
        typer.Option(metavar="PROFILE", help="Hold a recorded profile against the datasheet."),
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Measure what training the parts of the scenario's LLM takes on this machine."""
    with _refusals():
        if compare:
            found = load_profile("compare", compare)
        else:
            chosen = _load(scenario, settings)
            found = _measured(chosen, accelerator, quick, listed_as, clocks)
        if output:
            _save(output, found.model_dump_json(indent=1))
        summary = against_datasheet(found)
    if as_json:
        _print_json(summary if compare else found.model_dump(mode="json"))
        return
    rows = [(name, "–" if value is None else f"{value:.4g}") for name, value in summary.items()]
    _print_table(f"{found.title}, {found.settings.llm}", ("quantity", "value"), rows)


@app.command()
def book(
    study: Annotated[str, typer.Argument(help="Scenario name, or a file of one.")] = "nominal",
    quick: Annotated[bool, typer.Option("--quick", help="Few rounds, to look at only.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Notebooks run side by side.")] = None,
) -> None:
    """Build the book of a study; print the path of its first page."""
    from card.study import BookError, build_book  # loads pandas and the book's tools

    with _refusals():
        try:
            page = build_book(study, quick=quick, jobs=jobs, echo=_progress)
        except BookError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(1) from None
    typer.echo(page)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a scenario or study, for editors to complete from."""
    _print_json(study_schema())


def study_schema() -> dict[str, Any]:
    """JSON Schema of a study: a scenario's shape in which every key is optional, and its base."""
    whole = Scenario.model_json_schema()
    for part in (whole, *whole["$defs"].values()):
        part.pop("required", None)
    keys = whole["properties"]
    by_name = {"type": "object", "additionalProperties": keys["devices"]["items"]}
    keys["devices"] = {"anyOf": [keys["devices"], by_name]}
    keys["base"] = {"type": "string", "description": "Scenario that this file overrides."}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}


@contextmanager
def _refusals() -> Iterator[None]:
    """Bad input ends with one readable message and exit code 2; a warning is one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        except ScenarioError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(2) from None
    for text in dict.fromkeys(str(item.message) for item in caught):
        typer.echo(f"Warning: {text}", err=True)


def _measured(
    scenario: Scenario, accelerator: Accelerator, quick: bool, listed_as: str | None, clocks: bool
) -> Profile:
    if clocks and accelerator == "cpu":
        raise ScenarioError("--clocks sweeps a GPU's clocks; add --accelerator cuda.")
    if listed_as is not None and listed_as not in catalogue():
        raise unknown("hardware", listed_as, catalogue())
    try:
        from card.lab import profile as lab  # needs torch, which is in the `lab` extra
    except ImportError as error:
        raise ScenarioError(f"{error.name} is not installed; pip install 'card[lab]'.") from error
    run = lab.suited(scenario.training, scenario.lora, accelerator=accelerator, quick=quick)
    work = partial(lab.block_work, scenario.llm, *run, accelerator=accelerator)
    law = lab.sweep_clocks(work()) if clocks else None
    found = lab.measure(
        scenario.llm,
        *run,
        accelerator=accelerator,
        quick=quick,
        hardware=listed_as,
        echo=_progress,
    )
    return found.model_copy(update={"power_law": law})


def _save(file: str, text: str) -> None:
    try:
        Path(file).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"output = {file!r} cannot be written: {error.strerror}.") from error


def _load(name: str, settings: Sequence[str] | None) -> Scenario:
    overrides = {}
    for setting in settings or ():
        path, equals, value = setting.partition("=")
        if not (path and equals):
            raise ScenarioError(
                f"--set {setting!r} is not allowed; write PATH=VALUE, e.g. link.bandwidth_hz=2e7."
            )
        overrides[path] = parse_value(value)
    return load_scenario(name, **overrides)


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
    calm = scenario.link.model_copy(update={"shadowing_db": 0.0})
    gain = scenario_gain(scenario)[states.index(chosen), device]
    up, down = link_rates(
        draw_gains(np.random.default_rng(scenario.simulation.seed), gain, calm, 1), calm
    )
    return (
        float(up[0]) if uplink is None else uplink,
        float(down[0]) if downlink is None else downlink,
    )


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
    used = [scenario.server.hardware, *(device.hardware for device in scenario.devices)]
    return {
        **scenario.model_dump(mode="json"),
        "catalogue": {
            name: hardware("hardware", name).model_dump(mode="json") for name in dict.fromkeys(used)
        },
        "llm_config": public_config(scenario.llm),
    }


def _leaves(node: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}{key}.")
    elif isinstance(node, list) and node and isinstance(node[0], dict):
        for item in node:
            yield from _leaves(
                {k: v for k, v in item.items() if k != "name"}, f"{prefix}{item['name']}."
            )
    else:
        yield prefix.rstrip("."), node


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return _percent(value)
    return f"{_percent(value)} ({100 * low:.1f} to {100 * high:.1f})"


def _progress(line: str) -> None:
    typer.echo(line, err=True)


def _known(node: Any) -> Any:
    """The same document with null for numbers that are not known (NaN)."""
    if isinstance(node, dict):
        return {key: _known(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_known(value) for value in node]
    return None if isinstance(node, float) and np.isnan(node) else node


def _print_json(document: Any) -> None:
    sys.stdout.write(
        json.dumps(_known(document), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    )


def _print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left", header_style="bold")
    for position, name in enumerate(head):
        first = position == 0
        table.add_column(name, justify="left" if first else "right", no_wrap=first)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
