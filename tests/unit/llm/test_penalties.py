"""`card.llm.penalties`: what options cost in loss, and those that are ruled out for it."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from losing import CUTS, TINY, losing, penalty_file
from typer.testing import CliRunner

import card
from card.base.errors import ScenarioError
from card.base.yaml_files import label
from card.book.build import portable
from card.cli import app
from card.scenario.penalties import PenaltyTable
from card.studies.scenario_values import differences

WIDTHS = [16, 8, 4]
BED = card.load_scenario("test-bed", **{"wire.uplink_bits": WIDTHS, "wire.downlink_bits": WIDTHS})


def study(table, **more):
    return BED.updated({"wire.loss_penalty": table, **more})


def by_bits(cut, up, down):
    return round(1 / up + 1 / down - 1 / 8, 6)


@pytest.fixture
def table(tmp_path):
    """The fewer the bits, the more is lost, whatever the cut."""
    return penalty_file(tmp_path / "t.json", by_bits)


def test_without_a_table_nothing_is_said_or_ruled_out():
    system = card.system(BED)
    assert system.loss_penalty is None
    assert system.feasible.all()


def test_every_option_has_the_penalty_of_its_row_and_the_whole_device_none(table):
    system = card.system(study(table))
    profile = system.profile
    rows = zip(profile.cut, profile.uplink_bits, profile.downlink_bits, strict=True)
    expected = [0.0 if cut == 4 else by_bits(cut, up, down) for cut, up, down in rows]
    assert system.loss_penalty.tolist() == expected
    assert system.feasible.all(), "there is no limit"


@pytest.mark.parametrize(
    ("row", "counted"),
    [((0.02, 0.01, 0.03), 0.02), ((0.02, -0.01, 0.05), 0.0), ((-0.02, -0.03, -0.01), -0.02)],
)
def test_where_the_interval_holds_zero_neither_gain_nor_loss_counts(row, counted, tmp_path):
    name = penalty_file(tmp_path / "t.json", lambda *_: row)
    assert set(card.system(study(name)).loss_penalty[:4]) == {counted}


def test_what_a_limit_rules_out_is_what_the_table_says(tmp_path):
    """Against random tables, by enumeration; and CARD never takes what is ruled out."""
    for number in range(20):
        draw = random.Random(number)
        values = {}
        name = penalty_file(
            tmp_path / f"{number}.json",
            lambda *row, draw=draw, values=values: values.setdefault(row, round(draw.random(), 2)),
        )
        limit = round(draw.random(), 2)
        limited = study(name, **{"wire.loss_limit": limit})
        system, free = card.system(limited), card.system(BED)
        profile = free.profile
        rows = zip(profile.cut, profile.uplink_bits, profile.downlink_bits, strict=True)
        expected = [cut == 4 or values[cut, up, down] <= limit for cut, up, down in rows]
        assert (system.feasible == free.feasible & np.array(expected)).all()
        for device in range(system.num_devices):
            decision = card.solve(system, device, 20e6, 60e6)
            if decision.cut < 4:
                bits = int(decision.uplink_bits), int(decision.downlink_bits)
                assert values[(int(decision.cut), *bits)] <= limit


def test_cuts_outside_the_range_need_no_rows(tmp_path):
    name = penalty_file(tmp_path / "t.json", by_bits, cuts=[1, 2])
    inside = card.system(study(name, **{"training.cut_range": [1, 2], "wire.loss_limit": 0.1}))
    assert set(inside.profile.uplink_bits[inside.feasible[0]]) == {16, 8}
    with pytest.raises(ScenarioError) as refused:
        card.system(study(name))
    assert str(refused.value) == (
        f"the table of loss penalties for {TINY} has none at cut 0 with 16 bits up and 16 down; "
        f"add it, or leave the cut or the bits out."
    )


class TestFiles:
    @pytest.fixture
    def mine(self, tmp_path):
        folder = tmp_path / "mine"
        folder.mkdir()
        penalty_file(folder / "table.json", by_bits)
        wire = {"uplink_bits": WIDTHS, "downlink_bits": WIDTHS, "loss_penalty": "table.json"}
        (folder / "mine.yml").write_text(label({"base": "test-bed", "wire": wire}), "utf-8")
        return folder / "mine.yml"

    @pytest.mark.parametrize("name", PenaltyTable.names())
    def test_what_is_shipped_was_measured_and_says_on_what(self, name):
        shipped = PenaltyTable.read("wire.loss_penalty", name)
        assert shipped.origin.kind == "measured"
        assert shipped.date in shipped.origin.source
        assert shipped.machine
        assert shipped.software["torch"]
        assert shipped.settings["seeds"] >= 5
        cuts = {one.cut for one in shipped.penalties}
        assert len(cuts) >= 2
        assert len(shipped.penalties) == 9 * len(cuts)

    def test_a_study_names_one_beside_it_and_keeps_what_it_said(self, mine):
        scenario = card.load_scenario(mine)
        mine.with_name("table.json").unlink()
        limited = scenario.updated({"wire.loss_limit": 0.0})
        system = card.system(limited)
        assert set(system.profile.uplink_bits[system.feasible[0] & (system.profile.cut < 4)]) == {
            16
        }

    def test_a_scenario_is_known_by_what_it_says_in_any_order(self, mine, tmp_path):
        scenario = card.load_scenario(mine)
        content = losing(by_bits)
        content["penalties"].reverse()
        (tmp_path / "same.json").write_text(json.dumps(content | {"date": "2026-01-01"}), "utf-8")
        same = scenario.updated({"wire.loss_penalty": str(tmp_path / "same.json")})
        changed = penalty_file(tmp_path / "other.json", lambda *_: 0.5)
        other = scenario.updated({"wire.loss_penalty": changed})
        assert scenario.digest == same.digest != other.digest
        assert differences(scenario, same) == []
        assert [item.path for item in differences(scenario, other)] == ["wire.loss_penalty"]

    def test_a_book_of_a_study_carries_it(self, mine, tmp_path):
        scenario = card.load_scenario(mine)
        values, files = portable(scenario)
        name = values["wire"]["loss_penalty"]
        (tmp_path / name).write_bytes(files[name])
        (tmp_path / "study.yml").write_text(label(values), "utf-8")
        assert card.load_scenario(tmp_path / "study.yml").digest == scenario.digest

    def test_a_sweep_over_tables_is_known_by_what_they_say(self, mine, tmp_path):
        tables = [penalty_file(tmp_path / f"{p}.json", lambda *_, p=p: p) for p in (0.1, 0.9)]
        limited = card.load_scenario(mine).updated({"wire.loss_limit": 0.5})
        found = card.sweep(limited, {"wire.loss_penalty": tables}, ["card"], rounds=5)
        cut = found.cut.mean(("policy", "state", "device")) if "cut" in found else None
        energy = found.energy_j.mean(("policy", "state", "device")).values
        assert energy[1] == 0 < energy[0], cut


class TestRefusals:
    def said(self, **changes):
        with pytest.raises(ScenarioError) as refused:
            card.system(BED.updated(changes))
        assert "\n" not in str(refused.value)
        return str(refused.value)

    def test_an_llm_that_was_not_measured_is_not_guessed(self, table, monkeypatch):
        monkeypatch.chdir(Path(table).parent)
        assert self.said(**{"wire.loss_penalty": "t.json", "llm": "tiny-llama-8m"}) == (
            f"wire.loss_penalty = 't.json' is a table of {TINY}; what bits do to tiny-llama-8m is "
            f"not guessed from it: give a table of tiny-llama-8m, or set wire.loss_penalty to null."
        )

    def test_another_topology(self, table):
        said = self.said(**{"wire.loss_penalty": table, "training.topology": "u-shaped"})
        assert "was measured with training.topology = 'vanilla', not 'u-shaped'; give" in said

    def test_a_limit_without_a_table(self):
        assert self.said(**{"wire.loss_limit": 0.1}) == (
            "wire.loss_limit = 0.1 needs a table of loss penalties for the scenario's LLM; name "
            "one in wire.loss_penalty, or leave it out."
        )

    def test_nothing_left_names_the_least_penalty_which_is_then_accepted(self, table):
        few = {"wire.uplink_bits": [4], "training.cut_range": [0, 3], "wire.loss_penalty": table}
        assert self.said(**few, **{"wire.loss_limit": 0.1}) == (
            "wire.loss_limit = 0.1 is not allowed with these bits and cuts, where the least "
            "penalty is 0.188 nat; give that much, or list 16 bits."
        )
        assert card.system(BED.updated({**few, "wire.loss_limit": 0.188})).feasible.any()

    def test_a_name_that_is_not_shipped(self):
        with pytest.raises(ScenarioError, match=r"wire.loss_penalty = 'loss' is unknown"):
            card.load_scenario("test-bed", **{"wire.loss_penalty": "loss"})

    def test_a_file_that_is_not_there_or_says_a_row_twice_or_a_mean_outside(self, tmp_path):
        path = tmp_path / "t.json"
        assert "t.json' does not exist; give a file that card bits wrote" in self.said(
            **{"wire.loss_penalty": str(path)}
        )
        content = losing(by_bits)
        path.write_text(json.dumps(content | {"penalties": content["penalties"][:1] * 2}), "utf-8")
        said = self.said(**{"wire.loss_penalty": str(path)})
        assert "penalties has cut 0 with 16 bits up and 16 down twice" in said
        penalty_file(path, lambda *_: (0.5, 0.6, 0.7))
        said = self.said(**{"wire.loss_penalty": str(path)})
        assert "mean = 0.5 is not between low = 0.6 and high = 0.7" in said

    @pytest.mark.parametrize(
        ("changes", "remedy"),
        [
            (
                {"penalties": [{**losing(by_bits)["penalties"][0], "uplink_bits": 16.0}]},
                "penalties.0.uplink_bits = 16.0 is not allowed; give one of 32, 16, 8, 4.",
            ),
            ({"date": "2026-99-99"}, "give a day of the calendar as YYYY-MM-DD."),
            ({"llm": 10_000 * "a"}, "give a name of at most 200 letters that can be printed on"),
        ],
    )
    def test_what_no_table_of_any_kind_may_say(self, changes, remedy, tmp_path):
        (tmp_path / "t.json").write_text(json.dumps(losing(by_bits) | changes), "utf-8")
        assert remedy in self.said(**{"wire.loss_penalty": str(tmp_path / "t.json")})


def test_commands_say_penalties_and_why_cuts_are_ruled_out(tmp_path):
    name = penalty_file(tmp_path / "t.json", lambda cut, *_: cut / 10)
    given = [f"--set=wire.loss_penalty={name}", "--set=wire.uplink_bits=[16,8]"]
    given += ["--set=wire.downlink_bits=[16]"]
    told = json.loads(CliRunner().invoke(app, ["costs", "test-bed", *given, "--json"]).stdout)
    assert told["loss_penalty"] == [0, 0.1, 0.2, 0.3, 0] * 2
    free = json.loads(CliRunner().invoke(app, ["costs", "test-bed", "--json"]).stdout)
    assert "loss_penalty" not in free
    limited = [*given, "--set=wire.loss_limit=0.15"]
    result = CliRunner().invoke(app, ["solve", "test-bed", "--device", "device-1", *limited])
    assert result.exit_code == 0
    said = " ".join((result.stdout + result.stderr).split())
    assert "cuts 2 to 3 are not taken: they cost more loss than wire.loss_limit, 0.15 nat" in said


def test_the_cuts_of_the_helper_are_the_llm_s():
    assert card.system(BED).num_blocks == len(CUTS)
