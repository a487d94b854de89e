"""`card schedule`: rounds of all devices side by side."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import card
from card.channel import state_rates
from card.cli import app
from card.solver.parallel import least_makespan

RUNNER = CliRunner()
EIGHT = ("--set", "training.batch_size=8", "--set", "training.accumulation=8")


def run(*arguments):
    return RUNNER.invoke(app, ["schedule", *arguments])


def test_prints_one_document_with_every_schedule():
    document = json.loads(run("nominal", *EIGHT, "--state", "good", "--json").stdout)
    assert list(document) == ["scenario", "state", "micro_batches", "devices", "schedules"]
    assert (document["state"], document["micro_batches"]) == ("good", 8)
    scenario = card.load_scenario(
        "nominal", **{"training.batch_size": 8, "training.accumulation": 8}
    )
    up, down = (rate[0] for rate in state_rates(scenario))
    device, told = np.arange(5), document["schedules"]
    turns = card.solve(scenario, device, up, down, 1.0)
    assert told["alternate"]["cut"] == turns.cut.tolist()
    assert told["alternate"]["delay_s"] == turns.delay_s.tolist()
    assert told["alternate"]["round_s"] == pytest.approx(turns.delay_s.sum())
    assert told["alternate"]["energy_j"] == pytest.approx(turns.energy_j.sum())
    pipelined = scenario.updated({"training.schedule": "pipelined"})
    faster = card.solve(pipelined, device, up, down, 1.0)
    assert told["pipelined"]["delay_s"] == faster.delay_s.tolist()
    found = least_makespan(scenario, device, up, down)
    assert told["parallel"]["round_s"] == found.makespan_s
    assert told["parallel"]["bound_s"] == found.bound_s
    assert told["parallel"]["band_share"] == found.band_share.tolist()
    assert told["parallel"]["server_share"] == found.server_share.tolist()


def test_prints_two_tables():
    text = run("nominal", *EIGHT).stdout
    for words in ("state normal, 8 micro-batches", "alternate", "pipelined", "parallel",
                  "band share", "server share", "device-5"):  # fmt: skip
        assert words in text
    assert "state normal, 1 micro-batch\n" in run("nominal").stdout


def test_refuses_in_one_line():
    result = run("nominal", "--state", "god")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean 'good'?" in result.stderr
    assert run("nominal", "--set", "training.schedule=parallel").exit_code == 2
