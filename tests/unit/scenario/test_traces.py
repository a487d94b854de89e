"""Traces: rates from a file in place of the channel's, for every device and round."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import card
from card.base.errors import ScenarioError
from card.base.yaml_files import label
from card.book.build import contents_of, portable
from card.channel.rates import state_rates
from card.cli import app
from card.scenario.traces import COLUMNS, read_trace, trace_names
from card.studies.scenario_values import differences
from card.studies.study_file import new_study
from card.studies.sweep_grid import Grid

SMALL = {"llm": "tiny-llama-8m", "training": {"sequence_length": 64}}
DEVICES = [f"device-{number}" for number in range(1, 6)]
ROWS = [
    (device, number, (place + 1) * 1e6 * (number + 1), (place + 1) * 3e6)
    for number in range(3)
    for place, device in enumerate(DEVICES)
]


def text(rows=ROWS, head=COLUMNS):
    return "".join(",".join(map(str, row)) + "\n" for row in (head, *rows))


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "rates.csv").write_text(text(), "utf-8")
    base = {"base": "nominal", **SMALL, "link": {"trace": "rates.csv"}}
    (folder / "mine.yml").write_text(label(base), "utf-8")
    return folder / "mine.yml"


def rewrite(study, content, name="rates.csv"):
    study.with_name(name).write_text(content, "utf-8")


def refusal(study, content):
    rewrite(study, content)
    with pytest.raises(ScenarioError) as refused:
        card.load_scenario(study)
    said = str(refused.value)
    assert "\n" not in said
    return said.removeprefix(str(study.with_name("rates.csv")))


class TestRates:
    def test_they_are_those_of_the_file_and_repeat(self, study):
        results = card.simulate(card.load_scenario(study), ["card"], rounds=7)
        assert results.state.values.tolist() == ["trace"]
        up = results.uplink_bps.sel(state="trace")
        assert up.sel(device="device-2").values.tolist() == [2e6, 4e6, 6e6, 2e6, 4e6, 6e6, 2e6]
        assert results.downlink_bps.sel(device="device-5").values.tolist() == [[15e6] * 7]

    def test_the_order_of_rows_and_columns_and_the_first_number_do_not_count(self, study):
        before = card.load_scenario(study)
        moved = [(down, device, up, number + 1) for device, number, up, down in reversed(ROWS)]
        rewrite(study, "\ufeff" + text(moved, ("downlink_bps", "device", " uplink_bps", "round")))
        assert card.load_scenario(study).digest == before.digest

    def test_random_policies_draw_the_same_whatever_the_link(self, study):
        traced = card.simulate(card.load_scenario(study), ["random_cut"], rounds=4)
        other = study.with_name("other.csv")
        other.write_text(text([(d, r, up * 2, down) for d, r, up, down in ROWS]), "utf-8")
        moved = card.load_scenario(study, **{"link.trace": str(other)})
        assert np.array_equal(traced.cut, card.simulate(moved, ["random_cut"], rounds=4).cut)

    def test_a_trace_s_average_keeps_the_time_per_bit(self, study):
        up, down = state_rates(card.load_scenario(study))
        assert up[0] == pytest.approx([n * 1e6 * 3 / (1 + 1 / 2 + 1 / 3) for n in range(1, 6)])
        assert down[0] == pytest.approx([n * 3e6 for n in range(1, 6)])

    def test_several_traces_are_the_states_and_each_repeats_by_itself(self, study):
        rewrite(study, text([(d, 0, 5e6, 5e6) for d in DEVICES]), "flat.csv")
        files = [str(study.with_name(name)) for name in ("rates.csv", "flat.csv")]
        scenario = card.load_scenario(study, **{"link.trace": files})
        results = card.simulate(scenario, ["card"], rounds=4)
        assert results.state.values.tolist() == ["rates", "flat"]
        assert (results.uplink_bps.sel(state="flat") == 5e6).all()
        with pytest.raises(ScenarioError, match=r"link.trace: the file name 'rates' is used twice"):
            card.load_scenario(study, **{"link.trace": [files[0], files[0]]})

    def test_a_fleet_s_devices_have_its_rows_unless_they_have_their_own(self, study):
        rows = [("device", 0, 1e6, 1e6), ("device-3", 0, 7e6, 7e6)]
        rewrite(study, text(rows))
        up, _ = state_rates(card.load_scenario(study))
        assert up[0] == pytest.approx([1e6, 1e6, 7e6, 1e6, 1e6])

    def test_torch_gives_the_same(self, study):
        pytest.importorskip("torch")
        scenario = card.load_scenario(study)
        ours, theirs = (
            card.simulate(scenario, ["card"], 4, library=one) for one in ("numpy", "torch")
        )
        assert np.array_equal(ours.cut, theirs.cut)
        np.testing.assert_allclose(ours.delay_s, theirs.delay_s, rtol=1e-12)


class TestFiles:
    def test_it_is_known_by_its_content(self, study, tmp_path):
        scenario = card.load_scenario(study)
        moved = tmp_path / "elsewhere.csv"
        moved.write_text(text(), "utf-8")
        other = card.load_scenario(study, **{"link.trace": str(moved)})
        assert other.digest == scenario.digest
        before = scenario.digest
        rewrite(study, text([(d, r, up + 1, down) for d, r, up, down in ROWS]))
        assert scenario.updated({"lora.rank": 4}).updated({"lora.rank": 8}).digest == before
        assert card.load_scenario(study).digest != before
        assert [item.path for item in differences(scenario, card.load_scenario(study))] == [
            "link.trace"
        ]

    def test_a_book_and_a_new_study_take_it_along(self, study):
        scenario = card.load_scenario(study)
        values, files = portable(scenario)
        assert values["link"]["trace"] == ["rates.csv"]
        assert files == {"rates.csv": text().encode()}
        assert "trace: [rates.csv]" in new_study("next", str(study), study.parent)
        before = contents_of(values, files)
        assert contents_of(*portable(scenario)) == before
        rewrite(study, text([(d, r, up + 1, down) for d, r, up, down in ROWS]))
        assert contents_of(*portable(card.load_scenario(study))) != before

    def test_a_sweep_tries_traces_and_resumes_by_content(self, study):
        pytest.importorskip("netCDF4")
        rewrite(study, text([(d, 0, 5e6, 5e6) for d in DEVICES]), "flat.csv")
        scenario = card.load_scenario(study)
        files = [str(study.with_name(name)) for name in ("rates.csv", "flat.csv")]
        over, kept = {"link.trace": files}, study.with_name("kept.nc")
        swept = card.sweep(scenario, over, ["card"], 3, output=kept)
        assert swept["link.trace"].values.tolist() == ["rates.csv", "flat.csv"]
        flat = card.simulate(card.load_scenario(study, **{"link.trace": files[1]}), ["card"], 3)
        found = swept.delay_s.sel({"link.trace": "flat.csv"}).values
        assert np.array_equal(found, flat.delay_s.mean("round").values)
        rewrite(study, text([(d, 0, 6e6, 5e6) for d in DEVICES]), "flat.csv")
        with pytest.raises(ScenarioError, match=r"kept\.nc"):
            card.sweep(scenario, over, ["card"], 3, output=kept)

    @pytest.mark.parametrize("path", ["link.trace", "link.trace.0", "link.trace.00", "link"])
    def test_a_sweep_knows_it_by_content_wherever_the_axis_names_it(self, study, path):
        named = str(study.with_name("rates.csv"))
        values = {"link.trace": [[named]], "link": [{"trace": [named]}]}.get(path, [named])
        scenario = card.load_scenario(study)
        before = Grid.checked(scenario, {path: values}, ["card"]).content
        assert Grid.checked(scenario, {path: values}, ["card"]).content == before
        rewrite(study, text([(d, r, up + 1, down) for d, r, up, down in ROWS]))
        assert Grid.checked(scenario, {path: values}, ["card"]).content != before

    def test_a_shipped_one_is_measured_for_the_devices_of_shipped_scenarios(self):
        for name in trace_names():
            scenario = card.load_scenario("nominal", **{"link.trace": name})
            assert min(len(rounds) for rounds in scenario.traces[0].rates_bps.values()) >= 20
        with pytest.raises(
            ScenarioError, match=r"link.trace = 'shaped-tc' is unknown; did you mean"
        ):
            card.load_scenario("nominal", **{"link.trace": "shaped-tc"})

    @pytest.mark.parametrize(
        ("name", "wrong"), [("no.csv", "does not exist"), ("a.csv", "is a folder")]
    )
    def test_what_is_no_file_is_told_by_key(self, study, name, wrong):
        study.with_name("a.csv").mkdir()
        with pytest.raises(
            ScenarioError, match=rf"^link.trace = .* {wrong}; give a .csv file with"
        ):
            card.load_scenario(study, **{"link.trace": str(study.with_name(name))})


FIVE = [(device, 0, 1e6, 1e6) for device in DEVICES]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", " is empty; begin it with the row device,round,uplink_bps,downlink_bps."),
        ("\n\n", " is empty; begin it with the row device,round,uplink_bps,downlink_bps."),
        (text([]), " has no rows; add one for each device and round."),
        (
            "device,round,uplink_bps\n",
            ", row 1: the column downlink_bps is missing; give "
            "device,round,uplink_bps,downlink_bps.",
        ),
        (
            text(FIVE, (*COLUMNS[:3], "uplink_bps")),
            ", row 1: the column uplink_bps is there twice; give "
            "device,round,uplink_bps,downlink_bps.",
        ),
        (
            text([(*row, 1) for row in FIVE], (*COLUMNS, "rssi")),
            ", row 1: the column 'rssi' is not known; leave it out, and give "
            "device,round,uplink_bps,downlink_bps.",
        ),
        (text([*FIVE, ("device-1", 1, 1e6)]), ", row 7 has 3 cells; give 4, as the first row has."),
        (
            text([*FIVE, ("device-1", 0, 2e6, 2e6)]),
            ", row 7: device-1 has round 0 already, in row 2; remove one.",
        ),
        (
            text([*FIVE, ("device-2", 1, 2e6, 2e6)]),
            ": device-1 (row 2 and others) has no round 1; add it, for rounds count without a gap "
            "from 0 or 1.",
        ),
        (
            text([*FIVE, *((device, 2, 1e6, 1e6) for device in DEVICES)]),
            ": device-1 (row 2 and others) has no round 1; add it, for rounds count without a gap "
            "from 0 or 1.",
        ),
        (
            text([(device, 7, 1e6, 1e6) for device in DEVICES]),
            ": device-1 (row 2 and others) has no round 1; add it, for rounds count without a gap "
            "from 0 or 1.",
        ),
        (
            text(FIVE[:4]),
            " has no row of the device 'device-5' or of its fleet 'device'; add its rounds, or "
            "leave the device out.",
        ),
        (
            text([*FIVE, ("devise-6", 0, 1e6, 1e6)]),
            ", row 7: device = 'devise-6' is none of the scenario's; did you mean 'device-5'?",
        ),
        (text([*FIVE, ("", 0, 1e6, 1e6)]), ", row 7: device is blank; give the name of a device."),
        (
            text([("device-1", "one", 1e6, 1e6)]),
            ", row 2: round = 'one' is not allowed; give a whole number, 0 or 1 for the first.",
        ),
        (
            text([("device-1", -1, 1e6, 1e6)]),
            ", row 2: round = '-1' is not allowed; give a whole number, 0 or 1 for the first.",
        ),
        (
            text([("device-1", 0, "fast", 1e6)]),
            ", row 2: uplink_bps = 'fast' is not a number; give bit/s.",
        ),
        (
            text([("device-1", 0, "nan", 1e6)]),
            ", row 2: uplink_bps = 'nan' is not a number; give bit/s.",
        ),
        (
            text([("device-1", 0, 1e6, 0)]),
            ", row 2: downlink_bps = 0 is not allowed; give bit/s, from 1000 to 1e+12.",
        ),
        (
            text([("device-1", 0, 12.5, 1e6)]),
            ", row 2: uplink_bps = 12.5 is not allowed; give bit/s, from 1000 to 1e+12.",
        ),
        (
            text([("device-1", 0, "9" * 400, 1e6)]),
            ", row 2: uplink_bps = inf is not allowed; give bit/s, from 1000 to 1e+12.",
        ),
        ('device,"round', ", row 1 is not valid CSV (unexpected end of data); mend it."),

    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_file_and_row(study, content, message):
    assert refusal(study, content) == message


def test_solve_takes_a_round_s_rates(study):
    def solved(*words):
        done = CliRunner().invoke(
            app, ["solve", str(study), "--device", "device-2", *words, "--json"]
        )
        return done, json.loads(done.stdout) if done.exit_code == 0 else None

    _, first = solved("--round", "1")
    assert (first["uplink_bps"], first["state"]) == (4e6, "trace")
    assert solved("--round", "4")[1]["uplink_bps"] == 4e6
    assert solved()[1]["uplink_bps"] == pytest.approx(2e6 * 3 / (1 + 1 / 2 + 1 / 3))
    both = solved("--round", "1", "--uplink-bps", "1e6", "--downlink-bps", "1e6")[0]
    assert "--round 1 and both rates exclude each other" in both.stderr
    none = CliRunner().invoke(app, ["solve", "nominal", "--device", "device-1", "--round", "1"])
    assert "--round 1 is of a trace, and link.trace is none" in none.stderr


def test_the_same_rates_give_the_same_results_as_the_channel_s(study):
    """A trace of what a channel drew has no other effect than the draws."""
    scenario = card.load_scenario("nominal", **{"llm": "tiny-llama-8m"},
                                  channel_states={"good": None, "poor": None})  # fmt: skip
    drawn = card.simulate(scenario, ["card", "device_only"], rounds=5)
    rows = [
        (device, number, *(repr(float(drawn[way].sel(state="normal", device=device)[number]))
                           for way in COLUMNS[2:]))
        for device in DEVICES for number in range(5)
    ]  # fmt: skip
    rewrite(study, text(rows))
    traced = scenario.updated({"link.trace": str(study.with_name("rates.csv"))})
    again = card.simulate(traced, ["card", "device_only"], rounds=5)
    for name in ("cut", "delay_s", "energy_j"):
        assert np.array_equal(again[name], drawn[name])


def test_a_large_trace_is_read_and_too_large_a_one_refused(study, monkeypatch):
    many = text([(d, r, 1e6, 1e6) for d in DEVICES for r in range(15000)])
    assert len(many) > 2**20
    rewrite(study, many)
    assert len(card.load_scenario(study).traces[0].rates_bps["device-1"]) == 15000
    monkeypatch.setattr("card.scenario.traces.LARGEST_BYTES", 100)
    with pytest.raises(ScenarioError, match=r"is larger than 100 bytes"):
        read_trace("link.trace", str(Path(study.with_name("rates.csv"))))
