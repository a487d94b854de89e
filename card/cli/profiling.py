"""Commands that need the real LLM, and so torch: measuring what it takes and what it leaks."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import Field

from card.base.errors import ScenarioError, extra, repeated, shortened, unknown
from card.base.schema import Count
from card.cli.options import AsJson, Cut, Name, Place, Settings, Text, option
from card.cli.terminal import (
    check_place,
    load,
    print_json,
    print_table,
    progress,
    refusals,
    save,
)
from card.hardware import Profile, against_datasheet, catalogue, load_profile
from card.scenario import Scenario
from card.scenario.leakage import LeakageTable

app = typer.Typer()

Several = Annotated[Count, Field(ge=2)]
"""A number of repetitions that have an interval."""
Accelerator = Literal["cpu", "cuda"]


@app.command()
def profile(
    scenario: Name = "nominal",
    quick: Annotated[bool, typer.Option("--quick", help="Short sequences, few repeats.")] = False,
    accelerator: Annotated[Accelerator, option(Accelerator, help="Processor to measure.")] = "cpu",
    listed_as: Annotated[
        str | None, option(Text, "--hardware", help="Catalogue entry that this machine is.")
    ] = None,
    grid: Annotated[
        str | None,
        option(
            Text,
            metavar="BxL,…",
            help="Mini-batches to measure, sequences x tokens; the scenario's own if not given.",
        ),
    ] = None,
    clocks: Annotated[bool, typer.Option("--clocks", help="Also sweep the GPU's clocks.")] = False,
    output: Annotated[str | None, option(Text, metavar="FILE", help="File to write.")] = None,
    compare: Annotated[
        str | None,
        option(Text, metavar="PROFILE", help="Hold a recorded profile against the datasheet."),
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Measure what training the parts of the scenario's LLM takes on this machine."""
    with refusals():
        check_place("--output", output, (".json",))
        if compare:
            found = load_profile("compare", compare)
        else:
            chosen = load(scenario, settings, runs=True)
            found = _measured(chosen, accelerator, quick, listed_as, clocks, shapes(grid))
        if output:
            save("--output", output, found.model_dump_json(indent=1) + "\n")
        summary = against_datasheet(found)
    if as_json:
        print_json(summary if compare else found.model_dump(mode="json"))
        return
    rows = [(name, "–" if value is None else f"{value:.4g}") for name, value in summary.items()]
    print_table(f"{found.title}, {found.settings.llm}", ("quantity", "value"), rows)


