"""The numbers and tables of the report, from the results of a built book and the package's data.

No number of the report is typed: each is read here from a result, a record or a scenario, and
written with the digits that it deserves.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from card.base import DISTRIBUTION
from card.book.markdown import interval, percent, plain, reproduced, scientific, settled, table
from card.book.place import BookError
from card.book.tables import duration
from card.costs import load_scenario, system
from card.figures.style import POLICY_LABELS
from card.hardware import load_profile
from card.hardware.catalogue import catalogue
from card.llm import architecture
from card.scenario import Scenario
from card.simulation import simulate
from card.studies.bootstrap import reductions
from card.studies.claims import recorded_claims
from card.studies.scenario_values import Parameter, parameters, show, with_unit
from card.studies.speed import recorded

_SCENARIOS = ("nominal", "calibrated", "realistic")
_STRONGEST = 7
"""Assumptions that the report shows."""


class Results:
    """Results of a built book, read when they are asked for.

    Parameters
    ----------
    folder
        Folder of the results.

    Raises
    ------
    BookError
        When a result is asked for that there is not.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> Any:
        """What a JSON file holds."""
        return json.loads(self._read(f"{name}.json"))

    def sensitivities(self) -> list[dict[str, str]]:
        """Rows of what each assumption of the scenario moves."""
        return list(csv.DictReader(self._read("sensitivities.csv").splitlines()))

    def _read(self, name: str) -> str:
        path = self.folder / name
        if not path.is_file():
            raise BookError(f"There is no {path}; a chapter failed, so build the book again.")
        return path.read_text(encoding="utf-8")


def values(html: Path, pins: Iterable[str]) -> dict[str, str]:
    """What stands for each name in the report's text, as Markdown.

    Parameters
    ----------
    html
        Folder of the pages of the nominal scenario's book, with `results` in it.
    pins
        Lines of the lock file.
    """
    results = Results(html / "results")
    found = _of_claims(results) | _of_scenarios() | _of_studies(results)
    found |= _of_machines(results) | _of_runtime(results) | _of_artifact(results, html, pins)
    return {name: plain(text) for name, text in found.items()}


def tables(results: Results) -> dict[str, str]:
    """The tables of the report by label, as Markdown."""
    return {"tab-claims": claims_table(results["claims"]), "tab-assumed": assumptions(results)}


def claims_table(claims: Iterable[Mapping[str, Any]]) -> str:
    """The published claims against three scenarios, with intervals and status."""

    def cell(claim: Mapping[str, Any], name: str) -> str:
        ends = interval(*claim["intervals"][name]).replace(" ", "\N{NO-BREAK SPACE}")
        return f"**{reproduced(claim, name)}**<br>{ends}"

    rows = [
        (
            f"**{claim['id']}**",
            claim["text"],
            POLICY_LABELS[claim["benchmark"]],
            *(cell(claim, name) for name in _SCENARIOS),
            claim["status"],
        )
        for claim in claims
    ]
    head = ("", "Abstract of the letter", "Read against", "Nominal", "Calibrated", "Realistic")
    return table((*head, "Status"), rows)


def assumptions(results: Results) -> str:
    """The assumed values that move a reduction most: each with its reason and what moves.

    Of the changes of one value the strongest counts.
    """
    by_path: dict[str, list[Parameter]] = {}
    for item in parameters(load_scenario("nominal")):
        by_path.setdefault(item.shared, []).append(item)

    def shift(row: Mapping[str, str]) -> float:
        return max(abs(float(row[f"{claim}_shift"])) for claim in ("C1", "C2"))

    rows: dict[str, dict[str, str]] = {}
    for row in sorted(results.sensitivities(), key=shift, reverse=True):
        if by_path[row["parameter"]][0].source:
            rows.setdefault(row["parameter"], row)
    return table(
        ("Assumption", "Value", "Reason", "If instead", "C1", "C2"),
        [
            (
                f"`{path}`",
                _value(by_path[path]),
                plain(_reason(by_path[path][0])),
                plain(row["change"]),
                *(percent(float(row[claim])) for claim in ("C1", "C2")),
            )
            for path, row in list(rows.items())[:_STRONGEST]
        ],
    )


