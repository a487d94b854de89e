"""`card.studies.speed`: rates are the record's, Amdahl's law has its limits, plans add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import card
from card.base.errors import ScenarioError
from card.simulation import means
from card.studies import speed as plan

shares = st.floats(0, 1)
numbers = st.integers(2, 10_000)


@pytest.fixture(scope="module")
def record():
    return plan.recorded("speed")


class TestRecord:
    def test_every_deciding_benchmark_has_a_name_and_a_rate(self, record):
        rates = plan.decision_rates(record)
        assert {plan.BASELINE, plan.FLOOR, plan.BULK, plan.SINGLE} < set(rates)
        assert [name for name in rates if name.startswith("test_")] == []

    def test_rates_are_decisions_over_median_time_in_descending_order(self):
        found = {
            plan.BASELINE: {"decisions": 20, "median_s": 2.0},
            "CARD, NumPy, 1 thread": {"decisions": 1000, "median_s": 0.5},
            "test_something_else": {"decisions": None, "median_s": 1.0},
        }
        rates = plan.decision_rates({"benchmarks": found})
        assert list(rates.items()) == [
            ("CARD, NumPy, 1 thread", 2000.0),
            (plan.BASELINE, 10.0),
        ]

    def test_no_decision_is_better_than_those_of_card_by_more_than_rounding(self, record):
        gaps = [gap for gap in plan.worst_gaps(record).values() if gap is not None]
        assert gaps
        assert min(gaps) > -1e-9, "a worst gap below zero would be an objective below the optimum"

    def test_that_does_not_exist_is_refused_with_what_there_is(self):
        with pytest.raises(ScenarioError, match=r"recorded as 'sped'.*speed.*repository"):
            plan.recorded("sped")

    def test_the_sweep_made_a_hundred_million_decisions_in_two_gigabytes(self, record):
        assert record["sweep"]["decisions"] >= 10**8
        assert record["sweep"]["peak_mb"] < 2000


class TestAmdahl:
    @given(shares, numbers)
    def test_the_share_gives_the_speed_up_that_it_was_read_from(self, share, workers):
        speed_up = plan.amdahl(share, workers)
        # the speed-up loses the share's digits below its own rounding times the workers
        assert plan.serial_share(speed_up, workers) == pytest.approx(share, abs=1e-11)

    @given(shares, numbers)
    def test_lies_between_one_worker_and_all_of_them(self, share, workers):
        assert 1 - 1e-12 <= plan.amdahl(share, workers) <= workers * (1 + 1e-12)

    def test_work_that_divides_has_no_serial_share_and_work_that_does_not_is_all_serial(self):
        assert plan.serial_share(2.0, 2) == plan.serial_share(2.2, 2) == 0
        assert plan.serial_share(1.0, 2) == plan.serial_share(0.9, 2) == 1

    @pytest.mark.parametrize(("speed_up", "workers"), [(1.0, 1), (0.0, 2), (-1.0, 2)])
    def test_refuses_what_has_no_share(self, speed_up, workers):
        with pytest.raises(ValueError, match=r"2 workers or more"):
            plan.serial_share(speed_up, workers)


class TestPlans:
    def test_take_the_measured_time_for_what_was_measured(self, record):
        swept, dask = record["sweep"], record["dask"]
        assert plan.plan_times(record, swept["decisions"], 1)[
            "`card.sweep`, this machine"
        ] == pytest.approx(swept["wall_s"])
        one, two = (plan.plan_times(record, dask["decisions"], n) for n in (1, 2))
        assert one["stream of decisions, one Dask worker"] == pytest.approx(dask["wall_s"][0])
        # Amdahl's law goes through the point that its share was read from
        assert two["2 Dask workers, Amdahl's law"] == pytest.approx(dask["wall_s"][1])

    def test_grow_with_the_decisions_and_shrink_with_ideal_workers(self, record):
        few, many = (plan.plan_times(record, n, 10) for n in (10**6, 10**9))
        assert list(many.values()) == pytest.approx([1000 * t for t in few.values()])
        ideal = many["10 Dask workers, ideal"]
        assert 10 * ideal == pytest.approx(many["stream of decisions, one Dask worker"])
        assert ideal <= many["10 Dask workers, Amdahl's law"]


class TestSharedBand:
    def test_all_of_it_is_the_scenario_itself_and_a_part_is_slower(self):
        study = card.load_scenario("nominal")
        found = plan.shared_band(study, (1, 10), rounds=10, seed=3)
        own = means(card.simulate(study, ["card"], rounds=10, seed=3))["card"]
        assert found[1] == own
        assert found[10]["delay_s"] > own["delay_s"]

    def test_fading_in_blocks_is_replaced_by_its_ergodic_rate(self):
        blocks = {"link.fading": "block", "link.fading_draws": 8}
        faded, calm = (card.load_scenario("nominal", **s) for s in (blocks, {}))
        assert plan.shared_band(faded, (1,), 5, 0) == plan.shared_band(calm, (1,), 5, 0)
