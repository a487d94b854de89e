"""A value that one command refuses, every command refuses, in the same words."""

import json
import warnings

import numpy as np
import pytest
import typer
from commands import run
from typer.testing import CliRunner

import card
from card.cli import app

GROUP = typer.main.get_command(app)

BAD = {
    "key": "lora.rnk: 4",
    "range": "lora.rank: 0",
    "word for a number": "training.batch_size: 1_000",
    "quoted number": "training.batch_size: '010'",
    "target": "lora.targets: [lm_head]",
    "length": "training.sequence_length: 200000",
    "cut range": "training.cut_range: [0, 99]",
    "more than a machine holds": "simulation.rounds: 9223372036854775807",
    "counts beyond 64 bits": "training.batch_size: 1000000000",
    "memory of a device": "devices.device-4.memory_share: 0.001",
    "memory of the server": "llm: llama-3.1-8b",
    "too many clocks": "server.clock_step_hz: 0.001",
    "static power": "server.static_power_w: 500",
    "link": "link.bandwidth_hz: 1.0e-300",
    "profile": "server: {hardware: none.json}",
    "nesting": "title: " + "[" * 99,
}
COMMANDS = {
    "show": ["show", "{}"],
    "costs": ["costs", "{}"],
    "solve": ["solve", "{}", "--device", "device-1"],
    "simulate": ["simulate", "{}", "--rounds", "1"],
    "sweep": ["sweep", "{}", "--over", "objective.delay_weight=[0.5]"],
    "sweep with a setting": ["sweep", "{}", "--over", "link.fading=[none]", "--set", "title=t"],
    "compare": ["compare", "{}", "nominal"],
    "compare with": ["compare", "nominal", "{}"],
    "new": ["new", "mine", "--base", "{}"],
    "book": ["book", "{}"],
    "pdf": ["pdf", "{}"],
    "profile": ["profile", "{}"],
}
LAB = {
    "serve": ["serve", "{}"],
    "join": ["join", "{}", "--device", "device-1", "--data", "none.txt"],
    "certs": ["certs", "folder", "--scenario", "{}"],
}


def refusal(arguments, study):
    result = CliRunner().invoke(app, [str(study) if item == "{}" else item for item in arguments])
    assert result.exit_code == 2, result.output
    return result.stderr


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def written(name):
        path = tmp_path / "study.yml"
        path.write_text(f"base: nominal\n{BAD[name]}\n", "utf-8")
        return path

    return written


@pytest.mark.parametrize("name", BAD)
def test_every_command_says_the_same(study, name):
    path = study(name)
    with pytest.raises(card.ScenarioError) as expected:
        card.load_scenario(path)
    for command, arguments in COMMANDS.items():
        assert refusal(arguments, path) == f"Error: {expected.value}\n", command
    result = CliRunner().invoke(app, ["check", str(path)])
    assert result.exit_code == 1
    assert all(line in result.stdout for line in str(expected.value).splitlines())


@pytest.mark.parametrize("command", LAB)
def test_so_does_training(study, command):
    pytest.importorskip("torch")
    path = study("target")
    with pytest.raises(card.ScenarioError) as expected:
        card.load_scenario(path)
    assert refusal(LAB[command], path) == f"Error: {expected.value}\n"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("lora.rank=4", "lora.rank=8"),
        ("lora.rank=4", "lora.rank=4"),
        ("lora={rank: 4}", "lora.rank=8"),
        ("devices.device-1.distance_m=4", "devices={device-1: {distance_m: 5}}"),
    ],
)
def test_path_given_twice_is_refused_with_both_values(first, second):
    given = ["show", "nominal", "--set", first, "--set", second]
    assert refusal(given, "") == (
        f"Error: --set {first} and --set {second} exclude each other; give one of them.\n"
    )


def test_paths_that_only_begin_alike_are_two():
    given = ["show", "nominal", "--set", "link.fading=block", "--set", "link.fading_draws=2"]
    assert CliRunner().invoke(app, given).exit_code == 0


def test_path_swept_twice_is_refused_with_both_lists():
    given = ["sweep", "nominal", "--over", "lora.rank=[4]", "--over", "lora.rank=[8]"]
    assert refusal(given, "") == (
        "Error: --over lora.rank=[4] and --over lora.rank=[8] exclude each other; "
        "give one of them.\n"
    )