def _value(items: list[Parameter]) -> str:
    """A value, or the least and the greatest of several."""
    ordered = sorted(items, key=lambda item: (item.value is not None, item.value))
    texts = [with_unit(item.value, item.unit) for item in (ordered[0], ordered[-1])]
    if items[0].path == "llm":
        return architecture(items[0].value).title
    if items[0].path == "server.hardware":
        return catalogue()[items[0].value].title
    return plain(" to ".join(dict.fromkeys(texts)))


def _reason(item: Parameter) -> str:
    assert item.source is not None
    return item.source.source


def _of_claims(results: Results) -> dict[str, str]:
    claims = results["claims"]
    found = {}
    for claim in claims:
        found[f"{claim['id']}_published"] = percent(claim["published"])
        found[f"{claim['id']}_gap"] = f"{100 * abs(claim['nominal'] - claim['published']):.1f}"
        found |= {f"{claim['id']}_{name}": reproduced(claim, name) for name in _SCENARIOS}
    rests = results["claims_rest_on"]
    for word, name in (
        ("rates", "with number formats and overheads"),
        ("power", "with power at rest"),
    ):
        for claim in claims:
            reduction = rests[name][claim["benchmark"]][claim["quantity"]]
            found[f"rests_{word}_{claim['id']}"] = settled(reduction)
    static = results["claims_other_benchmarks"]["calibrated"]["static_cut"]
    found |= {f"static_{quantity}": settled(static[quantity]) for quantity in ("delay", "energy")}
    tolerances = {entry.tolerance for entry in recorded_claims().claims.values()}
    return found | {
        "rounds": show(claims[0]["rounds"]),
        "seed": str(claims[0]["seed"]),
        "tolerance": f"{100 * max(tolerances):g}",
    }


def _of_scenarios() -> dict[str, str]:
    nominal, calibrated = (load_scenario(name) for name in ("nominal", "calibrated"))
    kinds = Counter(item.source.kind for item in parameters(nominal) if item.source)
    boards = [device.board for device in nominal.devices]
    sheets = [nominal.server.board, *boards]
    origins = Counter(s.kind for board in sheets for s in board.sources.values())
    return {
        "values": str(kinds.total()),
        "assumed": str(kinds["assumed"]),
        "datasheet": str(origins["datasheet"]),
        "devices": _spoken(len(boards)),
        "server": nominal.server.board.title,
        "llm": architecture(nominal.llm).title,
        "tokens": str(nominal.training.batch_size * nominal.training.sequence_length),
        "band": _mhz(nominal),
        "nominal_weight": f"{nominal.objective.delay_weight:g}",
        "calibrated_weight": f"{calibrated.objective.delay_weight:.3g}",
        "calibrated_band": _mhz(calibrated),
    }


def _spoken(count: int) -> str:
    words = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return words[count] if count < len(words) else str(count)


def _mhz(scenario: Scenario) -> str:
    return f"{scenario.link.bandwidth_hz / 1e6:.4g} MHz"


def _of_studies(results: Results) -> dict[str, str]:
    """What is simulated here: on the draws of the claims."""
    draws = recorded_claims().simulation
    real, big = load_scenario("realistic"), load_scenario("realistic-8b")
    kept = simulate(real, ["card"], draws.rounds, draws.seed).cut == system(real).num_blocks
    bigger = reductions(
        simulate(big, ["card", "server_only", "static_cut"], draws.rounds, draws.seed)
    )
    found = {
        f"big_{name}_{quantity}": settled(bigger[f"{name}_{rest}"][quantity])
        for name, rest in (("server", "only"), ("static", "cut"))
        for quantity in ("delay", "energy")
    }
    rounds = load_scenario("nominal").simulation.rounds
    study = results["reductions"]
    exhaustive = results["comparison"]
    gap = abs(exhaustive["card"]["delay_s"] - exhaustive["exhaustive"]["delay_s"])
    nominal = load_scenario("nominal")
    return found | {
        "alone": percent(float(kept.mean())),
        "too_small": _spoken(int(np.sum(~system(big).feasible[:, -1]))),
        "big_llm": architecture(big.llm).title,
        "C1_study": percent(study["device_only"]["delay"]["value"]),
        "C2_study": percent(study["server_only"]["energy"]["value"]),
        "study_rounds": show(rounds),
        "samples": show(rounds * len(nominal.devices) * len(nominal.states)),
        "exhaustive_gap": f"to {scientific(gap)} s" if gap else "to the last bit",
    }


