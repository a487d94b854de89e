"""`card.book.pages`: what the book computes about itself."""

import json
import re
from pathlib import Path

import pytest

from card.book import markdown, pages
from card.book.build import asked_for
from card.costs import load_scenario
from card.studies.claims import Application
from card.studies.scenario_values import parameters
from card.studies.study_file import load_study

CLAIM = {
    "id": "C1",
    "text": "Average training delay is reduced",
    "published": 0.708,
    "benchmark": "device_only",
    "nominal": None,
    "calibrated": 0.7081,
    "realistic": 0.0726,
    "intervals": {
        "nominal": (None, None),
        "calibrated": (0.7044, 0.7126),
        "realistic": (0.071, 0.074),
    },
    "low": 0.7044,
    "high": 0.7126,
    "status": "missed untuned, fitted when calibrated",
}


UNREAD = '<span class="tex2jax_ignore mathjax_ignore">'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10.0e6, "10,000,000"),
        (-174, "−174"),
        (0.5, "0.5"),
        (1 / 3, "0.3333333333"),
        ((0, None), "0, none"),
        (True, "yes"),
        ("vanilla", "vanilla"),
    ],
)
def test_values_read_as_people_write_them(value: object, text: str) -> None:
    assert pages.show(value) == text


def test_claims_stand_side_by_side() -> None:
    text = pages.claims_page([CLAIM, {**CLAIM, "id": "C2", "published": 0.531}])
    assert "| Claim | C1 | C2 |" in text
    assert "| Published | 70.8 % | 53.1 % |" in text
    assert "| Nominal | – | – |" in text
    assert "| Calibrated | 70.4 to 71.3 % | 70.4 to 71.3 % |" in text
    assert "| Realistic | 7 % | 7 % |" in text


def test_every_value_of_a_scenario_has_a_path_that_addresses_it() -> None:
    scenario = load_scenario("nominal")
    items = list(parameters(scenario))
    paths = [item.path for item in items]
    assert len(set(paths)) == len(paths)
    assert "devices.device-1.distance_m" in paths
    assert {"link.bandwidth_hz": "Hz", "link.noise_dbm_per_hz": "dBm/Hz"}.items() <= {
        item.path: item.unit for item in items
    }.items()
    for item in items:
        value = item.value if not isinstance(item.value, tuple) else list(item.value)
        assert scenario.updated({item.path: value}) is not None, item.path


@pytest.mark.parametrize("name", ["nominal", "calibrated"])
def test_every_value_of_a_shipped_scenario_says_where_it_comes_from(name: str) -> None:
    assert [i.path for i in parameters(load_scenario(name)) if i.source is None] == []


def test_a_banner_names_a_study_and_warns_of_a_quick_build() -> None:
    scenario = load_scenario("nominal").updated({"title": "A <b> & c"})

    def banner(**options: bool) -> str:
        kept = Application("C1", 0.708, 0.164, 0.1636, 0.1644, "")
        made = pages.settings(scenario, [CLAIM], [kept], **options)
        numbers = made["parse"]["myst_substitutions"]
        assert (numbers["C1"], numbers["C1_labels_kept"]) == ("70.8 %", "16.4 %")
        return str(made["html"]["announcement"])

    assert banner(quick=False, study=False) == ""
    assert banner(quick=False, study=True) == f"{UNREAD}Study: A &#60;b&#62; &#38; c.</span>"
    assert banner(quick=True, study=False).startswith(f"{UNREAD}Quick build")


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("R&D > 3 & w < 0.5", "R&D > 3 & w < 0.5"),
        ("A <b> & c", "A ‹b> & c"),
        ('a "b"', "a ”b”"),
        ("&lt;b>", "＆lt;b>"),
    ],
)
def test_a_window_s_title_keeps_the_signs_that_html_does_not_read(title: str, shown: str) -> None:
    scenario = load_scenario("nominal").updated({"title": title})
    made = pages.settings(scenario, [], [], quick=False, study=True)
    assert made["title"] == f"CARD study: {shown}"


