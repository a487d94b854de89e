"""The same quantity in several chapters: one value, or values that chance alone tells apart."""

import json

import pandas as pd
import pytest
from built import BOOK, missing_book

from card.book.markdown import settled

RESULTS = BOOK.parent / "results"
QUANTITIES = {
    "delay_reduction": ("device_only", "delay"),
    "energy_reduction": ("server_only", "energy"),
}

pytestmark = missing_book


def result(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def told():
    """Every chapter's value of the two reductions and two means of `nominal`, by quantity."""
    third, sixth = result("utilisation_means")["datasheet peaks"], result("claims")
    values = {name: {} for name in (*QUANTITIES, "delay_s", "energy_j")}
    for (name, (benchmark, part)), claim in zip(QUANTITIES.items(), sixth, strict=True):
        assert (claim["benchmark"], claim["quantity"]) == (benchmark, part)
        values[name] = {
            "chapter 3": third[f"{part}_saved"],
            "chapter 5": result("reductions")[benchmark][part]["value"],
            "chapter 6, claims": claim["nominal"],
            "chapter 6, benchmarks": result("claims_other_benchmarks")["nominal"][benchmark][part][
                "value"
            ],
        }
    ninth, tenth = result("extensions")["CARD"], result("privacy_settings")[0]
    assert tenth["name"] == "labels sent"
    for name, (benchmark, part) in QUANTITIES.items():
        values[name]["chapter 9"] = ninth[part]["value"]
        values[name]["chapter 10"] = tenth["reductions"][benchmark][part]["value"]
    for name in ("delay_s", "energy_j"):
        values[name] = {
            "chapter 3": third[name],
            "chapter 5": result("comparison")["card"][name],
            "chapter 5, rivals": result("rivals")["this scenario"]["card"][name],
            "chapter 9, budgets": result("beyond")["card"][name],
            "chapter 9, extensions": ninth[name][0],
            "chapter 10": tenth[name][0],
        }
    if (RESULTS / "gradients.csv").exists():  # needs torch
        slopes = pd.read_csv(RESULTS / "gradients.csv").groupby("quantity")["value"].first()
        for name, value in slopes.items():
            values[name]["chapter 6, slopes"] = value
    return values


def interval(name):
    """Chapter 5's 95 % interval of a quantity."""
    if name in QUANTITIES:
        benchmark, part = QUANTITIES[name]
        found = result("reductions")[benchmark][part]
        return found["low"], found["high"]
    table = pd.read_csv(RESULTS / "comparison.csv")
    ends = table[table.policy == "card"].groupby("statistic")[name].mean()
    return ends["low"], ends["high"]


@pytest.mark.parametrize("name", [*QUANTITIES, "delay_s", "energy_j"])
def test_chapters_tell_the_same_quantity_within_its_interval(name):
    values, (low, high) = told()[name], interval(name)
    assert len(values) > 1
    outside = {place: value for place, value in values.items() if not low <= value <= high}
    assert outside == {}


@pytest.mark.parametrize("name", QUANTITIES)
def test_the_printed_digits_of_a_claim_are_the_same_everywhere(name):
    assert len({f"{100 * value:.1f}" for value in told()[name].values()}) == 1


def claimed(scenario):
    """Every place's reduction of a scenario, by claim: value, ends, or a value alone."""
    claims, other = result("claims"), result("claims_other_benchmarks")
    ends = {c["id"]: c["intervals"][scenario] for c in claims}
    told = {
        c["id"]: [{"value": c[scenario], "low": ends[c["id"]][0], "high": ends[c["id"]][1]}]
        for c in claims
    }
    for claim in claims if scenario in other else ():
        told[claim["id"]].append(other[scenario][claim["benchmark"]][claim["quantity"]])
    if scenario == "realistic":
        joules = {name: one["energy_j"] for name, one in result("halves")[scenario].items()}
        saved = 1 - joules["card"] / joules["server_only"]
        told["C2"].append({"value": saved, "low": saved - 0.005, "high": saved + 0.005})
    return told


@pytest.mark.parametrize("scenario", ["nominal", "calibrated", "realistic"])
def test_a_claim_is_printed_alike_wherever_its_digits_are_settled(scenario):
    """Two places print one number, one of them fewer digits of the other's, or ends that meet."""
    for name, places in claimed(scenario).items():
        fixed = [one for one in places if " to " not in settled(one)]
        digits = min((settled(one).count(".") for one in fixed), default=0)
        assert len({f"{100 * one['value']:.{digits}f}" for one in fixed}) <= 1, name
        assert max(one["low"] for one in places) <= min(one["high"] for one in places), name


def test_chapters_5_and_6_have_every_benchmark_from_the_same_rounds():
    sixth = result("claims_other_benchmarks")["nominal"]
    assert sixth == result("reductions")
