"""What splitting costs: a training step over loopback beside the same step without a cut."""

import time
from itertools import pairwise

import pytest

pytest.importorskip("torch")

import torch
from processes import Run, ends, kept_address

import card
from card.training.agreement import Job
from card.training.llm.split import optimiser
from card.training.llm.text import mini_batch, read_tokens
from card.training.rehearsal import TEXTS

LLM, STEPS = "tiny-llama-8m", 24
"""The largest LLM that ships small enough to train here, and steps per round."""


def unsplit(scenario):
    """The halves of a training step of transformers' own: forward, and backward."""
    job, training = Job.open(scenario), scenario.training
    tokens = read_tokens(TEXTS["device-1"], job.tokenizer)
    update = optimiser(job.llm.trained(0, job.llm.num_blocks), 1e-2)
    batch = mini_batch(tokens, training.batch_size, training.sequence_length, "bench")

    def forward():
        update.zero_grad()
        return job.llm.model(input_ids=batch.ids, labels=batch.ids).loss

    def backward(loss):
        loss.backward()
        update.step()

    return forward, backward


def rested_s(forward, backward, rest_s):
    """Time of a step that rests before either half, without the rests.

    Each end of a split step rests while the other computes, and a processor that has rested is
    slower for a while: this much is the machine's, not the split's.
    """
    spent_s, loss = 0.0, ()
    for half in (forward, backward):
        time.sleep(rest_s)
        begun_s = time.perf_counter()
        loss = (half(*loss),)
        spent_s += time.perf_counter() - begun_s
    return spent_s


def split_steps_s(folder, cut):
    """Times between the losses of one round, over real processes on loopback."""
    changes = {"llm": LLM, "training.local_iterations": STEPS}
    with ends() as start, kept_address() as address:
        run = Run(start, folder, address, changes)
        server, device = run.server(rounds=2, cuts=[cut]), run.device("device-1")
        assert server.ends(300) == device.ends() == 0, server.error
    told = [event["elapsed_s"] for event in server.named("iteration") if event["round"] == 2]
    return [later - earlier for earlier, later in pairwise(told)]


def test_split_step_on_loopback(benchmark, notes, tmp_path):
    """The shortest of many steps on either side, for whatever else runs here only adds to them."""
    scenario, before = card.load_scenario("test-bed", llm=LLM), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        forward, backward = unsplit(scenario)
        benchmark.pedantic(lambda: backward(forward()), rounds=2 * STEPS, warmup_rounds=3)
        whole_s = benchmark.stats.stats.min
        rested = min(rested_s(forward, backward, whole_s / 2) for _ in range(STEPS))
    finally:
        torch.set_num_threads(before)
    notes.facts.append(
        f"{LLM}: a step that rests between its halves computes for {1e3 * rested:.0f} ms, "
        f"{rested / whole_s:.2f} x as long as one that does not"
    )
    for cut in (0, 4, 8):
        split_s = min(split_steps_s(tmp_path / str(cut), cut))
        notes.facts.append(
            f"{LLM}, cut {cut}: a split step takes {1e3 * split_s:.0f} ms, "
            f"{split_s / whole_s:.2f} x the {1e3 * whole_s:.0f} ms without a cut"
        )
