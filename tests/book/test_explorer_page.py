"""The Explorer in a browser: it shows what `card solve` says, by keyboard and on a phone."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from built import DESKTOP, DRAWN, PHONE
from playwright.sync_api import Browser, Page, expect
from typer.testing import CliRunner

import card
from card.book import explorer_panel as panel
from card.book.explorer_page import View, element
from card.cli import app
from card.studies import explorer

ASSETS = Path(__file__).resolve().parents[2] / "book/_assets"
SCRIPTS = [f"explorer-{part}.js" for part in ("formulas", "solver", "drawings", "round")] + [
    "explorer.js"
]
SHOWN = 5e-4
"""Half a unit of the last of four digits, relative, at worst."""
SHIFT = 0.05
"""Most that a page may move by while it loads, half of what is called good on the web."""
PAGE_BYTES = 200_000
LOADED_MS = 600
"""Time in which a page that would still move does so."""
DECISION = re.compile(
    r"(?P<name>\S+), channel (?P<state>.+)\. "
    r"(?:Cut after block (?P<block>\d+) of \d+|All \d+ blocks on the (?P<nothing>server)|No cut, "
    r"all (?P<all>\d+) blocks on the device)(?:, \d+/\d+ bits up/down)?, "
    r"server (?:at (?P<clock>[\d.]+) GHz|idle): (?P<delay>[\d.,]+) s, "
    r"(?P<server>[\d.,]+ k?J) at the server, (?P<device>[\d.,]+ k?J) at the device\."
)
OBSERVE = """window.shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({ type: 'layout-shift', buffered: true });"""

MOVE = """([name, value]) => {
  const slider = document.querySelector(`[name=${name}]`);
  slider.value = value;
  slider.dispatchEvent(new Event('input', { bubbles: true }));
  return document.querySelector('.ex-said').textContent;
}"""
"""Moves a slider, and gives what had been read out right after."""

FOLLOW = """hash => new Promise((done) => {
  addEventListener('hashchange', () => done(), { once: true });
  location.hash = hash;
})"""
"""Goes to an address of the page, which hears of it before whoever asked later."""

POSITIONS: list[dict[str, Any]] = [
    {"device": "device-1", "state": "good", "weight": 0, "band": 1e6, "distance": 1},
    {"device": "device-5", "state": "poor", "weight": 1, "band": 1e8, "distance": 500},
    {"device": "device-3", "weight": 0.835, "band": 3.7e7, "distance": 77},
    {
        "device": "device-4",
        "llm": "llama-3.2-3b",
        "server": "h200-sxm",
        "static": 70,
        "waiting": 90,
    },
    {"topology": "u-shaped", "up": "8", "down": "4", "llm": "qwen2.5-0.5b"},
]


def address(position: dict[str, Any]) -> str:
    return "#" + "&".join(f"{key}={value}" for key, value in position.items())


@pytest.fixture
def file(book: Path) -> str:
    path = book / "notebooks/explorer.html"
    if not path.is_file():
        pytest.skip("no book; run `make book`")
    return path.as_uri()


@pytest.fixture
def tab(browser: Browser, file: str) -> Iterator[Page]:
    """The Explorer on a desktop, without a network."""
    context = browser.new_context(viewport=DESKTOP, offline=True)
    tab = context.new_page()
    tab.goto(file, wait_until="load")
    yield tab
    context.close()


def at(tab: Page, position: dict[str, Any]) -> None:
    """Follow a link to a position."""
    tab.evaluate(FOLLOW, address(position))
    tab.evaluate(DRAWN)


def said(tab: Page) -> str:
    return tab.locator(".ex-decision").text_content() or ""


def joules(text: str) -> float:
    number, unit = text.split()
    return float(number.replace(",", "")) * {"J": 1, "kJ": 1000}[unit]


def check_shown(tab: Page, solved: dict[str, Any]) -> None:
    shown = DECISION.fullmatch(said(tab))
    assert shown, said(tab)
    named = {"device": shown["name"], "state": shown["state"]}
    assert named == {key: solved.get(key, name) for key, name in named.items()}
    cut = 0 if shown["nothing"] else int(shown["all"] or shown["block"])
    assert cut == solved["cut"]
    if shown["clock"]:
        assert 1e9 * float(shown["clock"]) == pytest.approx(solved["frequency_hz"], rel=SHOWN)
    assert float(shown["delay"].replace(",", "")) == pytest.approx(solved["delay_s"], rel=SHOWN)
    for side, key in (("server", "energy_j"), ("device", "device_energy_j")):
        assert joules(shown[side]) == pytest.approx(solved[key], rel=SHOWN, abs=1e-12)


def run(tab: Page) -> dict[str, Any]:
    """What the command that the page shows prints."""
    program, *words = shlex.split(tab.locator(".ex-command code").text_content() or "")
    assert program == "card"
    printed = CliRunner().invoke(app, [*words, "--json"])
    assert printed.exit_code == 0, printed.output
    found: dict[str, Any] = json.loads(printed.stdout)
    return found


@pytest.mark.parametrize("position", POSITIONS, ids=lambda one: one.get("device", "bits"))
def test_the_shown_command_gives_the_shown_decision(tab: Page, position: dict[str, Any]) -> None:
    at(tab, position)
    check_shown(tab, run(tab))


def test_it_starts_where_the_scenario_stands_and_returns_there(tab: Page) -> None:
    first = said(tab)
    check_shown(tab, run(tab))
    at(tab, POSITIONS[1])
    assert said(tab) != first
    tab.get_by_role("button", name="Back to the scenario").click()
    assert said(tab) == first
    assert tab.locator(".ex-command code").text_content() == (
        "card solve nominal --device device-2 --state normal"
    )


def test_a_slider_moves_by_keyboard_and_tells_its_value(tab: Page) -> None:
    slider = tab.get_by_role("slider", name="Distance")
    slider.focus()
    for _ in range(7):
        tab.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "67 m"
    check_shown(tab, run(tab))


def test_a_device_is_placed_where_the_scenario_has_it(tab: Page) -> None:
    slider = tab.get_by_role("slider", name="Distance")
    slider.focus()
    tab.keyboard.press("Home")
    tab.get_by_role("combobox", name="Device").select_option("4")
    assert slider.get_attribute("aria-valuetext") == "180 m (the scenario’s)"


class TestAddress:
    def test_it_keeps_the_position_and_going_back_restores_it(self, tab: Page) -> None:
        first = said(tab)
        for key, value in (("Home", 0), ("End", 1)):
            tab.get_by_role("slider", name="Delay weight").focus()
            tab.keyboard.press(key)
            tab.wait_for_function("hash => location.hash === hash", arg=f"#weight={value}")
        last = said(tab)
        tab.reload()
        assert said(tab) == last
        tab.go_back()
        expect(tab.get_by_role("slider", name="Delay weight")).to_have_value("0")
        tab.go_back()
        expect(tab.locator(".ex-decision")).to_have_text(first)

    def test_what_it_cannot_mean_is_left_out(self, tab: Page) -> None:
        first = said(tab)
        at(tab, {"device": "nobody", "weight": "much", "llm": "<b>", "server": "", "across": "x"})
        assert said(tab) == first

    def test_values_end_where_sliders_do(self, tab: Page) -> None:
        at(tab, {"weight": 7, "static": 1e9})
        assert tab.get_by_role("slider", name="Delay weight").input_value() == "1"
        # nine tenths of the 160 W that the server draws at most
        assert float(tab.get_by_role("slider", name="Static power").input_value()) == 144

    def test_moves_on_the_way_are_no_steps_to_go_back_by(self, tab: Page) -> None:
        before = tab.evaluate("history.length")
        for power_of_ten in (6.2, 6.4, 6.8):
            tab.evaluate(MOVE, ["band", power_of_ten])
        tab.wait_for_function("location.hash.includes('band')")
        assert tab.evaluate("history.length") == before + 1


def test_the_result_is_read_out_once_the_reader_rests(tab: Page) -> None:
    spoken = tab.locator(".ex-said[aria-live=polite]")
    assert tab.evaluate(MOVE, ["weight", 1]) == ""
    expect(spoken).to_have_text(said(tab))


def test_bars_compare_card_with_both_benchmarks(tab: Page) -> None:
    at(tab, POSITIONS[2])
    scenario = card.load_scenario("nominal")
    place = ["device-3"], ["normal"], [3.7e7], [77.0]
    found = explorer.explore(scenario, *place, [0.835]).isel(link=0, delay_weight=0)
    told = tab.locator('[data-panel="delay"]').get_attribute("aria-label") or ""
    shown = [float(text) for text in re.findall(r": ([\d.]+) s", told)]
    assert shown == pytest.approx(found.delay_s.values.tolist(), rel=SHOWN)
    told = tab.locator('[data-panel="energy"]').get_attribute("aria-label") or ""
    shown = [joules(text) for text in re.findall(r"(?:server|device) ([\d.,]+ k?J)", told)]
    pairs = zip(found.energy_j.values, found.device_energy_j.values, strict=True)
    assert shown == pytest.approx([j for pair in pairs for j in pair], rel=SHOWN)


class TestMap:
    def test_pointing_at_it_moves_there(self, tab: Page) -> None:
        tab.locator('[data-panel="map"]').click(position={"x": 200, "y": 100})
        check_shown(tab, run(tab))
        assert "--set" in (tab.locator(".ex-command code").text_content() or "")

    def test_an_axis_that_is_taken_changes_places(self, tab: Page) -> None:
        across = tab.get_by_role("combobox", name="Across")
        across.select_option("weight")
        assert tab.get_by_role("combobox", name="Upwards").input_value() == "distance"
        across.select_option("waiting")
        tab.evaluate(DRAWN)
        told = tab.locator('[data-panel="map"]').get_attribute("aria-label") or ""
        assert told.startswith("Map of the best cut over power while waiting [W] and distance [m]")


def test_every_control_is_reached_by_keyboard_in_order(tab: Page) -> None:
    tab.get_by_role("slider", name="Delay weight").focus()
    seen = []
    for _ in range(13):
        focused = "document.activeElement"
        seen.append(tab.evaluate(f"{focused}.name || {focused}.textContent"))
        tab.keyboard.press("Tab")
    sliders = ["weight", "distance", "band", "state", "static", "waiting"]
    choices = ["device", "server", "llm", "topology", "up", "down"]
    assert seen == [*sliders, *choices, "Back to the scenario"]


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ["notebooks/explorer.html", "index.html"])
def test_nothing_moves_while_the_page_loads(
    browser: Browser, book: Path, name: str, viewport: Any
) -> None:
    context = browser.new_context(viewport=viewport, offline=True)
    tab = context.new_page()
    tab.add_init_script(OBSERVE)
    tab.goto((book / name).as_uri(), wait_until="load")
    tab.locator(".explorer [data-panel] path").first.wait_for(state="attached")
    tab.wait_for_timeout(LOADED_MS)
    assert tab.evaluate("window.shift") < SHIFT
    context.close()


def test_the_page_is_light(file: str) -> None:
    assert Path(file.removeprefix("file://")).stat().st_size < PAGE_BYTES


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_barrier_is_found_by_axe(tab: Page, theme: str) -> None:
    tab.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    found = Axe().run(tab, context=".explorer")
    told = [(v["id"], [n["html"] for n in v["nodes"]]) for v in found.response["violations"]]
    assert told == []


def test_it_fits_a_phone_with_letters_of_a_legible_size(tab: Page) -> None:
    tab.set_viewport_size(PHONE)
    at(tab, POSITIONS[3])
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
    expect(tab.locator("noscript p")).to_be_visible()
    expect(tab.locator(".ex-live")).to_be_hidden()
    expect(tab.locator("#fig-explorer img")).to_be_visible()
    expect(tab.get_by_role("cell", name="device only")).to_be_visible()
    context.close()


def test_in_other_programs_a_sentence_stands_in_its_place(tab: Page) -> None:
    tab.set_content(element({}))
    expect(tab.get_by_text("The controls work on the book's web pages.")).to_be_visible()
    expect(tab.locator(".ex-live")).to_be_hidden()


def test_the_page_keeps_no_state_of_widgets(book: Path) -> None:
    text = (book / "notebooks/explorer.html").read_text(encoding="utf-8")
    assert "jupyter.widget" not in text


STUDIES: dict[str, dict[str, Any]] = {
    "congested-campus": {},
    "bigger-llm": {"training.topology": "u-shaped"},
    "datacentre-server": {"link.fading": "none", "training.cut_range": [2, 9]},
    "test-bed": {"channel_states": {"good": None, "poor": None}, "server.clocks_hz": [1e9, 2e9]},
}
"""Shipped studies, with what else a study may change."""


def standing_alone(browser: Browser, content: dict[str, Any], view: View) -> tuple[Page, list[str]]:
    """A page with nothing but the element, and what goes wrong in it."""
    tab, complaints = browser.new_context(viewport=PHONE, offline=True).new_page(), []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.set_content(element(content, view))
    tab.add_style_tag(path=ASSETS / "explorer.css")
    for script in SCRIPTS:
        tab.add_script_tag(path=ASSETS / script)
    return tab, complaints


@pytest.mark.parametrize("name", STUDIES)
def test_any_study_can_be_explored(browser: Browser, name: str) -> None:
    scenario = card.load_scenario(name, **STUDIES[name])
    tab, complaints = standing_alone(browser, panel.document(name, scenario), "whole")
    last = len(scenario.devices[: explorer.MOST_DEVICES]) - 1
    tab.get_by_role("combobox", name="Device").select_option(str(last))
    tab.get_by_role("slider", name="Delay weight").focus()
    tab.keyboard.press("End")
    state = list(scenario.channel_states)[len(scenario.channel_states) // 2]
    device = scenario.devices[last]
    place = [device.name], [state], [scenario.link.bandwidth_hz], [device.distance_m]
    found = explorer.explore(scenario, *place, [1.0]).isel(link=0, delay_weight=0)
    mine = found.sel(policy="card")
    check_shown(tab, {key: float(mine[key]) for key in mine.data_vars})
    assert complaints == []
    tab.context.close()


def test_a_refused_choice_is_told_and_nothing_is_drawn(browser: Browser) -> None:
    scenario = card.load_scenario("realistic-8b")
    tab, complaints = standing_alone(browser, panel.document("realistic-8b", scenario), "whole")
    tab.get_by_role("combobox", name="Server").select_option("rtx-4060-ti")
    assert said(tab).startswith("No decision: server.hardware = 'rtx-4060-ti'")
    tab.evaluate(DRAWN)
    assert tab.locator('[data-panel="front"] path').count() == 0
    assert complaints == []
    tab.context.close()


def test_the_published_pair_is_hit_where_the_calibration_stands(browser: Browser) -> None:
    calibrated = card.load_scenario("calibrated")
    claims = {"published": {claim.quantity: claim.published for claim in card.claims()}}
    content = panel.document("calibrated", calibrated, whole=False) | claims
    tab, complaints = standing_alone(browser, content, "pair")
    means = card.simulate(
        calibrated.updated({"link.shadowing_db": 0.0}), ["device_only", "server_only", "card"], 1
    ).mean(("state", "device", "round"))
    delay = 1 - means.delay_s.sel(policy="card") / means.delay_s.sel(policy="device_only")
    energy = 1 - means.energy_j.sel(policy="card") / means.energy_j.sel(policy="server_only")
    shares = [float(text) for text in re.findall(r"([\d.]+) %", said(tab))]
    published = [100 * claims["published"][name] for name in ("delay", "energy")]
    assert shares == pytest.approx(
        [100 * float(delay), published[0], 100 * float(energy), published[1]], abs=0.05
    )
    assert complaints == []
    tab.context.close()


def test_a_border_of_the_map_is_crossed_where_card_crosses_it(browser: Browser) -> None:
    scenario = card.load_scenario("nominal")
    content = panel.document("nominal", scenario, whole=False)
    tab, complaints = standing_alone(browser, content, "border")
    device = scenario.devices[panel.telling(scenario)]
    place = [device.name], ["normal"], [scenario.link.bandwidth_hz], [device.distance_m]
    cuts = set()
    for weight in (0.05, 0.95):
        tab.evaluate(MOVE, ["weight", weight])
        found = explorer.explore(scenario, *place, [weight]).isel(link=0, delay_weight=0)
        mine = found.sel(policy="card")
        check_shown(tab, {key: float(mine[key]) for key in mine.data_vars})
        cuts.add(int(mine.cut))
    assert len(cuts) == 2, "no border lies between these weights"
    assert complaints == []
    tab.context.close()


def test_the_star_is_dragged_to_another_band_and_weight(browser: Browser) -> None:
    content = panel.document("nominal", card.load_scenario("nominal"), whole=False)
    tab, complaints = standing_alone(browser, content, "border")
    weight, band = (tab.get_by_role("slider", name=name) for name in ("Delay weight", "Bandwidth"))
    before = weight.input_value(), band.input_value()
    map_ = tab.locator('[data-panel="map"]')
    map_.hover(position={"x": 150, "y": 200})
    tab.mouse.down()
    map_.hover(position={"x": 250, "y": 60})
    tab.mouse.up()
    after = weight.input_value(), band.input_value()
    assert all(float(new) > float(old) for new, old in zip(after, before, strict=True))
    told = map_.get_attribute("aria-label") or ""
    assert told.startswith("Map of the best cut over bandwidth [MHz] and delay weight")
    assert complaints == []
    tab.context.close()
