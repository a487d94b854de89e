"""Commands on studies: new, compare and sweep, for studies that ship and for one's own."""

import csv
import json
import os
import re

import pytest
import xarray as xr
from commands import refusal, run
from machines import NO_POWER

import card
from card.base.data_files import DATA, study_names
from card.studies.bootstrap import mean_intervals
from card.studies.comparison import compare
from card.studies.study_file import load_study

WEIGHTS = "objective.delay_weight=[0.2, 0.8]"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def done(*arguments):
    """What a command prints that ends well."""
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("base", ["nominal", *study_names()])
def test_a_new_study_is_a_file_that_every_command_takes(folder, base):
    assert done("new", "mine", "--base", base).strip() == "mine.yml"
    shown = json.loads(done("show", "mine.yml", "--json"))
    assert shown["llm"] == card.load_scenario(base).llm
    found = json.loads(done("compare", base, "mine.yml", "--rounds", 2, "--json"))
    assert found["parameters"] == []
    assert {item["change"] for item in found["changes"]} == {0.0}


def test_a_new_study_overwrites_nothing_and_takes_no_shipped_name(folder):
    (folder / "mine.yml").write_text("base: nominal\n")
    for name, words in (
        ("mine", "mine.yml exists already; choose another name"),
        ("bigger-llm", "'bigger-llm' is that of a shipped study"),
        ("nowhere/mine", "cannot be written"),
    ):
        result = run("new", name)
        assert (result.exit_code, result.stdout) == (2, "")
        assert words in result.stderr
    assert (folder / "mine.yml").read_text() == "base: nominal\n"
    assert "did you mean 'nominal'?" in run("new", "other", "--base", "nominl").stderr


@pytest.mark.parametrize("name", study_names())
def test_compare_prints_the_document_of_the_function(name):
    found = json.loads(done("compare", "nominal", name, "--rounds", 5, "--seed", 2, "--json"))
    expected = compare(card.load_scenario("nominal"), card.load_scenario(name), 5, 2)
    assert found == json.loads(json.dumps(expected.as_dict()))
    assert found["parameters"]


def test_compare_heads_studies_of_one_file_name_by_their_paths(folder):
    for name in "ab":
        (folder / name).mkdir()
        (folder / name / "s.yml").write_text(f"base: nominal\ntitle: {name}")
    text = done("compare", "a/s.yml", "b/s.yml", "--rounds", 2)
    assert "a/s.yml" in text
    assert "b/s.yml" in text


def test_compare_says_one_round(folder):
    text = done("compare", "nominal", "bigger-llm", "--rounds", 1, "--html", "one.html")
    page = (folder / "one.html").read_text("utf-8")
    for said in (text, page):
        assert " 1 round" in said
        assert " 1 rounds" not in said


def test_compare_prints_tables_with_units_and_writes_a_page(folder):
    text = done("compare", "nominal", "bigger-llm", "--rounds", 5, "--html", "page.html")
    for words in ("llama-3.1-8b", "Mean delay of a round [s], 5 rounds", "[J]", "95 % interval"):
        assert words in text
    assert (folder / "page.html").read_text().startswith("<!doctype html>")


def test_sweep_prints_every_point_and_keeps_the_dataset(folder):
    options = ["--policies", "card,server_only", "--rounds", 3, "--output", "weights.nc"]
    found = json.loads(done("sweep", "nominal", "--over", WEIGHTS, *options, "--json"))
    assert [(p["objective.delay_weight"], p["policy"]) for p in found["points"]] == [
        (0.2, "card"), (0.2, "server_only"), (0.8, "card"), (0.8, "server_only"),
    ]  # fmt: skip
    with xr.open_dataset(folder / "weights.nc", engine="netcdf4") as kept:
        means = kept.delay_s.mean(("state", "device"))
        assert [p["delay_s"] for p in found["points"]] == pytest.approx(means.values.ravel())


@pytest.mark.parametrize("name", study_names())
def test_the_sweep_of_a_study_is_in_its_file(folder, name):
    text = done("sweep", name, "--rounds", 2, "--output", "own.zarr", "--figure", "own.svg")
    assert text.splitlines()[-1] == "own.zarr"
    assert (folder / "own.svg").read_text().startswith("<?xml")
    sizes, over = xr.open_zarr(folder / "own.zarr").sizes, load_study(name).sweep.over
    assert {path: sizes[path] for path in over} == {p: len(given) for p, given in over.items()}


