"""Measures what few bits on the wire do to learning, as a table of loss penalties.

Both sides of a cut train in this process, and what would cross is written and read as the wire
does it. Held-out text is read by the whole LLM, without a wire: what counts is what was learned.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from card.base.errors import ScenarioError, repeated
from card.base.llm_configs import llm_name
from card.profiling.machine import measured_now
from card.scenario import Scenario
from card.scenario.leakage import Width
from card.scenario.penalties import FORMAT, Estimate, Learned, Penalised, PenaltyTable
from card.scenario.tables import check_llm
from card.training import rehearsal
from card.training.agreement import Job
from card.training.llm.split import Batch, optimiser, step
from card.training.llm.text import Tokens, held_out, mini_batch, read_tokens
from card.training.wire.quantised import Forms
from card.training.wire.wire_pb2 import Tensors

TEXTS = tuple(rehearsal.TEXTS.values())
"""The shipped books, one for each device of the test bed.

:meta hide-value:
"""
WIDTHS: tuple[Width, ...] = (16, 8, 4)
"""Bits per number that are compared."""
_VALIDATED = 16
_LEARNING_RATE = 1e-2

Pair = tuple[Width, Width]


def measure(
    scenario: Scenario,
    texts: Sequence[Path] = TEXTS,
    *,
    cuts: Sequence[int] | None = None,
    seeds: int = 5,
    rounds: int = 9,
    weights: Path | None = None,
    echo: Callable[[str], object] = lambda _: None,
) -> PenaltyTable:
    """Train at each cut with each pair of bits from each seed, and compare losses on held-out text.

    Parameters
    ----------
    scenario
        Its LLM, adapters, topology and mini-batches.
    texts
        A text for each device; devices take turns, and the last tenth of each text is held out.
    cuts
        Cuts to measure; the middle one and the one before if not given.
    seeds
        Repetitions with other mini-batches and other noise, two or more.
    rounds
        Turns in a training.
    weights
        Folder of a checkpoint; the shipped one, or random weights, if not given.
    echo
        Told what is being done.

    Raises
    ------
    ScenarioError
        If the LLM cannot be trained here, a cut sends nothing, a text is too short or given twice,
        or there are too few seeds for an interval.
    """
    if seeds < 2:
        raise ScenarioError(f"seeds = {seeds} gives no interval; give 2 or more.")
    if (twice := repeated(texts)) is not None:
        raise ScenarioError(f"text: {twice} is given twice; give each once.")
    if cuts is not None and (twice := repeated(cuts)) is not None:
        raise ScenarioError(f"cut: {twice} is given twice; give each once.")
    check_llm(llm_name(scenario.llm, scenario.llm_config))
    listed = {f"wire.{key}": list(WIDTHS) for key in ("uplink_bits", "downlink_bits")}
    lab = _Lab(Job.open(scenario.updated(listed), weights), texts, rounds)
    middle = lab.job.llm.num_blocks // 2
    cuts = sorted({max(middle - 1, 0), middle}) if cuts is None else list(cuts)
    for cut in cuts:
        if not 0 <= cut < lab.job.llm.num_blocks:
            raise ScenarioError(
                f"cut = {cut} sends no smashed data; give cuts from 0 to "
                f"{lab.job.llm.num_blocks - 1}."
            )
    pairs: list[Pair] = list(itertools.product(WIDTHS, WIDTHS))
    rows = []
    for cut in cuts:
        curves: dict[Pair, list[list[float]]] = {}
        for pair in pairs:
            echo(f"cut {cut}, {pair[0]} bits up, {pair[1]} down")
            curves[pair] = [lab.curve(cut, pair, seed) for seed in range(seeds)]
        rows += _penalised(cut, curves)
    echo("each text alone, 16 bits")
    settings = {
        "texts": list(lab.trained_on),
        "seeds": seeds,
        "rounds": rounds,
        "learning_rate": _LEARNING_RATE,
        "validated_sequences": _VALIDATED,
    }
    return PenaltyTable(
        format=FORMAT,
        topology=scenario.training.topology,
        penalties=tuple(rows),
        learned=tuple(lab.learned(name, middle, seeds) for name in lab.trained_on),
        **measured_now("card bits", scenario, weights, settings),
    )


def estimate(values: Sequence[float]) -> Estimate:
    """Mean of a few independent values with Student's 95 % interval."""
    from scipy.stats import t  # here, for it takes a third of a second to import

    mean, count = float(np.mean(values)), len(values)
    reach = float(t.ppf(0.975, count - 1)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Estimate(mean=mean, low=mean - reach, high=mean + reach)


def unigram_entropy(trained_on: Tokens, unseen: Tokens, vocabulary: int) -> float:
    """Cross-entropy of unseen tokens under counts of those trained on, one added to each [nat].

    What a model that knows how often each token comes, and nothing of its neighbours, loses.
    """
    counts = np.bincount(trained_on, minlength=vocabulary) + 1.0
    return float(-np.log(counts / counts.sum())[unseen].mean())


def _penalised(cut: int, curves: Mapping[Pair, Sequence[Sequence[float]]]) -> list[Penalised]:
    held = [curve[-1] for curve in curves[16, 16]]
    return [
        Penalised(
            cut=cut,
            uplink_bits=up,
            downlink_bits=down,
            curve=tuple(map(estimate, zip(*found, strict=True))),
            # the same seed has the same mini-batches, so that differences vary little
            **dict(estimate([one[-1] - own for one, own in zip(found, held, strict=True)])),
        )
        for (up, down), found in curves.items()
    ]


class _Lab:
    """One LLM, whose adapters begin anew with each training, and the texts of its devices."""

    def __init__(self, job: Job, texts: Sequence[Path], rounds: int) -> None:
        self.job, self.rounds = job, rounds
        self.length = job.scenario.training.sequence_length
        read = {text.stem: read_tokens(text, job.tokenizer, 20 * self.length) for text in texts}
        parts = {name: held_out(tokens) for name, tokens in read.items()}
        self.trained_on = {name: own for name, (own, _) in parts.items()}
        self.unseen = {name: unseen for name, (_, unseen) in parts.items() if unseen is not None}
        every = job.llm.adapters(0, job.llm.num_blocks)
        self._fresh = {name: tensor.clone() for name, tensor in every.items()}

    def curve(self, cut: int, pair: Pair, seed: int) -> list[float]:
        """Loss on all held-out texts, before training and after each round."""
        return self._trained(cut, pair, seed, list(self.trained_on), list(self.unseen))

    def learned(self, text: str, cut: int, seeds: int) -> Learned:
        """What training on one text alone does for it."""
        runs = [self._trained(cut, (16, 16), seed, [text], [text]) for seed in range(seeds)]
        adapted = [curve[-1] for curve in runs]
        vocabulary = self.job.llm.vocabulary
        return Learned(
            text=text,
            unigram=unigram_entropy(self.trained_on[text], self.unseen[text], vocabulary),
            base=runs[0][0],
            adapted=estimate(adapted),
            gain=estimate([runs[0][0] - loss for loss in adapted]),
        )

    def _trained(
        self, cut: int, pair: Pair, seed: int, turns: Sequence[str], judged: Sequence[str]
    ) -> list[float]:
        job, training = self.job, self.job.scenario.training
        job.llm.load_adapters(self._fresh)
        forms = replace(job.forms(*pair), seed=seed)
        losses = [self._loss(judged)]
        for number, name in zip(range(1, self.rounds + 1), itertools.cycle(turns), strict=False):
            update = optimiser(job.llm.trained(0, job.llm.num_blocks), _LEARNING_RATE)
            for iteration in range(1, training.local_iterations + 1):
                key = (seed, name, number, iteration)
                tokens = self.trained_on[name]
                batch = mini_batch(tokens, training.batch_size, self.length, *key)
                train_split(job, cut, batch, forms, number, iteration)
                step(update)
            losses.append(self._loss(judged))
        return losses

    @torch.no_grad()
    def _loss(self, names: Sequence[str]) -> float:
        losses = []
        for name in names:
            batch = mini_batch(self.unseen[name], _VALIDATED, self.length, "held out", name)
            losses.append(self.job.llm.model(input_ids=batch.ids, labels=batch.ids).loss.item())
        return float(np.mean(losses))


def train_split(
    job: Job, cut: int, batch: Batch, forms: Forms, number: int, iteration: int
) -> float:
    """Gradients of one mini-batch on both sides of a cut, through the bits of a wire; its loss.

    Parameters
    ----------
    job
        LLM and scenario.
    cut
        Blocks on the device, 0..I-1.
    batch
        The mini-batch.
    forms
        What would cross is written as.
    number, iteration
        Round and mini-batch, which the noise follows from.
    """
    device, server = job.device_side(cut), job.server_side(cut)

    def crossed(values: Tensor, kind: Tensors.Kind) -> Tensor:
        up = kind in (Tensors.SMASHED, Tensors.HIDDEN_GRADIENT)
        gradient = kind in (Tensors.GRADIENT, Tensors.HIDDEN_GRADIENT)
        return forms.crossed(values, number, iteration, kind, up=up, gradient=gradient)

    sent = device.forward(batch)
    sent["hidden"] = crossed(sent["hidden"], Tensors.SMASHED)
    if job.scenario.training.topology == "vanilla":
        loss, gradient = server.train(sent)
    else:
        final = crossed(server.forward(sent), Tensors.HIDDEN)
        loss, back = device.head(final)
        gradient = server.backward(crossed(back, Tensors.HIDDEN_GRADIENT))
    if gradient is not None:
        device.backward(crossed(gradient, Tensors.GRADIENT))
    return loss
