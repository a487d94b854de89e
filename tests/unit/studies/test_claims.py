"""`card.studies.claims`: the published numbers, what is reproduced, and the guard against drift."""

import importlib
import json
from dataclasses import fields

import pytest
import yaml

import card
from card.base.data_files import DATA
from card.base.errors import ScenarioError
from card.base.yaml_files import read_yaml
from card.studies.bootstrap import reductions
from card.studies.claims import Claim, applied, recorded_claims

MODULE = importlib.import_module("card.studies.claims")
RECORD = read_yaml(DATA / "claims.yml")


def with_record(monkeypatch, folder, change, rounds=200):
    """Claims against a changed record, on fewer draws."""
    record = json.loads(json.dumps(RECORD))
    record["simulation"]["rounds"] = rounds
    for entry in record["claims"].values():
        entry["tolerance"] = 0.05
        entry["agreement"] = 0.05
    change(record)
    (folder / "claims.yml").write_text(yaml.safe_dump(record, sort_keys=False), encoding="utf-8")
    monkeypatch.setattr(MODULE, "DATA", folder)
    return {claim.id: claim for claim in card.claims()}


@pytest.mark.slow
def test_claims_on_their_own_draws():
    """Average training delay down by 70.8 %, the server's energy by 53.1 %, once calibrated."""
    claims = {claim.id: claim for claim in card.claims()}
    assert list(claims) == ["C1", "C2"]
    assert (claims["C1"].published, claims["C2"].published) == (0.708, 0.531)
    assert (claims["C1"].quantity, claims["C1"].benchmark) == ("delay", "device_only")
    assert (claims["C2"].quantity, claims["C2"].benchmark) == ("energy", "server_only")
    assert "delay is reduced by 70.8 %" in claims["C1"].text
    assert "energy consumption is reduced by 53.1 %" in claims["C2"].text
    for name, claim in claims.items():
        assert (claim.status, claim.drift) == ("missed untuned, fitted when calibrated", "")
        assert claim.calibrated == pytest.approx(claim.published, abs=0.001)
        assert claim.low < claim.calibrated < claim.high
        # nothing fits the nominal scenario to the abstract, and it does not
        assert abs(claim.nominal - claim.published) > 0.05
        recorded = RECORD["claims"][name]["reproduced"]
        assert claim.nominal == pytest.approx(recorded["nominal"], abs=1e-4)
        assert claim.calibrated == pytest.approx(recorded["calibrated"], abs=1e-4)
        plain = claim.as_dict()
        assert list(plain) == [field.name for field in fields(Claim)]
        assert json.loads(json.dumps(plain)) == plain


def test_published_numbers_have_their_source_and_readings_are_assumed():
    for entry in RECORD["claims"].values():
        assert entry["source"]["kind"] == "published"
        assert "10.1109/LNET.2025.3530430" in entry["source"]["source"]
        assert entry["reading"]["kind"] == "assumed"


def test_calibrated_values_say_so():
    scenario = card.load_scenario("calibrated")
    for path in ("objective.delay_weight", "link.bandwidth_hz"):
        assert scenario.source_of(path).kind == "calibrated"


def test_claim_is_the_reduction_of_a_simulation(monkeypatch, tmp_path):
    found = with_record(monkeypatch, tmp_path, lambda record: None, rounds=30)
    seed = RECORD["simulation"]["seed"]
    for name in ("nominal", "calibrated"):
        results = card.simulate(
            card.load_scenario(name), ["card", "device_only", "server_only"], 30, seed
        )
        expected = reductions(results)["device_only"]["delay"]
        assert getattr(found["C1"], name) == expected["value"]
    assert (found["C1"].low, found["C1"].high) == (expected["low"], expected["high"])


def test_changed_record_is_drift(monkeypatch, tmp_path):
    def change(record):
        record["claims"]["C1"]["reproduced"]["nominal"] = 0.1
        record["claims"]["C1"]["reproduced"]["calibrated"] = 0.2

    found = with_record(monkeypatch, tmp_path, change)
    assert found["C1"].status == "drifted"
    first, second = found["C1"].drift.split("; ")
    assert first == f"nominal is {found['C1'].nominal:.5f}, recorded 0.10000 ± 0.05"
    assert second == f"calibrated is {found['C1'].calibrated:.5f}, recorded 0.20000 ± 0.05"
    assert (found["C2"].status, found["C2"].drift) == ("missed untuned, fitted when calibrated", "")


def test_claim_that_does_not_hold_is_told_apart_from_drift(monkeypatch, tmp_path):
    def change(record):
        record["claims"]["C2"]["published"] = 0.9

    found = with_record(monkeypatch, tmp_path, change)
    assert (found["C2"].status, found["C2"].drift) == ("does not hold", "")
    assert found["C1"].status == "missed untuned, fitted when calibrated"


def test_drift_outranks_a_claim_that_does_not_hold(monkeypatch, tmp_path):
    def change(record):
        record["claims"]["C2"]["published"] = 0.9
        record["claims"]["C2"]["reproduced"]["calibrated"] = 0.9

    assert with_record(monkeypatch, tmp_path, change)["C2"].status == "drifted"


class TestAppliedToAStudy:
    def test_a_claim_applies_where_its_benchmark_exists(self):
        nominal = card.load_scenario("nominal")
        found = {item.id: item for item in applied(nominal, rounds=20, seed=3)}
        expected = reductions(card.simulate(nominal, rounds=20, seed=3))
        assert found["C1"].value == expected["device_only"]["delay"]["value"]
        assert found["C2"].value == expected["server_only"]["energy"]["value"]
        assert found["C1"].low < found["C1"].value < found["C1"].high
        assert [item.reason for item in found.values()] == ["", ""]

    def test_no_device_only_where_the_llm_does_not_fit(self):
        delay, energy = applied(card.load_scenario("bigger-llm"), rounds=5)
        assert delay.reason == "device-3, device-4, device-5 cannot hold all blocks"
        assert (delay.value, delay.low, delay.high) == (None, None, None)
        assert energy.reason == ""

    def test_no_server_only_where_the_device_must_keep_a_block(self):
        kept = card.load_scenario("nominal", **{"training.cut_range": [1, None]})
        _, energy = applied(kept, rounds=5)
        assert energy.reason.endswith("cannot leave all blocks to the server")
        assert energy.value is None


def test_a_record_that_is_a_list_gets_advice_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "claims.yml").write_text("- C1\n", "utf-8")
    monkeypatch.setattr(MODULE, "DATA", tmp_path)
    with pytest.raises(ScenarioError) as refusal:
        recorded_claims()
    assert "holds ['C1']; write a mapping of keys to values, e.g. " in str(refusal.value)
    assert "base" not in str(refusal.value).replace(str(tmp_path), "")


def test_a_claim_that_the_untuned_scenario_meets_says_so(monkeypatch, tmp_path):
    def change(record):
        nominal = record["claims"]["C1"]["reproduced"]["nominal"]
        record["claims"]["C1"] |= {"published": nominal, "agreement": 1.0}

    assert with_record(monkeypatch, tmp_path, change)["C1"].status == "holds untuned"