@pytest.mark.parametrize(
    ("wrong", "mended"),
    [
        ("objective: {delay_weight: 1.4}", "objective.delay_weight=0.4"),
        ("training: {batch_size: 4, accumulation: 3}", "training.accumulation=2"),
    ],
)
def test_settings_may_mend_a_study_that_is_swept(wrong, mended, folder):
    (folder / "mine.yml").write_text(f"base: test-bed\n{wrong}\n", "utf-8")
    sweep = ["sweep", "mine", "--over", "link.bandwidth_hz=[1e7]", "--rounds", "1"]
    assert run(*sweep).exit_code == 2
    assert done(*sweep, "--set", mended)


def test_settings_apply_before_a_sweep():
    arguments = ["sweep", "nominal", "--over", WEIGHTS, "--rounds", 2, "--json"]
    plain = json.loads(done(*arguments))
    wider = json.loads(done(*arguments, "--set", "link.bandwidth_hz=1e8"))
    assert wider["points"][0]["delay_s"] < plain["points"][0]["delay_s"]


def test_a_sweep_as_csv_has_the_intervals_of_the_book(folder):
    more = ["--policies", "card,server_only", "--rounds", 5, "--seed", 3, "--output", "x.csv"]
    points = json.loads(done("sweep", "nominal", "--over", WEIGHTS, *more, "--json"))["points"]
    rows = list(csv.DictReader((folder / "x.csv").read_text("utf-8").splitlines()))
    assert [float(row["delay_s"]) for row in rows] == pytest.approx([p["delay_s"] for p in points])
    scenario = card.load_scenario("nominal", **{"objective.delay_weight": 0.8})
    found = mean_intervals(card.simulate(scenario, ["card", "server_only"], 5, 3))
    ends = found.energy_j.sel(policy="server_only", statistic=["low", "high"]).values.tolist()
    assert [float(rows[3][f"energy_j_{end}"]) for end in ("low", "high")] == pytest.approx(ends)
    assert [points[3][f"energy_j_{end}"] for end in ("low", "high")] == pytest.approx(ends)
    assert (rows[3]["objective.delay_weight"], rows[3]["rounds"], rows[3]["seed"]) == (
        "0.8",
        "5",
        "3",
    )


def test_a_row_of_a_csv_has_one_seed_and_one_number_of_rounds(folder):
    over = ["--over", "simulation.seed=[20261130094501]", "--over", "simulation.rounds=[2,3]"]
    done("sweep", "nominal", *over, "--output", "x.csv")
    row = next(csv.DictReader((folder / "x.csv").read_text("utf-8").splitlines()))
    assert row["simulation.seed"] == "20261130094501"
    assert not {"rounds", "seed"} & row.keys()


def test_a_table_of_a_sweep_shows_values_as_its_figure_does():
    over = ["--over", "link.bandwidth_hz=[5e6,2e7]", "--over", "server.clocks_hz=[null,[1e9,2e9]]"]
    text = done("sweep", "nominal", *over, "--policies", "card", "--rounds", 1)
    assert " to " not in text, "a single round has no interval"
    for words in ("bandwidth [MHz]", "server clocks [GHz]", " 5 ", " 20 ", " none ", " 1, 2 "):
        assert words in text


@pytest.mark.parametrize(
    ("options", "keeps", "said"),
    [
        ([], "--json or --output keeps", []),
        (["--output", "x.csv"], "x.csv keeps", ["x.csv"]),
        (["--figure", "x.svg"], "--json or --output keeps", ["x.svg"]),
        (["--figure", "x.svg", "--output", "x.csv"], "x.csv keeps", ["x.svg", "x.csv"]),
    ],
)
def test_a_long_sweep_prints_its_first_rows_and_where_all_are(folder, options, keeps, said):
    weights = f"objective.delay_weight={[step / 50 for step in range(1, 50)]}"
    command = ["sweep", "nominal", "--over", weights, "--policies", "card", "--rounds", 1]
    result = run(*command, *options)
    assert result.stdout.count(" card ") == 40
    assert f"9 more rows are not shown; {keeps} them all." in result.stderr
    assert result.stdout.splitlines()[-max(len(said), 1) :][: len(said)] == said


