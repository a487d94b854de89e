"""Commands on studies: new ones, their differences, their sweeps, their books, and their shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from card.base.arrays import LIBRARIES
from card.base.data_files import scenario_names, study_names
from card.base.errors import ScenarioError, extra
from card.base.schema import Count, Sweep
from card.base.terminals import tell
from card.base.units import counted
from card.cli.clusters import cluster
from card.cli.options import (
    AsJson,
    Name,
    Policies,
    Rounds,
    Seed,
    Settings,
    Text,
    option,
    scenario_argument,
    scenario_files,
)
from card.cli.soundness import check as check_sound
from card.cli.terminal import (
    MEANS,
    by_path,
    check_apart,
    check_place,
    column,
    given,
    keep_inputs,
    names,
    note,
    print_json,
    print_table,
    progress,
    refusals,
    save,
    set_values,
)
from card.costs import notes
from card.scenario import Scenario
from card.scenario.fleets import allow_fleets
from card.studies.comparison import QUANTITIES, Comparison
from card.studies.comparison import compare as compare_scenarios
from card.studies.scenario_values import with_unit
from card.studies.study_file import Study, load_study, new_study
from card.studies.sweep import sweep as run_sweep
from card.studies.sweep_axes import axes
from card.studies.sweep_csv import as_table
from card.studies.sweep_grid import COSTS, INTERVALS, Grid

if TYPE_CHECKING:
    import xarray as xr

app = typer.Typer()

Library = Annotated[str, option(Text, help=f"What computes: {', '.join(LIBRARIES)}.")]
_SHOWN = 40
"""Rows of a sweep that are printed."""
_PICTURES = (".svg", ".png", ".pdf")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the study; its file is NAME.yml.")],
    base: Annotated[
        str, option(Text, help="Scenario or study to start from.", autocompletion=scenario_files)
    ] = "nominal",
) -> None:
    """Write a commented study file that changes nothing yet; print its path."""
    path = Path(f"{name.removesuffix('.yml')}.yml")
    with refusals():
        if path.stem.startswith(".") or path.stem.isspace() or not path.stem.isprintable():
            raise ScenarioError(
                f"name = {name!r} is not allowed; give letters that can be printed, e.g. my-study."
            )
        if path.stem in (*scenario_names(), *study_names()):
            raise ScenarioError(f"name = {path.stem!r} is that of a shipped study; choose another.")
        if path.exists():
            raise ScenarioError(f"{path} exists already; choose another name, or remove it.")
        save("name", str(path), new_study(path.stem, base, path.parent) + "\n")
    tell(path)


@app.command()
def compare(
    first: Annotated[str, scenario_argument("A", "Scenario or study.")],
    second: Annotated[str, scenario_argument("B", "What to compare it with.")],
    rounds: Rounds = None,
    seed: Seed = None,
    html: Annotated[str | None, option(Text, help="Write a web page to this file, too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two studies: the values that differ, and means with 95 % intervals of the change."""
    from card.book.comparison_page import comparison_page  # brings the tools of the book's pages

    with refusals():
        check_place("--html", html, (".html", ".htm"))
        asked = load_study(first), load_study(second)
        called = asked[0].name, asked[1].name
        called = (first, second) if called[0] == called[1] else called
        found = compare_scenarios(asked[0].scenario, asked[1].scenario, rounds, seed)
        if html:
            save("--html", html, comparison_page(found, called) + "\n")
    if as_json:
        print_json(found.as_dict())
        return
    _print_comparison(found, called)


