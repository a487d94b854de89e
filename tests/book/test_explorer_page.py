"""The Explorer in a browser: it shows what `card solve` says, by keyboard and on a phone."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from typer.testing import CliRunner

import card
from card.book import explorer_panel as panel
from card.cli import app
from card.studies import explorer

ASSETS = Path(__file__).resolve().parents[2] / "book/_assets"
SCENARIO = card.load_scenario("nominal")
WEIGHTS = explorer.ladder(explorer.DELAY_WEIGHTS, [SCENARIO.objective.delay_weight])
BANDS = explorer.ladder(explorer.BANDWIDTHS_HZ, [SCENARIO.link.bandwidth_hz])
DISTANCES = {name: b.distance_m for b in explorer.boards(SCENARIO) for name in b.devices}
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SHOWN = 5e-4
"""Half a unit of the last of four digits, relative, at worst."""
DECISION = re.compile(
    r"(?:Cut (?:after|before) block (?P<block>\d+) of 16|No cut, all 16 blocks on the device), "
    r"server (?:at (?P<clock>[\d.]+) GHz|idle): (?P<delay>[\d.,]+) s, "
    r"(?P<server>[\d.,]+ k?J) at the server, (?P<device>[\d.,]+ k?J) at the device\."
)


class Node(NamedTuple):
    """Where the sliders stand."""

    device: str
    state: str
    weight: float
    band: float
    distance: float


NODES = [
    Node("device-1", "good", WEIGHTS[0], BANDS[0], DISTANCES["device-1"][0]),
    Node("device-1", "poor", WEIGHTS[-1], BANDS[-1], DISTANCES["device-1"][-1]),
    Node("device-5", "poor", WEIGHTS[-1], BANDS[0], DISTANCES["device-5"][-1]),
    Node("device-3", "normal", 0.75, 20e6, 140.0),
    Node("device-4", "good", 0.15, 50e6, 50.0),
]


@pytest.fixture
def tab(browser: Browser, book: Path) -> Iterator[Page]:
    """The Explorer on a desktop, without a network."""
    file = book / "notebooks/explorer.html"
    if not file.is_file():
        pytest.skip("no book; run `make book`")
    context = browser.new_context(viewport=DESKTOP, offline=True)
    tab = context.new_page()
    tab.goto(file.as_uri(), wait_until="load")
    yield tab
    context.close()


def slide(tab: Page, label: str, position: int) -> None:
    """Move a slider by keyboard, from its lowest value."""
    tab.get_by_role("slider", name=label).focus()
    tab.keyboard.press("Home")
    for _ in range(position):
        tab.keyboard.press("ArrowRight")


def move(tab: Page, node: Node) -> None:
    tab.get_by_role("combobox", name="Device").select_option(option(tab, node.device))
    tab.get_by_role("combobox", name="Channel state").select_option(node.state)
    slide(tab, "Delay weight", WEIGHTS.index(node.weight))
    slide(tab, "Bandwidth", BANDS.index(node.band))
    slide(tab, "Distance", DISTANCES[node.device].index(node.distance))


def option(tab: Page, device: str) -> str:
    """The option of a device, whose text also names its board."""
    texts = tab.locator('select[name="device"] option').all_text_contents()
    return next(text for text in texts if text.startswith(f"{device} "))


def joules(text: str) -> float:
    number, unit = text.split()
    return float(number.replace(",", "")) * {"J": 1, "kJ": 1000}[unit]


def solved(node: Node) -> dict[str, float]:
    """What the solver says there, without the Explorer's own grid."""
    scenario = SCENARIO.updated(
        {
            "objective.delay_weight": node.weight,
            "link.bandwidth_hz": node.band,
            f"devices.{node.device}.distance_m": node.distance,
        }
    )
    up, down = explorer.rates(scenario, [node.state], [node.band], [node.distance])
    index = scenario.device_index(node.device)
    decision = card.solve(scenario, index, up[0], down[0])
    costs = card.evaluate(scenario, index, decision.cut, decision.frequency_hz, up[0], down[0])
    return {
        "cut": int(decision.cut),
        "clock": float(decision.frequency_hz),
        "delay": float(decision.delay_s),
        "server": float(decision.energy_j),
        "device": float(costs.device_energy_j),
    }


