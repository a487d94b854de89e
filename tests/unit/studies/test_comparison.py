"""`card.studies.comparison`: what differs between two studies, going in and coming out."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from machines import NO_POWER, study
from own_llms import own_llm_study

import card
from card.book.comparison_page import comparison_page
from card.policies import POLICIES
from card.simulation import means
from card.studies.comparison import QUANTITIES, compare
from card.studies.scenario_values import differences, show

NOMINAL = card.load_scenario("nominal")
CAMPUS = card.load_scenario("congested-campus")


def paths(first, second):
    return [item.path for item in differences(first, second)]


class TestParameters:
    def test_a_scenario_does_not_differ_from_itself(self):
        assert differences(NOMINAL, NOMINAL) == []

    def test_sources_and_titles_are_not_values_of_the_model(self):
        again = NOMINAL.updated({"title": "another", "link.bandwidth_hz": 10.0e6}, "said again")
        assert differences(NOMINAL, again) == []

    def test_a_value_has_its_path_both_values_and_its_unit(self):
        (found,) = differences(NOMINAL, NOMINAL.updated({"link.bandwidth_hz": 20e6}))
        assert found._asdict() == {
            "path": "link.bandwidth_hz", "first": 10e6, "second": 20e6, "unit": "Hz",
        }  # fmt: skip

    def test_a_few_devices_are_named_and_many_stand_in_one_line(self):
        few = NOMINAL.updated({"devices.device-2.distance_m": 61.0})
        assert paths(NOMINAL, few) == ["devices.device-2.distance_m"]
        many = NOMINAL.updated({f"devices.device-{i}.distance_m": 10.0 * i for i in range(1, 6)})
        (found,) = differences(NOMINAL, many)
        assert found.path == "devices.distance_m"
        assert found.second == [10.0, 20.0, 30.0, 40.0, 50.0]

    def test_other_devices_and_states_are_listed_before_their_values(self):
        assert paths(NOMINAL, CAMPUS) == [
            "devices", "devices.hardware", "devices.distance_m", "link.bandwidth_hz",
            "channel_states", "channel_states.path_loss_exponent", "simulation.rounds",
        ]  # fmt: skip

    def test_repeated_values_are_counted(self):
        assert show(["a", "a", "b", "a"]) == "2 × a, b, a"
        assert show([1.0, 2.0]) == "1, 2"
        assert show([3, 3]) == "3, 3", "bounds are no product"


@pytest.fixture(scope="module")
def found():
    return compare(NOMINAL, CAMPUS, rounds=40, seed=7)


class TestResults:
    def test_means_are_those_of_a_simulation_of_each(self, found):
        for place, scenario in (("first", NOMINAL), ("second", CAMPUS)):
            alone = means(card.simulate(scenario, rounds=40, seed=7))
            for item in found.changes:
                expected = alone[item.policy][item.quantity]
                assert getattr(item, place) == pytest.approx(expected, rel=1e-12)

    def test_every_policy_and_quantity_is_compared(self, found):
        expected = {(policy, quantity) for policy in POLICIES for quantity in QUANTITIES}
        assert {(item.policy, item.quantity) for item in found.changes} == expected

    def test_a_change_lies_in_its_interval(self, found):
        for item in found.changes:
            assert item.change == item.second - item.first
            assert item.low <= item.change <= item.high

    def test_an_interval_is_that_of_paired_rounds(self):
        """More weight on delay changes no draw, so the change varies less than either mean."""
        other = NOMINAL.updated({"objective.delay_weight": 0.55})
        delay = compare(NOMINAL, other, rounds=100, seed=1).changes[0]
        spread = card.simulate(NOMINAL, ["card"], 100, 1).delay_s.mean(("state", "device")).std()
        alone = 2 * 1.96 * float(spread) / np.sqrt(100)
        assert 0 < delay.high - delay.low < 0.5 * alone

    @pytest.mark.slow
    def test_coverage_with_other_devices_is_that_of_a_95_percent_interval(self):
        """40 independent comparisons: the change of 4,000 rounds lies in about 38 of the intervals.

        By chance, fewer than 33 happen less than once in a thousand times (binomial, 0.95).
        """
        truth = compare(NOMINAL, CAMPUS, rounds=4000, seed=100).changes[0].change
        hits = [
            change.low <= truth <= change.high
            for seed in range(40)
            if (change := compare(NOMINAL, CAMPUS, rounds=100, seed=seed).changes[0])
        ]
        assert sum(hits) >= 33

    def test_one_round_has_no_interval(self):
        single = compare(NOMINAL, CAMPUS, rounds=1)
        assert {(item.low, item.high) for item in single.changes} == {(None, None)}

    def test_rounds_and_seed_are_the_first_scenario_s_unless_told(self):
        short = NOMINAL.updated({"simulation": {"rounds": 3, "seed": 9}})
        assert (compare(short, CAMPUS).rounds, compare(short, CAMPUS).seed) == (3, 9)

    def test_it_is_plain_values(self, found):
        document = json.loads(json.dumps(found.as_dict()))
        assert document["titles"] == [NOMINAL.title, CAMPUS.title]
        assert document["parameters"][3]["unit"] == "Hz"
        assert document["reductions"][1]["device_only"]["delay"]["low"] < 1


class Tags(HTMLParser):
    """Counts tags and refers to anything outside."""

    def __init__(self):
        super().__init__()
        self.open, self.rows, self.links = [], 0, []

    def handle_starttag(self, tag, attrs):
        self.links += [value for key, value in attrs if key in ("src", "href")]
        self.rows += tag == "tr"
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_beside_it(found):
    page = comparison_page(found, ("nominal", "a <b> study"))
    tags = Tags()
    tags.feed(page)
    assert (tags.open, tags.links) == ([], [])
    changes, reductions = len(found.changes), 2 * (len(POLICIES) - 1)
    assert tags.rows == 3 + len(found.parameters) + changes + reductions
    assert "a &lt;b&gt; study" in page
    assert "<b> study" not in page


@pytest.mark.parametrize("devices", ["*", "device-3"])
def test_a_device_energy_that_is_not_known_is_none_and_a_dash(devices):
    other = NOMINAL.updated({f"devices.{devices}.hardware": NO_POWER})
    found = compare(NOMINAL, other, rounds=5)
    changes = [item for item in found.changes if item.quantity == "device_energy_j"]
    assert {item.first is None for item in changes} == {False}
    assert {(i.second, i.change, i.low, i.high) for i in changes} == {(None,) * 4}
    json.dumps(found.as_dict(), allow_nan=False)
    page = comparison_page(found, ("a", "b"))
    assert not re.search(r"nan\b", page)
    assert "<td class=number>–</td>" * 3 in page


class TestFilesOfHardware:
    def test_the_same_content_elsewhere_is_no_difference(self, tmp_path):
        here, there = (card.load_scenario(study(tmp_path / name)) for name in ("a", "b"))
        assert differences(here, there) == []

    def test_other_content_under_the_same_name_is_one(self, tmp_path):
        before = card.load_scenario(study(tmp_path))
        after = card.load_scenario(study(tmp_path, slower=2.0))
        (found,) = differences(before, after)
        assert found.path == "devices.device-1.hardware"
        assert found.first != found.second

    def test_titles_alone_are_none(self):
        clocks = {"title": "mine", "cores": 128, "clock_hz": 9e8, "memory_gb": 4.0}
        here, there = (
            NOMINAL.updated({"devices.device-1.hardware": {**clocks, "title": title}})
            for title in ("mine", "yours")
        )
        assert differences(here, there) == []
        assert paths(NOMINAL, there) == ["devices.device-1.hardware"]


def test_traces_of_equal_rates_are_no_difference_whatever_they_are_called(tmp_path):
    rates = "".join(f"device-{i},0,{i}e6,{i}e6\n" for i in range(1, 6))
    files = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv", "d.csv")]
    for file, first in zip(files, (1, 2, 1, 2), strict=True):
        file.write_text(
            "device,round,uplink_bps,downlink_bps\n" + rates.replace("5e6", f"{first}e7"), "utf-8"
        )
    one, other = (
        NOMINAL.updated({"link.trace": [str(file) for file in pair]})
        for pair in (files[:2], files[2:])
    )
    assert differences(one, other) == []
    assert paths(NOMINAL, one) == ["link.trace"]


def test_a_policy_of_the_same_name_and_other_content_is_a_difference(tmp_path):
    one, other = tmp_path / "a/mine.py", tmp_path / "b/mine.py"
    for file, text in ((one, "# one"), (other, "# other")):
        file.parent.mkdir()
        file.write_text(f"def mine(system, draws, rng):\n    return None  {text}\n", "utf-8")
    first, second = (NOMINAL.updated({"policies": [f"{file}:mine"]}) for file in (one, other))
    (found,) = differences(first, second)
    assert found.path == "policies"
    assert (found.first[0][:6], found.second[0][:6]) == ("mine (", "mine (")
    other.write_text(one.read_text("utf-8"), "utf-8")
    assert differences(first, second) == []


class TestFilesOfLlms:
    def test_the_same_content_elsewhere_is_no_difference(self, tmp_path):
        here, there = (card.load_scenario(own_llm_study(tmp_path / name)) for name in ("a", "b"))
        assert differences(here, there) == []

    def test_other_content_under_the_same_name_is_one(self, tmp_path):
        before = card.load_scenario(own_llm_study(tmp_path))
        after = card.load_scenario(own_llm_study(tmp_path, num_hidden_layers=12))
        (found,) = differences(before, after)
        assert found.path == "llm"
        assert found.first != found.second
        assert found.first.startswith("mine (")
