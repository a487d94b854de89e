"""Whatever is wrong with a command line is one line: what was given, and what to give."""

import pytest
import typer
from typer.testing import CliRunner

from card.cli import app

COUNT = "give a whole number from 1 to 1000000000."
RATE = "give a finite number from 1e-100 to 1e+100."
GROUP = typer.main.get_command(app)


def refusal(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr


def taking_values():
    """Every command with each of its options that takes a value."""
    for name, command in GROUP.commands.items():
        for one in command.params:
            if one.param_type_name == "option" and not one.is_flag and "=" not in str(one.metavar):
                yield name, max(one.opts, key=len)


SOLVE = ("solve", "nominal", "--device", "device-1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("simulate", "nominal", "--rounds", "1.5"), f"--rounds = 1.5 is not allowed; {COUNT}"),
        (("simulate", "nominal", "--rounds", "1e3"), f"--rounds = 1e3 is not allowed; {COUNT}"),
        (("simulate", "nominal", "--rounds="), f"--rounds = '' is not allowed; {COUNT}"),
        (("sweep", "nominal", "--rounds", "٣"), f"--rounds = '٣' is not allowed; {COUNT}"),
        (("compare", "a", "b", "--rounds", "0"), f"--rounds = 0 is not allowed; {COUNT}"),
        (
            ("simulate", "nominal", "--seed", "-1"),
            "--seed = -1 is not allowed; give a whole number from 0 to 9223372036854775807.",
        ),
        ((*SOLVE, "--uplink-bps", "0x10"), f"--uplink-bps = '0x10' is not allowed; {RATE}"),
        ((*SOLVE, "--uplink-bps", "1_000"), f"--uplink-bps = '1_000' is not allowed; {RATE}"),
        ((*SOLVE, "--uplink-bps", "1e400"), f"--uplink-bps = 1e400 is not allowed; {RATE}"),
        ((*SOLVE, "--downlink-bps", "nan"), f"--downlink-bps = 'nan' is not allowed; {RATE}"),
        (
            ("bits", "--seeds", "1"),
            "--seeds = 1 is not allowed; give a whole number from 2 to 1000000000.",
        ),
        (("book", "--jobs", "0"), f"--jobs = 0 is not allowed; {COUNT}"),
        (
            ("certs", "x", "--days", "99999999"),
            "--days = 99999999 is not allowed; give a whole number from 1 to 36500.",
        ),
        (
            ("serve", "--patience", "inf"),
            "--patience = 'inf' is not allowed; give a finite number from 0 to 1000000000.",
        ),
        (("certs", ""), "folder = '' is not allowed; give a text that is not blank."),
        (
            ("sweep", "nominal", "--output", "\udcff.nc"),
            r"--output = '\udcff.nc' is not allowed; give letters that the locale's encoding has.",
        ),
        (
            ("profile", "--accelerator", "gpu"),
            "--accelerator = 'gpu' is not allowed; give one of cpu, cuda.",
        ),
        (("solve", "nominal"), "--device is missing; give it. Name of the device."),
        (("show",), "scenario is missing; give it. Name of a scenario or study, or its file"),
        (("show", "nominal", "x"), "Got unexpected extra argument(s) (x); see card show --help."),
        (
            ("simulate", "nominal", "--rounds"),
            "Option '--rounds' requires an argument; see card simulate --help.",
        ),
        (
            ("show", "nominal", "--json=1"),
            "Option '--json' does not take a value; see card show --help.",
        ),
        (
            ("simulate", "nominal", "--ronds=5"),
            "option = '--ronds' is unknown; did you mean '--rounds'?",
        ),
        (
            ("show", "-study.yml"),
            "option = '-study.yml' is unknown; choose one of --set, --json. Before a name that "
            "starts with a dash, put --.",
        ),
        (("solv", "nominal"), "command = 'solv' is unknown; did you mean 'solve'?"),
        (
            ("simulate", "nominal", "--policies", "card, card"),
            "--policies: card is given twice; give it once.",
        ),
        (
            ("simulate", "nominal", "--policies", "card,,"),
            "--policies card,,: a name is empty; give names between commas.",
        ),
        (("--nosuch",), "option = '--nosuch' is unknown; choose one of --version, --"),
        (
            ("simulate", "nominal", "--rounds", "5", "--rounds=6"),
            "--rounds is given twice; give it once.",
        ),
    ],
)
def test_a_refusal_names_the_value_and_what_is_allowed(arguments, message):
    said = refusal(*arguments)
    assert said.startswith(f"Error: {message}")
    assert said.count("\n") == 1


def numeric():
    """Every command with each of its options that takes a number, and the ends of its range."""
    for name, command in GROUP.commands.items():
        for one in command.params:
            if getattr(one, "min", None) is not None:
                yield name, max(one.opts, key=len), one.min, one.max


def line(command, name, value):
    """A command line on a scenario that is none, so that nothing is done if all else is right."""
    params = GROUP.commands[command].params
    needed = {max(one.opts, key=len): "nominl" for one in params if one.required}
    asked = {"benchmark": ["--scenarios", "nominl"]}.get(command, [])
    if command in ("certs", "leakage", "bits", "serve", "join", "book"):
        asked = ["nominl"] if command != "certs" else ["--scenario", "nominl"]
    if command == "figure":
        needed = {"name": "cuts", "scenario": "nominl"}
    words = [word for key, word in needed.items() if not key.startswith("-")]
    words += [w for key, word in needed.items() if key.startswith("-") and key != name
              for w in (key, word)]  # fmt: skip
    return command, *words, *asked, f"{name}={value}"


@pytest.mark.parametrize(("command", "name", "least", "most"), [*numeric()])
def test_the_range_of_a_number_that_help_shows_is_the_one_that_is_enforced(
    command, name, least, most
):
    beyond = (least - 1, most + 1) if isinstance(least, int) else (least / 2 - 1e-9, most * 2)
    for value in beyond:
        said = refusal(*line(command, name, value))
        assert said.startswith(f"Error: {name} = {value} is not allowed; give a ")
        text = "".join(run_help(command).split())
        assert f"{least:g}<=x<={most:g}" in text or f"{least}<=x<={most}" in text
        assert said.endswith(f" from {least} to {most}.\n") or said.endswith(
            f" from {least:g} to {most:g}.\n"
        )
    for value in (least, most):
        assert name not in refusal(*line(command, name, value)), value


def run_help(command):
    """What help says, without the frame around it."""
    text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300"}).stdout
    return text.replace("│", "")


@pytest.mark.parametrize(("command", "name"), [*taking_values()])
def test_no_option_takes_an_empty_value(command, name):
    params = GROUP.commands[command].params
    names = ["x" for one in params if one.param_type_name == "argument"]
    others = [max(one.opts, key=len) for one in params if one.required and one.opts != [name]]
    needed = [
        word for other in others if other.startswith("-") and other != name for word in (other, "x")
    ]
    said = refusal(command, *names, *needed, name, "")
    assert said.startswith(f"Error: {name} ")
    assert said.count("\n") == 1


def test_a_name_that_starts_with_a_dash_is_one_behind_two_dashes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-study.yml").write_text("base: nominal\ntitle: t\n", "utf-8")
    assert CliRunner().invoke(app, ["show", "--json", "--", "-study.yml"]).exit_code == 0


def test_a_number_may_have_many_digits():
    rate = f"1{'0' * 6}.{'0' * 60}1"
    assert CliRunner().invoke(app, [*SOLVE, "--uplink-bps", rate]).exit_code == 0


def test_without_anything_help_is_printed():
    assert "Usage" in CliRunner().invoke(app, []).stdout
