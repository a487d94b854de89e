"""Measured profiles: read whole or refused, and used in place of datasheet numbers."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import card
from card.cli import app
from card.hardware import catalogue, hardware, load_profile, read_profile
from card.hardware.catalogue import profile_names

SPREAD = {"median_s": 1.0, "lower_s": 0.9, "upper_s": 1.1, "repeats": 5}
PART = {
    "forward": SPREAD,
    "backward": {**SPREAD, "median_s": 3.0},
    "forward_flop": 2 * 10**9,
    "backward_flop": 6 * 10**9,
    "saved_bit": 10,
}
ABSENT = {"value": None, "reason": "not offered here"}
RECORDED = {
    "format": "card-profile/1",
    "title": "A processor",
    "date": "2026-11-21",
    "hardware": None,
    "machine": {
        "processor": "A processor", "accelerator": False, "cores": 2, "memory_gb": 16.0,
        "system": "Linux x86_64",
    },
    "software": {"torch": "2.13.0"},
    "settings": {
        "llm": "llama-3.2-1b", "batch_size": 1, "sequence_length": 64, "activation_bits": 32,
        "rank": 8, "targets": ["q_proj", "v_proj"], "quick": True,
    },
    "parts": {
        "embedding": {**PART, "backward": None, "forward_flop": 0, "backward_flop": 0},
        "first_block": PART,
        "block": PART,
        "head": PART,
    },
    "smashed_bit": 1,
    "adapter_bit": 1,
    "clock_hz": {"value": 1e9, "reason": "as found"},
    "peak_memory_bit": ABSENT,
    "power_w": ABSENT,
    "energy_j": ABSENT,
    "whole_step": {"measured": {**SPREAD, "median_s": 10.0}, "predicted_s": 11.0},
    "power_law": None,
}  # fmt: skip
THROUGHPUT = 8e9 / 4.0
"""8 GFLOP of the block's training in 1 s forward and 3 s backward."""


def stored(folder, **changes):
    path = folder / "machine.json"
    path.write_text(json.dumps({**RECORDED, **changes}))
    return path


def test_a_profile_gives_the_rate_of_training_a_block_and_the_error_of_its_sum(tmp_path):
    profile = read_profile(stored(tmp_path))
    assert profile.throughput_flops == THROUGHPUT
    assert profile.whole_step.error == pytest.approx(0.1)


def test_intensity_is_work_over_bytes_and_the_ridge_where_both_ceilings_meet(tmp_path):
    parts = {**RECORDED["parts"], "block": {**PART, "moved_bit": 8 * 10**8}}
    limits = {"peak_flops": 6e9, "memory_byte_per_s": 2e9, "repeats": 7}
    profile = read_profile(stored(tmp_path, parts=parts, ceilings=limits))
    assert profile.parts["block"].intensity_flop_per_byte == 80.0  # 8 GFLOP over 0.1 GB
    assert profile.ceilings.ridge_flop_per_byte == 3.0


def test_a_file_without_ceilings_and_traffic_is_still_read(tmp_path):
    profile = read_profile(stored(tmp_path))
    assert profile.ceilings is None
    assert profile.parts["block"].intensity_flop_per_byte is None


def test_shipped_profiles_lie_below_their_ceilings_and_predict_their_step():
    for name in profile_names():
        profile = load_profile("profile", name)
        assert profile.throughput_flops < profile.ceilings.peak_flops
        if not profile.machine.accelerator:
            # uniform blocks: what a model of one time per part may miss on a machine at rest
            assert abs(profile.whole_step.error) < 0.15


def test_peak_is_cores_times_work_per_cycle_times_clock():
    # NVIDIA prints 22 TFLOP/s for the RTX 4060 Ti
    assert catalogue()["rtx-4060-ti"].peak_flops["fp32"] == 4352 * 2 * 2.535e9


def test_a_device_with_a_profile_computes_at_the_measured_rate(tmp_path):
    path = stored(tmp_path)
    scenario = card.load_scenario("nominal", **{"devices.device-1.hardware": str(path)})
    system = card.system(scenario)
    assert system.throughput_flops[0] == pytest.approx(THROUGHPUT, rel=1e-12)
    decision = card.solve(system, "device-1", 20e6, 60e6)
    costs = card.evaluate(system, 0, decision.cut, decision.frequency_hz, 20e6, 60e6)
    assert np.isfinite(decision.delay_s)
    assert np.isnan(costs.device_energy_j)