@app.command()
def sweep(
    study: Name,
    output: Annotated[
        str | None,
        option(
            Text,
            help="File for the means: .nc or .zarr, which the same sweep resumes, or .csv. None "
            "that is there is overwritten: a .csv, or what is of another sweep, is refused.",
        ),
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=[VALUE, …]", help="Sweep these values instead of the study's own."
        ),
    ] = None,
    policies: Policies = None,
    rounds: Rounds = None,
    seed: Seed = None,
    dask: Annotated[
        str | None, option(Text, metavar="ADDRESS", help="Scheduler of a Dask cluster to use.")
    ] = None,
    library: Annotated[str, option(Text, help=f"What computes: {', '.join(LIBRARIES)}.")] = "numpy",
    figure: Annotated[
        str | None, option(Text, help="Draw the first two paths to this file, .svg, .png or .pdf.")
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Sweep values of a study: means of every policy at every combination of them."""
    with refusals():
        check_place("--figure", figure, _PICTURES)
        as_csv = bool(output and output.endswith(".csv"))
        if output and as_csv:
            check_place("--output", output, (".csv",))
        elif output:
            keep_inputs("--output", output)
        asked = load_study(study, **set_values(settings))
        if output and as_csv:
            _check_new(output)
        plan = _plan(asked, over, policies)
        rounds = plan.rounds if rounds is None else rounds
        seed = plan.seed if seed is None else seed
        also = {path: f"the sweep over {path}" for path in plan.over}
        also |= {"simulation.rounds": given("rounds", rounds)} if rounds else {}
        also |= {"simulation.seed": given("seed", seed)} if seed is not None else {}
        chosen = asked.scenario
        check_apart(settings or (), also, chosen.model_dump(mode="json"))
        note(notes(chosen))
        if figure:
            Grid.checked(chosen, plan.over, plan.policies, rounds, seed)
            _check_figure({path: len(values) for path, values in plan.over.items()})
        with cluster(dask) as client:
            grid = run_sweep(
                chosen,
                plan.over,
                plan.policies,
                rounds,
                seed,
                None if as_csv else output,
                client,
                library,
            )
        rows = list(_rows(grid, list(plan.over)))
        if output and as_csv:
            save("--output", output, as_table(rows, *_drawn_with(grid)))
        if figure:  # last, for what was computed is kept if it cannot be written
            _draw(grid, list(plan.over), figure)
    if as_json:
        used = dict(zip(("rounds", "seed"), _drawn_with(grid), strict=True))
        print_json({"title": chosen.title, "scenario": chosen.title, **used, "points": rows})
        return
    _print_points(chosen.title, grid, rows, output)
    for file in filter(None, (figure, output)):
        tell(file)


@app.command()
def book(
    context: typer.Context,
    study: Name = "nominal",
    quick: Annotated[bool, typer.Option("--quick", help="Few rounds, to look at only.")] = False,
    jobs: Annotated[int | None, option(Count, help="Notebooks run side by side.")] = None,
) -> None:
    """Build the book of a study; print the path of its first page."""
    card = context.find_root().command
    with refusals(), extra("book", "card book"):
        from card.book.build import build_book  # loads pandas and the book's tools

        page = _built(
            lambda: build_book(study, commands=card, quick=quick, jobs=jobs, echo=progress)
        )
    tell(page)


@app.command()
def pdf(
    context: typer.Context,
    study: Name = "nominal",
) -> None:
    """Print the book of a study as one PDF, from its last full build if there is one."""
    card = context.find_root().command
    with refusals(), extra("book", "card pdf"):
        from card.book.pdf import build_pdf  # loads the book's tools

        printed = _built(lambda: build_pdf(study, commands=card, echo=progress))
    tell(printed)


@app.command()
def report() -> None:
    """Write a report of four pages from the results of the book as it was last built."""
    with refusals(), extra("book", "card report"):
        from card.book.report import build_report  # loads the book's tools

        printed = _built(lambda: build_report(echo=progress))
    typer.echo(printed)


@app.command()
def check(
    studies: Annotated[
        list[str] | None,
        scenario_argument("[SCENARIO]...", "What to check; all that is shipped if none."),
    ] = None,
) -> None:
    """Say whether studies, or all shipped entries and studies, are sound; exit 1 if one is not."""
    with refusals():
        count, faults = check_sound(studies)
    for line in faults:
        tell(line)
    if faults:
        raise typer.Exit(1)
    tell(f"{count} checked, all sound")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a scenario or study, for editors to complete from."""
    print_json(study_schema())


def study_schema() -> dict[str, Any]:
    """JSON Schema of a study: a scenario's keys, all optional, and what only a study has."""
    whole = Scenario.model_json_schema()
    for part in (whole, *whole["$defs"].values()):
        part.pop("required", None)
    keys = whole["properties"]
    removed = {"type": "null"}
    allow_fleets(whole["$defs"]["Device"]["properties"])
    device, states = keys["devices"]["items"], keys["channel_states"]
    by_name = {"type": "object", "additionalProperties": {"anyOf": [device, removed]}}
    keys["devices"] = {"anyOf": [keys["devices"], by_name]}
    for name, state in states["patternProperties"].items():
        states["patternProperties"][name] = {"anyOf": [state, removed]}
    keys["base"] = {"type": "string", "description": "Scenario that this file overrides."}
    keys["sweep"] = Sweep.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}


def _check_new(output: str) -> None:
    """Refuse a file that is there, of whatever sweep."""
    if Path(output).is_file():
        raise ScenarioError(
            f"--output = {output!r} is there already, and a .csv cannot be resumed; name another "
            f"output."
        )


def _built(build: Callable[[], Path]) -> Path:
    """The path of what is built; a failure ends with one readable message."""
    from card.book.place import BookError

    try:
        return build()
    except BookError as error:
        tell(*f"Error: {error}".split("\n"), err=True)
        raise typer.Exit(1) from None