def test_a_sweep_of_one_row_more_says_so(folder):
    weights = f"objective.delay_weight={[step / 50 for step in range(1, 42)]}"
    result = run("sweep", "nominal", "--over", weights, "--policies", "card", "--rounds", 1)
    assert "1 more row is not shown; " in result.stderr


class TestStudyByName:
    @pytest.fixture(autouse=True)
    def study(self, folder):
        text = f"base: bigger-llm\ntitle: Mine\nsweep: {{over: {{{WEIGHTS.replace('=', ': ')}}}}}"
        (folder / "my-study.yml").write_text(text)

    @pytest.mark.parametrize(
        "command",
        [
            ["show", "my-study"],
            ["costs", "my-study"],
            ["solve", "my-study", "--device", "device-1"],
            ["simulate", "my-study", "--rounds", 1],
            ["compare", "nominal", "my-study", "--rounds", 2],
            ["sweep", "my-study", "--rounds", 1],
            ["check", "my-study"],
            ["new", "next", "--base", "my-study"],
        ],
        ids=lambda command: command[0],
    )
    def test_every_command_finds_it_without_its_ending(self, command):
        assert "Mine" in done(*command) or command[0] not in ("show", "sweep")

    def test_one_may_be_the_base_of_another(self, folder):
        (folder / "next.yml").write_text("base: my-study")
        assert card.load_scenario("next").title == "Mine"

    def test_a_name_with_a_dot_is_whole(self, folder):
        (folder / "v1.2.yml").write_text("base: my-study\ntitle: Other")
        assert "v1.2" in done("compare", "nominal", "v1.2", "--rounds", 2)

    @pytest.mark.parametrize("name", ["my-study", "sub/my-study", "./my-study"])
    def test_a_folder_of_the_name_is_no_study(self, folder, name):
        (folder / "sub").mkdir()
        (folder / "my-study").mkdir()
        (folder / "sub" / "my-study.yml").write_text("base: nominal\ntitle: Mine")
        assert card.load_scenario(name).title == "Mine"

    def test_a_shipped_name_wins(self, folder):
        (folder / "nominal.yml").write_text("base: bigger-llm\ntitle: Mine")
        assert card.load_scenario("nominal").title != "Mine"
        assert card.load_scenario("nominal.yml").title == "Mine"

    def test_a_name_of_nothing_is_refused(self):
        assert refusal("solve", "my-studie", "--device", "device-1").startswith(
            "Error: scenario = 'my-studie' is neither shipped nor the name of a .yml file in this "
            "folder; choose one of "
        )


@pytest.mark.parametrize("figure", ["x.bmp", "x", "nowhere/x.svg", "folder.svg"])
def test_a_figure_that_cannot_be_is_refused_before_anything_is_computed(
    folder, monkeypatch, figure
):
    (folder / "folder.svg").mkdir()
    monkeypatch.setattr("card.cli.studies.run_sweep", lambda *_: pytest.fail("it ran"))
    result = run("sweep", "nominal", "--over", WEIGHTS, "--figure", figure)
    assert result.exit_code == 2
    assert "--figure" in result.stderr
    assert "cannot be written" in result.stderr


def test_a_full_disk_leaves_no_figure_behind(folder, little_room):
    result = run("sweep", "nominal", "--over", WEIGHTS, "--rounds", 1, "--figure", "x.svg")
    assert result.exit_code == 2
    assert "'x.svg' cannot be written: File too large" in result.stderr
    assert list(folder.iterdir()) == []


