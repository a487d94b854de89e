"""`card.book.markdown`: numbers and tables as the pages write them."""

import json

import numpy as np
import pytest

from card.book import markdown


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
        ("3", "0.1", "13.6 to 14.5 %", "0", "1"),
        ("3", "0.1", "\u221221 to \u221223 %", "0", "1"),
        ("2", "\u2013", "-3 %", "6e-06", "block"),
    ]
    assert markdown.table("abcde", rows).splitlines()[1] == "| ---: | ---: | ---: | ---: | --- |"
    assert markdown.table(["a"], [["1"]], numbers_right=False).splitlines()[1] == "| --- |"
    assert markdown.table("ab", []).splitlines()[1] == "| --- | --- |"


def test_json_keeps_every_digit_in_a_fixed_order() -> None:
    text = markdown.to_json({"b": np.float64(1 / 3), "a": np.arange(2), "µ": None})
    assert json.loads(text) == {"a": [0, 1], "b": 1 / 3, "µ": None}
    assert text.index('"a"') < text.index('"b"') < text.index('"µ"')


HOSTILE = [
    "<script>alert(1)</script>",
    "{raw}`html` {doc}`nowhere` {{ title }}",
    "[text](javascript:alert(1)) ![x](y)",
    "$x$ \\(y\\) \\[z\\] a | b",
    "*a* _b_ `c` ~~d~~ & &amp; \"e\" 'f'",
    "# heading",
    "::: {note}",
    "1. list",
    "- list",
    "% comment",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_user_s_text_reads_as_it_stands_in_markdown_and_html(text: str) -> None:
    from html import unescape

    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin
    from mdit_py_plugins.myst_role import myst_role_plugin
    from mdit_py_plugins.substitution import substitution_plugin

    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    reader.use(dollarmath_plugin).use(myst_role_plugin).use(substitution_plugin)
    written = markdown.plain(text)
    paragraph, inline, _ = reader.parse(written)
    assert paragraph.type == "paragraph_open"
    assert "".join(part.content for part in inline.children or ()) == text
    assert {part.type for part in inline.children or ()} <= {"text", "text_special"}
    assert unescape(written) == text, "a browser reads the same"
    cell = reader.render(f"| head |\n| --- |\n| {written} |")
    assert cell.count("<td>") == 1
    assert "<script" not in cell


def test_a_user_s_text_stays_on_its_line() -> None:
    assert markdown.plain("a\n\n# b\x00\x1b[31m\u2028c") == "a # b&#91;31m c"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a", "`a`"), ("a`b", "``a`b``"), ("``", "``` `` ```"), ("`x", "`` `x ``"), ("a\nb", "`a b`")],
)
def test_code_holds_any_text(text: str, shown: str) -> None:
    assert markdown.code(text) == shown
