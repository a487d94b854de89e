"""The Explorer as an element of a page: what the solver in the reader's browser computes with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from card.base.errors import ScenarioError
from card.base.llm_configs import llm_title, public_config
from card.costs import System, check_one_in_flight, trips_s
from card.hardware import hardware
from card.scenario import Scenario
from card.solver import extreme_cuts
from card.studies.explorer import FARTHEST_M, MOST_DEVICES, boards, explore
from card.studies.timeline import mini_batch_steps

LLMS = ("smollm2-135m", "qwen2.5-0.5b", "llama-3.2-1b", "llama-3.2-3b")
"""LLMs on offer beside the scenario's own."""
SERVERS = ("rtx-4060-ti", "rtx-4090", "a100-sxm-80gb", "h200-sxm")
"""Servers on offer beside the scenario's own."""
TOPOLOGIES = ("vanilla", "u-shaped")
"""Topologies on offer."""
BITS = (16, 8, 4)
"""Bits per number that is sent, on offer beside the scenario's own."""

_LINK = (
    *("uplink_power_dbm", "downlink_power_dbm", "noise_dbm_per_hz", "reference_loss_db", "fading"),
    *("noise_figure_db", "gap_db", "spectral_efficiency_max", "overhead_share"),
)
_WORK = ("device_flop", "server_flop", "uplink_bit", "downlink_bit")
"""What a profile counts for an iteration, of which a round has several."""


def document(name: str, scenario: Scenario, *, whole: bool = True) -> dict[str, Any]:
    """All that the solver in a page computes with, as plain data.

    Parameters
    ----------
    name
        Name or file of the scenario, for commands that a reader may copy.
    scenario
        The scenario.
    whole
        Whether other LLMs, servers, topologies and bits are on offer, too.

    Returns
    -------
    dict[str, Any]
        Names on offer, the scenario's own place among them, boards with their links, and under
        `systems` what a round asks of each of its ends, by LLM, topology and server; where `card`
        refuses them, its reason.

    Raises
    ------
    ScenarioError
        If several micro-batches are in flight.
    """
    check_one_in_flight(System.of(scenario), "the Explorer")
    offered = scenario.devices[:MOST_DEVICES]
    # an updated scenario keeps a crowd's devices one by one, which takes long
    fleet = scenario.model_copy(update={"devices": offered})
    kinds = boards(scenario)
    board_of = {device: place for place, kind in enumerate(kinds) for device in kind.devices}
    first = [fleet.device_index(kind.devices[0]) for kind in kinds]
    cells = {index: cell for cell, at in fleet.cells for index in at}
    states = list(scenario.channel_states)
    server, run, wire = scenario.server, scenario.training, scenario.wire
    held = run.activation_bits
    listed = {way: list(bits or (held,)) for way, bits in wire.lists.items()}
    widths = {
        way: sorted({*bits, *(one for one in BITS if whole and one <= held)}, reverse=True)
        for way, bits in listed.items()
    }
    llms = _with((scenario.llm,), LLMS if whole else ())
    servers = _with((server.hardware_name,), SERVERS if whole else ())
    topologies = _with((run.topology,), TOPOLOGIES if whole else ())
    return {
        "scenario": {"name": Path(name).name, "title": scenario.title},
        "home": {
            "device": telling(scenario),
            "state": len(states) // 2,
            "weight": scenario.objective.delay_weight,
            "up": "listed",
            "down": "listed",
            "topology": run.topology,
            "static": server.static_power_w,
            "waiting": server.waiting_power_w,
            "llm": scenario.llm,
            "server": server.hardware_name,
        },
        "states": states,
        "llms": {one: _llm_title(scenario, one) for one in llms},
        "servers": {one: _server_title(scenario, one) for one in servers},
        "topologies": list(topologies),
        "bits": {"listed": listed, "offered": widths},
        "devices": [
            {"name": item.name, "board": board_of[item.name], "distance_m": item.distance_m}
            for item in offered
        ],
        "boards": [
            {
                "title": kind.title,
                "own_band": "bandwidth_hz" in offered[index].link,
                "bandwidth_hz": cells[index].link.bandwidth_hz,
                "link": {key: getattr(cells[index].link, key) for key in _LINK},
                "exponents": [
                    state.path_loss_exponent for state in cells[index].channel_states.values()
                ],
            }
            for kind, index in zip(kinds, first, strict=True)
        ],
        "farthest_m": max(FARTHEST_M, *(item.distance_m for item in offered)),
        "limits": _limits(scenario),
        **_once(
            {
                "|".join(words): _system(fleet, dict(zip(_AXES, words, strict=True)), widths, first)
                for words in product(llms, topologies, servers)
            }
        ),
    }


