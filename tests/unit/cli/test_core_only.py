"""With the core alone, every command works or names the extra that it needs."""

import json
import subprocess

import pytest
from core_only import core_only

SWEEP = ["sweep", "nominal", "--over", "objective.delay_weight=[0.2]", "--rounds", "1"]
WORK = [
    ["show", "nominal"],
    ["costs", "nominal"],
    ["solve", "nominal", "--device", "device-1"],
    ["simulate", "nominal", "--rounds", "2"],
    ["compare", "nominal", "bigger-llm", "--rounds", "2", "--html", "page.html"],
    SWEEP,
    ["new", "mine"],
    ["schema"],
    ["profile", "--compare", "cpu-epyc-2-cores"],
    ["--help"],
]
NEED = [
    ("book", ["book"]),
    ("book", ["pdf"]),
    ("book", [*SWEEP, "--figure", "x.svg"]),
    ("sweep", [*SWEEP, "--output", "x.nc"]),
    ("sweep", [*SWEEP, "--dask", "tcp://127.0.0.1:1"]),
    ("lab", [*SWEEP, "--library", "torch"]),
    ("lab", ["profile", "--quick"]),
    ("lab", ["certs", "c"]),
    ("lab", ["serve", "--threads", "1"]),
    ("lab", ["join", "--device", "device-1", "--data", "x"]),
]
CALLS = [
    ("lab", "card.simulate(nominal, rounds=1, library='torch')"),
    ("lab", "card.studies.sensitivity.gradients(nominal, rounds=1)"),
    ("lab", "card.solver.compiled(nominal)"),
    ("sweep", "card.sweep(nominal, {'lora.rank': [4]}, rounds=1, output='x.nc')"),
    ("book", "importlib.import_module('card.figures.sweeps')"),
    ("lab", "importlib.import_module('card.training.checkpoint')"),
    ("lab", "importlib.import_module('card.profiling.measure')"),
]
# one process for all, as each would import the same libraries again
SCRIPT = """
import importlib, json, sys
from typer.testing import CliRunner
import card, card.solver, card.studies.sensitivity
from card.cli import app

commands, calls = json.loads(sys.argv[1])
nominal = card.load_scenario("nominal")
said = []
for arguments in commands:
    result = CliRunner().invoke(app, arguments)
    said.append([result.exit_code, result.stderr, repr(result.exception)])
for call in calls:
    try:
        said.append([0, eval(call), ""])
    except card.ScenarioError as error:
        said.append([2, str(error), ""])
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("core")
    asked = [[*WORK, *(arguments for _, arguments in NEED)], [call for _, call in CALLS]]
    command = [core_only(folder / "venv"), "-c", SCRIPT, json.dumps(asked)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_needs_no_extra_works(answers):
    for arguments, (code, errors, exception) in zip(WORK, answers, strict=False):
        assert code == 0, (arguments, errors, exception)


def test_what_needs_an_extra_names_it(answers):
    wanted = [*NEED, *CALLS]
    for (extra, asked), (code, message, _) in zip(wanted, answers[len(WORK) :], strict=True):
        assert code == 2, (asked, message)
        assert f"pip install 'card[{extra}]'" in message, (asked, message)
        assert len(message.splitlines()) == 1
