"""What a device holds at its peak is what the model counts, M(c), not the whole LLM."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from card.base.llm_configs import public_config
from card.llm.architectures import architecture_of
from card.llm.cuts import profile_of
from card.scenario import Lora, Training

CONFIG = {
    **public_config("llama-3.2-1b"),
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 18,
    "num_attention_heads": 20,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "vocab_size": 64_000,
}
CUT, BATCH, LENGTH = 5, 1, 64
LORA = Lora(rank=8, targets=("q_proj", "v_proj"), adapter_bits=32)
PROGRAM = """
import json, sys
import torch
from card.scenario import Lora
from card.training.llm.holding import Part
from card.training.llm.proof import check_split
from card.training.llm.split import AdaptedLlm, Batch, DeviceSide, optimiser, step

def peak():
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])

raw, cut, shape, lora, trains = json.loads(sys.argv[1])
torch.set_num_threads(1)
lora = Lora(**lora)
check_split("llama", raw, lora, "vanilla")  # trains a small copy
if trains:
    llm = AdaptedLlm.build(raw, lora, torch.float32, part=Part(0, cut, True, False))
    llm.fingerprint()
    side, update = DeviceSide(llm, cut, "vanilla"), optimiser(llm.trained(0, cut), 1e-3)
    for _ in range(2):
        sent = side.forward(Batch(torch.ones(shape, dtype=torch.int64)))
        side.backward(torch.ones_like(sent["hidden"]))
        step(update)
print(peak())
"""


def peak_byte(trains):
    told = json.dumps([CONFIG, CUT, [BATCH, LENGTH], LORA.model_dump(mode="json"), trains])
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, told], capture_output=True, text=True, check=True
    )
    return int(run.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells no peak of memory")
def test_peak_memory_of_a_device_is_that_of_its_part():
    """LLM of 500 million weights; beside M(c) is only what Python and torch hold before."""
    arch = architecture_of("half", CONFIG)
    training = Training(
        batch_size=BATCH,
        sequence_length=LENGTH,
        local_iterations=1,
        activation_bits=32,
        weight_bits=32,
        topology="vanilla",
        cut_range=(0, None),
    )
    counted = int(profile_of(arch, training, LORA).device_memory_bit[CUT]) // 8
    whole = 4 * arch.parameters
    assert 4.8e8 < arch.parameters < 5.5e8
    baseline, peak = peak_byte(trains=False), peak_byte(trains=True)
    print(
        f"\nbaseline {baseline / 1e6:.0f} MB, peak {peak / 1e6:.0f} MB, M({CUT}) "
        f"{counted / 1e6:.0f} MB, whole LLM {whole / 1e6:.0f} MB"
    )
    assert peak - baseline == pytest.approx(counted, rel=0.15)
    assert peak - baseline < whole / 2