def test_item_named_in_two_ways_is_refused():
    given = ["--set", "devices.0.distance_m=4", "--set", "devices.device-1.distance_m=5"]
    assert refusal(["show", "nominal", *given], "") == (
        "Error: devices.0 and devices.device-1 name one item; give one of them.\n"
    )


RATES = ["--uplink-bps", "9", "--downlink-bps", "9"]
WEIGHTS, NEAR = "objective.delay_weight=[0.2]", "devices.device-1.distance_m"


@pytest.mark.parametrize(
    ("given", "first", "second"),
    [
        (
            ["sweep", "nominal", "--over", WEIGHTS, "--set", "objective.delay_weight=0.9"],
            "--set objective.delay_weight=0.9",
            "the sweep over objective.delay_weight",
        ),
        (
            ["sweep", "nominal", "--over", f"{NEAR}=[9]", "--set", "devices.0.distance_m=5"],
            "--set devices.0.distance_m=5",
            f"the sweep over {NEAR}",
        ),
        (
            ["sweep", "nominal", "--over", "devices.00.distance_m=[9]", "--set", f"{NEAR}=5"],
            f"--set {NEAR}=5",
            "the sweep over devices.00.distance_m",
        ),
        (
            ["simulate", "nominal", "--rounds", "5", "--set", "simulation.rounds=6"],
            "--set simulation.rounds=6",
            "--rounds 5",
        ),
        (
            ["simulate", "nominal", "--seed", "0", "--set", "simulation={seed: 6}"],
            "--set simulation={seed: 6}",
            "--seed 0",
        ),
        (
            ["sweep", "nominal", "--over", WEIGHTS, "--seed", "0", "--set", "simulation.seed=6"],
            "--set simulation.seed=6",
            "seed 0",
        ),
        (
            ["sweep", "nominal", "--over", "simulation.rounds=[2, 3]", "--rounds", "5"],
            "rounds = 5",
            "over.simulation.rounds",
        ),
        (
            [
                "solve",
                "nominal",
                "--device",
                "device-1",
                "--uplink-bps",
                "9",
                "--downlink-bps",
                "9",
                "--state",
                "poor",
            ],
            "--state poor",
            "both rates",
        ),
    ],
)
def test_one_value_given_by_two_routes_is_refused(given, first, second):
    assert refusal(given, "") == (
        f"Error: {first} and {second} exclude each other; give one of them.\n"
    )


def test_one_value_swept_under_two_spellings_is_refused():
    given = ["--over", f"{NEAR}=[9]", "--over", "devices.0.distance_m=[9]"]
    assert refusal(["sweep", "nominal", *given], "") == (
        f"Error: over: devices.0.distance_m and {NEAR} are one value; sweep one of them.\n"
    )


