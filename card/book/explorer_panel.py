"""The Explorer as an element of a page: decisions computed beforehand, where its sliders stop."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from card.costs import System, check_one_in_flight
from card.figures.palette import dark
from card.figures.style import PART_COLOURS, POLICY_COLOURS, POLICY_LABELS
from card.scenario import Scenario
from card.studies.explorer import BANDWIDTHS_HZ, MOST_DEVICES, boards, explore, grid, ladder
from card.studies.timeline import round_steps

if TYPE_CHECKING:
    pass

DIGITS = 5
"""Significant digits of the numbers in a page, one more than it shows."""
COLUMNS = (
    "cut",
    "device_compute_s",
    "uplink_s",
    "server_compute_s",
    "downlink_s",
    "adapter_down_s",
    "adapter_up_s",
    "energy_j",
    "device_energy_j",
    "sending_j",
)
"""Quantities of a decision that a page holds, beside the clock; the delay is the sum of its
parts."""

_PARTS = {
    "device": "device_compute_s",
    "uplink": "uplink_s",
    "server": "server_compute_s",
    "downlink": "downlink_s",
    "adapters": "adapter_s",
}
"""Part of the delay that each colour of the page stands for."""


def document(name: str, scenario: Scenario) -> dict[str, Any]:
    """All that the Explorer's page shows, as plain data.

    Parameters
    ----------
    name
        Name or file of the scenario, for commands that a reader may copy.
    scenario
        The scenario, whole.

    Returns
    -------
    dict[str, Any]
        Axes of the grid, the scenario's own place on it, steps of a mini-batch per cut, and under
        `columns` a text per quantity. It lists numbers over policy, board, channel state,
        bandwidth, distance and weight, the last the fastest, and writes a run of equal ones as
        `number*count`.
    """
    arrays = System.of(scenario)
    check_one_in_flight(arrays, "the Explorer")
    found, kinds = grid(scenario), boards(scenario)
    bands = ladder(BANDWIDTHS_HZ, [scenario.link.bandwidth_hz])
    weights = found.delay_weight.values.tolist()
    states = list(scenario.channel_states)
    # the clock of a server that has nothing to do would only make the page longer
    clock = np.where(found.server_compute_s > 0, found.frequency_hz / 1e9, 0.0)
    columns = {column: packed(found[column].values) for column in COLUMNS}
    board_of = {device: place for place, kind in enumerate(kinds) for device in kind.devices}
    return {
        "scenario": {
            "name": Path(name).name,
            "at": {
                "device": telling(scenario),
                "state": len(states) // 2,
                "weight": weights.index(scenario.objective.delay_weight),
                "band": bands.index(scenario.link.bandwidth_hz),
            },
        },
        "blocks": arrays.num_blocks,
        "iterations": arrays.local_iterations,
        "topology": scenario.training.topology,
        "frequency_max_hz": arrays.frequency_max_hz,
        "links": found.sizes["link"],
        "policies": [POLICY_LABELS[policy] for policy in found.policy.values.tolist()],
        "states": states,
        "weights": weights,
        "bandwidths_hz": bands,
        "boards": [
            {
                "title": kind.title,
                "distances_m": kind.distance_m,
                "frequency_min_hz": arrays.frequency_min_hz[scenario.device_index(kind.devices[0])],
            }
            for kind in kinds
        ],
        "devices": [
            {"name": item.name, "board": board_of[item.name], "distance_m": item.distance_m}
            for item in scenario.devices[:MOST_DEVICES]
        ],
        "steps": {
            int(cut): steps(scenario, arrays, int(cut))
            for cut in np.unique(found.cut.sel(policy="card"))
        },
        "columns": columns | {"frequency_ghz": packed(clock)},
    }


def telling(scenario: Scenario) -> int:
    """Position of the first device that hands blocks over as the scenario stands, or else 0."""
    offered = scenario.devices[:MOST_DEVICES]
    names, places = [item.name for item in offered], [item.distance_m for item in offered]
    states = list(scenario.channel_states)
    found = explore(
        scenario,
        names,
        [states[len(states) // 2]] * len(names),
        [scenario.link.bandwidth_hz] * len(names),
        places,
        [scenario.objective.delay_weight],
    )
    cuts = found.cut.sel(policy="card")[:, 0].values
    return int(np.argmax(cuts < found.attrs["num_blocks"]))


def packed(values: np.ndarray[Any, Any]) -> str:
    """Numbers of an array to `DIGITS` digits, with runs of equal ones as `number*count`."""

    def runs() -> Iterator[str]:
        for text, run in groupby(f"{value:.{DIGITS}g}" for value in values.ravel().tolist()):
            count = sum(1 for _ in run)
            yield text if count == 1 else f"{text}*{count}"

    return " ".join(runs())


def steps(scenario: Scenario, system: System, cut: int) -> list[tuple[str, str, float]]:
    """Lane, label and share of that lane's time of each step of a mini-batch."""
    if cut == system.num_blocks:
        return [("device", "forward, loss, backward", 1.0)]
    single = replace(system, local_iterations=1)
    listed = round_steps(scenario, single, 0, cut, system.frequency_max_hz, 1e6, 1e6)
    batch = [step for step in listed if step.label != "adapters"]
    lane_s: dict[str, float] = {}
    for step in batch:
        lane_s[step.lane] = lane_s.get(step.lane, 0.0) + step.duration_s
    return [(s.lane, s.label, float(f"{s.duration_s / lane_s[s.lane]:.6g}")) for s in batch]


def element(content: dict[str, Any]) -> str:
    """HTML of the Explorer, which `explorer.js` brings to life; no other file is asked for.

    Parameters
    ----------
    content
        What `document` returns.
    """
    colours = {name: PART_COLOURS[part] for name, part in _PARTS.items()}
    colours["card"] = POLICY_COLOURS["card"]
    by_night = {name: dark(colour) for name, colour in colours.items()}
    style = f".explorer {_variables(colours)}html[data-theme=dark] .explorer {_variables(by_night)}"
    # a script ends at the first </, whatever it is in
    data = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return (
        f'<style>{style}</style><div class="explorer">'
        '<p class="ex-without">The controls need JavaScript. The figure and the table below show '
        "the scenario as it stands.</p>"
        f'<script type="application/json">{data}</script></div>'
    )


def _variables(colours: Mapping[str, str]) -> str:
    return "{" + ";".join(f"--ex-{name}:{colour}" for name, colour in colours.items()) + "}"
