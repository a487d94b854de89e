"""What both ends of a training hold alike."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from machines import study

import card
from card.base.data_files import DATA
from card.base.errors import ScenarioError
from card.base.yaml_files import label

Job = pytest.importorskip("card.training.agreement").Job
WireError = pytest.importorskip("card.training.wire.tensors").WireError

from card.training import parts
from card.training.llm.holding import Part


def agreed(scenario):
    return Job(scenario, None, None, "").scenario_hash


def test_scenario_is_known_by_the_content_of_its_files(tmp_path):
    here, there = (card.load_scenario(study(tmp_path / name)) for name in ("a", "b"))
    other = card.load_scenario(study(tmp_path / "a", slower=2.0))
    assert agreed(here) == agreed(there) != agreed(other)


def test_titles_make_no_difference():
    nominal = card.load_scenario("nominal")
    assert agreed(nominal) == agreed(nominal.updated({"title": "t"}))


@pytest.mark.parametrize(("up", "down", "wrong"), [(16, 32, "uplink"), (4, 8, "downlink")])
def test_bits_that_the_scenario_does_not_list_are_not_agreed(up, down, wrong):
    listed = {"wire.uplink_bits": [32, 4], "wire.downlink_bits": [32]}
    job = Job.open(card.load_scenario("test-bed", **listed))
    assert job.forms(4, 32).up.bits == 4
    with pytest.raises(WireError, match=rf"bits are not among wire.{wrong}_bits, \["):
        job.forms(up, down)


@pytest.mark.parametrize(
    ("key", "value", "needed"),
    [
        ("gradient_checkpointing", True, "false"),
        ("accumulation", 2, "1"),
        ("schedule", "pipelined", "alternate"),
        ("optimiser", "sgd", "adamw"),
    ],
)
def test_what_is_only_counted_is_refused_before_anything_is_loaded(key, value, needed):
    scenario = card.load_scenario(
        "test-bed", **{f"training.{key}": value, "training.batch_size": 4}
    )
    with pytest.raises(ScenarioError) as refusal:
        Job.open(scenario, Path("no-such-folder"))
    assert str(refusal.value) == (
        f"training.{key} = {label(value)} cannot be run for real yet, only counted; give {needed}."
    )


def test_matrices_that_are_held_otherwise_than_counted_are_refused_before_they_are_read(tmp_path):
    bed, nf4 = card.load_scenario("test-bed"), {"training.base_weights": "nf4"}
    with pytest.raises(ScenarioError) as refusal:
        Job.open(bed.updated({**nf4, "llm": "tiny-llama-8m"}))
    assert str(refusal.value) == (
        "training.base_weights = nf4 is not how an LLM of random weights holds the matrices of "
        "blocks; give null, or --weights of a checkpoint that bitsandbytes wrote in nf4."
    )
    told = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    told |= {"bnb_4bit_use_double_quant": True, "bnb_4bit_quant_storage": "uint8"}
    folder = own_checkpoint(tmp_path / "mine", quantization_config=told)
    (folder / "model.safetensors").write_text("nothing that could be read")
    with pytest.raises(ScenarioError) as refusal:
        Job.open(bed, folder)
    assert str(refusal.value) == (
        f"training.base_weights = null is not how {folder} holds the matrices of blocks; give nf4."
    )
    with pytest.raises(ScenarioError, match=r"compute = cuda was not tested .*; give cpu\.$"):
        Job.open(bed.updated(nf4), folder, compute="cuda")


def own_checkpoint(folder, **changes):
    shutil.copytree(DATA / "checkpoints" / "tiny-llama-0.5m", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def test_checkpoint_without_a_tokenizer_of_its_own_is_refused(tmp_path):
    folder = own_checkpoint(tmp_path / "mine")
    with pytest.raises(ScenarioError) as refusal:
        Job.open(card.load_scenario("test-bed"), folder)
    assert str(refusal.value) == (
        f"{folder / 'tokenizer.json'} is missing, without which a text cannot be made into the "
        f"LLM's tokens; put the tokenizer.json of the LLM's publisher there."
    )


def test_checkpoint_of_another_llm_is_refused_before_weights_are_read(tmp_path, monkeypatch):
    folder = own_checkpoint(tmp_path / "mine", num_hidden_layers=3)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_text("nothing that could be read")
    with pytest.raises(ScenarioError, match="num_blocks is 3, not 4; give a checkpoint of"):
        Job.open(card.load_scenario("test-bed"), folder)


def test_an_end_without_memory_says_so_at_once(monkeypatch):
    monkeypatch.setattr(parts.psutil, "virtual_memory", lambda: SimpleNamespace(available=1e6))
    scenario = card.load_scenario("test-bed")
    for part, words in {
        parts.part_of_server(scenario): r"^the server needs \S+ GB for .* at cut 0, 0.001 GB of",
        parts.part_of_device(scenario, "device-1"): r"^the device needs \S+ GB for .* at cut 4, ",
    }.items():
        with pytest.raises(ScenarioError, match=words):
            Job.open(scenario, part=part)


def test_the_server_holds_what_any_device_leaves_to_it():
    far = card.load_scenario("test-bed", **{"training.cut_range": [2, 4]})
    assert parts.part_of_server(far) == Part(2, 4, False, True, all_adapters=True)
    apart = far.updated({"training.topology": "u-shaped"})
    assert parts.part_of_server(apart) == Part(2, 4, False, False, all_adapters=True)
    assert parts.part_of_device(apart, "device-1") == Part(0, 4, True, True)
