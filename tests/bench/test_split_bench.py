"""What splitting costs: a training step over loopback beside the same step without a cut."""

import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory

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
CUTS, TURNS = (0, 4, 8), 3


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


def step_s(forward, backward, rest_s=0.0):
    """Time of a step that may rest before either half [s], without the rests.

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


def split_steps_s(parent, cut):
    """Times between the losses of one round, over real processes on loopback."""
    changes = {"llm": LLM, "training.local_iterations": STEPS}
    with TemporaryDirectory(dir=parent) as folder, ends() as start, kept_address() as address:
        run = Run(start, Path(folder) / "run", address, changes)
        server, device = run.server(rounds=2, cuts=[cut]), run.device("device-1")
        assert server.ends(300) == device.ends() == 0, server.error
    told = [event["elapsed_s"] for event in server.named("iteration") if event["round"] == 2]
    return [later - earlier for earlier, later in pairwise(told)]


def test_split_step_on_loopback(benchmark, notes, tmp_path):
    """Rounds of split steps take turns with steps without a cut, and each is beside its neighbours.

    For the speed of a machine that others share changes from one minute to the next.
    """
    scenario, before = card.load_scenario("test-bed", llm=LLM), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        halves = unsplit(scenario)
        benchmark.pedantic(step_s, halves, rounds=STEPS, warmup_rounds=3)

        def whole_s(rest_s=0.0):
            return median(step_s(*halves, rest_s) for _ in range(STEPS))

        kinds = {"that rests between its halves": partial(whole_s, whole_s() / 2)}
        for cut in CUTS:
            kinds[f"cut at {cut}"] = lambda cut=cut: median(split_steps_s(tmp_path, cut))
        for kind, taken_s in kinds.items():
            without_s, with_s = [whole_s()], []
            for _ in range(TURNS):
                with_s.append(taken_s())
                without_s.append(whole_s())
            ratios = [
                one / mean(around) for one, around in zip(with_s, pairwise(without_s), strict=True)
            ]
            notes.facts.append(
                f"{LLM}: a step {kind} takes {1e3 * median(with_s):.0f} ms, {median(ratios):.2f} x "
                f"({min(ratios):.2f} to {max(ratios):.2f}) the {1e3 * median(without_s):.0f} ms "
                "without a cut"
            )
    finally:
        torch.set_num_threads(before)
