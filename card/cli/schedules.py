"""The command that sets turns beside pipelined turns and all devices at once."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from card.base.units import counted
from card.cli.one_device import rates_of
from card.cli.options import AsJson, Name, Settings, Text, option
from card.cli.terminal import column, load, percent, print_json, print_table, refusals
from card.solver.parallel import least_makespan
from card.studies.schedules import SCHEDULES, TURNS, parallel_energy_j, systems, take_turns

app = typer.Typer()


@app.command()
def schedule(
    scenario: Name,
    state: Annotated[
        str | None, option(Text, help="Channel state whose unshadowed rates to use.")
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Compare the fastest rounds of all devices: in turns, in pipelined turns, all at once."""
    with refusals():
        chosen = load(scenario, settings)
        arrays = systems(chosen)
        device = np.arange(len(chosen.devices))
        links = [rates_of(chosen, index, None, None, state, None) for index in device.tolist()]
        up, down = (np.array([link[way] for link in links]) for way in (0, 1))
        turns = {name: take_turns(arrays[name], device, up, down) for name in TURNS}
        at_once = least_makespan(arrays["parallel"], device, up, down)
    rounds: dict[str, dict[str, Any]] = {
        name: {"round_s": float(one.delay_s.sum()), "energy_j": float(one.energy_j.sum())}
        for name, one in turns.items()
    }
    rounds["parallel"] = {
        "round_s": at_once.makespan_s,
        "energy_j": parallel_energy_j(arrays["parallel"], at_once),
        "bound_s": at_once.bound_s,
    }
    decisions = {
        **{name: {"option": one.option, "delay_s": one.delay_s} for name, one in turns.items()},
        "parallel": {
            "option": at_once.option,
            "band_share": at_once.band_share,
            "server_share": at_once.server_share,
        },
    }
    profile = arrays["alternate"].profile
    for found in decisions.values():
        chosen_rows = found.pop("option")
        found |= {name: getattr(profile, name)[chosen_rows] for name in _CHOSEN}
    if as_json:
        rows = {
            name: {key: values.tolist() for key, values in found.items()}
            for name, found in decisions.items()
        }
        print_json(
            {
                "scenario": chosen.title,
                "state": links[0][2],
                "micro_batches": chosen.training.accumulation,
                "devices": list(arrays["alternate"].device_names),
                "schedules": {name: {**rounds[name], **rows[name]} for name in SCHEDULES},
            }
        )
        return
    columns = [
        ["schedule", *SCHEDULES],
        column("round", "s", [rounds[name]["round_s"] for name in SCHEDULES]),
        column("server energy", "J", [rounds[name]["energy_j"] for name in SCHEDULES]),
    ]
    head, *body = zip(*columns, strict=True)
    title = f"{chosen.title}: all devices in state {links[0][2]}"
    print_table(f"{title}, {counted(chosen.training.accumulation, 'micro-batch')}", head, body)
    columns = [
        ["device", *arrays["alternate"].device_names],
        *([f"cut, {name}", *map(str, found["cut"])] for name, found in decisions.items()),
        *(column(f"turn, {name}", "s", decisions[name]["delay_s"].tolist()) for name in TURNS),
        ["band share", *map(percent, at_once.band_share.tolist())],
        ["server share", *map(percent, at_once.server_share.tolist())],
    ]
    head, *body = zip(*columns, strict=True)
    print_table("Decisions of least delay", head, body)


_CHOSEN = ("cut", "uplink_bits", "downlink_bits")
"""What an option says."""