def check_shown(tab: Page, said: dict[str, float]) -> None:
    text = tab.locator(".ex-decision").text_content() or ""
    shown = DECISION.fullmatch(text)
    assert shown, text
    cut = 16 if shown["block"] is None else int(shown["block"]) - ("before" in text)
    assert cut == said["cut"]
    if shown["clock"]:
        assert 1e9 * float(shown["clock"]) == pytest.approx(said["clock"], rel=SHOWN)
    assert (shown["clock"] is None) == (said["cut"] == 16)
    assert float(shown["delay"].replace(",", "")) == pytest.approx(said["delay"], rel=SHOWN)
    for side in ("server", "device"):
        assert joules(shown[side]) == pytest.approx(said[side], rel=SHOWN, abs=1e-12)


@pytest.mark.parametrize("node", NODES, ids=lambda node: "-".join(map(str, node)))
def test_moving_a_slider_shows_what_the_solver_says(tab: Page, node: Node) -> None:
    move(tab, node)
    check_shown(tab, solved(node))


def test_it_starts_where_the_scenario_stands_and_returns_there(tab: Page) -> None:
    own = Node("device-2", "normal", 0.5, 10e6, 60.0)
    check_shown(tab, solved(own))
    move(tab, NODES[1])
    tab.get_by_role("button", name="Back to the scenario").click()
    check_shown(tab, solved(own))
    assert tab.locator(".ex-command code").text_content() == (
        "card solve nominal --device device-2 --state normal"
    )


def test_a_device_is_placed_where_the_scenario_has_it(tab: Page) -> None:
    slide(tab, "Distance", 0)
    tab.get_by_role("combobox", name="Device").select_option(option(tab, "device-5"))
    assert (
        tab.get_by_role("slider", name="Distance").get_attribute("aria-valuetext")
        == "180 m (the scenario’s)"
    )


@pytest.mark.parametrize("node", NODES[1:4], ids=lambda node: "-".join(map(str, node)))
def test_the_copied_command_gives_the_shown_decision(tab: Page, node: Node) -> None:
    move(tab, node)
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.locator(".ex-command button").click()
    command = tab.evaluate("navigator.clipboard.readText()")
    program, *words = shlex.split(command)
    assert program == "card"
    said = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    names = {"clock": "frequency_hz", "delay": "delay_s", "server": "energy_j"}
    names |= {"cut": "cut", "device": "device_energy_j"}
    check_shown(tab, {name: said[key] for name, key in names.items()})


def test_bars_compare_card_with_both_benchmarks(tab: Page) -> None:
    node = NODES[3]
    move(tab, node)
    at = [node.device], [node.state], [node.band], [node.distance]
    found = explorer.explore(SCENARIO, *at, [node.weight]).isel(link=0, delay_weight=0)
    said = tab.locator('[data-panel="delay"]').get_attribute("aria-label") or ""
    shown = [float(text) for text in re.findall(r": ([\d.]+) s", said)]
    assert shown == pytest.approx(found.delay_s.values.tolist(), rel=SHOWN)
    said = tab.locator('[data-panel="energy"]').get_attribute("aria-label") or ""
    shown = [joules(text) for text in re.findall(r"(?:server|device) ([\d.,]+ k?J)", said)]
    pairs = zip(found.energy_j.values, found.device_energy_j.values, strict=True)
    assert shown == pytest.approx([j for pair in pairs for j in pair], rel=SHOWN)


class TestRound:
    def moment(self, tab: Page) -> float:
        return float(tab.get_by_role("slider", name="Moment").input_value())

    def test_nothing_moves_before_play_and_pause_stops_it(self, tab: Page) -> None:
        tab.wait_for_timeout(300)
        assert self.moment(tab) == 0
        tab.get_by_role("button", name="Play").focus()
        tab.keyboard.press("Space")
        tab.wait_for_function("document.querySelector('[name=moment]').value > 10")
        tab.get_by_role("button", name="Pause").click()
        stopped = self.moment(tab)
        tab.wait_for_timeout(300)
        assert self.moment(tab) == stopped

    def test_at_its_end_all_of_the_energy_is_spent(self, tab: Page) -> None:
        tab.get_by_role("slider", name="Moment").focus()
        tab.keyboard.press("End")
        text = tab.locator(".ex-spent").text_content() or ""
        spent = re.findall(r"(server|device) ([\d.,]+ k?J) of ([\d.,]+ k?J)", text)
        assert [side for side, _, _ in spent] == ["server", "device"]
        for _, so_far, whole in spent:
            assert so_far == whole

    def test_scrubbing_tells_who_is_busy(self, tab: Page) -> None:
        move(tab, NODES[3])
        heard = set()
        tab.get_by_role("slider", name="Moment").focus()
        for _ in range(10):
            tab.keyboard.press("PageUp")
            heard.add((tab.locator(".ex-now").text_content() or "").rpartition("· ")[2])
        assert {"uplink: smashed data", "server: forward, loss, backward"} <= heard

    def test_with_reduced_motion_it_goes_in_steps(self, tab: Page) -> None:
        tab.emulate_media(reduced_motion="reduce")
        tab.get_by_role("button", name="Play").click()
        tab.wait_for_function("document.querySelector('[name=moment]').value > 0")
        tab.get_by_role("button", name="Pause").click()
        assert self.moment(tab) % 50 == 0


