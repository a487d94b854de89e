"""`card.book.report`: Markdown with names, labels and citations becomes one document to print."""

import re

import pytest

from card.base.errors import ScenarioError
from card.book import report
from card.book.place import BookError, Place
from card.book.report import FOLDER, page
from card.book.report_values import Results, assumptions, claims_table

TEXT = r"""# A title

It saves {{saved}} [(Li et al., 2025)](references.bib#li2025energy), see [the table](#tab-rows) and
[(sum)](#eq-sum), and again [(Hu et al., 2022)](references.bib#hu2022lora),
[(Li, 2025)](references.bib#li2025energy).

$$
a < b \tag{first}
$$

$$
c \tag{sum}
$$

![What is **drawn**, at $c < 2$.](fig-drawn "wide")

---

![Rows.](tab-rows)

## References
"""
FLOATS = {"fig-drawn": "drawn.svg", "tab-rows": "| x |\n| --- |\n| 1 |"}


def made(text=TEXT):
    return page(text, {"saved": "58.1 %"}, FLOATS)


def test_names_stand_for_values_that_stay_with_their_units():
    assert "It saves 58.1\N{NO-BREAK SPACE}% " in made()


def test_equations_figures_and_tables_are_numbered_and_referred_to():
    html = made()
    assert '<a href="#eq-sum">(2)</a>' in html
    assert re.search(r'id="eq-sum">.*<span class="number">\(2\)</span>', html)
    assert '<a href="#tab-rows">Table\N{NO-BREAK SPACE}1</a>' in html
    assert "<b>Table\N{NO-BREAK SPACE}1.</b> Rows." in html
    assert "<td>1</td>" in html
    assert '<figure id="fig-drawn" class="wide">' in html
    assert 'alt="What is **drawn**, at $c &lt; 2$."' in html
    assert r'<span class="math notranslate">\(c &lt; 2\)</span>' in html


def test_literature_is_numbered_as_it_is_cited_and_listed_once():
    html = made()
    cited = re.findall(r'<a href="#ref-(\w+)">(\d)</a>', html)
    assert cited == [("li2025energy", "1"), ("hu2022lora", "2"), ("li2025energy", "1")]
    assert re.findall(r'<li id="ref-(\w+)">', html) == ["li2025energy", "hu2022lora"]
    assert "IEEE Networking Letters" in html


def test_each_sheet_is_an_article():
    first, second = made().split("</article>")[:2]
    assert "fig-drawn" in first
    assert "Rows." in second


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{{unknown}}", "value 'unknown'"),
        ("[(x)](#eq-unknown)", "label 'eq-unknown'"),
        ("![Words.](fig-unknown)", "figure 'fig-unknown'"),
        ("[(A, 2000)](references.bib#unknown)", "reference 'unknown'"),
    ],
)
def test_what_there_is_not_is_refused_by_name(line, message):
    with pytest.raises(BookError, match=message):
        made(f"{TEXT}\n{line}\n")


def test_no_number_of_the_text_is_typed():
    text = (FOLDER / "report.md").read_text("utf-8")
    citation, equation, formula = r"\[\(.*?\)\]\(.*?\)", r"\$\$.*?\$\$", r"\$[^$]+\$"
    for markup in (citation, equation, formula, r"\]\([^)]+\)", r"\{\{[\w-]+\}\}", r"`[^`]+`"):
        text = re.sub(markup, " ", text, flags=re.DOTALL)
    # the level of an interval, two cuts of a protocol, the oldest Python, and a licence
    assert set(re.findall(r"(?<![\w-])\d[\d.]*\d|(?<![\w-])\d", text)) <= {
        "95", "0", "1", "3.11", "4.0",
    }  # fmt: skip


def test_a_book_that_was_not_built_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "chromium", lambda: "chromium")
    monkeypatch.setattr(Place, "of_study", lambda *_: Place.of(tmp_path, "nominal"))
    with pytest.raises(ScenarioError, match="build it first: card book"):
        report.build_report(echo=lambda _: None)


def test_a_result_that_is_missing_is_named(tmp_path):
    (tmp_path / "there.json").write_text("1")
    assert Results(tmp_path)["there"] == 1
    with pytest.raises(BookError, match=r"no .*gone\.json; a chapter failed"):
        Results(tmp_path)["gone"]


def test_claims_have_a_column_for_each_scenario():
    claim = {
        "id": "C1", "text": "Delay falls", "benchmark": "device_only", "nominal": 0.58106,
        "calibrated": 0.70785, "realistic": None, "status": "does not hold",
        "intervals": {"nominal": (0.5808, 0.5814), "calibrated": (0.70, 0.71),
                      "realistic": (None, None)},
    }  # fmt: skip
    row = claims_table([claim]).splitlines()[-1].replace("\N{NO-BREAK SPACE}", " ")
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        "**C1**", "Delay falls", "device only", "**58.1 %**<br>58.08 % to 58.14 %",
        "**70 to 71 %**<br>70.00 % to 71.00 %", "**–**<br>–", "does not hold",
    ]  # fmt: skip


class Moved:
    """Results with three changes of two assumptions."""

    def sensitivities(self):
        names = ("parameter", "change", "C1", "C2", "C1_shift", "C2_shift")
        rows = [
            ("devices.distance_m", "−20 %", "0.62", "0.91", "0.04", "0.00"),
            ("devices.distance_m", "+20 %", "0.53", "0.91", "-0.05", "0.00"),
            ("server.static_power_w", "20 W", "0.63", "0.66", "0.05", "-0.25"),
        ]
        return [dict(zip(names, row, strict=True)) for row in rows]


def test_of_each_assumption_the_strongest_change_is_shown_with_its_reason():
    rows = assumptions(Moved()).splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == ["server.static_power_w", "devices.distance_m"]
    assert "| 0 W | 0, so that power is the pure cube law" in rows[0]
    assert "| 60 m to 200 m | A small urban cell, 60 to 200 m. | &#43;20 % |" in rows[1]
    assert rows[1].endswith("| 53.0 % | 91.0 % |")
