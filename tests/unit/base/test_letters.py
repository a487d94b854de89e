"""Characters that are no letters."""

import unicodedata

import pytest

import card
from card.base.letters import no_letter, odd_text, printable

NONE = ["\x00", "\x1b", "\x85", "\x9b", "\xad", "\u200b", "\u200e", "\u200f", "\u2028", "\u2029"]
NONE += ["\u202e", "\u2066", "\ufeff", "\ud800", "\U000e0041"]
SCRIPTS = ["Größe ≥ 1 → «x»", "می\u200cخواهم", "क्\u200dष", "数値", "שלום", "👩\u200d🔬"]


@pytest.mark.parametrize("sign", NONE)
def test_what_commands_ends_or_turns_a_line_is_found_and_escaped(sign):
    assert no_letter(f"a{sign}b") == sign
    assert odd_text({"a": [1, {f"b{sign}": None}]}) == f"b{sign}"
    shown = printable(f"a{sign}b")
    assert shown.isprintable()
    assert shown.encode().decode("unicode_escape") == f"a{sign}b"


@pytest.mark.parametrize("text", SCRIPTS)
def test_letters_of_every_script_stay(text):
    assert no_letter(text) is None
    assert odd_text([text]) is None
    assert printable(text) == text


def test_what_is_left_of_the_five_categories_is_the_joiners():
    every = map(chr, range(0x110000))
    left = [s for s in every if unicodedata.category(s) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert [s for s in left if no_letter(s) is None] == ["\u200c", "\u200d"]


@pytest.mark.parametrize("sign", NONE)
@pytest.mark.parametrize("where", [{"title": "a{}"}, {"sources": {"lora.rank": {"source": "a{}"}}}])
def test_no_text_of_a_study_has_them_by_whatever_way_it_comes(where, sign):
    def filled(node):
        if isinstance(node, dict):
            return {key: filled(value) for key, value in node.items()}
        return node.format(sign)

    with pytest.raises(card.ScenarioError, match="give letters that can be printed"):
        card.load_scenario("nominal", **filled(where))
    with pytest.raises(card.ScenarioError, match="give letters that can be printed"):
        card.load_scenario("nominal").updated(filled(where))


@pytest.mark.parametrize("path", [".a", "link.", "link..fading", ""])
def test_a_path_with_an_empty_name_is_none(path, tmp_path):
    study = tmp_path / "study.yml"
    study.write_text(f"base: nominal\n'{path}': 1\n", "utf-8")
    for asked, more in (("nominal", {path: 1}), (study, {})):
        with pytest.raises(card.ScenarioError) as refusal:
            card.load_scenario(asked, **more)
        assert str(refusal.value) == (
            f"{path!r} is no path; write names with a dot between two, e.g. link.bandwidth_hz."
        )