def _of_machines(results: Results) -> dict[str, str]:
    profile = load_profile("profile", "h200-llama-3.2-1b")
    idle = recorded("h200-server-side")["idle_power_w"]
    missed = results["server_side"]["error"]
    fidelity = results["fidelity"]
    return {
        "gpu": profile.title,
        "gpu_llm": architecture(profile.settings.llm).title,
        "gpu_tokens": f"{profile.settings.batch_size} × {profile.settings.sequence_length}",
        "gpu_block_rate": f"{profile.throughput_flops / 1e12:.0f}",
        "gpu_head_rate": f"{profile.fastest_flops / 1e12:.0f}",
        "gpu_idle": f"{idle:.0f}",
        "gpu_most": f"{catalogue()['h200-sxm'].max_power_w:.0f}",
        "rate_errors": _between(missed["one rate"]["time_s"]),
        "part_errors": _between(missed["parts"]["time_s"]),
        "energy_errors": _between(missed["parts"]["energy_j"]),
        "llms": str(len(fidelity)),
        "memory_error": f"{100 * max(abs(one['saved_bit']) for one in fidelity.values()):.2g} %",
    }


def _between(errors: Iterable[float]) -> str:
    """Smallest and largest error."""
    found = list(errors)
    ends = (f"{100 * error:+.0f} %" for error in (min(found), max(found)))
    return " to ".join(ends).replace("-", "−")


def _of_runtime(results: Results) -> dict[str, str]:
    curves = results["runtime_curves"]
    apart = max(float(np.abs(np.subtract(c, curves["unsplit"])).max()) for c in curves.values())
    record = recorded("delay-by-cut")
    timed = [event for series in record["rates"] for event in series["rounds"]]
    off = np.abs([event["delay_s"] / event["predicted_delay_s"] - 1 for event in timed])
    found = results["runtime_recovered"]
    return {
        "plans": str(len(curves) - 1),
        "loss_apart": f"within {scientific(apart)}" if apart else "to the last bit",
        "link_rates": " and ".join(f"{series['rate_bps'] / 1e6:g}" for series in record["rates"]),
        "timed": str(len(timed)),
        "run_llm": record["llm"],
        "off_median": percent(float(np.median(off))),
        "off_most": percent(float(off.max())),
        "found_0": percent(found["0"]["value"], 0),
        "found_1": settled(found["1"]),
    }


def _of_artifact(results: Results, html: Path, pins: Iterable[str]) -> dict[str, str]:
    made, effort = results["provenance"], recorded("effort")
    packages, folder = made["packages"], results.folder
    machine, steps = effort["machine"], effort["steps_s"]
    pages = sum(path.stat().st_size for path in html.rglob("*") if path.is_file())
    commit = f"commit {made['commit'][:12]}" if made["commit"] else "no commit"
    return {
        "version": packages[DISTRIBUTION],
        "commit": commit + (" with changes" if made["dirty"] else ""),
        "python": made["python"],
        "numpy": packages["numpy"],
        "jupyter_book": packages["jupyter-book"],
        "pins": str(sum("==" in line for line in pins)),
        "data_files": str(len(made["data_sha256"])),
        "chapters": str(len(list((html / "_sources/notebooks").glob("*.ipynb")))),
        # one PNG for each, whatever the widths of its SVG
        "figures": str(len(list(folder.glob("figures/*.png")))),
        "results": str(sum(p.suffix in (".csv", ".json", ".nc") for p in folder.iterdir())),
        "pages": f"{pages / 1e6:.0f} MB",
        "environment": f"{effort['environment_byte'] / 1e9:.1f} GB",
        "effort_date": effort["date"],
        "effort_machine": f"an {machine['processor']} with {machine['processors']} processors",
        "machine_processors": _spoken(machine["processors"]),
        **{f"{name}_time": duration(seconds) for name, seconds in steps.items()},
    }