def test_a_study_s_claims_are_compared_where_they_apply_and_grey_where_not() -> None:
    study = [
        Application("C1", 0.708, None, None, None, "device-3 cannot hold all blocks"),
        Application("C2", 0.531, 0.94, 0.9398, 0.9402, ""),
    ]
    lines = pages.claims_page([CLAIM, {**CLAIM, "id": "C2"}], study).splitlines()
    own = next(line for line in lines if "This study" in line)
    assert own == '| **This study** | <span class="greyed">does not apply</span> | 94.0 % |'
    intervals = f"device-3 cannot hold all blocks</span> | {markdown.interval(0.9398, 0.9402)} |"
    assert intervals in "\n".join(lines)
    published = next(line for line in lines if "Published" in line)
    assert published.count("greyed") == 1, "the whole column is grey"
    assert "says nothing about the letter's own scenario" in lines[-1]


def test_every_page_of_a_study_says_what_it_changes(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "api").mkdir()
    (tmp_path / "page.md").write_text("# Title\n\nText.\n\n# Not a second title\n")
    (tmp_path / "api/deeper.md").write_text("# Deeper\n")
    cells = [{"cell_type": "markdown", "id": str(i), "source": f"# {i}"} for i in range(2)]
    (tmp_path / "notebooks/one.ipynb").write_text(json.dumps({"cells": cells}))
    note = pages.study_note(load_study("congested-campus"))
    pages.note_on_every_page(tmp_path, note)
    assert (tmp_path / "page.md").read_text().startswith(f"# Title\n\n{note}\n\nText.")
    assert (tmp_path / "page.md").read_text().count("{admonition}") == 1
    assert (tmp_path / "api/deeper.md").read_text() == f"# Deeper\n\n{note}\n"
    saved = json.loads((tmp_path / "notebooks/one.ipynb").read_text())["cells"]
    assert [cell["source"] for cell in saved] == ["# 0", note, "# 1"]


def test_the_note_names_study_and_base_and_shortens_long_lists() -> None:
    note = pages.study_note(load_study("congested-campus"))
    assert "Study <code>congested-campus</code>" in note
    assert "| <code>nominal</code> | this study |" in note
    assert "| 10,000,000 Hz | 5,000,000 Hz |" in note
    assert "20 values: 310, 420, 250, …, 470 m" in note


def test_a_study_that_changes_nothing_says_so(tmp_path: Path) -> None:
    (tmp_path / "same.yml").write_text("base: bigger-llm\n")
    note = pages.study_note(load_study(tmp_path / "same.yml"))
    assert "It has the same values as <code>bigger-llm</code>." in note


@pytest.mark.parametrize(
    ("wrong", "mended"),
    [
        ("server: {static_power_w: 500}", "server: {hardware: h200-sxm}"),
        ("objective: {delay_weight: 3}", "objective: {delay_weight: 0.3}"),
        ("llm: llama-3.1-8b", "server: {hardware: h200-sxm}"),
    ],
)
def test_a_book_is_made_of_a_study_that_mends_its_base(
    wrong: str, mended: str, tmp_path: Path
) -> None:
    (tmp_path / "low.yml").write_text(f"base: nominal\n{wrong}\n")
    (tmp_path / "mine.yml").write_text(f"base: low\n{mended}\n")
    note = pages.study_note(asked_for(tmp_path / "mine.yml"))
    assert "It mends <code>low</code>, which is refused by itself" in note


def test_the_examples_of_the_page_on_studies_run() -> None:
    text = (Path(pages.__file__).parents[2] / "book/your-study.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    exec(example, names)
    assert names["figure"]


def test_pages_that_miss_what_failed_chapters_compute_say_so(tmp_path: Path) -> None:
    (tmp_path / "_generated").mkdir()
    (tmp_path / "_generated/full.md").write_text("| table |")
    (tmp_path / "_generated/empty.md").write_text("\n")
    takes = {
        "whole": "{{ C1 }} ```{include} _generated/full.md",
        "number": "{{ C1 }} and {{ C2 }}",
        "table": "```{include} _generated/empty.md",
        "picture": "```{figure} results/none.svg",
    }
    for name, text in takes.items():
        (tmp_path / f"{name}.md").write_text(f"# Title\n\n{text}\n")
    pages.tell_missing(tmp_path, {"C1": "70.8 %"}, ["05_comparison", "09_beyond"])
    told = {name: (tmp_path / f"{name}.md").read_text() for name in takes}
    assert told.pop("whole") == f"# Title\n\n{takes['whole']}\n"
    for text in told.values():
        assert text.startswith("# Title\n\n:::{admonition} Parts of this page are missing\n")
        assert "{doc}`/notebooks/05_comparison`, {doc}`/notebooks/09_beyond`" in text
    assert "{{ C1 }} and –" in told["number"]
    assert "</svg>" in (tmp_path / "results/none.svg").read_text()
