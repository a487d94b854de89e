"""Configurations as publishers wrote them: counted right, or refused with what is missing.

The files in `published/` are written from what is public of each; the weights are the publishers'
own figures, with heads that are not tied to the embedding counted apart.
"""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from split_model import causal_lm
from torch.utils.flop_counter import FlopCounterMode

import card
from card.base.errors import ScenarioError
from card.llm import llm_costs
from card.scenario import read_scenario

FOLDER = Path(__file__).parent / "published"
PUBLISHED = {
    "tinyllama-1.1b": (1_100_048_384, "q_proj", "v_proj"),
    "pythia-160m": (162_322_944, "query_key_value"),
    "gemma-2b": (2_506_172_416, "q_proj", "v_proj"),
    "bloom-560m": (559_214_592, "query_key_value"),
    "opt-350m": (331_196_416, "q_proj", "v_proj"),
    "stablelm-2-1.6b": (1_644_515_328, "q_proj", "v_proj"),
    "starcoder2-3b": (3_030_371_328, "q_proj", "v_proj"),
    "granite-3.0-2b": (2_533_531_648, "q_proj", "v_proj"),
    "phi-2": (2_779_683_840, "q_proj", "v_proj"),
    "olmoe-1b-7b": (6_919_161_856, "q_proj", "v_proj"),
}
REFUSED = {
    "falcon-7b": "auto_map asks for code of the publisher's, which is never run here; leave it out",
    "mamba-130m": "no plain stack that could be cut anywhere: they mix tokens in other ways than",
    "flan-t5-small": "model_type = 't5' is no causal LM of the transformers that is installed",
}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def read(name, *targets):
    """Scenario of 32 tokens; whether the LLM fits a device is not asked."""
    values = {"llm": str(FOLDER / f"{name}.json"), "lora.targets": list(targets)}
    return read_scenario("nominal", **values, **{"training.sequence_length": 32})


def test_every_file_is_tried():
    assert {file.stem for file in FOLDER.iterdir()} == PUBLISHED.keys() | REFUSED.keys()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of peft's
@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_those_of_the_whole_model(name):
    parameters, *targets = PUBLISHED[name]
    scenario = read(name, *targets)
    costs = llm_costs(scenario)
    plain = causal_lm(json.loads((FOLDER / f"{name}.json").read_text("utf-8"))).eval()
    assert costs.parameters == sum(w.numel() for w in plain.parameters()) == parameters
    model = get_peft_model(
        plain, LoraConfig(r=8, target_modules=targets), autocast_adapter_dtype=False
    )
    trained = sum(w.numel() for w in model.parameters() if w.requires_grad)
    assert sum(cost.adapter_parameters for cost in costs.blocks) == trained
    ids = torch.zeros((1, 32), dtype=torch.int64, device="meta")
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss.backward()
    parts = (costs.embedding, *costs.blocks, costs.head)
    assert sum(part.flop for part in parts) == counter.get_total_flops()
    profile = card.cut_profile(scenario)
    assert set(profile.device_flop + profile.server_flop) == {counter.get_total_flops()}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_counted_says_what_is_missing(name):
    with pytest.raises(ScenarioError) as refusal:
        llm_costs(read(name, "q_proj"))
    assert REFUSED[name] in str(refusal.value)
    assert "\n" not in str(refusal.value)