def test_a_profile_of_a_listed_machine_takes_what_it_did_not_measure_from_the_catalogue(tmp_path):
    path = stored(tmp_path, hardware="rtx-4060-ti")
    board, entry = hardware("server.hardware", str(path)), catalogue()["rtx-4060-ti"]
    assert board.cores * board.flop_per_core_cycle * board.clock_hz == pytest.approx(THROUGHPUT)
    assert (board.max_power_w, board.memory_gb) == (entry.max_power_w, entry.memory_gb)
    assert board.sources["flop_per_core_cycle"].kind == "measured"
    assert board.sources["max_power_w"].kind == "datasheet"
    assert card.system(card.load_scenario("nominal", **{"server.hardware": str(path)}))


def test_what_is_not_known_is_null_on_the_command_line(tmp_path):
    setting = f"devices.device-1.hardware={stored(tmp_path)}"
    arguments = ["solve", "nominal", "--device", "device-1", "--set", setting, "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["device_energy_j"] is None
    assert found["throughput_flops"] == pytest.approx(THROUGHPUT)


def test_a_study_names_a_profile_beside_itself(tmp_path):
    stored(tmp_path)
    study = tmp_path / "study.yml"
    study.write_text(
        "base: nominal\ntitle: t\ndevices: {device-2: {hardware: machine.json}}\n", "utf-8"
    )
    system = card.system(card.load_scenario(study))
    assert system.throughput_flops[1] == pytest.approx(THROUGHPUT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a whole JSON document: Expecting property name enclosed in double quotes"),
        (json.dumps(RECORDED)[:400], "is not a whole JSON document"),
        (b"\xff\xfe", "is not UTF-8 text (byte 1); save it as UTF-8."),
        ("[]", "holds [], not a mapping; record it again with card profile."),
        ("{}", "has format null; this version reads 'card-profile/1' and 'card-profile/2'"),
        ({"smashed_bit": "010"}, "smashed_bit is damaged"),
        ({"smashed_bit": True}, "smashed_bit is damaged"),
        ({"smashed_bit": 10**30}, "smashed_bit is damaged"),
        ({"format": "card-profile/9"}, "has format 'card-profile/9'; this version reads"),
        ({"smashed_bit": -1}, "smashed_bit is damaged"),
        ({"power_w": {"value": 1e300}}, "power_w.value is damaged"),
        (
            {"whole_step": {"measured": {**SPREAD, "lower_s": 5e-324}, "predicted_s": 1.0}},
            "whole_step.measured.lower_s is damaged",
        ),
        ({"clock_hz": {"value": 1e103}}, "clock_hz.value is damaged"),
        ({"extra": 1}, "extra is damaged"),
        ({"date": "yesterday"}, "date is damaged"),
        ({"parts": {"block": PART}}, "parts lacks embedding, first_block, head"),
        ({"clock_hz": {"value": None, "reason": None}}, "an absent reading needs its reason"),
    ],
)
def test_a_corrupt_truncated_or_foreign_profile_is_refused(tmp_path, content, message):
    path = stored(tmp_path, **content) if isinstance(content, dict) else tmp_path / "machine.json"
    if isinstance(content, str):
        path.write_text(content, "utf-8")
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(card.ScenarioError) as refused:
        card.load_scenario("nominal", **{"devices.device-1.hardware": str(path)})
    assert message in str(refused.value)
    assert str(path) in str(refused.value)


def test_what_a_profile_cannot_do_is_said(tmp_path):
    clockless = stored(tmp_path, clock_hz=ABSENT)
    with pytest.raises(card.ScenarioError, match=r"has no clock \(not offered here\)"):
        hardware("devices.device-1.hardware", str(clockless))
    path = stored(tmp_path)
    with pytest.raises(card.ScenarioError, match="has no power, which the server's energy needs"):
        card.load_scenario("nominal", **{"server.hardware": str(path)})
    overrides = {"devices.device-1.hardware": str(path), "devices.device-1.utilisation": 0.5}
    with pytest.raises(
        card.ScenarioError, match=r"utilisation = 0\.5 is not allowed with a measured"
    ):
        card.load_scenario("nominal", **overrides)
    with pytest.raises(card.ScenarioError, match="does not exist; give"):
        hardware("devices.device-1.hardware", str(tmp_path / "none.json"))