def test_every_control_is_reached_by_keyboard_in_order(tab: Page) -> None:
    tab.get_by_role("combobox", name="Device").focus()
    seen = []
    for _ in range(9):
        focused = "document.activeElement"
        seen.append(tab.evaluate(f"{focused}.name || {focused}.textContent"))
        tab.keyboard.press("Tab")
    controls = ["device", "state", "weight", "band", "distance", "Back to the scenario"]
    assert seen[:8] == [*controls, "Play", "moment"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_barrier_is_found_by_axe(tab: Page, theme: str) -> None:
    tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    found = Axe().run(tab, context=".explorer")
    told = [(v["id"], [n["html"] for n in v["nodes"]]) for v in found.response["violations"]]
    assert told == []


def test_it_fits_a_phone_with_letters_of_a_legible_size(tab: Page) -> None:
    tab.set_viewport_size(PHONE)
    move(tab, NODES[3])
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    heights = tab.evaluate(
        "[...document.querySelectorAll('.explorer svg text')].map(t => t.getBoundingClientRect())"
        ".map(b => [b.height, b.right])"
    )
    assert min(height for height, _ in heights) >= 12
    assert max(right for _, right in heights) <= PHONE["width"]


def test_without_scripts_the_figure_and_the_table_remain(browser: Browser, book: Path) -> None:
    context = browser.new_context(java_script_enabled=False, offline=True)
    tab = context.new_page()
    tab.goto((book / "notebooks/explorer.html").as_uri())
    expect(tab.get_by_text("The controls need JavaScript")).to_be_visible()
    expect(tab.locator("#fig-explorer img")).to_be_visible()
    expect(tab.get_by_role("cell", name="device only")).to_be_visible()
    context.close()


def test_the_page_keeps_no_state_of_widgets(book: Path) -> None:
    text = (book / "notebooks/explorer.html").read_text(encoding="utf-8")
    assert "jupyter.widget" not in text


STUDIES = {
    "congested-campus": {},
    "bigger-llm": {"training.topology": "u-shaped"},
    "datacentre-server": {"link.fading": "none", "training.cut_range": [2, 9]},
    "test-bed": {"channel_states": {"good": None, "poor": None}, "server.clocks_hz": [1e9, 2e9]},
}
"""Shipped studies, with what else a study may change."""


@pytest.mark.parametrize("name", STUDIES)
def test_any_study_can_be_explored(browser: Browser, name: str) -> None:
    scenario = card.load_scenario(name, **STUDIES[name])
    context = browser.new_context(viewport=PHONE, offline=True)
    tab, complaints = context.new_page(), []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.set_content(panel.element(panel.document(name, scenario)))
    for script in ("explorer-drawings.js", "explorer.js"):
        tab.add_script_tag(path=ASSETS / script)
    last = scenario.devices[-1]
    tab.get_by_role("combobox", name="Device").select_option(option(tab, last.name))
    tab.get_by_role("slider", name="Delay weight").focus()
    tab.keyboard.press("End")
    state = list(scenario.channel_states)[len(scenario.channel_states) // 2]
    at = [last.name], [state], [scenario.link.bandwidth_hz], [last.distance_m]
    found = explorer.explore(scenario, *at, [1.0]).isel(link=0, delay_weight=0)
    said = tab.locator('[data-panel="delay"]').get_attribute("aria-label") or ""
    shown = [float(text.replace(",", "")) for text in re.findall(r": ([\d.,]+) s", said)]
    assert shown == pytest.approx(found.delay_s.values.tolist(), rel=SHOWN)
    cut = int(found.cut.sel(policy="card"))
    said = tab.locator('[data-panel="cut"]').get_attribute("aria-label") or ""
    assert said.startswith(f"{cut} block{'' if cut == 1 else 's'} of ")
    assert complaints == []
    context.close()