def test_a_figure_that_fails_at_the_end_costs_no_result(folder, monkeypatch):
    def full(*_):
        raise card.ScenarioError("'x.svg' cannot be written: no space left.")

    monkeypatch.setattr("card.cli.studies._draw", full)
    kept = ["--figure", "x.svg", "--output", "x.csv"]
    result = run("sweep", "nominal", "--over", WEIGHTS, "--rounds", 1, *kept)
    assert result.exit_code == 2
    rows = list(csv.DictReader((folder / "x.csv").read_text("utf-8").splitlines()))
    assert {row["policy"] for row in rows} >= {"card", "server_only"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "nominal"], "nominal has no sweep; give it one"),
        (["sweep", "nominal", "--over", "link.bandwidth_hz"], "write PATH=[VALUE, …]"),
        (["sweep", "nominal", "--over", "link.bandwidth_hz=1e6"], "give a list of values"),
        (["sweep", "nominal", "--over", "link.bandwith_hz=[1e6]"], "'link.bandwidth_hz'?"),
        (["sweep", "nominal", "--over", WEIGHTS, "--policies", "crad"], "did you mean 'card'?"),
        (["sweep", "nominal", "--over", WEIGHTS, "--rounds", "0"], "rounds = 0 is not allowed"),
        (["sweep", "nominal", "--over", WEIGHTS, "--output", "x.txt"], "end it in .nc"),
        (["sweep", "nominal", "--over", WEIGHTS, "--output", "./"], "name a file in it, such as"),
        (["sweep", "nominal", "--over", WEIGHTS, "--output", "x.nc/"], "and a .nc is a file"),
        (
            ["sweep", "nominal", "--over", WEIGHTS, "--rounds", "1", "--figure", "x.txt"],
            "--figure = 'x.txt' cannot be written",
        ),
        (["compare", "nominal", "biger-llm"], "did you mean 'bigger-llm'?"),
        (["compare", "nominal", "bigger-llm", "--rounds", "0"], "rounds = 0 is not allowed"),
    ],
)
def test_bad_input_is_one_message_on_stderr_and_exit_code_2(arguments, message):
    assert message in refusal(*arguments)


@pytest.mark.parametrize(
    "address",
    ["nonsense://x", "nonsense", "/nowhere/x.json", "tls://x:1", "inproc://1", "tcp://[::1"],
)
def test_a_cluster_that_does_not_answer_leaves_nothing_behind(address, monkeypatch):
    """A client that is left as the process's own would break whatever uses Dask next."""
    distributed = pytest.importorskip("distributed")
    made = []
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: made.append(1))
    said = refusal("sweep", "nominal", "--over", WEIGHTS, "--dask", address)
    assert f"--dask {address!r} does not answer" in said
    assert not made, "it would complain when it dies"
    with pytest.raises(ValueError, match="No global client"):
        distributed.get_client()


def test_a_new_study_elsewhere_names_its_base_from_there(folder):
    (folder / "below.yml").write_text("base: nominal\ntitle: t\n", "utf-8")
    (folder / "studies").mkdir()
    assert run("new", "studies/mine", "--base", "below.yml").exit_code == 0
    assert run("show", "studies/mine.yml").exit_code == 0


@pytest.mark.parametrize(
    "name", ["x\nllm: llama-3.2-3b #", "x\r", "x\u2028", "x\x1b[31m", "", " ", "\u3000", ".", ".."]
)
def test_a_new_study_has_a_name_that_can_be_printed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("new", name)
    assert result.exit_code == 2
    assert "is not allowed; give letters that can be printed" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_new_study_names_profiles_from_its_own_folder(folder):
    profile = DATA / "profiles" / "cpu-epyc-2-cores.json"
    (folder / "mine.json").write_bytes(profile.read_bytes())
    devices = "devices: {device-1: {hardware: mine.json}}"
    (folder / "base.yml").write_text(f"base: nominal\ntitle: t\n{devices}\n", "utf-8")
    (folder / "studies").mkdir()
    done("new", "beside", "--base", "base.yml")
    done("new", "studies/below", "--base", "base.yml")
    assert "#    hardware: mine.json  # " in (folder / "beside.yml").read_text("utf-8")
    below = folder / "studies" / "below.yml"
    text = below.read_text("utf-8")
    assert "#    hardware: ../mine.json  # " in text
    below.write_text(
        text.replace("#devices", "devices")
        .replace("#  device-1:", "  device-1:")
        .replace("#    hardware: ..", "    hardware: .."),
        "utf-8",
    )
    assert done("compare", "base.yml", below, "--rounds", 1).count("hardware") == 0


