"""`card.figures.scale`: the rates drawn are the record's, and Amdahl's law has its limits."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card.figures import scale as pictures
from card.hardware import DATA

shares = st.floats(0, 1)
numbers = st.integers(2, 10_000)


@pytest.fixture(scope="module")
def record():
    return json.loads((DATA / "runs" / "speed.json").read_text("utf-8"))


class TestRecord:
    def test_every_deciding_benchmark_has_a_name_and_a_rate(self, record):
        measured = {name for name, found in record["benchmarks"].items() if found["decisions"]}
        sweep = {name for name in measured if "sweep" in name}  # its time is mostly drawing
        assert measured - sweep == set(pictures.METHODS)
        assert len(pictures.decision_rates(record)) == len(pictures.METHODS)

    def test_rates_are_decisions_over_median_time_in_descending_order(self):
        found = {
            "test_same_decisions[by_scipy]": {"decisions": 20, "median_s": 2.0},
            "test_million_decisions[solve-1]": {"decisions": 1000, "median_s": 0.5},
            "test_something_else": {"decisions": None, "median_s": 1.0},
        }
        rates = pictures.decision_rates({"benchmarks": found})
        assert list(rates.items()) == [
            ("CARD, NumPy, 1 thread", 2000.0),
            (pictures.BASELINE, 10.0),
        ]

    def test_the_sweep_made_a_hundred_million_decisions_in_two_gigabytes(self, record):
        assert record["sweep"]["decisions"] >= 10**8
        assert record["sweep"]["peak_mb"] < 2000


class TestSpeed:
    def test_bars_end_at_the_rates_and_say_them_with_the_ratio(self):
        rates = {"CARD, NumPy, 1 thread": 2000.0, pictures.BASELINE: 10.0, "slow": 5.0}
        axes = pictures.decision_speed(rates).axes[0]
        ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
        assert ends == pytest.approx(list(rates.values()))
        assert [text.get_text() for text in axes.texts] == [
            "2,000/s, 200 ×",
            "10/s, 1 ×",
            "5.0/s, 0.5 ×",
        ]
        assert [label.get_text() for label in axes.get_yticklabels()] == list(rates)
        assert axes.get_xscale() == "log"


class TestAmdahl:
    @given(shares, numbers)
    def test_the_share_gives_the_speed_up_that_it_was_read_from(self, share, workers):
        speed_up = pictures.amdahl(share, workers)
        # the speed-up loses the share's digits below its own rounding times the workers
        assert pictures.serial_share(speed_up, workers) == pytest.approx(share, abs=1e-11)

    @given(shares, numbers)
    def test_lies_between_one_worker_and_all_of_them(self, share, workers):
        assert 1 - 1e-12 <= pictures.amdahl(share, workers) <= workers * (1 + 1e-12)

    def test_work_that_divides_has_no_serial_share_and_work_that_does_not_is_all_serial(self):
        assert pictures.serial_share(2.0, 2) == pictures.serial_share(2.2, 2) == 0
        assert pictures.serial_share(1.0, 2) == pictures.serial_share(0.9, 2) == 1

    @pytest.mark.parametrize(("speed_up", "workers"), [(1.0, 1), (0.0, 2), (-1.0, 2)])
    def test_refuses_what_has_no_share(self, speed_up, workers):
        with pytest.raises(ValueError, match=r"2 workers or more"):
            pictures.serial_share(speed_up, workers)
