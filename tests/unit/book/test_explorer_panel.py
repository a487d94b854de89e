"""`card.book.explorer_panel`: the Explorer's page holds what was computed."""

from __future__ import annotations

import json
import re
from functools import cache
from html.parser import HTMLParser
from itertools import chain, repeat
from typing import Any
from unittest import mock

import numpy as np
import pytest
import xarray as xr

import card
from card.base.data_files import scenario_names, study_names
from card.base.errors import ScenarioError
from card.book import explorer_panel as panel
from card.figures.palette import dark
from card.figures.style import PART_COLOURS
from card.scenario import Scenario
from card.studies import explorer

LIMIT_BYTES = 2**20
"""A page that a phone still opens at once."""


# a page that plays a round has one thing after the other
PLAYED = [name for name in (*scenario_names(), *study_names()) if name != "pipelined-turns"]


@cache
def made(name: str) -> tuple[Scenario, xr.Dataset, dict[str, Any]]:
    """A scenario, its decisions, and what the page holds of them."""
    scenario = card.load_scenario(name)
    found = explorer.grid(scenario)
    with mock.patch.object(panel, "grid", return_value=found) as grid:
        content = panel.document(name, scenario)
    grid.assert_called_once_with(scenario)
    return scenario, found, content


def unpacked(text: str) -> np.ndarray:
    runs = (run.partition("*") for run in text.split())
    return np.array([*chain.from_iterable(repeat(float(v), int(n or 1)) for v, _, n in runs)])


def test_runs_of_equal_numbers_are_counted() -> None:
    assert panel.packed(np.array([[1.0, 1.0], [1.0, 0.1234567]])) == "1*3 0.12346"
    assert panel.packed(np.array([np.nan, np.nan])) == "nan*2"


@pytest.mark.parametrize("name", PLAYED)
def test_the_page_holds_every_decision(name: str) -> None:
    _, found, content = made(name)
    for column in panel.COLUMNS:
        # half a unit of the fifth digit
        np.testing.assert_allclose(
            unpacked(content["columns"][column]), found[column].values.ravel(), rtol=5e-5
        )


@pytest.mark.parametrize("name", PLAYED)
def test_the_page_is_light(name: str) -> None:
    assert len(panel.element(made(name)[2])) < LIMIT_BYTES


def test_the_scenarios_own_place_is_on_the_grid() -> None:
    scenario, _, content = made("calibrated")
    at = content["scenario"]["at"]
    assert content["weights"][at["weight"]] == scenario.objective.delay_weight
    assert content["bandwidths_hz"][at["band"]] == scenario.link.bandwidth_hz


def test_the_first_picture_is_of_a_device_that_hands_blocks_over() -> None:
    scenario = card.load_scenario("nominal")
    assert scenario.devices[panel.telling(scenario)].name == "device-2"
    alone = scenario.updated({"objective.delay_weight": 0.0})
    assert panel.telling(alone) == 0


@pytest.mark.parametrize("topology", ["vanilla", "u-shaped"])
def test_shares_of_a_lane_make_a_whole(topology: str) -> None:
    scenario = card.load_scenario("nominal", **{"training.topology": topology})
    for cut in (0, 1, 8, 16):
        lanes: dict[str, float] = {}
        for lane, _, share in panel.steps(scenario, card.system(scenario), cut):
            lanes[lane] = lanes.get(lane, 0.0) + share
        # each share is written with six digits
        assert list(lanes.values()) == pytest.approx([1.0] * len(lanes), abs=1e-5)


def test_a_crowd_is_offered_in_part() -> None:
    crowd = [
        {"name": f"d-{k}", "hardware": "jetson-orin-nx-16gb", "utilisation": 1.0, "distance_m": k}
        for k in range(1, 100)
    ]
    scenario = card.load_scenario("nominal", devices=crowd)
    content = panel.document("crowd", scenario)
    assert len(content["devices"]) == explorer.MOST_DEVICES
    assert len(panel.element(content)) < LIMIT_BYTES


class Scripts(HTMLParser):
    """Collects what stands in scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inside, self.found = False, []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.inside = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        self.found += [data] if self.inside else []


def test_no_name_ends_the_element_early() -> None:
    content = {"title": "</script><script>alert(1)</script>"}
    (script,) = Scripts(panel.element(content)).found
    assert json.loads(script) == content


def test_the_element_asks_for_no_file_and_brings_the_palette() -> None:
    html = panel.element({})
    assert not re.search(r"https?:|\bsrc=|\bhref=", html)
    for colour in PART_COLOURS.values():
        assert colour in html
        assert dark(colour) in html


def test_a_file_is_named_without_the_folder_it_was_staged_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenario, found, _ = made("nominal")
    monkeypatch.setattr(panel, "grid", lambda _: found)
    assert panel.document("../my-study.yml", scenario)["scenario"]["name"] == "my-study.yml"


def test_steps_that_overlap_are_refused() -> None:
    with pytest.raises(ScenarioError, match="'pipelined' is not allowed for the Explorer"):
        panel.document("pipelined-turns", card.load_scenario("pipelined-turns"))
