"""The command line: one JSON document on stdout, one readable message on stderr, exit codes."""

import csv
import json
import re
from importlib import metadata

import numpy as np
import pytest
import typer
import xarray as xr
from commands import refusal, run

import card
from card.base.data_files import scenario_file, study_names
from card.base.yaml_files import read_yaml
from card.cli import app, study_schema

RATES = ["--uplink-bps", "20e6", "--downlink-bps", "60e6"]


def document(*arguments):
    """The one JSON document that a command prints."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)


def test_show_prints_the_whole_scenario_and_the_catalogue_entries_it_names():
    shown = document("show", "nominal", "--set", "objective.delay_weight=0.8")
    assert shown["objective"] == {
        "delay_weight": 0.8,
        "energy_budget_j": None,
        "device_energy_budget_j": None,
        "queue_weight": 1e4,
    }
    assert shown["sources"]["objective.delay_weight"]["source"] == "set by the user"
    assert shown["catalogue"]["rtx-4060-ti"]["cores"] == 4352
    assert shown["llm_config"]["model_type"] == "llama"
    reloaded = {key: shown[key] for key in shown if key not in ("catalogue", "llm_config")}
    assert card.Scenario.model_validate(reloaded).objective.delay_weight == 0.8


def test_costs_prints_arrays_over_all_cuts():
    table = document("costs", "nominal")
    profile = card.cut_profile(card.load_scenario("nominal"))
    assert list(table) == [
        "scenario", "cut", "uplink_bits", "downlink_bits", "device_flop", "server_flop",
        "uplink_bit", "downlink_bit", "adapter_bit", "device_memory_bit", "server_memory_bit",
        "messages", "server_overhead_s", "server_launch_s", "server_cycles", "device_overhead_s",
        "unfit",
    ]  # fmt: skip
    assert table["cut"] == list(range(17))
    assert table["device_flop"] == profile.device_flop.tolist()


def test_costs_and_solve_say_enough_to_compute_delay_and_energy_anew():
    """By plain arithmetic on the printed numbers, as another program would."""
    study = (
        "nominal", "--device", "device-2", "--set", "server.block_overhead_s=0.001",
        "--set", "server.waiting_power_w=20", "--set", "server.linear_power_w_per_hz=1e-8",
        "--set", "link.round_trip_s=0.01", "--set", "devices.device-2.head_overhead_s=0.002",
    )  # fmt: skip
    costs, found = document("costs", *study), document("solve", *study, *RATES)
    law = found["static_power_w"], found["linear_power_w_per_hz"], found["power_coefficient"]
    up, down, rounds = found["uplink_bps"], found["downlink_bps"], 20
    for row in found["table"]:
        c, hz = row["cut"], row["frequency_hz"]
        own = costs["device_flop"][c] / found["throughput_flops"] + costs["device_overhead_s"][c]
        sent = costs["uplink_bit"][c] / up + costs["downlink_bit"][c] / down
        busy = rounds * (costs["server_overhead_s"][c] + costs["server_cycles"][c] / hz)
        trips = 0.01 * (rounds * costs["messages"][c] + 2 * (c > 0))
        adapters = costs["adapter_bit"][c] * (1 / up + 1 / down)
        delay = rounds * (own + sent) + busy + trips + adapters
        power = law[0] + law[1] * hz + law[2] * hz**3
        assert row["busy_s"] == pytest.approx(busy, rel=1e-12)
        assert row["delay_s"] == pytest.approx(delay, rel=1e-12)
        energy = found["waiting_power_w"] * (delay - busy) + power * busy
        assert row["energy_j"] == pytest.approx(energy, rel=1e-12)


def test_solve_prints_the_decision_and_every_feasible_cut():
    found = document("solve", "nominal", "--device", "device-3", *RATES)
    decision = card.solve(card.load_scenario("nominal"), "device-3", 20e6, 60e6)
    assert set(found) == {
        "device", "cut", "uplink_bits", "downlink_bits", "frequency_hz", "frequency_min_hz",
        "frequency_max_hz", "throughput_flops", "flops_per_hz", "static_power_w",
        "linear_power_w_per_hz", "power_coefficient", "waiting_power_w", "delay_weight",
        "uplink_bps", "downlink_bps", "delay_s", "energy_j", "device_energy_j", "objective",
        "table", "scenario", "state", "unfit", "notes",
    }  # fmt: skip
    assert found["cut"] == decision.cut
    assert found["objective"] == decision.objective
    rows = {row["cut"]: row for row in found["table"]}
    assert list(rows) == list(range(17))
    assert rows[found["cut"]]["objective"] == pytest.approx(found["objective"], abs=1e-15)
    assert min(row["objective"] for row in rows.values()) == rows[found["cut"]]["objective"]
    assert found["throughput_flops"] == 1024 * 2 * 918e6


FAST = ("--uplink-bps", "80e6", "--downlink-bps", "200e6")
WIRE = ("--set", "wire.uplink_bits=[16,8]", "--set", "wire.downlink_bits=[8]")


def test_options_are_rows_of_costs_and_of_the_table_of_solve():
    table = document("costs", "nominal", *WIRE)
    assert table["cut"] == 2 * list(range(17))
    assert table["uplink_bits"] == 17 * [16] + 17 * [8]
    assert table["downlink_bits"] == 34 * [8]
    assert {len(row) for name, row in table.items() if name not in ("scenario", "unfit")} == {34}
    found = document("solve", "nominal", "--device", "device-4", *FAST, *WIRE)
    rows = found["table"]
    assert [(row["cut"], row["uplink_bits"]) for row in rows] == list(
        zip(table["cut"], table["uplink_bits"], strict=True)
    )
    best = min(rows, key=lambda row: row["objective"])
    assert [best[name] for name in ("cut", "uplink_bits")] == [0, 8]
    for name in ("cut", "uplink_bits", "downlink_bits"):
        assert found[name] == best[name]
    assert found["objective"] == pytest.approx(best["objective"], abs=1e-15)


def test_tables_show_bits_only_where_there_is_a_choice():
    solve = ("solve", "nominal", "--device", "device-4", *FAST)
    for words in (("costs", "nominal"), solve):
        assert "bits" not in run(*words).stdout
        shown = run(*words, *WIRE).stdout
        assert "bits up" in shown
        assert "bits down" not in shown
    assert "device-4: cut 0 of 16, 8 bits up, " in run(*solve, *WIRE).stdout


def test_solve_takes_rates_from_a_channel_state_when_none_are_given():
    good = document("solve", "nominal", "--device", "device-1", "--state", "good")
    poor = document("solve", "nominal", "--device", "device-1", "--state", "poor")
    assert good["uplink_bps"] > poor["uplink_bps"]
    given = document("solve", "nominal", "--device", "device-1", "--uplink-bps", "1e6")
    assert given["uplink_bps"] == 1e6
    assert given["downlink_bps"] > 1e6


def test_solve_says_which_state_its_rates_are_of():
    assert document("solve", "nominal", "--device", "device-1", *RATES)["state"] is None
    found = document("solve", "nominal", "--device", "device-1", "--uplink-bps", "1e6")
    assert found["state"] == "normal"
    assert "Mbit/s of state poor, down" in run(
        "solve", "nominal", "--device", "device-1", "--state", "poor"
    ).stdout  # fmt: skip
    own = run("solve", "nominal", "--device", "device-1", "--uplink-bps", "1e6").stdout
    assert "(up 1 Mbit/s as given, down " in own
    assert "of state normal)" in own


@pytest.mark.parametrize(
    ("rate", "remedy"),
    [
        ("20", "did you mean 20e6?"),
        ("6e13", "did you mean 6e+07?"),
        ("1e-20", "give at least 10000"),
        ("1e30", "give at most 1e+12"),
    ],
)
def test_a_rate_that_no_link_has_is_pointed_out(rate, remedy):
    given = ["solve", "nominal", "--device", "device-1", "--uplink-bps", rate, "--json"]
    result = run(*given)
    (note,) = json.loads(result.stdout)["notes"]
    assert note.endswith(f" bit/s is far from what links reach; {remedy}")
    assert result.stderr == f"Note: {note}\n"


def test_cuts_that_do_not_fit_are_named_with_the_reason():
    given = ["--set", "training.cut_range=[3,14]", "--set", "devices.device-4.memory_share=0.25"]
    found = document("solve", "nominal", "--device", "device-4", *RATES, *given)
    left = {row["cut"] for row in found["table"]}
    out = [cut for group in found["unfit"] for cut in group["cuts"]]
    assert sorted([*left, *out]) == list(range(17))
    ranged, large = found["unfit"]
    assert ranged["cuts"] == [0, 1, 2, 15, 16]
    assert ranged["reason"] == "training.cut_range is [3, 14]."
    assert "device-4 may use, 0.25 x 8 GB" in large["reason"]
    assert document("costs", "nominal", *given)["unfit"]["device-4"] == found["unfit"]
    assert "device-4: cuts 0 to 2, 15 to 16 are not" in run("costs", "nominal", *given).stderr


@pytest.mark.parametrize("suffix", [".csv", ".nc"])
def test_simulate_keeps_every_round_of_the_policies_asked_for(tmp_path, suffix):
    file = tmp_path / f"x{suffix}"
    more = ["--policies", "card,device_only", "--rounds", 2, "--seed", 2**40, "--output", file]
    found = document("simulate", "nominal", *more)
    assert list(found["policies"]) == ["card", "device_only"]
    assert (found["rounds"], found["seed"]) == (2, 2**40)
    expected = card.simulate(card.load_scenario("nominal"), ["card", "device_only"], 2, 2**40)
    if suffix == ".csv":
        rows = list(csv.DictReader(file.read_text("utf-8").splitlines()))
        assert [float(row["delay_s"]) for row in rows] == expected.delay_s.values.ravel().tolist()
    else:
        with xr.open_dataset(file, engine="scipy") as kept:
            np.testing.assert_array_equal(kept.delay_s, expected.delay_s)


@pytest.mark.parametrize("output", ["x.txt", "nowhere/x.csv"])
def test_simulate_refuses_an_output_before_it_runs(tmp_path, monkeypatch, output):
    monkeypatch.setattr("card.cli.model.run_simulation", lambda *_: pytest.fail("it ran"))
    result = run("simulate", "nominal", "--output", tmp_path / output)
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_the_version_is_that_of_the_package():
    assert run("--version").stdout == f"card {card.__version__}\n"
    assert card.__version__ == metadata.version("card-split-learning")


def test_simulate_prints_means_and_reductions_of_every_policy():
    found = document("simulate", "nominal", "--rounds", 10, "--seed", 3)
    results = card.simulate(card.load_scenario("nominal"), rounds=10, seed=3)
    ours = results.delay_s.sel(policy="card").mean().item()
    assert found["policies"]["card"]["delay_s"] == pytest.approx(ours, rel=1e-12)
    assert set(found["reductions"]) == set(found["policies"]) - {"card"}
    assert set(found["reductions"]["server_only"]["energy"]) == {"value", "low", "high"}
    assert found["reductions"]["device_only"]["energy"]["value"] is None


@pytest.mark.parametrize("command", ["show", "costs", "simulate"])
def test_without_json_a_table_is_printed(command):
    more = ["--rounds", 5] if command == "simulate" else []
    result = run(command, "nominal", *more)
    assert result.exit_code == 0
    assert "Five Jetson devices" in result.stdout


def test_solve_without_json_names_the_decision():
    result = run("solve", "nominal", "--device", "device-1", *RATES)
    assert "device-1: cut 16 of 16" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nominl"], "did you mean 'nominal'?"),
        (["show", "missing.yml"], "missing.yml does not exist"),
        (["costs", "nominal", "--set", "lora.rnk=4"], "did you mean 'lora.rank'?"),
        (["costs", "nominal", "--set", "lora.rank"], "write PATH=VALUE"),
        (["costs", "nominal", "--set", "lora.rank=0"], "lora.rank = 0 is not allowed"),
        (["solve", "nominal", "--device", "device-9", *RATES], "device = 'device-9' is unknown"),
        (
            ["solve", "nominal", "--device", "device-1", "--uplink-bps", "0"],
            "uplink-bps = 0 is not allowed",
        ),
        (
            ["solve", "nominal", "--device", "device-1", "--state", "god"],
            "did you mean 'good'?",
        ),
        (["simulate", "nominal", "--rounds", "0"], "rounds = 0 is not allowed"),
        (["profile", "--compare", "cpu-epyc"], "did you mean 'cpu-epyc-2-cores'?"),
        (["profile", "--grid", "1y5"], "'1y5' is not allowed; write sequences x tokens"),
        (["profile", "--grid", "1x64,0x8"], "'0x8' is not allowed; write sequences x tokens"),
        (["profile", "--grid", "1x64,"], "'' is not allowed; write sequences x tokens"),
        (["profile", "--grid", "1x64,2x32, 1x64"], "names 1x64 twice; name it once"),
        (["profile", "--clocks"], "add --accelerator cuda"),
        (["profile", "--hardware", "rtx-4060ti"], "did you mean 'rtx-4060-ti'?"),
    ],
)
def test_bad_input_is_one_message_on_stderr_and_exit_code_2(arguments, message):
    assert message in refusal(*arguments)


def test_a_warning_of_the_model_is_one_line_on_stderr():
    result = run(
        "simulate", "nominal", "--rounds", 5, "--set", "link.fading=block", "--json"
    )  # fmt: skip
    assert result.exit_code == 0
    assert json.loads(result.stdout)
    assert result.stderr.count("no finite mean delay") == 1


@pytest.mark.slow
def test_claims_exit_0_while_they_match_the_record():
    found = document("claims")
    assert {item["rounds"] for item in found} == {50_000}
    assert found[0]["scenarios"]["nominal"] == card.load_scenario("nominal").title
    assert [claim["id"] for claim in found] == ["C1", "C2"]
    assert all(
        {"published", "nominal", "calibrated", "low", "high", "realistic", "status"} <= set(c)
        for c in found
    )


def test_claims_exit_1_when_one_drifts(monkeypatch):
    numbers = dict.fromkeys(("published", "nominal", "calibrated", "low", "high", "realistic"), 0.5)
    words = {"id": "C1", "text": "t", "quantity": "delay_s", "benchmark": "device_only"}
    drifted = card.Claim(
        **words,
        **numbers,
        intervals=dict.fromkeys(("nominal", "calibrated", "realistic"), (0.49, 0.51)),
        status="drifted",
        drift="moved",
        scenarios={},
        rounds=1,
        seed=0,
    )
    monkeypatch.setattr("card.cli.model.recompute_claims", lambda: [drifted])
    result = run("claims")
    assert result.exit_code == 1
    assert "C1 drifted: moved" in result.stderr


def test_a_shipped_profile_is_compared_and_stands_in_for_hardware():
    found = document("profile", "--compare", "cpu-epyc-2-cores")
    assert found["datasheet_flops"] is None
    assert abs(found["whole_step_error"]) < 0.15
    setting = ["--set", "devices.device-5.hardware=cpu-epyc-2-cores"]
    setting += ["--set", "training.sequence_length=128"]  # as it was measured
    decision = document("solve", "nominal", "--device", "device-5", *RATES, *setting)
    rates = (found[f"{part}_flops"] for part in ("first_block", "block", "head"))
    assert decision["throughput_flops"] == pytest.approx(max(rates))
    table = run("profile", "--compare", "cpu-epyc-2-cores").stdout
    assert "block_flops" in table


def test_schema_accepts_the_shipped_scenarios_and_a_study_and_refuses_a_wrong_key():
    jsonschema = pytest.importorskip("jsonschema")
    schema = study_schema()
    printed = json.loads(run("schema").stdout)
    assert printed == json.loads(json.dumps(schema))
    nominal = card.load_scenario("nominal").model_dump(mode="json")
    jsonschema.validate(nominal, schema)
    study = {"base": "nominal", "title": "t", "devices": {"device-1": {"distance_m": 50}}}
    jsonschema.validate(study, schema)
    for name in study_names():
        jsonschema.validate(read_yaml(scenario_file(name)), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"objective": {"delay_wight": 0.5}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"sweep": {"ovr": {}}}, schema)


def test_a_comma_in_the_name_of_a_policy_s_file_is_a_part_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = "def {}(system, draws, rng):\n    return 3, 2e9\n"
    for folder, name in (("a, b,c", "mine"), (".", "ours")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "own.py").write_text(own.format(name), "utf-8")
    asked = "card, a, b,c/own.py:mine,own.py:ours"
    found = document("simulate", "nominal", "--policies", asked, "--rounds", 1)
    assert list(found["policies"]) == ["card", "mine", "ours"]


def test_help_names_every_command():
    text = run("--help").stdout
    for command in (
        "show",
        "costs",
        "solve",
        "simulate",
        "schedule",
        "claims",
        "profile",
        "book",
        "schema",
        "new",
        "compare",
        "sweep",
    ):
        assert command in text


COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_prints_whole_what_each_option_says(command):
    printed = " ".join(re.sub("[│╭╮╰╯─]", " ", run(command, "--help").stdout).split())
    for parameter in COMMANDS[command].params:
        for word in (parameter.help or "").split():  # columns of a table break the sentence
            assert word in printed


def test_printed_numbers_are_plain_python_numbers():
    found = document("solve", "nominal", "--device", "device-1", *RATES)
    assert not any(isinstance(value, np.generic) for value in found.values())
