"""`card.book.provenance`: where the values of a book come from, and what made it."""

import re
from pathlib import Path

from card.book import provenance
from card.book.build import QUOTED
from card.costs import load_scenario


def test_the_provenance_page_shows_another_scenario_by_its_differences() -> None:
    nominal = load_scenario("nominal")
    study = nominal.updated({"devices.device-2.distance_m": 61, "objective.delay_weight": 0.25})
    text = provenance.provenance_page({"nominal": nominal, "mine": study})
    whole, differences = re.split("## Scenario <code>mine</code>", text.split("## Llama")[0])
    assert "200, 60, 140, 100, 180 m" in whole, "one line for all devices"
    assert [line.split("|")[2].strip() for line in differences.splitlines() if "code" in line] == [
        "61 m",
        "0.25",
    ]
    assert "### NVIDIA Jetson AGX Orin 64 GB" in text


def test_every_scenario_that_chapters_compute_with_has_its_hardware_on_the_page() -> None:
    scenarios = {name: load_scenario(name) for name in QUOTED}
    text = provenance.provenance_page(scenarios).replace("&#95;<wbr>", "_")
    boards = {b.title: b for one in scenarios.values() for b in one.boards.values()}
    for board in boards.values():
        facts = text.partition(f"### {board.title}\n")[2].partition("### ")[0]
        assert all(f"<code>{key}</code>" in facts for key in board.sources)
    assert "<code>launch_s</code> | first_block 0.00" in text.replace("&#95;", "_")
    assert "tf32 8, bf16 16, fp16 16, int8 32 FLOP" in text


def test_the_record_of_a_book_is_repeatable(tmp_path: Path) -> None:
    values = {"title": "x"}
    record = provenance.provenance(values, tmp_path)
    assert record == provenance.provenance(values, tmp_path)
    assert (record["commit"], record["dirty"]) == (None, None), "a copy without history says so"
    assert record["scenario"] == values
    assert {"card-split-learning", "numpy", "jupyter-book"} <= record["packages"].keys()
    assert "torch" not in record["packages"]
    assert len(record["data_sha256"]["hardware.yml"]) == 64
