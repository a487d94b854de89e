"""The solver in a page: at random positions it decides what `card.solve` decides."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import formulas
import numpy as np
import pytest
from playwright.sync_api import Page

import card
from card.base.errors import ScenarioError
from card.book.explorer_panel import document
from card.scenario import Scenario
from card.solver import optimum
from card.studies.explorer import rates
from card.studies.timeline import round_steps, spent

ASSETS = Path(__file__).resolve().parents[2] / "book/_assets"
POSITIONS = 10_000
CASES = 125
"""Choices of everything but state, band, distance and weight, of which each has its equal share."""
LIST = [0.4e9, 0.9e9, 1.3e9, 1.9e9, 2.4e9]
SCENARIOS: dict[str, tuple[str, dict[str, Any]]] = {
    "nominal": ("nominal", {}),
    "realistic": ("realistic", {}),
    "larger": ("realistic-8b", {}),
    "measured": ("measured-server", {}),
    "calibrated": ("calibrated", {}),
    "clocks": ("nominal", {"server.clocks_hz": LIST, "server.minimum_frequency_hz": 0.4e9}),
    "capped": ("realistic", {"server.power_cap_w": 100.0, "link.round_trip_s": 0.01}),
    "steps": ("nominal", {"server.clock_step_hz": 15e6, "server.power_cap_w": 120.0}),
    "bits": ("nominal", {"wire.uplink_bits": [16, 8, 4], "wire.downlink_bits": [8, 16]}),
    "link": (
        "nominal",
        {
            "link.spectral_efficiency_max": 6.0,
            "link.gap_db": 3.0,
            "link.overhead_share": 0.2,
            "link.fading": "none",
            "training.cut_range": [2, 9],
        },
    ),
    "ushaped": ("nominal", {"training.topology": "u-shaped", "link.spectral_efficiency_max": 7.0}),
    "linear": (
        "nominal",
        {"server.linear_power_w_per_hz": 1e-8, "server.block_overhead_s": 2e-4},
    ),
}
SOLVE = """cases => cases.map(({ data, positions }) => positions.map((at) => {
  const found = ExplorerSolver.solve(data, at);
  if (found.refused) return { refused: found.refused };
  const { cut, up, down, frequency_hz, delay_s, energy_j, device_energy_j, objective } = found;
  return { cut, up, down, frequency_hz, delay_s, energy_j, device_energy_j, objective };
}))"""

MOMENTS = (0.0, 0.004, 0.1, 0.37, 0.5, 0.93, 1.0)
"""Shares of a round at which it is looked at while it plays."""
PLAY = """([cases, moments]) => cases.map(({ data, positions }) => positions.map((at) => {
  const round = ExplorerSolver.roundOf(data, at), one = ExplorerSolver.decide(round, at.weight);
  const steps = ExplorerSolver.stepsOf(one, round);
  const spent = moments.map((share) => ExplorerSolver.spentAt(one, round, steps, share * one.delay_s));
  return { ...one, steps, spent };
}))"""  # noqa: E501


@cache
def scenario(name: str) -> Scenario:
    base, overrides = SCENARIOS[name]
    return card.load_scenario(base, **overrides)


@cache
def content(name: str) -> dict[str, Any]:
    return document(name, scenario(name))


def solving(tab: Page, asked: object, program: str = SOLVE) -> list[list[dict[str, Any]]]:
    for script in ("explorer-formulas.js", "explorer-solver.js"):
        tab.add_script_tag(path=ASSETS / script)
    found: list[list[dict[str, Any]]] = tab.evaluate(program, asked)
    return found


def case(name: str, rng: np.random.Generator) -> tuple[Scenario, list[dict[str, Any]]]:
    """A scenario with much of it moved, and positions in a page of the unmoved one."""
    data, own = content(name), scenario(name)
    llm, topology, server = (
        str(rng.choice([*data[key]])) for key in ("llms", "topologies", "servers")
    )
    bits = [
        str(rng.choice(["listed", *map(str, data["bits"]["offered"][way])]))
        for way in ("uplink_bits", "downlink_bits")
    ]
    least_w = 0.8 * min(100.0, own.server.power_cap_w or np.inf)
    static_w, waiting_w = float(rng.uniform(0, least_w)), float(rng.uniform(0, least_w))
    changed: dict[str, Any] = {
        "server.static_power_w": static_w if rng.random() < 0.7 else 0.0,
        "server.waiting_power_w": waiting_w if rng.random() < 0.5 else 0.0,
    }
    at = {
        "static": changed["server.static_power_w"],
        "waiting": changed["server.waiting_power_w"],
        "llm": llm,
        "topology": topology,
        "server": server,
        "up": bits[0],
        "down": bits[1],
        "device": int(rng.integers(len(data["devices"]))),
    }
    if llm != own.llm:
        changed["llm"] = llm
    if server != own.server.hardware_name:
        changed["server.hardware"] = server
    changed["training.topology"] = topology
    for way, choice in zip(("uplink_bits", "downlink_bits"), bits, strict=True):
        if choice != "listed":
            changed[f"wire.{way}"] = [int(choice)]
    positions = [
        at
        | {
            "state": int(rng.integers(len(data["states"]))),
            "band": float(10 ** rng.uniform(5.5, 8.5)),
            "distance": float(10 ** rng.uniform(0, 2.8)),
            "weight": float(rng.choice([rng.random(), rng.random(), 0.0, 1.0])),
        }
        for _ in range(POSITIONS // CASES)
    ]
    return own.updated(changed), positions


def column(rows: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows])


def test_the_formulas_are_what_card_says() -> None:
    assert formulas.FILE.read_text(encoding="utf-8") == formulas.javascript()


def test_random_positions_are_decided_as_card_solves_them(tab: Page) -> None:
    rng = np.random.default_rng(20_25)
    asked, moved = [], []
    while len(asked) < CASES:
        name = list(SCENARIOS)[len(asked) % len(SCENARIOS)]
        try:
            changed, positions = case(name, rng)
            system = card.system(changed)
        except ScenarioError:
            continue  # what `card` refuses, the page does, too: a test below
        asked.append({"data": content(name), "positions": positions})
        moved.append((name, changed, system))
    for (name, changed, system), one, found in zip(moved, asked, solving(tab, asked), strict=True):
        at, place = one["positions"], one["positions"][0]["device"]
        assert [row for row in found if "refused" in row] == []
        (cell,) = [cell for cell, members in changed.cells if place in members]
        states = [list(changed.channel_states)[row["state"]] for row in at]
        up, down = rates(cell, states, column(at, "band"), column(at, "distance"))
        said = card.solve(system, place, up, down, column(at, "weight"))
        costs = card.evaluate(system, place, said.option, said.frequency_hz, up, down)
        same = (column(found, "cut") == said.cut) & (column(found, "up") == said.uplink_bits)
        same &= column(found, "down") == said.downlink_bits
        # another cut is as right where both cost the same
        tied = np.abs(column(found, "objective") - said.objective) <= optimum.TIE
        assert (same | tied).all(), name
        idle = costs.busy_s <= 0
        for key, value, counts in (
            ("delay_s", costs.delay_s, same),
            ("energy_j", costs.energy_j, same),
            ("device_energy_j", costs.device_energy_j, same),
            ("frequency_hz", said.frequency_hz, same & ~idle),
        ):
            np.testing.assert_allclose(
                column(found, key)[counts], value[counts], rtol=1e-9, err_msg=f"{name} {key}"
            )


def test_a_round_plays_as_card_times_it(tab: Page) -> None:
    rng = np.random.default_rng(20_26)
    asked, moved = [], []
    while len(asked) < 2 * len(SCENARIOS):
        name = list(SCENARIOS)[len(asked) % len(SCENARIOS)]
        try:
            changed, positions = case(name, rng)
            system = card.system(changed)
        except ScenarioError:
            continue
        asked.append({"data": content(name), "positions": positions[:5]})
        moved.append((changed, system))
    found = solving(tab, [asked, MOMENTS], PLAY)
    rows = [
        (changed, system, at, row)
        for (changed, system), one, played in zip(moved, asked, found, strict=True)
        for at, row in zip(one["positions"], played, strict=True)
    ]
    for changed, system, at, row in rows:
        (cell,) = [cell for cell, members in changed.cells if at["device"] in members]
        state = list(changed.channel_states)[at["state"]]
        up, down = (float(rate[0]) for rate in rates(cell, [state], [at["band"]], [at["distance"]]))
        profile, bits = system.profile, (int(row["up"]), int(row["down"]))
        options = list(zip(profile.cut, profile.uplink_bits, profile.downlink_bits, strict=True))
        place = at["device"], options.index((row["cut"], *bits)), row["frequency_hz"], up, down
        steps = round_steps(changed, system, *place)
        shown = row["steps"]
        assert [(s["lane"], s["label"]) for s in shown] == [(s.lane, s.label) for s in steps]
        for key in ("start_s", "duration_s"):
            mine = [getattr(step, key) for step in steps]
            np.testing.assert_allclose([s[key] for s in shown], mine, rtol=1e-9)
        # the phases add up to the delay that the solver shows
        assert sum(s["duration_s"] for s in shown) == pytest.approx(row["delay_s"], rel=1e-9)
        moments = row["delay_s"] * np.array(MOMENTS)
        by_then = spent(card.evaluate(system, *place), steps, moments)
        for key, mine in (
            ("passed_s", by_then.delay_s),
            ("energy_j", by_then.energy_j),
            ("device_energy_j", by_then.device_energy_j),
        ):
            whole = max(abs(mine[-1]), np.finfo(float).tiny)
            np.testing.assert_allclose(
                [at_then[key] for at_then in row["spent"]], mine, rtol=1e-9, atol=1e-9 * whole
            )
    kinds = {(row["cut"] > 0, row["cut"] == system.num_blocks) for _, system, _, row in rows}
    assert kinds == {(False, False), (True, False), (True, True)}
