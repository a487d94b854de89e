"""`card.book.tables`: numbers are shown in the unit and with the digits that suit them."""

import pytest

import card
from card.book import tables
from card.book.markdown import scientific
from card.hardware import catalogue, load_profile
from card.hardware.catalogue import profile_names
from card.simulation import means
from card.studies.speed import BASELINE


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (99.94, "99.9 s"),
        (119.4, "119 s"),
        (120.0, "2.0 min"),
        (7200.0, "2.0 h"),
        (86400.0, "24.0 h"),
        (172800.0, "2.0 days"),
        (1e11, "3,169 years"),
    ],
)
def test_a_duration_has_the_largest_unit_that_it_fills_twice(seconds, text):
    assert tables.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (72710779.0, "72,700,000"),
        (1234.5, "1,230"),
        (10.0, "10"),
        (9.96, "10"),
        (0.03149, "0.031"),
        (3.0, "3.0"),
        (0.2, "0.20"),
    ],
)
def test_a_number_has_as_many_digits_as_it_deserves(value, text):
    assert tables.digits(value) == text


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.5810, 0.5808, 0.5813, "falls by 58.1 %"),
        (0.5810, 0.5803, 0.5817, "falls by 58 %"),
        (0.07255, 0.07235, 0.07274, "falls by 7 %"),
        (0.1177, 0.1151, 0.1216, "falls by 12 %"),
        (0.1177, 0.1141, 0.1216, "falls by 11.4 to 12.2 %"),
        (0.0252, 0.0227, 0.0277, "falls by 2.3 to 2.8 %"),
        (0.0153, 0.0141, 0.0165, "falls by 1.4 to 1.7 %"),
        (0.5750, 0.5744, 0.5756, "falls by 57.4 to 57.6 %"),
        (-0.2196, -0.2245, -0.2153, "rises by 22 %"),
        (-0.2196, -0.2268, -0.2123, "rises by 21 to 23 %"),
        (-0.0089, -0.0138, -0.0039, "rises by 0.4 to 1.4 %"),
        (0.0, -0.004, 0.004, "may rise by up to 0.4 % or fall by up to 0.4 %"),
        (0.00001, -0.0004, 0.0004, "changes by less than 0.1 %"),
        (-0.0001, -0.0008, 0.0003, "may rise by up to 0.1 % or fall by less than 0.1 %"),
        (0.1, -0.0003, 0.2, "may rise by less than 0.1 % or fall by up to 20.0 %"),
        (0.0004, 0.0002, 0.0007, "falls by 0.0 to 0.1 %"),
        (-0.0002, -0.0003, -0.0001, "rises by less than 0.1 %"),
        (0.0149, 0.005, 0.0249, "falls by 0.5 to 2.5 %"),
        (0.9996, 0.9993, 0.9999, "falls by 99.9 to 100.0 %"),
        (1.0, 1.0, 1.0, "falls by 100.0 %"),
        (0.002, -0.004, 0.008, "may rise by up to 0.4 % or fall by up to 0.8 %"),
        (0.01, -0.02, 0.04, "may rise by up to 2 % or fall by up to 4 %"),
        (0.5, 0.4996, 0.5004, "falls by 50.0 %"),
        (0.5, 0.4991, 0.5009, "falls by 50 %"),
        (0.0, 0.0, 0.0, "stays the same"),
        (0.0, -0.02, 0.0, "rises by 0.0 to 2.0 %"),
        (0.0, -0.0004, 0.0, "rises by less than 0.1 %"),
        (0.0, 0.0, 0.0004, "falls by less than 0.1 %"),
        (0.2518, None, None, "falls by 25.2 %"),
        (None, None, None, "has nothing to be compared with"),
    ],
)
def test_a_reduction_is_told_with_the_digits_that_its_interval_settles_or_its_ends(
    value, low, high, text
):
    assert tables.moves({"value": value, "low": low, "high": high}) == text


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.5810, 0.5803, 0.5816, "falls by 58.10 % (58.03 % to 58.16 %)"),
        (-0.4737, -0.4751, -0.4722, "rises by 47.37 % (47.22 % to 47.51 %)"),
        (0.001, -0.002, 0.003, "falls by 0.10 % (−0.20 % to 0.30 %)"),
        (0.0, 0.0, 0.0, "the same"),
        (None, None, None, "–"),
    ],
)
def test_a_change_is_told_in_words_with_its_interval(value, low, high, text):
    told = tables.changed({"value": value, "low": low, "high": high})
    assert told.replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (1341.8, 1338.0, 1345.0, "1,342"),
        (1341.8, 1330.0, 1353.0, "1,340"),
        (135.8, 131.2, 140.4, "136"),
        (10.97, 10.93, 11.01, "11.0"),
        (0.0, 0.0, 0.0, "0.0"),
        (float("nan"), float("nan"), float("nan"), "–"),
        (None, None, None, "–"),
    ],
)
def test_a_mean_ends_with_the_first_digit_that_its_interval_leaves_open(value, low, high, text):
    assert tables.settled_mean(value, low, high) == text
    assert tables.settled_mean(value, low, high, "J") == (text if text == "–" else f"{text} J")


