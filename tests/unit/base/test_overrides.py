"""Merging overrides into raw values."""

import numpy as np
import pytest

import card
from card.base.errors import ScenarioError
from card.base.overrides import merge_recorded

BASE = {
    "title": "Base",
    "link": {"bandwidth_hz": 1e7, "fading": "none"},
    "devices": [{"name": "near", "distance_m": 10}, {"name": "far", "distance_m": 90}],
    "cut_range": [0, None],
    "sources": {"link.bandwidth_hz": {"kind": "assumed", "source": "base"}},
}


def merged(**changes):
    """BASE with overrides, without provenance."""
    result = merge_recorded(BASE, changes, "a test")
    return {key: value for key, value in result.items() if key != "sources"}


class TestMerge:
    def test_dotted_and_nested_overrides_are_the_same(self):
        dotted = merge_recorded(BASE, {"link.fading": "block"}, "a test")
        assert dotted == merge_recorded(BASE, {"link": {"fading": "block"}}, "a test")
        assert dotted["link"] == {"bandwidth_hz": 1e7, "fading": "block"}

    def test_dots_work_inside_nested_overrides(self):
        assert merged(**{"a": {"b.c": 1}})["a"] == {"b": {"c": 1}}

    def test_two_dotted_overrides_of_one_part_both_hold(self):
        changes = {"link.fading": "block", "link.bandwidth_hz": 5}
        assert merged(**changes)["link"] == {"bandwidth_hz": 5, "fading": "block"}

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"link": {"fading": "block"}, "link.fading": "ergodic"},
                "link.fading = 'block' and link.fading = 'ergodic'",
            ),
            ({"link": None, "link.fading": "none"}, "link = null and link.fading = 'none'"),
            ({"link.fading": "none", "link": 3}, "link = {'fading': 'none'} and link = 3"),
            ({"a": {"b.c": 1, "b": {"c": 2}}}, "a.b.c = 1 and a.b.c = 2"),
            ({"a": {"1": 1, 1: 2}}, "a.1 = 1 and a.1 = 2"),
            ({"cut_range": [0, 1], "cut_range.0": 3}, "cut_range = [0, 1] and cut_range.0 = 3"),
            (
                {"link.fading": None, "link": {"fading": 1}},
                "link.fading = null and link.fading = 1",
            ),
            (
                {"sources": {"llm": {"kind": "a"}}, "sources.llm": {"kind": "b"}},
                "sources.llm = {'kind': 'a'} and sources.llm = {'kind': 'b'}",
            ),
            (
                {"sources.lora.rank": {"kind": "a"}, "sources.lora.rank.kind": "b"},
                "sources.lora.rank.kind = 'a' and sources.lora.rank.kind = 'b'",
            ),
        ],
    )
    def test_one_value_given_twice_is_refused(self, changes, message):
        with pytest.raises(ScenarioError) as refusal:
            merged(**changes)
        assert str(refusal.value) == f"{message} exclude each other; give one of them."

    def test_a_part_that_says_nothing_excludes_nothing(self):
        for changes in ({"link": {}, "link.fading": "x"}, {"link.fading": "x", "link": {}}):
            assert merged(**changes)["link"] == {"bandwidth_hz": 1e7, "fading": "x"}

    def test_null_removes_a_key(self):
        assert merged(**{"link.fading": None})["link"] == {"bandwidth_hz": 1e7}

    def test_base_is_left_as_it_was(self):
        merged(**{"link.fading": "block", "devices.near.distance_m": 1, "devices.far": None})
        assert BASE["link"]["fading"] == "none"
        assert [device["distance_m"] for device in BASE["devices"]] == [10, 90]

    def test_plain_list_replaces_a_list(self):
        assert merged(devices=[{"name": "only"}])["devices"] == [{"name": "only"}]