@app.command()
def leakage(
    scenario: Name = "test-bed",
    text: Annotated[
        list[Path] | None,
        option(Place, "--text", help="Text file, two or more; the shipped ones if not given."),
    ] = None,
    seeds: Annotated[int, option(Count, help="Repetitions for each text.")] = 2,
    quick: Annotated[bool, typer.Option("--quick", help="Little text, short attacks.")] = False,
    weights: Annotated[
        Path | None, option(Place, help="Folder of pre-trained weights; see card serve.")
    ] = None,
    output: Annotated[str | None, option(Text, metavar="FILE", help="File to write.")] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Attack what devices send, cut by cut, and tell how much of their text is recovered."""
    with refusals():
        check_place("--output", output, (".json",))
        chosen = load(scenario, settings, runs=True)
        with extra("lab", "card leakage"):
            from card.profiling import leakage as lab
        found = lab.measure(
            chosen,
            lab.TEXTS if text is None else text,
            seeds=seeds,
            sizes=lab.QUICK if quick else None,
            weights=weights,
            echo=progress,
        )
        if output:
            save("--output", output, found.model_dump_json(indent=1) + "\n")
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    print_table(f"Share of tokens recovered, {found.llm}", *_recovered(found))


@app.command()
def bits(
    scenario: Name = "test-bed",
    text: Annotated[
        list[Path] | None,
        option(Place, "--text", help="Text of a device, one or more; books if not given."),
    ] = None,
    cut: Annotated[
        list[int] | None,
        option(Cut, metavar="INT", help="Cut to measure; may be given repeatedly."),
    ] = None,
    seeds: Annotated[int, option(Several, help="Trainings for each cut and pair of bits.")] = 5,
    rounds: Annotated[int, option(Count, help="Turns in a training.")] = 9,
    weights: Annotated[
        Path | None, option(Place, help="Folder of pre-trained weights; see card serve.")
    ] = None,
    output: Annotated[str | None, option(Text, metavar="FILE", help="File to write.")] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Train with each pair of bits on the wire, and tell what they do to the loss."""
    with refusals():
        check_place("--output", output, (".json",))
        chosen = load(scenario, settings, runs=True)
        with extra("lab", "card bits"):
            from card.profiling import bits as lab
        found = lab.measure(
            chosen,
            lab.TEXTS if text is None else text,
            cuts=cut,
            seeds=seeds,
            rounds=rounds,
            weights=weights,
            echo=progress,
        )
        if output:
            save("--output", output, found.model_dump_json(indent=1) + "\n")
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    head = ("cut", "bits up", "bits down", "loss penalty [nat]", "95 % interval")
    rows = [
        (
            str(one.cut),
            str(one.uplink_bits),
            str(one.downlink_bits),
            f"{one.mean:.4f}",
            f"{one.low:.4f} to {one.high:.4f}",
        )
        for one in found.penalties
    ]
    print_table(f"Loss beyond that of 16 bits, {found.llm}", head, rows)


def _recovered(table: LeakageTable) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of what attacks recover: one for each cut and number of bits."""
    places = dict.fromkeys((one.cut, one.uplink_bits) for one in table.rates)
    rows = [
        (str(cut), str(bits), *(f"{table.recovery(a, cut, bits).rate:.3f}" for a in table.attacks))
        for cut, bits in places
    ]
    return ("cut", "bits up", *table.attacks), rows


def shapes(grid: str | None) -> list[tuple[int, int]]:
    """Sequences and tokens of each mini-batch that `--grid` names, e.g. `1x512,8x512`.

    Raises
    ------
    ScenarioError
        If the text is something else, or names a mini-batch twice.
    """
    found: list[tuple[int, int]] = []
    for item in [] if grid is None else grid.split(","):
        parts = re.fullmatch(r"\s*([1-9]\d{0,8})x([1-9]\d{0,8})\s*", item, re.ASCII)
        if not parts:
            raise ScenarioError(
                f"--grid {shortened(grid)}: {shortened(item)} is not allowed; write sequences x "
                f"tokens, each from 1 to 999999999, e.g. --grid 1x512,8x512."
            )
        found.append((int(parts[1]), int(parts[2])))
    if twice := repeated(found):
        raise ScenarioError("--grid names {}x{} twice; name it once.".format(*twice))
    return found


def _measured(
    scenario: Scenario,
    accelerator: Accelerator,
    quick: bool,
    listed_as: str | None,
    clocks: bool,
    grid: list[tuple[int, int]],
) -> Profile:
    if clocks and accelerator == "cpu":
        raise ScenarioError("--clocks sweeps a GPU's clocks; add --accelerator cuda.")
    if listed_as is not None and listed_as not in catalogue():
        raise unknown("hardware", listed_as, catalogue())
    with extra("lab", "card profile"):
        from card.profiling import energy
        from card.profiling import measure as lab
    keys = ("training.batch_size", "training.sequence_length")
    named = [scenario.updated(dict(zip(keys, shape, strict=True))) for shape in grid]
    fit = partial(lab.suited, accelerator=accelerator, quick=quick and not grid)
    runs = [fit(one.training, one.lora) for one in named or [scenario]]
    run, further = runs[0], [training for training, _ in runs[1:]]
    work = partial(lab.block_work, scenario.llm, *run, accelerator=accelerator)
    law = energy.sweep_clocks(work()) if clocks else None
    found = lab.measure(
        scenario.llm,
        *run,
        accelerator=accelerator,
        quick=quick,
        hardware=listed_as,
        further=further,
        echo=progress,
    )
    return found.model_copy(update={"power_law": law})
