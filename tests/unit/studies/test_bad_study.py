"""Malformed studies: each is refused before a kernel starts, with what to write instead.

A message names the key, the value, what is allowed, and the nearest valid key where there is one.
"""

import pytest
from typer.testing import CliRunner

from card.cli import app

STUDIES = [
    # keys that do not exist
    ("bse: nominal", ["title", "are missing", "base: nominal"]),
    ("base: nominal\ntitel: x", ["titel is not a key", "did you mean 'title'?"]),
    ("base: nominal\nlink: {bandwith_hz: 1e6}", ["link.bandwith_hz", "'link.bandwidth_hz'?"]),
    ("base: nominal\nlink.bandwidth: 1e6", ["link.bandwidth is", "'link.bandwidth_hz'?"]),
    (
        "base: nominal\nobjective: {delay_wieght: 0.5}",
        ["objective.delay_wieght", "did you mean 'objective.delay_weight'?"],
    ),
    (
        "base: nominal\ndevices: {device-1: {distance: 50}}",
        ["devices.device-1.distance is", "'devices.device-1.distance_m'?"],
    ),
    ("base: nominal\nserver: {utilization: 0.5}", ["'server.utilisation'?"]),
    ("base: nominal\nchannel_states: {good: {gamma: 3}}", ["channel_states.good.gamma is not a"]),
    # names that do not exist
    ("base: nominl", ["base = 'nominl' is neither", "; did you mean 'nominal'?"]),
    ("base: missing.yml", ["missing.yml does not exist", "bigger-llm"]),
    ("base: [nominal]", ["base = ['nominal']", "give the name or the file"]),
    ("base: nominal\nllm: llama-3.2-1B", ["llm = 'llama-3.2-1B'", "did you mean 'llama-3.2-1b'?"]),
    ("base: nominal\nserver: {hardware: rtx-4090ti}", ["server.hardware", "'rtx-4090'?"]),
    (
        "base: nominal\ndevices: {device-1: {hardware: jetson-orin}}",
        ["devices.device-1.hardware = 'jetson-orin'", "did you mean 'jetson-"],
    ),
    ("base: nominal\ndevices: {device-9: {distance_m: 5}}", ["devices.device-9", "choose one of"]),
    ("base: nominal\nlora: {targets: [q_prj]}", ["q_prj", "q_proj"]),
    # wrong types
    ("base: nominal\ntraining: {batch_size: two}", ["training.batch_size = 'two'", "whole number"]),
    (
        "base: nominal\nsimulation: {rounds: 2.5}",
        ["simulation.rounds = 2.5", "from 1 to 1000000000"],
    ),
    ("base: nominal\nlink: {bandwidth_hz: '10e6'}", ["= '10e6'", "without quotes"]),
    ("base: nominal\nlink: 10e6", ["link = 10000000.0", "a mapping of keys to values"]),
    ("base: nominal\ndevices: 5", ["devices = 5", "give a list of at least 1"]),
    ("base: nominal\ntitle: ''", ["title = ''", "a text that is not blank"]),
    ("base: nominal\ntitle: 1e3", ["title = 1000.0", "that is not blank, in quotes"]),
    ("base: nominal\nllm: 012", ["llm = 12", "that is not blank, in quotes"]),
    ("base: nominal\ndevices: {device-1: {name: 012}}", ["name = 12", "not blank, in quotes"]),
    ("base: nominal\npolicies: [0x10]", ["policies.0 = 16", "that is not blank, in quotes"]),
    # out of range
    ("base: nominal\nobjective: {delay_weight: 1.5}", ["= 1.5", "a number from 0 to 1"]),
    (
        "base: nominal\nlink: {bandwidth_hz: -1}",
        ["link.bandwidth_hz = -1", "a number from 1000 to"],
    ),
    ("base: nominal\nlink: {bandwidth_hz: .inf}", ["= inf", "a finite number from 1000 to"]),
    (
        "base: nominal\ndevices: {device-1: {memory_share: 0}}",
        ["memory_share = 0", "from 1e-09"],
    ),
    ("base: nominal\nserver: {static_power_w: 200}", ["= 200", "below 160 W"]),
    ("base: nominal\nserver: {clock_step_hz: 3e9}", ["clock_step_hz = 3e+09", "at most 2.535e+09"]),
    ("base: nominal\ntraining: {topology: ring}", ["= 'ring'", "one of vanilla, u-shaped"]),
    # nothing to work with
    ("", ["is empty", "base: nominal"]),
    ("- base: nominal", ["write a mapping of keys to values"]),
    ("base: nominal\nlink: {bandwidth_hz: 1e6", ["not valid YAML"]),
    ("base: nominal\nllm: gpt-2\nllm: gpt-2", ["line 3", "'llm' is written twice"]),
    # a sweep
    ("base: nominal\nsweep: 5", ["sweep = 5", "a mapping"]),
    ("base: nominal\nsweep: {}", ["sweep.over is missing"]),
    (
        "base: nominal\nsweep: {ovr: {objective.delay_weight: [0.5]}}",
        ["sweep.ovr is not a key", "did you mean 'sweep.over'?"],
    ),
    (
        "base: nominal\nsweep: {over: {objective.delay_wieght: [0.5]}}",
        ["sweep.over.objective.delay_wieght", "did you mean 'objective.delay_weight'?"],
    ),
    (
        "base: nominal\nsweep: {over: {objective.delay_weight: [0.5, 1.5]}}",
        ["sweep.over.objective.delay_weight, value 1.5", "a number from 0 to 1"],
    ),
    (
        "base: nominal\nsweep: {over: {objective.delay_weight: 0.5}}",
        ["sweep.over.objective.delay_weight = 0.5", "give a list of at least 1"],
    ),
    (
        "base: nominal\nsweep: {over: {objective.delay_weight: []}}",
        ["sweep.over.objective.delay_weight = []", "give a list of at least 1"],
    ),
    (
        "base: nominal\nsweep: {over: {objective.delay_weight: [0.5]}, policies: [crad]}",
        ["policies = 'crad' is unknown", "did you mean 'card'?"],
    ),
    (
        "base: nominal\nsweep: {over: {objective.delay_weight: [0.5]}, rounds: 0}",
        ["sweep.rounds = 0", "a whole number from 1 to 1000000000"],
    ),
    (
        "base: nominal\nsweep: {over: {devices.device-1: [null]}}",
        ["sweep.over.devices.device-1, value null", "all points need the same"],
    ),
]


def test_there_are_forty_of_them_all_different():
    assert len({content for content, _ in STUDIES}) == len(STUDIES) >= 40


@pytest.mark.parametrize(
    ("content", "words"), STUDIES, ids=[content.replace("\n", "; ") for content, _ in STUDIES]
)
def test_a_malformed_study_gets_no_book(tmp_path, monkeypatch, content, words):
    monkeypatch.setattr("card.book.build.execute", lambda *_, **__: pytest.fail("a kernel started"))
    monkeypatch.setattr("card.book.build.ROOT", tmp_path)
    study = tmp_path / "study.yml"
    study.write_text(content)
    result = CliRunner().invoke(app, ["book", str(study)])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    for word in words:
        assert word in result.stderr
    assert list(tmp_path.iterdir()) == [study], "nothing was built"
