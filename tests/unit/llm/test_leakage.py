"""`card.llm.leakage`: what options leak, and those that are ruled out for it."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from leaking import ATTACKS, CUTS, TINY, leakage_file
from typer.testing import CliRunner

import card
from card.base.errors import ScenarioError
from card.cli import app

BED = card.load_scenario("test-bed")
BLOCKS = len(CUTS)


def study(table, **more):
    return BED.updated({"training.topology": "u-shaped", "privacy.leakage": table, **more})


@pytest.fixture
def falling(tmp_path):
    """The deeper the cut and the fewer the bits, the less is recovered."""
    return leakage_file(
        tmp_path / "t.json", lambda attack, cut, bits: 0.9 - 0.2 * cut - 1 / bits / 4
    )


def test_without_a_table_nothing_is_said_or_ruled_out():
    system = card.system(BED)
    assert system.leakage is None
    assert system.feasible.all()


def test_vanilla_leaks_everything_but_with_all_blocks_on_the_device(falling):
    vanilla = study(falling, **{"training.topology": "vanilla"})
    assert card.system(vanilla).leakage.tolist() == [1, 1, 1, 1, 0]


def test_the_best_attack_counts_of_those_that_are_feared(tmp_path):
    rates = dict(zip(ATTACKS, (0.2, 0.1, 0.7, 0.4), strict=True))
    table = leakage_file(tmp_path / "t.json", lambda attack, *_: rates[attack])
    assert card.system(study(table)).leakage.tolist() == [0.7] * BLOCKS + [0]
    feared = study(table, **{"privacy.attacks": [ATTACKS[1], ATTACKS[0]]})
    assert card.system(feared).leakage.tolist() == [0.2] * BLOCKS + [0]


def random_study(draw, folder, number):
    """A study with a table of its own, and the plain values that it was made of."""
    attacks = draw.sample(ATTACKS, draw.randint(1, len(ATTACKS)))
    rates = {}

    def rate(*row):
        return rates.setdefault(row, round(draw.random(), 2))

    table = leakage_file(folder / f"{number}.json", rate, attacks)
    widths = draw.sample([32, 16, 8, 4], draw.randint(1, 3))
    feared = draw.choice([None, draw.sample(attacks, draw.randint(1, len(attacks)))])
    first = draw.randint(0, BLOCKS)
    values = {
        "training.topology": draw.choice(["u-shaped", "u-shaped", "vanilla"]),
        "training.cut_range": [first, draw.randint(first, BLOCKS)],
        "wire.uplink_bits": widths,
        "wire.downlink_bits": draw.sample([32, 8], draw.randint(1, 2)),
    }
    privacy = {"leakage": table, "leakage_max": round(draw.random(), 2), "attacks": feared}
    return values, privacy, rates, feared or attacks


def test_masks_are_those_of_brute_force(tmp_path):
    draw = random.Random(0)
    refused = 0
    for number in range(200):
        values, privacy, rates, feared = random_study(draw, tmp_path, number)
        free = card.system(BED.updated(values))

        def leaks(cut, bits, values=values, rates=rates, feared=feared):
            if cut == BLOCKS:
                return 0.0
            if values["training.topology"] == "vanilla":
                return 1.0
            return max(rates[attack, cut, bits] for attack in feared)

        options = zip(free.profile.cut.tolist(), free.profile.uplink_bits.tolist(), strict=True)
        expected = np.array([leaks(*option) for option in options])
        mask = free.feasible & (expected <= privacy["leakage_max"])
        limited = BED.updated({**values, "privacy": privacy})
        if mask.any():
            system = card.system(limited)
            assert system.leakage.tolist() == expected.tolist()
            assert system.feasible.tolist() == mask.tolist()
            assert (system.leakage[system.feasible.any(axis=0)] <= privacy["leakage_max"]).all()
        else:
            refused += 1
            with pytest.raises(ScenarioError, match="where the least leakage is"):
                card.system(limited)
    assert 10 < refused < 190


def test_every_policy_keeps_within_the_limit(falling):
    limited = study(
        falling,
        **{"privacy.leakage_max": 0.6, "wire.uplink_bits": [32, 8], "simulation.rounds": 20},
    )
    system, results = card.system(limited), card.simulate(limited)
    leaks = {
        (cut, bits): leak
        for cut, bits, leak in zip(
            system.profile.cut.tolist(),
            system.profile.uplink_bits.tolist(),
            system.leakage.tolist(),
            strict=True,
        )
    }
    pairs = zip(results.cut.values.ravel(), results.uplink_bits.values.ravel(), strict=True)
    taken = {(int(cut), int(bits)) for cut, bits in pairs}
    assert max(leaks[option] for option in taken) <= 0.6 < max(leaks.values())
    assert len(taken) > 1


def test_the_optimum_under_a_limit_is_that_of_brute_force(falling):
    limited = study(falling, **{"privacy.leakage_max": 0.6})
    for rate in (1e6, 1e8):
        pruned = card.solve(limited, "device-1", rate, 2 * rate)
        searched = card.solve_exhaustive(limited, "device-1", rate, 2 * rate)
        assert (pruned.cut, pruned.frequency_hz) == (searched.cut, searched.frequency_hz)
        assert pruned.cut >= 2


class TestRefusals:
    def said(self, **values):
        with pytest.raises(ScenarioError) as refused:
            card.system(BED.updated({"training.topology": "u-shaped", **values}))
        assert "\n" not in str(refused.value)
        return str(refused.value)

    def test_an_llm_that_was_not_measured_is_not_guessed(self, falling, monkeypatch):
        monkeypatch.chdir(Path(falling).parent)
        given = {"privacy.leakage": "t.json", "llm": "tiny-llama-8m"}
        assert self.said(**given) == (
            f"privacy.leakage = 't.json' is a table of {TINY}; what tiny-llama-8m leaks is not "
            f"guessed from it: give a table of tiny-llama-8m, or set privacy.leakage to null."
        )

    def test_a_changed_llm_in_a_folder_of_that_name_is_not_it(self, falling):
        config = card.load_scenario("test-bed").llm_config
        folder = Path(falling).parent / TINY
        folder.mkdir()
        file = folder / "config.json"
        file.write_text(json.dumps({k: v for k, v in config.items() if k != "_card"}))
        same = {"privacy.leakage": falling, "llm": str(file)}
        assert study(falling, llm=str(file)).leakage.llm == TINY
        card.system(BED.updated({"training.topology": "u-shaped", **same}))
        file.write_text(json.dumps({**config, "intermediate_size": 640, "_card": None}))
        assert f"is a table of {TINY}; what {TINY}, changed (" in self.said(**same)

    def test_nothing_left_names_the_least_leakage_which_is_then_accepted(self, falling):
        given = {"privacy.leakage": falling, "training.cut_range": [0, 2]}
        said = self.said(**given, **{"privacy.leakage_max": 0.3})
        assert said == (
            "privacy.leakage_max = 0.3 is not allowed with training.cut_range up to 2, where the "
            "least leakage is 0.493; give that much, or let all blocks stay on the device, which "
            "sends nothing."
        )
        offered = study(falling, **given, **{"privacy.leakage_max": 0.493})
        assert np.flatnonzero(card.system(offered).feasible[0]).tolist() == [2]

    def test_a_row_that_is_missing_is_named(self, tmp_path):
        table = leakage_file(tmp_path / "t.json", lambda *_: 0.5, ["search"], [32, 8])
        assert self.said(**{"privacy.leakage": table, "wire.uplink_bits": [32, 4]}) == (
            f"the table of leakage for {TINY} has no rate of search at cut 0 and 4 bits up; add "
            f"it, or leave the attack, the cut or the bits out."
        )

    def test_an_attack_that_was_not_made_is_named(self, tmp_path):
        table = leakage_file(tmp_path / "t.json", lambda *_: 0.5, ["search"])
        said = self.said(**{"privacy.leakage": table, "privacy.attacks": ["inversion"]})
        assert "has no rate of inversion at cut 0 and 32 bits up" in said

    @pytest.mark.parametrize(("key", "value"), [("leakage_max", 0.5), ("attacks", ["search"])])
    def test_a_limit_without_a_table(self, key, value):
        assert self.said(**{f"privacy.{key}": value}) == (
            f"privacy.{key} = {value} needs a table of leakage for the scenario's LLM; name one "
            f"in privacy.leakage, or leave it out."
        )


def test_card_solve_says_why_cuts_are_ruled_out(falling):
    changes = {"training.topology": "u-shaped", "privacy.leakage": falling}
    given = [f"--set={key}={value}" for key, value in changes.items()]
    command = ["solve", "test-bed", "--device", "device-1", *given]
    result = CliRunner().invoke(app, [*command, "--set=privacy.leakage_max=0.6"])
    assert result.exit_code == 0
    said = " ".join((result.stdout + result.stderr).split())
    assert "leak more than privacy.leakage_max, 0.6" in said


def test_card_costs_prints_leakage_where_a_table_is_named(falling):
    changes = {"training.topology": "u-shaped", "privacy.leakage": falling}
    given = [f"--set={key}={value}" for key, value in changes.items()]
    told = json.loads(CliRunner().invoke(app, ["costs", "test-bed", *given, "--json"]).stdout)
    assert told["leakage"] == card.system(study(falling)).leakage.tolist()
    free = json.loads(CliRunner().invoke(app, ["costs", "test-bed", "--json"]).stdout)
    assert "leakage" not in free
    assert "leakage" in CliRunner().invoke(app, ["costs", "test-bed", *given]).stdout