class TestLists:
    @pytest.mark.parametrize("key", ["far", "1", 1])
    def test_item_is_patched_by_name_or_position(self, key):
        devices = merged(devices={key: {"distance_m": 50}})["devices"]
        assert devices == [BASE["devices"][0], {"name": "far", "distance_m": 50}]

    @pytest.mark.parametrize("key", ["near", "0"])
    def test_null_removes_a_named_item(self, key):
        assert merged(**{f"devices.{key}": None})["devices"] == [BASE["devices"][1]]

    def test_item_of_a_plain_list_is_set_even_to_null(self):
        assert merged(**{"cut_range.1": 8})["cut_range"] == [0, 8]
        assert merged(**{"cut_range.0": None})["cut_range"] == [None, None]

    def test_unknown_item_is_refused_with_the_known_ones(self):
        with pytest.raises(ScenarioError) as refusal:
            merged(**{"devices.middle.distance_m": 5})
        assert str(refusal.value) == "devices.middle is not in the list; choose one of near, far."

    def test_position_beyond_the_end_is_refused(self):
        with pytest.raises(ScenarioError, match=r"cut_range\.2 is not in the list; choose .* 0, 1"):
            merged(**{"cut_range.2": 5})


class TestProvenance:
    def sources(self, **changes):
        return merge_recorded(BASE, changes, "a test")["sources"]

    def test_changed_value_gets_a_source_that_says_who_set_it(self):
        changed = self.sources(**{"link.bandwidth_hz": 5, "devices.far.distance_m": 7})
        note = {"kind": "assumed", "source": "a test"}
        assert changed == {"link.bandwidth_hz": note, "devices.far.distance_m": note}

    def test_unchanged_value_keeps_its_source(self):
        assert self.sources(**{"link.fading": "block"})["link.bandwidth_hz"]["source"] == "base"

    def test_value_that_brings_its_source_keeps_it(self):
        own = {"kind": "datasheet", "source": "a data sheet"}
        changed = self.sources(**{"link.fading": "block", "sources": {"link.fading": own}})
        assert changed["link.fading"] == own

    def test_a_source_for_all_items_is_that_of_each(self):
        own = {"kind": "derived", "source": "a formula"}
        changes = {"devices.far.distance_m": 7, "sources": {"devices.distance_m": own}}
        assert self.sources(**changes) == {"devices.distance_m": own} | {
            path: source for path, source in BASE["sources"].items() if "distance" not in path
        }

    def test_title_needs_no_source(self):
        assert "title" not in self.sources(title="Another")


@pytest.mark.parametrize("number", [np.int64(2), np.uint8(2), 2])
def test_a_whole_number_of_numpy_is_one_at_any_depth(number):
    nominal = card.load_scenario("nominal")
    expected = nominal.updated({"training": {"batch_size": 2, "cut_range": [2, 2]}})
    given = {"training": {"batch_size": number, "cut_range": [number, number]}}
    assert nominal.updated(given) == expected
    assert nominal.updated({"training": {"batch_size": number, "cut_range": np.array([2, 2])}}) == (
        expected
    )
    assert card.load_scenario("nominal", **given).digest == expected.digest


@pytest.mark.parametrize("value", [np.bool_(True), True])
@pytest.mark.parametrize("path", ["link.bandwidth_hz", "training.batch_size"])
def test_a_truth_value_is_no_number_whosever_it_is(path, value):
    with pytest.raises(ScenarioError, match=f"^{path} = True is not allowed; give a "):
        card.load_scenario("nominal", **{path: value})


def test_a_set_is_no_list():
    with pytest.raises(ScenarioError, match=r"^lora.targets = {'q_proj'} is not allowed; give a l"):
        card.load_scenario("nominal", **{"lora.targets": {"q_proj"}})


def test_a_list_replaced_whole_does_not_keep_the_origins_of_the_old_items():
    base = {
        "devices": [{"name": "a", "distance_m": 1}],
        "sources": {
            "devices.distance_m": {"kind": "assumed", "source": "old"},
            "devices.hardware": {"kind": "assumed", "source": "old"},
        },
    }
    own = {"kind": "assumed", "source": "new"}
    changes = {"devices": [{"name": "b", "distance_m": 2}], "sources": {"devices.distance_m": own}}
    assert merge_recorded(base, changes, "set here")["sources"] == {
        "devices": {"kind": "assumed", "source": "set here"},
        "devices.distance_m": own,
    }


