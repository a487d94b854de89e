"""What splitting costs: a training step over loopback beside the same step without a cut."""

from itertools import pairwise

import pytest

pytest.importorskip("torch")

import torch
from processes import Run, ends

import card
from card.training.agreement import Job
from card.training.llm.split import optimiser
from card.training.llm.text import mini_batch, read_tokens
from card.training.rehearsal import TEXTS

LLM, STEPS = "tiny-llama-8m", 24
"""The largest LLM that ships small enough to train here, and steps per round."""


def unsplit(scenario):
    """A training step of transformers' own, and its batches."""
    job, training = Job.open(scenario), scenario.training
    tokens = read_tokens(TEXTS["device-1"], job.tokenizer)
    update = optimiser(job.llm.trained(0, job.llm.num_blocks), 1e-2)
    batch = mini_batch(tokens, training.batch_size, training.sequence_length, "bench")

    def step():
        update.zero_grad()
        job.llm.model(input_ids=batch.ids, labels=batch.ids).loss.backward()
        update.step()

    return step


def split_steps_s(folder, cut):
    """Times between the losses of one round, over real processes on loopback."""
    changes = {"llm": LLM, "training.local_iterations": STEPS}
    with ends() as start:
        run = Run(start, folder, changes)
        server, device = run.server(rounds=2, cuts=[cut]), run.device("device-1")
        assert server.ends(300) == device.ends() == 0, server.error
    told = [event["elapsed_s"] for event in server.named("iteration") if event["round"] == 2]
    return [later - earlier for earlier, later in pairwise(told)]


def test_split_step_on_loopback(benchmark, notes, tmp_path):
    """The shortest of many steps on either side, for whatever else runs here only adds to them."""
    scenario, before = card.load_scenario("test-bed", llm=LLM), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        benchmark.pedantic(unsplit(scenario), rounds=2 * STEPS, warmup_rounds=3)
    finally:
        torch.set_num_threads(before)
    whole_s = benchmark.stats.stats.min
    for cut in (0, 4, 8):
        split_s = min(split_steps_s(tmp_path / str(cut), cut))
        notes.facts.append(
            f"{LLM}, cut {cut}: a split step takes {1e3 * split_s:.0f} ms, "
            f"{split_s / whole_s:.2f} x the {1e3 * whole_s:.0f} ms without a cut"
        )
