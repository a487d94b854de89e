"""`card.book.pages`: what the book computes about itself."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from card.book import markdown, pages, provenance
from card.scenario import load_scenario
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
    "low": 0.7044,
    "high": 0.7126,
    "status": "holds when calibrated",
}


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


def test_an_undefined_reduction_is_a_dash() -> None:
    assert markdown.percent(None) == "–"
    assert markdown.percent(-0.05) == "−5.0 %"
    assert markdown.interval(0.7044, 0.7126) == "70.44\u00a0% to 71.26\u00a0%"
    assert markdown.interval(None, 0.7) == "–"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (2.4e-15, 1, "2 × 10⁻¹⁵"),
        (-6.02e23, 3, "−6.02 × 10²³"),
        (9.96, 2, "1.0 × 10¹"),
        (0.0, 1, "0"),
    ],
)
def test_scientific(value, digits, text):
    assert markdown.scientific(value, digits) == text.replace(" ", "\u00a0")


def test_a_table_keeps_its_columns_whatever_a_cell_says() -> None:
    assert markdown.table(("a", "b"), [("x|y", "z")]).splitlines()[2] == r"| x\|y | z |"


def test_columns_of_numbers_stand_right() -> None:
    rows = [
        ("1", "2,048.5", "70.8\u00a0%", "1e-15", "1"),
        ("2", "\u2013", "-3 %", "6e-06", "block"),
    ]
    assert markdown.table("abcde", rows).splitlines()[1] == "| ---: | ---: | ---: | ---: | --- |"
    assert markdown.table(["a"], [["1"]], numbers_right=False).splitlines()[1] == "| --- |"
    assert markdown.table("ab", []).splitlines()[1] == "| --- | --- |"


def test_claims_stand_side_by_side() -> None:
    text = pages.claims_page([CLAIM, {**CLAIM, "id": "C2", "published": 0.531}])
    assert "| Claim | C1 | C2 |" in text
    assert "| Published | 70.8 % | 53.1 % |" in text
    assert "| Nominal | – | – |" in text


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


def test_the_provenance_page_shows_another_scenario_by_its_differences() -> None:
    nominal = load_scenario("nominal")
    study = nominal.updated({"devices.device-2.distance_m": 61, "objective.delay_weight": 0.25})
    text = provenance.provenance_page({"nominal": nominal, "mine": study})
    whole, differences = re.split("## Scenario `mine`", text.split("## Llama")[0])
    assert "200, 60, 140, 100, 180 m" in whole, "one line for all devices"
    assert [line.split("|")[2].strip() for line in differences.splitlines() if "code" in line] == [
        "61 m",
        "0.25",
    ]
    assert "### NVIDIA Jetson AGX Orin 64 GB" in text


def test_a_banner_names_a_study_and_warns_of_a_quick_build() -> None:
    scenario = load_scenario("nominal").updated({"title": "A <b> & c"})

    def banner(**options: bool) -> str:
        made = pages.settings(scenario, [CLAIM], **options)
        assert made["parse"]["myst_substitutions"]["C1"] == "70.8 %"
        return str(made["html"]["announcement"])

    assert banner(quick=False, study=False) == ""
    assert banner(quick=False, study=True) == "Study: A &lt;b&gt; &amp; c."
    assert banner(quick=True, study=False).startswith("Quick build")


def test_the_record_of_a_book_is_repeatable(tmp_path: Path) -> None:
    values = {"title": "x"}
    record = provenance.provenance(values, tmp_path)
    assert record == provenance.provenance(values, tmp_path)
    assert (record["commit"], record["dirty"]) == (None, None), "a copy without history says so"
    assert record["scenario"] == values
    assert {"card", "numpy", "jupyter-book"} <= record["packages"].keys()
    assert "torch" not in record["packages"]
    assert len(record["data_sha256"]["hardware.yml"]) == 64


def test_json_keeps_every_digit_in_a_fixed_order() -> None:
    text = markdown.to_json({"b": np.float64(1 / 3), "a": np.arange(2), "µ": None})
    assert json.loads(text) == {"a": [0, 1], "b": 1 / 3, "µ": None}
    assert text.index('"a"') < text.index('"b"') < text.index('"µ"')


def test_a_study_s_claims_are_compared_where_they_apply_and_grey_where_not() -> None:
    study = [
        Application("C1", 0.708, None, None, None, "device-3 cannot hold all blocks"),
        Application("C2", 0.531, 0.94, 0.93, 0.95, ""),
    ]
    lines = pages.claims_page([CLAIM, {**CLAIM, "id": "C2"}], study).splitlines()
    own = next(line for line in lines if "This study" in line)
    assert own == '| **This study** | <span class="greyed">does not apply</span> | 94.0 % |'
    intervals = f"device-3 cannot hold all blocks</span> | {markdown.interval(0.93, 0.95)} |"
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
    assert "Study `congested-campus`" in note
    assert "| `nominal` | this study |" in note
    assert "| 10,000,000 Hz | 5,000,000 Hz |" in note
    assert "20 values: 310, 420, 250, …, 470 m" in note


def test_a_study_that_changes_nothing_says_so(tmp_path: Path) -> None:
    (tmp_path / "same.yml").write_text("base: bigger-llm\n")
    note = pages.study_note(load_study(tmp_path / "same.yml"))
    assert "It has the same values as `bigger-llm`." in note


def test_the_examples_of_the_page_on_studies_run() -> None:
    text = (Path(pages.__file__).parents[2] / "book/your-study.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    exec(example, names)
    assert names["figure"]
