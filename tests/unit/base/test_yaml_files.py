"""Reading and writing YAML 1.2."""

import math
from itertools import pairwise

import pytest

from card.base.errors import ScenarioError
from card.base.yaml_files import label, parse_value, read_yaml

CORE_SCHEMA = {
    "010": 10,
    "-08": -8,
    "0o10": 8,
    "0x1F": 31,
    "+1": 1,
    "-174": -174,
    "10e6": 1e7,
    "12e03": 12000.0,
    "1e-3": 1e-3,
    "2.5E+9": 2.5e9,
    "1.": 1.0,
    ".5": 0.5,
    "-.5e3": -500.0,
    ".inf": math.inf,
    "-.Inf": -math.inf,
    "true": True,
    "FALSE": False,
    "null": None,
    "~": None,
}
"""Section 10.3.2 of the specification, by its patterns."""

WORDS = [
    "yes",
    "No",
    "on",
    "off",
    "y",
    "=",
    "-0o7",
    "1:30",
    "1_000",
    "1_0.5",
    "0b11",
    "0o8",
    "12:30",
    "1:30.5",
    "<<",
]
"""Words there, of which YAML 1.1 makes booleans and numbers."""

NEAR_NUMBERS = ["2026-11-28", "e6", "1e", "0x", ".", "+", "10 MHz", "1.2.3", "device-1", "nan"]


class TestCoreSchema:
    @pytest.mark.parametrize("text", CORE_SCHEMA)
    def test_values(self, text):
        assert parse_value(text) == CORE_SCHEMA[text]
        assert type(parse_value(text)) is type(CORE_SCHEMA[text])

    def test_undefined(self):
        assert math.isnan(parse_value(".nan"))

    @pytest.mark.parametrize("text", [*WORDS, *NEAR_NUMBERS])
    def test_words(self, text):
        assert parse_value(text) == text

    @pytest.mark.parametrize("text", ["%YAML 1.1\n--- {a: 010, b: yes, c: 1e3}\n"])
    def test_holds_whatever_version_a_file_names(self, text):
        assert parse_value(text) == {"a": 10, "b": "yes", "c": 1000.0}

    @pytest.mark.parametrize("key", ["012", "0x10", "+1", "null", "~", "True", "1e3", ".5", "-1"])
    def test_a_key_that_would_change_as_a_name_is_refused(self, key):
        with pytest.raises(ScenarioError, match="is no word; put it in quotes"):
            parse_value(f"{{a: {{{key}: 1}}}}")
        assert parse_value(f"{{a: {{'{key}': 1}}}}") == {"a": {key: 1}}

    def test_a_key_may_be_a_position(self):
        assert parse_value("{0: 1, 12: 2}") == {0: 1, 12: 2}

    @pytest.mark.parametrize("text", ["12", "true", "null", "", "1e3", "'12'"])
    def test_what_stands_behind_the_tag_of_no_kind_is_a_word(self, text):
        # section 6.9.1, example 6.28: `! 12` is the string "12"
        assert parse_value(f"! {text}") == text.strip("'")
        assert parse_value(f"[! {text}, {{a: ! {text}}}]") == [text.strip("'")] * 1 + [
            {"a": text.strip("'")}
        ]

    def test_settings_may_be_lists_mappings_and_null(self):
        assert parse_value("[0, null]") == [0, None]
        assert parse_value("{rank: 4}") == {"rank": 4}

    def test_setting_that_is_no_yaml_is_refused(self):
        with pytest.raises(ScenarioError) as refusal:
            parse_value("[1, 2")
        assert str(refusal.value) == "'[1, 2' is not a YAML value; quote it."


class TestLabel:
    @pytest.mark.parametrize(
        "value",
        [*CORE_SCHEMA, *CORE_SCHEMA.values(), *WORDS, *NEAR_NUMBERS, "", "a: b", "# x", "<<", 1e-9],
    )
    def test_is_read_back_as_it_was(self, value):
        found = parse_value(label(value))
        assert (found, type(found)) == (value, type(value))

    def test_is_one_line_in_the_order_given(self):
        assert label({"b": ["x"] * 40, "a": None}) == f"{{b: [{', '.join(['x'] * 40)}], a: null}}"


class TestRead:
    def test_same_key_in_two_parts_is_fine(self, tmp_path):
        path = tmp_path / "a.yml"
        path.write_text("a: {x: 1}\nb: {x: 2}\n")
        assert read_yaml(path) == {"a": {"x": 1}, "b": {"x": 2}}

    def test_merge_keys_may_be_overridden(self, tmp_path):
        path = tmp_path / "a.yml"
        path.write_text("b:\n  <<: &a {<<: {x: 1, y: 2}, y: 3}\n  y: 4\nc: *a\n")
        assert read_yaml(path) == {"b": {"x": 1, "y": 4}, "c": {"x": 1, "y": 3}}

    @pytest.mark.parametrize("key", ["y", "<<"])
    def test_key_written_twice_beside_a_merge_key_is_refused(self, tmp_path, key):
        path = tmp_path / "a.yml"
        path.write_text(f"<<: {{x: 1}}\ny: {{x: 2}}\n{key}: {{x: 3}}\n")
        with pytest.raises(ScenarioError) as refusal:
            read_yaml(path)
        assert str(refusal.value) == (
            f"{path}, line 3 is not valid YAML: the key {key!r} is written twice."
        )

    def test_unreadable_file_is_refused(self, tmp_path):
        with pytest.raises(ScenarioError) as refusal:
            read_yaml(tmp_path / "none.yml")
        assert str(refusal.value) == (
            f"{tmp_path / 'none.yml'} cannot be read: No such file or directory."
        )

    @pytest.mark.parametrize("text", ["010", "0o10", "1_000", "yes", "1:30", "12e03", ".inf"])
    def test_files_and_settings_say_the_same(self, tmp_path, text):
        path = tmp_path / "a.yml"
        path.write_text(f"a: {text}\n")
        assert read_yaml(path) == {"a": parse_value(text)}

    def test_byte_order_mark_is_no_part_of_the_text(self, tmp_path):
        path = tmp_path / "a.yml"
        path.write_text("a: 1\n", "utf-8-sig")
        assert read_yaml(path) == {"a": 1}

    def test_anchor_may_be_set_again(self, tmp_path):
        path = tmp_path / "a.yml"
        path.write_text("a: &x 1\nb: &x 2\nc: *x\n")
        assert read_yaml(path) == {"a": 1, "b": 2, "c": 2}


