"""`card.book.explorer_panel`: the page holds what a round asks for, and says what it leaves out."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest

import card
from card.base.data_files import scenario_names, study_names
from card.base.errors import ScenarioError
from card.book import explorer_panel as panel
from card.book.explorer_page import element
from card.studies import explorer

LIMIT_BYTES = 100_000
"""Much less than a picture, so that a phone has it at once."""

# a page has one thing after the other
PLAYED = [name for name in (*scenario_names(), *study_names()) if name != "pipelined-turns"]


@cache
def made(name: str) -> dict[str, Any]:
    return panel.document(name, card.load_scenario(name))


def system(content: dict[str, Any], llm: str, topology: str, server: str) -> dict[str, Any]:
    """Parts of a system, put together again."""
    places = content["systems"][f"{llm}|{topology}|{server}"]
    return {key: content["parts"][place] for key, place in places.items()}


def own(content: dict[str, Any]) -> dict[str, Any]:
    return system(content, *(content["home"][key] for key in ("llm", "topology", "server")))


@pytest.mark.parametrize("name", PLAYED)
def test_the_page_holds_what_a_round_asks_for(name: str) -> None:
    scenario = card.load_scenario(name)
    held, arrays = own(made(name)), card.system(scenario)
    cuts = np.array(held["columns"]["cut"])
    kinds = explorer.boards(scenario)
    for place, kind in enumerate(kinds):
        device, board = scenario.device_index(kind.devices[0]), held["boards"][place]
        # at one bit per second and one cycle per second, times are bits and cycles
        costs = card.evaluate(arrays, device, cuts, 1.0, 1.0, 1.0)
        work_s = np.array(held["columns"]["device_flop"]) / board["throughput_flops"]
        rest = {key: np.array(times) for key, times in board["columns"].items()}
        adapters_s = held["columns"]["adapter_bit"] + rest["adapter_trip_s"]
        pairs = (
            (work_s + rest["device_overhead_s"], costs.device_compute_s),
            (adapters_s, costs.adapter_up_s),
        )
        for mine, theirs in pairs:
            np.testing.assert_allclose(mine, theirs, rtol=1e-14)  # two roundings


@pytest.mark.parametrize("name", PLAYED)
def test_the_page_is_light(name: str) -> None:
    assert len(element(made(name))) < LIMIT_BYTES


def test_cuts_that_win_for_the_solver_are_there() -> None:
    content = made("nominal")
    places, cuts = own(content)["places"][0]["16/16"], own(content)["columns"]["cut"]
    # Chapter 2: the ends, and the blocks beside them
    assert [cuts[place] for place in places] == [0, 1, 15, 16]


def test_the_page_starts_at_a_device_that_hands_blocks_over() -> None:
    scenario = card.load_scenario("nominal")
    assert scenario.devices[panel.telling(scenario)].name == "device-2"
    alone = scenario.updated({"objective.delay_weight": 0.0})
    assert panel.telling(alone) == 0


def test_what_card_refuses_is_refused_in_its_words() -> None:
    scenario = card.load_scenario("realistic-8b")
    wrong = scenario.updated({"server.hardware": "rtx-4060-ti"})
    with pytest.raises(ScenarioError) as refused:
        card.system(wrong)
    told = system(made("realistic-8b"), scenario.llm, scenario.training.topology, "rtx-4060-ti")
    assert told == {"refused": str(refused.value)}


def test_more_bits_than_are_held_are_not_on_offer() -> None:
    scenario = card.load_scenario("nominal", **{"training.activation_bits": 8})
    assert panel.document("x", scenario)["bits"]["offered"]["uplink_bits"] == [8, 4]


def test_a_crowd_is_offered_in_part_and_says_so() -> None:
    crowd = [
        {"name": f"d-{k}", "hardware": "jetson-orin-nx-16gb", "utilisation": 1.0, "distance_m": k}
        for k in range(1, 100)
    ]
    content = panel.document("crowd", card.load_scenario("nominal", devices=crowd))
    assert len(content["devices"]) == explorer.MOST_DEVICES
    assert content["limits"] == [
        "Of 99 devices, the first 24 are on offer here; `card solve --device` takes any."
    ]
    assert len(element(content)) < LIMIT_BYTES


def test_a_file_is_named_without_the_folder_it_was_staged_in() -> None:
    content = panel.document("../my-study.yml", card.load_scenario("nominal"), whole=False)
    assert content["scenario"]["name"] == "my-study.yml"
    assert len(content["systems"]) == 1


def test_equal_parts_of_systems_are_there_once() -> None:
    parts = list(map(json.dumps, made("nominal")["parts"]))
    assert len(parts) == len(set(parts))


def test_steps_that_overlap_are_refused() -> None:
    with pytest.raises(ScenarioError, match="'pipelined' is not allowed for the Explorer"):
        panel.document("pipelined-turns", card.load_scenario("pipelined-turns"))
