"""Whole runs of training in this one process: split on threads, and without a cut."""

from __future__ import annotations

import itertools
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from scipy.stats import binomtest

from card.llm import cut_profile
from card.scenario import Scenario
from card.training.agreement import Job
from card.training.device import Device
from card.training.llm.split import optimiser
from card.training.llm.text import held_out, mini_batch, read_tokens
from card.training.rehearsal import Event
from card.training.server import Server
from card.training.terms import Terms

_PATIENCE_S = 30.0


def rehearse(
    scenario: Scenario,
    texts: Mapping[str, Path],
    *,
    rounds: int,
    cuts: Sequence[int] = (),
    learning_rate: float = 1e-2,
) -> list[Event]:
    """Play a run with server and devices on threads of this process, over loopback.

    Parameters
    ----------
    scenario
        What to train.
    texts
        Text file of each device that takes part.
    rounds
        Rounds in all.
    cuts
        Cuts to go through in place of CARD's.
    learning_rate
        Step size of AdamW.

    Returns
    -------
    list of Event
        Everything that the server reported, oldest first.

    Raises
    ------
    ScenarioError
        If the scenario, a cut or a text is refused.
    DevicesMissingError
        If a device failed.
    """
    events: list[Event] = []
    listening = threading.Event()
    failures: list[Exception] = []

    def report(event: str, fields: Mapping[str, Any]) -> None:
        events.append({"event": event, **fields})
        if event == "listening":
            listening.set()

    def on_a_thread(work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except Exception as error:  # told by the thread that waits
                failures.append(error)
                listening.set()

        thread = threading.Thread(target=guarded)
        thread.start()
        return thread

    terms = Terms(
        rounds, learning_rate, patience_s=_PATIENCE_S, wait_for=len(texts), cuts=tuple(cuts)
    )
    with tempfile.TemporaryDirectory() as folder, _one_thread():
        server = Server(Job.open(scenario), terms, Path(folder), report)
        devices = [_device(scenario, name, text) for name, text in texts.items()]
        threads = [on_a_thread(lambda: server.run("127.0.0.1:0", None))]
        listening.wait()
        for device in [] if failures else devices:
            address = events[0]["address"]
            work = partial(device.run, address, None, patience_s=_PATIENCE_S)
            threads.append(on_a_thread(work))
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return events


def count_traffic(scenario: Scenario, device: str, text: Path) -> list[dict[str, int]]:
    """One round at every cut: what the model says crosses the link, and what did.

    Parameters
    ----------
    scenario
        What to train.
    device
        The device that trains.
    text
        Its text file.

    Returns
    -------
    list of dict
        Per cut, in bit per round, by the model `smashed_bit` up and `gradients_bit` down, adapters
        apart, and `adapter_bit` either way; as counted `up_bit`, `down_bit` and `framing_bit`.

    Raises
    ------
    ScenarioError
        If the scenario or the text is refused.
    """
    profile, iterations = cut_profile(scenario), scenario.training.local_iterations
    cuts = profile.cut.tolist()
    events = rehearse(scenario, {device: text}, rounds=len(cuts), cuts=cuts)
    counted = [event for event in events if event["event"] == "round"]
    return [
        {
            "cut": cut,
            "smashed_bit": iterations * int(profile.uplink_bit[cut]),
            "gradients_bit": iterations * int(profile.downlink_bit[cut]),
            "adapter_bit": int(profile.adapter_bit[cut]),
            **{name: event[name] for name in ("up_bit", "down_bit", "framing_bit")},
        }
        for cut, event in zip(cuts, counted, strict=True)
    ]


def _device(scenario: Scenario, name: str, text: Path) -> Device:
    job = Job.open(scenario)
    length = scenario.training.sequence_length
    tokens, unseen = held_out(read_tokens(text, job.tokenizer, least=length), length)
    return Device(job, name, tokens, lambda *_: None, unseen=unseen)


def train_unsplit(
    scenario: Scenario,
    texts: Mapping[str, Path],
    *,
    rounds: int,
    learning_rate: float = 1e-2,
) -> list[float]:
    """Train without cut, server or link, on the mini-batches that a run would have.

    Parameters are those of `rehearse`; the model is called as transformers' users call it.

    Returns
    -------
    list of float
        Loss of every mini-batch, in order.
    """
    job, training = Job.open(scenario), scenario.training
    length = training.sequence_length
    tokens = {
        name: held_out(read_tokens(text, job.tokenizer), length)[0] for name, text in texts.items()
    }
    size, losses = training.batch_size, []
    with _one_thread():
        for number, name in zip(range(1, rounds + 1), itertools.cycle(texts), strict=False):
            update = optimiser(job.llm.trained(0, job.llm.num_blocks), learning_rate)
            for iteration in range(1, training.local_iterations + 1):
                key = (scenario.simulation.seed, name, number, iteration)
                batch = mini_batch(tokens[name], size, length, *key)
                update.zero_grad()
                loss = job.llm.model(input_ids=batch.ids, labels=batch.labels).loss
                loss.backward()
                update.step()
                losses.append(loss.item())
    return losses


def recovered_tokens(scenario: Scenario, text: Path, cut: int) -> dict[str, float]:
    """Share of a mini-batch's tokens that the closest rows of the embedding give away [1].

    The laziest way to read smashed data: whoever has the frozen LLM can do it.

    Parameters
    ----------
    scenario
        What is trained.
    text
        Text file that the mini-batch is drawn from.
    cut
        Blocks on the device, 0..I-1.

    Returns
    -------
    dict
        Its `value`, and the `low` and `high` end of Wilson's 95 % interval over the tokens.
    """
    job, training = Job.open(scenario), scenario.training
    tokens = read_tokens(text, job.tokenizer)
    key = (scenario.simulation.seed, "recovered")
    batch = mini_batch(tokens, training.batch_size, training.sequence_length, *key)
    with _one_thread():
        smashed = job.device_side(cut).forward(batch)["hidden"].float()
        rows = job.llm.model.get_input_embeddings().weight.detach().float()
        closest = torch.cdist(smashed.flatten(0, 1), rows).argmin(dim=1)
    tried = batch.ids.flatten()
    test = binomtest(int((closest == tried).sum()), tried.numel())
    ends = test.proportion_ci(method="wilson")
    return {"value": test.statistic, "low": float(ends.low), "high": float(ends.high)}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, so that equal training gives equal bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