def tower(part: str, first: str) -> str:
    """Nine levels, each of nine aliases of the one below."""
    lines = [f"a: &a {first}"]
    for below, name in pairwise("abcdefghi"):
        lines.append(f"{name}: &{name} " + part.format(", ".join([f"*{below}"] * 9)))
    return "\n".join(lines)


MONSTERS = {
    "alias in itself": ("a: &a [*a]", "line 1 is not valid YAML: an alias stands for a part"),
    "alias in its key": ("a: &a {b: {c: *a}}", "line 1 is not valid YAML: an alias stands for a"),
    "tower": (tower("[{}]", "[x]"), "it has more than 200,000 values, aliases written out."),
    "merged tower": (tower("{{<<: [{}]}}", "{x: 1}"), "it has more than 200,000 values"),
    "nested lists": ("a: " + "[" * 500 + "]" * 500, "it is nested deeper than 32 levels."),
    "open lists": ("[" * 500, "it is nested deeper than 32 levels."),
    "nested keys": (
        "\n".join(" " * depth + "a:" for depth in range(99)),
        "it is nested deeper than 32 levels.",
    ),
    "ladder of aliases": (
        "a0: &a0 []\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 99)),
        "it is nested deeper than 32 levels.",
    ),
    "number without end": ("a: " + "1" * 6000, "a number has 6,000 digits, more than 1,000."),
    "hexadecimal": ("a: 0x" + "f" * 6000, "a number has 6,002 digits, more than 1,000."),
    "half a letter": ('a: "\\ud800"', "line 1 is not valid YAML: '\\ud800' is no whole letter."),
    "turns the line around": ('a: "x \\u202e y"', "'\\u202e' is no letter that can be printed."),
    "line of its own": ('a: "x \\u2028 y"', "'\\u2028' is no letter that can be printed."),
    "writes to the left": ('a: "x \\u200f y"', "'\\u200f' is no letter that can be printed."),
    "nothing to see": ('a: "x\\ufeffy"', "'\\ufeff' is no letter that can be printed."),
    "escape": ('a: "\\e[31m"', "'\\x1b' is no letter that can be printed."),
    "escape in a key": ('"\\x9b": 1', "'\\x9b' is no letter that can be printed."),
    "half a letter in a key": ('"\\udfff": 1', "'\\udfff' is no whole letter."),
    "number that is none": ("a: !!int many", "'many' is no int"),
    "number of YAML 1.1": ('a: !!int "1_000"', "'1_000' is no int"),
    "binary number of YAML 1.1": ("a: !!int 0b11", "'0b11' is no int"),
    "number in other digits": ("a: !!int \u0663", "'\u0663' is no int"),
    "float of YAML 1.1": ("a: !!float 1_0e6", "'1_0e6' is no float"),
    "truth value of YAML 1.1": ("a: !!bool yes", "'yes' is no bool"),
    "nothing that is something": ("a: !!null x", "'x' is no null"),
    "list as a key": ("? [1, 2]\n: 3", "a list or a mapping is no key; write a word"),
    "truth that is none": ("a: !!bool maybe", "'maybe' is no bool"),
    "kind of YAML 1.1": ("a: !!timestamp 2026-11-28", "could not determine a constructor"),
    "large": ("a: " + "x" * 2**20, "is larger than 1,048,576 bytes, which is not allowed"),
}


class TestBounds:
    @pytest.mark.parametrize("name", MONSTERS)
    def test_monster_is_refused_in_one_line_that_names_the_file(self, tmp_path, name):
        content, message = MONSTERS[name]
        path = tmp_path / "a.yml"
        path.write_text(content)
        with pytest.raises(ScenarioError) as refusal:
            read_yaml(path)
        assert str(refusal.value).startswith(str(path))
        assert message in str(refusal.value)
        assert len(str(refusal.value).splitlines()) == 1

    def test_monster_of_a_setting_is_shown_in_short(self):
        with pytest.raises(ScenarioError) as refusal:
            parse_value("[" * 500)
        assert len(str(refusal.value)) < 150

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("a\u202eb", r"'\u202e' is no letter that can be printed"),
            ("1" * 2000, "a number has 2,000 digits"),
            ("&a [*a]", "an alias stands for a part that it is in"),
        ],
    )
    def test_setting_that_is_refused_for_what_it_says_is_told_why(self, text, why):
        with pytest.raises(ScenarioError) as refusal:
            parse_value(text)
        assert f" is not a YAML value: {why}" in str(refusal.value)
        assert str(refusal.value).endswith("; give another.")

    def test_what_studies_need_fits(self, tmp_path):
        path = tmp_path / "a.yml"
        many = "\n".join(f"k{number}: {number}" for number in range(200))
        path.write_text(f"{many}\nl: " + "[" * 31 + "]" * 31)
        assert len(read_yaml(path)) == 201
