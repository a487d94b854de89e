"""Tables of leakage: read with the scenario, known by what they say, and carried with a study."""

import json

import pytest
from leaking import leakage_file, leaking

import card
from card.base.errors import ScenarioError
from card.base.yaml_files import label
from card.book.build import portable
from card.scenario.leakage import LeakageTable
from card.studies.scenario_values import differences
from card.studies.study_file import new_study


def half(*_):
    return 0.5


@pytest.fixture
def mine(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    leakage_file(folder / "table.json", half)
    changes = {"training": {"topology": "u-shaped"}, "privacy": {"leakage": "table.json"}}
    # wide enough a band for CARD to offload
    base = {"base": "test-bed", "link": {"bandwidth_hz": 2e7}, **changes}
    (folder / "mine.yml").write_text(label(base), "utf-8")
    return folder / "mine.yml"


@pytest.mark.parametrize("name", LeakageTable.names())
def test_what_is_shipped_was_measured_and_says_on_what(name):
    table = LeakageTable.read("privacy.leakage", name)
    assert table.origin.kind == "measured"
    assert table.date in table.origin.source
    assert table.machine
    assert table.software["torch"]
    assert table.settings["seeds"] > 1
    assert len(table.settings["texts"]) > 1
    assert table.chance.high < 0.2


def test_a_study_names_a_file_beside_it(mine):
    assert card.system(card.load_scenario(mine)).leakage.tolist() == [0.5] * 4 + [0]


def test_it_stays_what_it_was_when_other_values_change(mine):
    scenario = card.load_scenario(mine)
    mine.with_name("table.json").unlink()
    changed = scenario.updated({"privacy.leakage_max": 0.4})
    assert card.system(changed).feasible[0].tolist() == [False] * 4 + [True]


def test_a_scenario_is_known_by_its_rates_wherever_they_lie(mine, tmp_path):
    scenario, there = card.load_scenario(mine), tmp_path / "elsewhere.json"
    same, other = (
        scenario.updated({"privacy.leakage": leakage_file(there.with_stem(stem), rate, date=day)})
        for stem, rate, day in (("a", half, "2026-01-01"), ("b", lambda *_: 0.25, "2026-01-02"))
    )
    assert scenario.digest == same.digest != other.digest
    assert differences(scenario, same) == []
    assert [item.path for item in differences(scenario, other)] == ["privacy.leakage"]


def test_the_order_of_its_rows_says_nothing(mine, tmp_path):
    scenario, turned = card.load_scenario(mine), leaking(half)
    turned["rates"].reverse()
    (tmp_path / "turned.json").write_text(json.dumps(turned), "utf-8")
    same = scenario.updated({"privacy.leakage": str(tmp_path / "turned.json")})
    assert scenario.digest == same.digest
    assert scenario.content == same.content


def test_a_book_of_a_study_carries_it(mine, tmp_path):
    scenario = card.load_scenario(mine)
    values, files = portable(scenario)
    name = values["privacy"]["leakage"]
    assert json.loads(files[name]) == leaking(half)
    (tmp_path / name).write_bytes(files[name])
    (tmp_path / "study.yml").write_text(label(values), "utf-8")
    assert card.load_scenario(tmp_path / "study.yml").digest == scenario.digest


def test_a_new_study_names_it_from_its_own_folder(mine):
    lines = new_study("next", str(mine), mine.parent).splitlines()
    assert any(line.startswith("#  leakage: table.json") for line in lines)


def test_a_sweep_over_limits(mine):
    over = {"privacy.leakage_max": [0.5, 0.4]}
    found = card.sweep(card.load_scenario(mine), over, ["card", "device_only"], rounds=5)
    energy = found.energy_j.mean(("state", "device")).sel(policy="card")
    assert energy.sel({"privacy.leakage_max": 0.4}) == 0 < energy.sel({"privacy.leakage_max": 0.5})


def test_a_sweep_over_tables_is_known_by_what_they_say(mine, tmp_path):
    tables = [leakage_file(tmp_path / f"{rate}.json", lambda *_, r=rate: r) for rate in (0.1, 0.9)]
    limited = card.load_scenario(mine).updated({"privacy.leakage_max": 0.5})
    found = card.sweep(limited, {"privacy.leakage": tables}, ["card"], rounds=5)
    energy = found.energy_j.mean(("policy", "state", "device")).values
    assert energy[1] == 0 < energy[0]


class TestRefusals:
    def said(self, mine, **content):
        """What is said of the study whose table has other content."""
        mine.with_name("table.json").write_text(json.dumps(leaking(half) | content), "utf-8")
        with pytest.raises(ScenarioError) as refused:
            card.load_scenario(mine)
        assert "\n" not in str(refused.value)
        return str(refused.value).removeprefix(str(mine.with_name("table.json")))

    def test_a_file_that_is_not_there(self, mine):
        path = mine.with_name("table.json")
        path.unlink()
        with pytest.raises(ScenarioError) as refused:
            card.load_scenario(mine)
        assert str(refused.value).startswith("privacy.leakage = '")
        assert str(refused.value).endswith(
            "/mine/table.json' does not exist; give a file that card leakage wrote, or one of "
            "leakage."
        )

    def test_a_name_that_is_not_shipped(self):
        with pytest.raises(ScenarioError, match=r"privacy.leakage = 'leak' is unknown; did you"):
            card.load_scenario("test-bed", **{"privacy.leakage": "leak"})

    @pytest.mark.parametrize(
        ("key", "remedy"),
        [
            ("privacy.leakage", "choose one of leakage, or give a .json file."),
            ("wire.loss_penalty", "choose one of loss-penalty, or give a .json file."),
            ("link.trace", "choose one of shaped-tcp, or give a .csv file."),
        ],
    )
    def test_a_file_with_another_ending_is_told_which_ending_it_needs(self, key, remedy):
        with pytest.raises(ScenarioError) as refused:
            card.load_scenario("test-bed", **{key: "./mine.txt"})
        assert str(refused.value).endswith(f" = './mine.txt' is unknown; {remedy}")

    def test_a_rate_beyond_one(self, mine):
        row = {**leaking(half)["rates"][0], "high": 1.5}
        said = self.said(mine, rates=[row])
        assert ": rates.0.high = 1.5 is not allowed; give a number from 0 to 1." in said

    def test_a_rate_outside_its_spread(self, mine):
        row = {**leaking(half)["rates"][0], "low": 0.6}
        assert (
            ": inversion at cut 0 and 32 bits: rate = 0.5 is not between low = 0.6 and high = 1; "
            "give the least, the mean and the most of what was measured."
        ) in self.said(mine, rates=[row])
        chance = {"rate": 0.5, "low": 0.6, "high": 1}
        assert ": chance: rate = 0.5 is not" in self.said(mine, chance=chance)

    def test_a_row_that_is_there_twice(self, mine):
        row = leaking(half)["rates"][0]
        said = self.said(mine, rates=[row, row])
        assert "rates has inversion at cut 0 and 32 bits twice; give each once." in said

    @pytest.mark.parametrize("day", ["2026-99-99", "2026-02-30", "20260101", "2026-W01-1", "soon"])
    def test_a_day_that_no_calendar_has(self, mine, day):
        said = self.said(mine, date=day)
        assert f": date = '{day}' is not allowed; give a day of the calendar as YYYY-MM-DD." in said

    @pytest.mark.parametrize("llm", ["a\nb", 10_000 * "a"])
    def test_a_name_that_would_fill_a_screen(self, mine, llm):
        said = self.said(mine, llm=llm)
        assert ": llm = '" in said
        assert " is not allowed; give a name of at most 200 letters" in said
        assert len(said) < 200

    def test_a_name_that_commands_a_terminal(self, mine):
        said = self.said(mine, llm="\x1b[2J")
        assert said.endswith(
            r" holds '\x1b[2J', which cannot be printed; measure it again with card leakage."
        )

    def test_another_version(self, mine):
        assert "format = 'card-leakage/9' is not allowed" in self.said(
            mine, format="card-leakage/9"
        )