def test_a_csv_that_is_there_is_refused_before_work_and_kept(folder, monkeypatch):
    (folder / "x.csv").write_text("mine")
    monkeypatch.setattr("card.cli.studies.run_sweep", lambda *_: pytest.fail("it ran"))
    result = run("sweep", "nominal", "--over", WEIGHTS, "--output", "x.csv")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: --output = 'x.csv' is there already, and a .csv cannot be resumed; name another "
        "output.\n"
    )
    assert (folder / "x.csv").read_text() == "mine"


def test_a_table_of_a_sweep_has_intervals_behind_its_means():
    options = ["--policies", "card", "--rounds", 5, "--over", "objective.delay_weight=[0.2]"]
    (point,) = json.loads(done("sweep", "nominal", *options, "--json"))["points"]
    low, high = (f"{point[f'delay_s_{end}']:.5g}" for end in ("low", "high"))
    assert f"({low} to {high})" in done("sweep", "nominal", *options)


@pytest.mark.parametrize("command", ["show", "check", "costs"])
def test_a_pipe_as_a_study_is_refused_and_not_waited_for(command, tmp_path):
    pipe = tmp_path / "r.yml"
    os.mkfifo(pipe)
    result = run(command, pipe)
    said = "r.yml is a pipe, a socket or a device; give a regular file."
    assert said in " ".join(result.output.split())
    assert result.exit_code in (1, 2)


def test_a_pipe_as_the_base_of_a_study_is_refused(tmp_path):
    os.mkfifo(tmp_path / "base.yml")
    (tmp_path / "study.yml").write_text("base: base.yml\n", "utf-8")
    assert "base.yml is a pipe, a socket or a device" in refusal("show", tmp_path / "study.yml")


def test_a_command_without_options_names_the_one_that_all_have():
    said = refusal("check", "nominal", "--set", "server.power_cap_w=1")
    assert "option = '--set' is unknown; choose one of --help." in said


def test_a_file_that_is_no_profile_is_not_called_unknown(tmp_path):
    other = tmp_path / "x.nc"
    other.touch()
    said = "x.nc' has another ending; give a"
    assert said in refusal("profile", "nominal", "--compare", other)
    assert said in refusal("show", "nominal", "--set", f"server.hardware={other}")


def test_a_rate_far_beyond_links_is_noted_with_the_most_they_reach():
    rates = ["--uplink-bps", "1e30", "--downlink-bps", "1e7"]
    assert "give at most 1e+12" in run("solve", "nominal", "--device", "device-1", *rates).stderr


@pytest.mark.parametrize("devices", ["*", "device-3"])
def test_a_device_energy_that_is_not_known_is_null_a_dash_and_an_empty_cell(folder, devices):
    done("new", "mine", "--base", "nominal")
    with (folder / "mine.yml").open("a") as file:
        name = "'*'" if devices == "*" else devices
        file.write(f"\ndevices: {{{name}: {{hardware: {json.dumps(NO_POWER)}}}}}\n")
    short = ["--rounds", 3]
    policies = [*short, "--policies", "card,device_only"]
    swept = ["mine", "--over", WEIGHTS, *policies]
    simulated = json.loads(done("simulate", "mine", *policies, "--json"))["policies"]
    points = json.loads(done("sweep", *swept, "--output", "x.nc", "--json"))["points"]
    changes = json.loads(done("compare", "nominal", "mine", *short, "--json"))["changes"]
    device = [item for item in changes if item["quantity"] == "device_energy_j"]
    found = [*simulated.values(), *points]
    assert {row["device_energy_j"] for row in found} == {None}
    assert {item[key] for item in device for key in ("second", "change", "low")} == {None}
    assert all(row["energy_j"] is not None for row in found)
    done("export", "x.nc", "--to", "x.csv")
    rows = list(csv.DictReader((folder / "x.csv").read_text("utf-8").splitlines()))
    assert {row["device_energy_j"] for row in rows} == {""}
    tables = [
        done("simulate", "mine", *policies),
        done("sweep", *swept),
        done("compare", "nominal", "mine", *short, "--html", "page.html"),
    ]
    assert all("–" in text and not re.search(r"nan\b", text) for text in tables)
