"""With the core alone, every command works or names the extra that it needs."""

import json
import os
import subprocess

import pytest
from core_only import environment

SWEEP = ["sweep", "nominal", "--over", "objective.delay_weight=[0.2]", "--rounds", "1"]
WORK = [
    ["show", "nominal"],
    ["costs", "nominal"],
    ["solve", "nominal", "--device", "device-1"],
    ["simulate", "nominal", "--rounds", "2"],
    ["compare", "nominal", "bigger-llm", "--rounds", "2", "--html", "page.html"],
    SWEEP,
    ["benchmark", "--scenarios", "nominal", "--rounds", "2"],
    ["cite", "nominal"],
    ["new", "mine"],
    ["schema"],
    ["profile", "--compare", "cpu-epyc-2-cores"],
    ["--help"],
]
NEED = [
    ("book", ["book"]),
    ("book", ["pdf"]),
    ("book", [*SWEEP, "--figure", "x.svg"]),
    ("book", ["figure", "cuts"]),
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
    ("lab", "counted('mine', {'model_type': 'bloom'}, nominal.training, nominal.lora)"),
    ("sweep", "card.sweep(nominal, {'lora.rank': [4]}, rounds=1, output='x.nc')"),
    ("search", "card.simulate(nominal, ['genetic'], rounds=1)"),
    ("book", "importlib.import_module('card.figures.sweeps')"),
    ("lab", "importlib.import_module('card.training.checkpoint')"),
    ("lab", "importlib.import_module('card.profiling.measure')"),
    ("book", "importlib.import_module('card.book.pdf')"),
    ("book", "importlib.import_module('card.book.folds')"),
]
# one process for all, as each would import the same libraries again
SCRIPT = """
import importlib, json, pkgutil, re, sys
from typer.testing import CliRunner
import card, card.solver, card.studies.sensitivity
from card.cli import app
from card.llm.counted import counted

commands, calls = json.loads(sys.argv[1])
nominal = card.load_scenario("nominal")
said = []
for arguments in commands:
    result = CliRunner().invoke(app, arguments)
    said.append([result.exit_code, result.stderr, repr(result.exception)])
for call in calls:
    try:
        said.append([0, repr(eval(call)), ""])
    except card.ScenarioError as error:
        said.append([2, str(error), ""])
"""
EVERY_MODULE = """
unnamed = []
for found in pkgutil.walk_packages(card.__path__, "card.", onerror=lambda name: None):
    try:
        found.name == "card.__main__" or importlib.import_module(found.name)
    except card.base.errors.MissingExtraError as error:
        extra = re.search(r"pip install 'card-split-learning\\[(\\w+)\\]'", str(error))
        if not extra or extra[1] == sys.argv[2]:
            unnamed.append([found.name, str(error)])
    except ImportError as error:
        unnamed.append([found.name, str(error)])
print(json.dumps([said, unnamed]))
"""


def tell(folder, extra, commands, calls):
    """What commands and calls end with where one extra is installed, and modules that name none."""
    extras = (extra,) if extra else ()
    asked = [json.dumps([commands, calls]), extra or "none"]
    command = [environment(folder / "venv", *extras), "-c", SCRIPT + EVERY_MODULE, *asked]
    # not what the tests' own process was told: another path, or a debugger
    plain = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    plain["PYTHONDONTWRITEBYTECODE"] = "1"  # the links lead to files that others read just now
    done = subprocess.run(
        command, cwd=folder, env=plain, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    wanted = [*WORK, *(arguments for _, arguments in NEED)], [call for _, call in CALLS]
    return tell(tmp_path_factory.mktemp("core"), "", *wanted)


@pytest.fixture(scope="module")
def answers(core):
    return core[0]


def test_every_module_names_the_extra_that_it_needs(core):
    assert core[1] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "works"),
    [
        ("book", [*SWEEP, "--figure", "x.svg"]),
        ("sweep", [*SWEEP, "--output", "x.nc"]),
        ("lab", ["certs", "c"]),
        ("test", SWEEP),
    ],
)
def test_with_one_extra_alone_what_it_is_for_works(extra, works, tmp_path):
    other = [(name, arguments) for name, arguments in NEED if name != extra]
    asked = [works, *(arguments for _, arguments in other)]
    (first, *rest), unnamed = tell(tmp_path, extra, asked, [])
    assert first[0] == 0, first
    assert unnamed == []
    for (name, arguments), (code, message, _) in zip(other, rest, strict=True):
        if extra == "test" and {"figure", "--figure"} & {*arguments}:
            assert code == 0, (arguments, message)  # pymoo, of the tests, brings Matplotlib
            continue
        assert code == 2, (arguments, message)
        assert f"pip install 'card-split-learning[{name}]'" in message, (arguments, message)


def test_what_needs_no_extra_works(answers):
    for arguments, (code, errors, exception) in zip(WORK, answers, strict=False):
        assert code == 0, (arguments, errors, exception)


def test_what_needs_an_extra_names_it(answers):
    wanted = [*NEED, *CALLS]
    for (extra, asked), (code, message, _) in zip(wanted, answers[len(WORK) :], strict=True):
        assert code == 2, (asked, message)
        assert f"pip install 'card-split-learning[{extra}]'" in message, (asked, message)
        assert len(message.splitlines()) == 1
