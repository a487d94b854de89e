"""The round on the first page: it plays when asked, by keyboard too, and ends with the delay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from built import DESKTOP, DRAWN, PHONE
from playwright.sync_api import Browser, Locator, Page, expect

TOLD = re.compile(r"([\d.,]+) of ([\d.,]+) (s|J)\b")
CURSORS = """() => [...document.querySelectorAll('.ex-cursor')].map((line) => {
  const box = line.getBoundingClientRect(), svg = line.ownerSVGElement.getBoundingClientRect();
  return (box.left + box.width / 2 - svg.left) / svg.width;
})"""
"""How far from the left of the picture each cursor is, as a share of its width."""
LATER = """seconds => {
  const [now] = /[\\d.,]+(?= of [\\d.,]+ s\\b)/.exec(document.querySelector('.ex-now').innerText);
  return Number(now.replace(',', '')) > seconds;
}"""
"""Whether more seconds of the round are over than so many."""
HURRY = """() => {
  const late = window.requestAnimationFrame;
  let now = performance.now();
  window.requestAnimationFrame = (next) => late(() => next((now += 90)));
}"""
"""Gives a browser's frames a clock that is faster than the machine, whose speed varies."""


@pytest.fixture(params=["index.html", "notebooks/explorer.html"])
def file(request: pytest.FixtureRequest, book: Path) -> str:
    path: Path = book / request.param
    if not path.is_file():
        pytest.skip("no book; run `make book`")
    return path.as_uri()


@pytest.fixture
def tab(browser: Browser, file: str) -> Iterator[Page]:
    yield from opened(browser, file)


def opened(browser: Browser, file: str, **more: Any) -> Iterator[Page]:
    context = browser.new_context(**{"viewport": DESKTOP, "offline": True} | more)
    tab, complaints = context.new_page(), []
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(file, wait_until="load")
    tab.evaluate(DRAWN)
    yield tab
    assert complaints == []
    context.close()


def slider(tab: Page) -> Locator:
    return tab.get_by_role("slider", name="Step of the round")


def numbers(tab: Page) -> list[tuple[float, float]]:
    """What the page counts up: seconds, the server's joules and the device's, each of how many."""
    found = TOLD.findall(tab.locator(".ex-now").inner_text())
    assert [unit for *_, unit in found] == ["s", "J", "J"]
    return [(float(now.replace(",", "")), float(whole.replace(",", ""))) for now, whole, _ in found]


def decided(tab: Page) -> list[float]:
    """Delay and energies of the decision, as the page says them."""
    said = tab.locator(".ex-decision").inner_text().partition(":")[2]
    return [float(number) for number in re.findall(r"([\d.]+) [sJ]\b", said)]


def test_it_stands_still_until_it_is_asked_to_play(tab: Page) -> None:
    before = tab.evaluate(CURSORS), tab.locator(".ex-now").inner_text()
    tab.wait_for_timeout(1000)
    assert (tab.evaluate(CURSORS), tab.locator(".ex-now").inner_text()) == before
    assert [now for now, _ in numbers(tab)] == [0, 0, 0]
    expect(tab.get_by_role("button", name="Play")).to_be_visible()


def test_played_by_keyboard_it_ends_with_the_delay_and_the_energy_decided(tab: Page) -> None:
    tab.evaluate(HURRY)
    tab.get_by_role("button", name="Play").focus()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("button", name="Pause")).to_be_focused()
    # 17 s of playing in steps of 90 ms
    expect(tab.locator(".ex-now")).to_contain_text("The round is over", timeout=60_000)
    expect(tab.get_by_role("button", name="Play")).to_be_focused()
    # four digits are shown of each
    assert [now for now, _ in numbers(tab)] == pytest.approx(decided(tab), rel=1e-3)
    assert all(now == whole for now, whole in numbers(tab))
    # the ends of both pictures, where the lanes end, 2 px from the edge
    assert tab.evaluate(CURSORS) == pytest.approx([1, 1], abs=0.01)
    expect(tab.locator(".ex-said")).to_contain_text("The round is over")


def test_it_is_paused_and_goes_on(tab: Page) -> None:
    tab.get_by_role("button", name="Play").click()
    tab.wait_for_function("document.querySelector('.ex-now').innerText.includes('Mini-batch 1')")
    tab.wait_for_function(LATER, arg=0)
    tab.get_by_role("button", name="Pause").click()
    paused = numbers(tab)
    assert paused[0][0] > 0
    tab.wait_for_timeout(500)
    assert numbers(tab) == paused
    tab.get_by_role("button", name="Play").click()
    tab.wait_for_function(LATER, arg=paused[0][0])


def test_the_slider_goes_from_step_to_step(tab: Page) -> None:
    steps = int(slider(tab).get_attribute("max") or 0)
    slider(tab).focus()
    seen = [numbers(tab)]
    for _ in range(5):
        tab.keyboard.press("ArrowRight")
        seen.append(numbers(tab))
    seconds = [row[0][0] for row in seen]
    assert sorted(set(seconds)) == seconds
    assert "; server " in (slider(tab).get_attribute("aria-valuetext") or "")
    tab.keyboard.press("End")
    assert slider(tab).input_value() == str(steps)
    assert all(now == whole for now, whole in numbers(tab))
    assert tab.evaluate(CURSORS) == pytest.approx([1, 1], abs=0.01)
    tab.keyboard.press("Home")
    assert numbers(tab) == seen[0]


def test_another_decision_starts_its_own_round(tab: Page) -> None:
    slider(tab).focus()
    tab.keyboard.press("End")
    tab.get_by_role("slider", name="Delay weight").focus()
    tab.keyboard.press("End")
    assert [now for now, _ in numbers(tab)] == [0, 0, 0]
    assert [whole for _, whole in numbers(tab)] == pytest.approx(decided(tab), rel=1e-3)


def test_where_motion_is_unwelcome_it_goes_from_step_to_step(browser: Browser, file: str) -> None:
    for tab in opened(browser, file, reduced_motion="reduce"):
        starts = set()
        slider(tab).focus()
        for _ in range(int(slider(tab).get_attribute("max") or 0) + 1):
            starts.add(numbers(tab)[0][0])
            tab.keyboard.press("ArrowRight")
        tab.keyboard.press("Home")
        tab.get_by_role("button", name="Play").click()
        seen = set()
        for _ in range(15):
            seen.add(numbers(tab)[0][0])
            tab.wait_for_timeout(60)
        assert seen <= starts


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_cropped_on_a_phone_nor_moves_the_page(
    browser: Browser, file: str, theme: str
) -> None:
    for tab in opened(browser, file, viewport=PHONE, color_scheme=theme):
        panel = tab.locator(".ex-panel-round")
        heights = set()
        slider(tab).focus()
        for key in ("Home", *["ArrowRight"] * 4, "PageUp", "End"):
            tab.keyboard.press(key)
            heights.add(panel.evaluate("panel => panel.getBoundingClientRect().height"))
            edges = panel.evaluate(
                "panel => [...panel.querySelectorAll('text, path, span, button, input')]"
                ".map(one => one.getBoundingClientRect()).filter(box => box.width)"
                ".map(box => [box.left, box.right])"
            )
            assert min(left for left, _ in edges) >= 0
            assert max(right for _, right in edges) <= PHONE["width"]
        assert len(heights) == 1
        assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