@pytest.mark.parametrize("name", ["mine.yml", "policy.py", "page"])
def test_a_page_is_not_written_over_a_file_of_another_kind(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("base: nominal\n")
    monkeypatch.setattr("card.cli.studies.load_study", lambda *_: pytest.fail("it began"))
    assert refusal(["compare", "nominal", "nominal", "--html", name], "") == (
        f"Error: --html = {name!r} cannot be written; end it in .html or .htm.\n"
    )
    assert (tmp_path / name).read_text() == "base: nominal\n"


@pytest.mark.parametrize("place", ["folder", "new/"])
@pytest.mark.parametrize(
    "given",
    [
        ["compare", "nominal", "nominal", "--html"],
        ["profile", "--output"],
    ],
)
def test_a_folder_is_no_file_before_any_work(tmp_path, monkeypatch, given, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr("card.cli.studies.load_study", lambda *_: pytest.fail("it began"))
    monkeypatch.setattr("card.cli.profiling.load", lambda *_: pytest.fail("it began"))
    assert refusal([*given, place], "") == (
        f"Error: {given[-1]} = {place!r} cannot be written: it is a folder; name another "
        "file, or one in it.\n"
    )


NO_NAMES = [
    ["sweep", "nominal", "--over", "objective.delay_weight=[0.1]", "--figure", ".svg"],
    ["sweep", "nominal", "--over", "objective.delay_weight=[0.1]", "--output", ".csv"],
    ["simulate", "nominal", "--output", ".nc"],
    ["benchmark", "--output", ".nc"],
    ["figure", "cuts", "--output", ".pdf"],
    ["export", "sweep.nc", "--to", ".csv"],
    ["profile", "--output", "deep/.json"],
]


@pytest.mark.parametrize("given", NO_NAMES)
def test_an_ending_alone_is_no_name(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    assert refusal(given, "") == (
        f"Error: {given[-2]} = {given[-1]!r} cannot be written; put a name before the ending.\n"
    )


@pytest.mark.parametrize("command", ["profile", "leakage", "bits"])
def test_what_a_scenario_could_not_read_is_not_measured(tmp_path, monkeypatch, command):
    monkeypatch.setattr("card.cli.profiling.load", lambda *_: pytest.fail("it began"))
    monkeypatch.chdir(tmp_path)
    assert refusal([command, "--output", "x.txt"], "") == (
        "Error: --output = 'x.txt' cannot be written; end it in .json.\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        ["show", "a\x1b[31m.yml"],
        ["check", "a\nb.yml"],
        ["show", "nominal", "--set", "\x1b[31m=1"],
        ["show", "nominal", "--set", "devices.\x9b1m.distance_m=3"],
    ],
)
def test_a_refusal_is_one_line_that_commands_no_terminal(line):
    result = CliRunner().invoke(app, line, color=True)
    (said,) = result.output.splitlines()
    assert not set(said) & {"\x1b", "\x9b"}
    assert result.exit_code in (1, 2)


@pytest.mark.parametrize("odd", ["\x1b[31m", "\n", "\u2028"])
@pytest.mark.parametrize("command", sorted(GROUP.commands))
def test_no_text_of_a_command_line_commands_a_terminal(tmp_path, monkeypatch, command, odd):
    monkeypatch.chdir(tmp_path)
    params = GROUP.commands[command].params
    needed = {max(one.opts, key=len): one for one in params if one.required}
    taking = [one for one in params if not getattr(one, "is_flag", False)]
    for one in taking:
        name = max(one.opts, key=len)
        if "=" in str(one.metavar):  # whose values are YAML
            continue
        of = {other: "nominal" for other in needed if other != name} | {name: f"a{odd}b"}
        line = [command, *(word for key, word in of.items() if not key.startswith("-"))]
        line += [word for key, word in of.items() if key.startswith("-") for word in (key, word)]
        result = CliRunner().invoke(app, line, color=True)
        assert result.exit_code in (1, 2), line
        assert len(result.output.splitlines()) == 1, line
        assert odd not in result.output.removesuffix("\n"), line


@pytest.mark.parametrize("path", ["", ".a", "a..b", "a.", "link.", "sources.link.", "link.\u2028"])
@pytest.mark.parametrize("command", [["show", "nominal", "--set"], ["sweep", "nominal", "--over"]])
def test_a_path_without_a_name_is_refused_as_it_was_typed(path, command):
    said = refusal([*command, f"{path}=[1]"], "")
    assert said.startswith(f"Error: {command[-1]} {f'{path}=[1]'!r} is not allowed; write PATH=")
    assert len(said.splitlines()) == 1


def test_a_study_whose_name_would_command_a_terminal_is_refused(tmp_path):
    (tmp_path / "a\x1b[31m\n.yml").write_text("base: nominal\nlora: {rank: 0}\n", "utf-8")
    result = CliRunner().invoke(app, ["show", str(tmp_path / "a\x1b[31m\n.yml")], color=True)
    assert "cannot be printed; rename the file." in result.output


def test_what_libraries_warn_of_is_not_told(monkeypatch):
    def warned(*given):
        warnings.warn_explicit("this is typically slower", UserWarning, np.__file__, 1)
        return card.simulate(*given)

    monkeypatch.setattr("card.cli.model.run_simulation", warned)
    result = run("simulate", "nominal", "--rounds", 1)
    assert (result.exit_code, result.stderr) == (0, "")


def test_what_a_policy_prints_and_warns_of_leaves_the_document_alone(tmp_path):
    own = tmp_path / "own.py"
    own.write_text(
        "import warnings\n\ndef mine(system, draws, rng):\n    print('hello')\n"
        "    warnings.warn('one\\n\\x1b[31mtwo')\n    return 3, 2e9\n",
        "utf-8",
    )
    result = run("simulate", "nominal", "--policies", f"{own}:mine", "--rounds", 1, "--json")
    assert (result.exit_code, list(json.loads(result.stdout)["policies"])) == (0, ["mine"])
    assert "hello" in result.stderr
    assert "Warning: one \\x1b[31mtwo\n" in result.stderr