def _plan(asked: Study, over: list[str] | None, policies: str | None) -> Sweep:
    """What to sweep: the study's own, unless options say otherwise."""
    if asked.sweep is None and not over:
        raise ScenarioError(
            f"{asked.name} has no sweep; give it one, e.g. sweep: {{over: "
            "{objective.delay_weight: [0.2, 0.8]}}, or use --over."
        )
    changed: dict[str, Any] = {} if asked.sweep is None else dict(asked.sweep)
    if over:
        form = "[VALUE, …], e.g. objective.delay_weight=[0.2, 0.8]"
        changed["over"] = by_path("--over", over, form)
    if policies:
        changed["policies"] = tuple(names(policies) or ())
    # not validated here: what the options say is checked with the grid
    return Sweep.model_construct(**changed)


def _drawn_with(grid: xr.Dataset) -> tuple[int, int]:
    """Rounds and seed of a sweep."""
    return int(grid.attrs["rounds"]), int(grid.attrs["seed"])


def _check_figure(sizes: dict[str, int]) -> None:
    """Refuse a figure that could not be drawn, before anything is computed."""
    with extra("book", "--figure"):
        from card.figures.sweeps import check_drawable
    check_drawable(sizes, *_drawn(sizes))


def _drawn(sizes: Mapping[str, int]) -> list[str]:
    """The two paths that a figure shows: the first of several values, or else the first."""
    return sorted(sizes, key=lambda path: sizes[path] == 1)[:2]


def _draw(grid: xr.Dataset, paths: list[str], file: str) -> None:
    from matplotlib import rc_context

    from card.figures.image_files import finished
    from card.figures.style import use_style
    from card.figures.sweeps import along

    drawn = BytesIO()
    with rc_context():
        use_style()
        kind = Path(file).suffix[1:]
        figure = along(grid, *_drawn({path: grid.sizes[path] for path in paths}))
        finished(figure, drawn=kind != "svg")
        figure.savefig(drawn, format=kind, bbox_inches="tight")
    save("--figure", file, drawn.getvalue())


def _print_points(
    title: str, grid: xr.Dataset, rows: list[dict[str, Any]], output: str | None
) -> None:
    """Every point and policy as a row, the first ones where there are many."""
    shown = rows[:_SHOWN]
    found = list(axes(grid).values())
    points = product(*(axis.labels for axis in found), grid.policy.values.tolist())
    labels = islice(points, _SHOWN)
    heads = [*(axis.title for axis in found), "policy"]
    words = [list(cells) for cells in zip(heads, *labels, strict=True)]
    numbers = []
    for name, key, unit in MEANS:
        means, low, high = ([row[key + end] for row in shown] for end in ("", "_low", "_high"))
        numbers.append(column(name, unit, means, low, high))
    head, *body = map(list, zip(*words, *numbers, strict=True))
    print_table(title, head, body)
    if more := len(rows) - len(shown):
        keeps, are = output or "--json or --output", "is" if more == 1 else "are"
        progress(f"{counted(more, 'more row')} {are} not shown; {keeps} keeps them all.")


def _rows(grid: xr.Dataset, paths: list[str]) -> Iterator[dict[str, Any]]:
    """One row per point and policy: means over states and devices, and their intervals."""
    means = grid[list(COSTS)].mean(("state", "device"), skipna=False)
    means = means.assign(grid[list(INTERVALS)])
    dims = [*paths, "policy"]
    order = [name for cost in COSTS for name in (cost, f"{cost}_low", f"{cost}_high")]
    columns = {name: means[name].transpose(*dims).values.ravel().tolist() for name in order}
    points = product(*(grid[dim].values.tolist() for dim in dims))
    for point, *values in zip(points, *columns.values(), strict=True):
        yield {**dict(zip(dims, point, strict=True)), **dict(zip(columns, values, strict=True))}


def _print_comparison(found: Comparison, names: tuple[str, str]) -> None:
    from card.book.comparison_page import (  # brings the tools of the book's pages
        WORDS,
        amount,
        signed,
        span,
    )

    rows = [
        (d.path, with_unit(d.first, d.unit), with_unit(d.second, d.unit)) for d in found.parameters
    ]
    print_table("Values that differ", ("key", *names), rows)
    for quantity in QUANTITIES:
        word, unit = WORDS[quantity]
        means = [
            (item.policy, amount(item.first), amount(item.second), signed(item.change),
             span(item.low, item.high))
            for item in found.changes
            if item.quantity == quantity and item.policy != "exhaustive"
        ]  # fmt: skip
        head = ("policy", *names, "change", "95 % interval")
        rounds = counted(found.rounds, "round")
        print_table(f"Mean {word} of a round [{unit}], {rounds}", head, means)