def test_a_table_shows_no_negative_zero():
    assert tables.settled({"value": -0.0001, "low": -0.0004, "high": 0.0004}) == "0.0 %"
    assert tables.settled({"value": -0.0004, "low": -0.004, "high": 0.004}) == "−0.4 to 0.4 %"
    assert tables.settled({"value": -0.01, "low": -0.02, "high": -0.0004}) == "0.0 to −2.0 %"


def test_rates_stand_beside_those_of_scipy_and_the_worst_excess():
    rates, gaps = {"fast": 2e6, BASELINE: 500.0}, {"fast": None, BASELINE: 3.2e-12}
    fast, slow = tables.rates_table(rates, gaps).splitlines()[2:]
    assert fast == "| fast | 2,000,000 | 0.50 | 4,000 | – |"
    assert slow == f"| {BASELINE} | 500 | 2,000 | 1.0 | {scientific(3.2e-12)} |"


class TestOperation:
    def test_has_a_column_per_run_with_its_means(self):
        run = card.simulate(card.load_scenario("nominal"), rounds=5, seed=0)
        mean = means(run)["card"]
        head, _, delay, *_ = tables.operation_table({"one": run, "two": run}, 16).splitlines()
        assert head == "| CARD | one | two |"
        assert delay == f"| delay per round | {mean['delay_s']:.1f} s | {mean['delay_s']:.1f} s |"

    def test_a_server_that_never_works_has_no_clock(self):
        alone = card.load_scenario("nominal", **{"training.cut_range": [16, 16]})
        text = tables.operation_table({"alone": card.simulate(alone, rounds=2, seed=0)}, 16)
        assert "| device-rounds with all blocks on the device | 100.0 % |" in text
        assert "| mean server clock while it works | – |" in text


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_a_scenario_s_symbols_have_values_units_and_origins_and_zeros_are_left_out():
    rows = {row[0]: row[1:] for row in cells(tables.scenario_table(card.load_scenario("nominal")))}
    assert rows["server"] == ["", "NVIDIA GeForce RTX 4060 Ti 8 GB", "assumed"]
    assert rows["size of one activation"] == ["$a$", "16 bit", "assumed"]
    assert rows["distance (devices)"] == ["$x$", "200, 60, 140, 100, 180 m", "assumed"]
    assert rows["share of the memory that training may use (devices)"][1] == "0.75"
    assert not any("P_0" in row[0] or "N_F" in row[0] for row in rows.values())
    real = [row[1] for row in cells(tables.scenario_table(card.load_scenario("realistic")))]
    assert {"$P_0$", "$P_w$", "$P_{w,D}$", "$N_F$", r"$\Gamma$", r"$t_\mathrm{rt}$"} <= set(real)


def test_states_that_a_study_adds_share_a_row():
    rows = cells(tables.scenario_table(card.load_scenario("congested-campus")))
    assert [row[2] for row in rows if row[1] == r"$\gamma$"] == ["2.8, 3.1, 3.4"]


def test_a_peak_is_shown_for_each_format_that_a_processor_has():
    orin, xavier = (catalogue()[n] for n in ("jetson-orin-nano-8gb", "jetson-xavier-nx-16gb"))
    head, _, *rows = cells(tables.peaks_table([orin, xavier]))
    assert head[3:] == ["FP32", "TF32", "bfloat16", "FP16", "INT8"]
    assert rows[0][3:] == ["1.28", "5.12", "10.24", "10.24", "20.48"]
    assert rows[1][3:] == ["0.84", "–", "–", "6.76", "13.52"]


def test_measured_machines_stand_side_by_side():
    both = {name: load_profile("profile", name) for name in profile_names()}
    rows = {row[0]: row[1:] for row in cells(tables.machines_table(both))}
    assert rows["Measured"] == list(both)
    assert rows["Number format"] == ["float32", "bfloat16"]
    assert rows["Mini-batch"][1] == "1 x 512 tokens"


def test_a_device_energy_that_is_not_known_is_a_dash_among_what_rounds_cost(one_unknown):
    text = tables.operation_table({"mine": one_unknown}, 16)
    assert "| device energy per round | – |" in text
    assert "nan" not in text