@pytest.mark.parametrize("key", ["\u00b2", "\u0663", "9" * 5000, "-1", " 0", "2"])
def test_what_is_no_position_is_refused(key):
    with pytest.raises(ScenarioError, match="is not in the list; choose one of near, far"):
        merged(**{f"devices.{key}.distance_m": 5})


class TestEveryItem:
    def test_a_star_stands_for_every_item_of_a_list_or_of_named_parts(self):
        base = {**BASE, "states": {"good": {"loss": 1}, "poor": {"loss": 2}}}
        result = merge_recorded(base, {"devices.*.distance_m": 7, "states.*.loss": 9}, "a test")
        assert [device["distance_m"] for device in result["devices"]] == [7, 7]
        assert result["states"] == {"good": {"loss": 9}, "poor": {"loss": 9}}
        assert {"devices.near.distance_m", "states.poor.loss"} <= result["sources"].keys()

    def test_a_star_stands_in_nested_changes_too(self):
        assert merged(devices={"*": {"share": 1}, "far": {"distance_m": 5}})["devices"] == [
            {"name": "near", "distance_m": 10, "share": 1},
            {"name": "far", "distance_m": 5, "share": 1},
        ]

    @pytest.mark.parametrize("path", ["link.*.fading", "*.fading", "devices.near.*", "no.*.x"])
    def test_a_star_that_matches_nothing_is_refused(self, path):
        start = path[: path.index("*") + 1]
        with pytest.raises(ScenarioError) as refusal:
            merged(**{path: 1})
        assert str(refusal.value) == (
            f"{start} matches nothing; put * where the name of a device or of a channel state "
            f"stands, e.g. devices.*.distance_m."
        )

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"devices.*.distance_m": 7, "devices.far.distance_m": 8},
                "devices.*.distance_m = 7 and devices.far.distance_m = 8",
            ),
            (
                {"devices": {1: {"distance_m": 8}, "*": {"distance_m": 7}}},
                "devices.1.distance_m = 8 and devices.*.distance_m = 7",
            ),
            (
                {"devices": {"*": {"hardware": {"role": 1}}, "far": {"hardware": "x"}}},
                "devices.*.hardware = {'role': 1} and devices.far.hardware = 'x'",
            ),
            (
                {"devices": {"*": {"hardware": "x"}, "far": {"hardware": {"role": 1}}}},
                "devices.*.hardware = 'x' and devices.far.hardware.role = 1",
            ),
        ],
    )
    def test_a_value_of_all_and_of_one_exclude_each_other_as_they_are_written(
        self, changes, message
    ):
        with pytest.raises(ScenarioError) as refusal:
            merged(**changes)
        assert str(refusal.value) == f"{message} exclude each other; give one of them."

    def test_a_star_stands_for_what_a_position_names_too(self):
        near, far = merged(devices={"*": {"distance_m": 7}, 1: {"memory_share": 0.5}})["devices"]
        assert near == {"name": "near", "distance_m": 7}
        assert far == {"name": "far", "distance_m": 7, "memory_share": 0.5}


@pytest.mark.parametrize("changes", [None, [], [("link.bandwidth_hz", 2e7)], "link", 5, 0.5])
def test_changes_that_are_no_mapping_are_refused(changes):
    with pytest.raises(ScenarioError) as refusal:
        card.load_scenario("nominal").updated(changes)
    assert str(refusal.value) == (
        f"overrides = {changes!r} is not allowed; give values by path, e.g. "
        "{'link.bandwidth_hz': 2e7}."
    )


def test_an_origin_of_what_is_no_path_is_refused():
    with pytest.raises(ScenarioError, match=r"sources\.1 = 2 is not allowed; give a mapping"):
        card.load_scenario("nominal", sources={1: 2})