def _once(systems: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Systems whose parts stand once under `parts`, whatever number of systems has them."""
    places: dict[str, int] = {}

    def place(part: Any) -> int:
        return places.setdefault(json.dumps(part), len(places))

    short = {
        name: {key: place(part) for key, part in system.items()} for name, system in systems.items()
    }
    return {"systems": short, "parts": [json.loads(part) for part in places]}


_AXES = ("llm", "training.topology", "server.hardware")


def _with(own: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    """Names without repetition, the scenario's own first."""
    return tuple(dict.fromkeys((*own, *more)))


def _llm_title(scenario: Scenario, name: str) -> str:
    own = name == scenario.llm
    return llm_title(name, scenario.llm_config if own else public_config(name))


def _server_title(scenario: Scenario, name: str) -> str:
    own = name == scenario.server.hardware_name
    return (scenario.server.board if own else hardware("server.hardware", name)).title


def _limits(scenario: Scenario) -> list[str]:
    """What of the scenario the page leaves out, a sentence each."""
    said = []
    if len(scenario.devices) > MOST_DEVICES:
        said.append(
            f"Of {len(scenario.devices):,} devices, the first {MOST_DEVICES} are on offer here; "
            "`card solve --device` takes any."
        )
    if scenario.traces:
        said.append(
            "Links follow the law of path loss here, not the study's traces; `card simulate` "
            "follows those."
        )
    return said


def _system(
    fleet: Scenario,
    words: Mapping[str, str],
    widths: Mapping[str, Sequence[int]],
    first: Sequence[int],
) -> dict[str, Any]:
    """What a round asks for, or why `card` refuses it; `first` has a device of each board."""
    own = {"llm": fleet.llm, "training.topology": fleet.training.topology}
    own["server.hardware"] = fleet.server.hardware_name
    changed: dict[str, Any] = {path: word for path, word in words.items() if own[path] != word}
    # a page applies the cap itself, since it moves with the static power
    changed["server.power_cap_w"] = None
    try:
        scenario, bits = _sending(fleet.updated(changed), widths)
        return _rounds(scenario, System.of(scenario), bits, fleet.server.power_cap_w, first)
    except ScenarioError as error:
        return {"refused": str(error)}


def _sending(
    scenario: Scenario, widths: Mapping[str, Sequence[int]]
) -> tuple[Scenario, list[list[int]]]:
    """The scenario with all bits on offer to decide from, if its tables know them."""
    every = {f"wire.{way}": list(bits) for way, bits in widths.items()}
    try:
        wider = scenario.updated(every)
        System.of(wider)
    except ScenarioError:
        held = scenario.training.activation_bits
        return scenario, [list(bits or (held,)) for bits in scenario.wire.lists.values()]
    return wider, [list(bits) for bits in widths.values()]


def _rounds(
    scenario: Scenario,
    system: System,
    bits: Sequence[Sequence[int]],
    cap_w: float | None,
    first: Sequence[int],
) -> dict[str, Any]:
    """A system's numbers for a whole round, at the cuts that can win with some bits."""
    count, width = system.local_iterations, system.num_blocks + 1
    pairs = [f"{up}/{down}" for up, down in product(*bits)]
    feasible = system.feasible.reshape(system.num_devices, len(pairs), width)
    profile = system.profile

    def extreme(device: int, pair: int) -> list[int]:
        rows = np.zeros(len(pairs) * width, dtype=np.bool_)
        rows[pair * width : (pair + 1) * width] = feasible[device, pair]
        if not rows.any():
            return []
        kept = extreme_cuts(profile, rows, system.server_launch_s, system.device_launch_s[device])
        return [option - pair * width for option in kept]

    kept = {(device, pair): extreme(device, pair) for device in first for pair in range(len(pairs))}
    cuts = sorted({cut for listed in kept.values() for cut in listed})

    def at(values: Any, pair: int = 0) -> list[float]:
        chosen: list[float] = np.asarray(values)[np.array(cuts) + pair * width].tolist()
        return chosen

    columns = {name: at(count * getattr(profile, name)) for name in _WORK[:2]}
    each = len(bits[1])
    board, run = scenario.server.board, scenario.training
    return {
        "blocks": system.num_blocks,
        "local_iterations": count,
        "mini_batch": [mini_batch_steps(scenario, system, cut) for cut in cuts],
        "server": {
            "flops_per_hz": system.flops_per_hz,
            "linear_power_w_per_hz": system.linear_power_w_per_hz,
            "max_power_w": board.at(run.micro_batch_size, run.sequence_length).max_power_w,
            "clock_hz": board.clock_hz,
            "power_cap_w": cap_w,
            "minimum_frequency_hz": scenario.server.minimum_frequency_hz,
            "frequency_max_hz": system.frequency_max_hz,
            "clocks_hz": None if system.clocks_hz is None else system.clocks_hz.tolist(),
        },
        "columns": {"cut": cuts, "adapter_bit": at(profile.adapter_bit), **columns},
        "overheads": {
            "server_overhead_s": at(count * system.server_overhead_s),
            "server_launch_s": at(count * system.server_launch_s),
        },
        "uplink_bit": {
            width_up: at(count * profile.uplink_bit, place * each)
            for place, width_up in enumerate(bits[0])
        },
        "downlink_bit": {
            width_down: at(count * profile.downlink_bit, place)
            for place, width_down in enumerate(bits[1])
        },
        "boards": [_board(scenario, system, device, cuts) for device in first],
        "places": [
            {
                pair: [cuts.index(cut) for cut in kept[device, place]]
                for place, pair in enumerate(pairs)
            }
            for device in first
        ],
    }


def _board(scenario: Scenario, system: System, device: int, cuts: list[int]) -> dict[str, Any]:
    """What a board is, and what a round takes on it that no rate and no clock changes."""
    option = np.array(cuts)
    up, down, adapter = (
        np.broadcast_to(times, option.shape).tolist() for times in trips_s(system, device, option)
    )
    power_w = float(system.device_power_w[device])
    sending_w = np.broadcast_to(system.uplink_power_w, system.num_devices)[device]
    overhead_s = system.local_iterations * system.device_overhead_s[device, option]
    return {
        "throughput_flops": float(system.throughput_flops[device]),
        "device_power_w": None if np.isnan(power_w) else power_w,
        "device_waiting_power_w": float(system.device_waiting_power_w[device]),
        "uplink_power_w": float(sending_w),
        "columns": {
            "device_overhead_s": overhead_s.tolist(),
            "up_trips_s": up,
            "down_trips_s": down,
            "adapter_trip_s": adapter,
        },
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
