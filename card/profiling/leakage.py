"""Measures leakage: attacks on what the real runtime's devices send, as a table by cut and bits.

Each text in turn is private. The attacker knows the others, and has the LLM before fine-tuning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import get_args

import torch
from torch import Tensor

from card.base.errors import ScenarioError, repeated
from card.base.llm_configs import llm_name
from card.profiling.machine import measured_now
from card.scenario import Scenario
from card.scenario.leakage import (
    FORMAT,
    Attack,
    Attacked,
    LeakageTable,
    Recovery,
    Width,
)
from card.scenario.tables import check_llm
from card.training import rehearsal
from card.training.agreement import Job
from card.training.attacks import as_sent, final_gradient, infer_labels, inverter, search, smashed
from card.training.llm.split import AdaptedLlm, optimiser, step
from card.training.llm.text import Tokens, mini_batch, read_tokens

TEXTS = tuple(rehearsal.TEXTS.values())
"""The shipped books, one for each device of the test bed.

:meta hide-value:
"""
WIDTHS: tuple[Width, ...] = get_args(Width)
"""Bits per number that may go up."""

Row = tuple[Attack, int, Width]
Rate = tuple[Row, float]


@dataclass(frozen=True)
class Sizes:
    """How much is attacked, and what with."""

    known_tokens: int = 8192
    """Tokens of the texts that the attacker knows, and as many drawn at random."""
    rounds: int = 10
    """Rounds of fine-tuning on the private text before `late-inversion` and what follows."""
    learning_rate: float = 1e-2
    """Step size of AdamW there."""
    inverted: int = 32
    """Sequences whose tokens are decoded."""
    labelled: int = 4
    """Sequences whose labels are inferred."""
    searched: int = 2
    """Sequences that are searched."""
    searched_tokens: int = 12
    """Tokens of each."""


QUICK = Sizes(known_tokens=1024, rounds=1, inverted=4, labelled=1, searched=1, searched_tokens=4)
"""Sizes for a first look."""


def measure(
    scenario: Scenario,
    texts: Sequence[Path] = TEXTS,
    *,
    seeds: int = 2,
    sizes: Sizes | None = None,
    weights: Path | None = None,
    echo: Callable[[str], object] = lambda _: None,
) -> LeakageTable:
    """Attack each text in turn at every cut, and tell how many tokens are recovered.

    Parameters
    ----------
    scenario
        Its LLM, adapters and mini-batches; its topology makes no difference.
    texts
        Text files, two or more.
    seeds
        Repetitions with other known text, mini-batches and places that are attacked.
    sizes
        How much is attacked.
    weights
        Folder of a checkpoint; the shipped one, or random weights, if not given.
    echo
        Told what is being done.

    Raises
    ------
    ScenarioError
        If the LLM cannot be trained here, or there are too few or too short texts.
    """
    if len(texts) < 2:
        raise ScenarioError(
            f"text: {len(texts)} given; give two or more, of which each in turn is private."
        )
    if repeated(text.read_bytes() for text in texts if text.is_file()) is not None:
        raise ScenarioError(
            f"text: two of {', '.join(map(str, texts))} say the same, so that the attacker would "
            "know the private one; give each text once."
        )
    check_llm(llm_name(scenario.llm, scenario.llm_config))
    sizes = sizes or Sizes()
    scenario = scenario.updated({"training.topology": "u-shaped", "wire": {}})
    found: dict[Row, list[float]] = defaultdict(list)
    chances: list[float] = []
    for private in texts:
        for seed in range(seeds):
            # first, for it refuses what cannot be used
            trial = _Trial(Job.open(scenario, weights), private, texts, seed, sizes)
            echo(f"{private.stem}, seed {seed + 1} of {seeds}")
            for row, rate in trial.rates():
                found[row].append(rate)
            chances.append(trial.chance)
    settings = {**asdict(sizes), "texts": [text.stem for text in texts], "seeds": seeds}
    return LeakageTable(
        format=FORMAT,
        rates=tuple(
            Attacked(attack=attack, cut=cut, uplink_bits=bits, **_spread(rates))
            for (attack, cut, bits), rates in found.items()
        ),
        chance=Recovery(**_spread(chances)),
        **measured_now("card leakage", scenario, weights, settings),
    )


def _spread(rates: Sequence[float]) -> dict[str, float]:
    low, high = min(rates), max(rates)
    return {"rate": min(max(fmean(rates), low), high), "low": low, "high": high}


class _Trial:
    """One private text, one seed."""

    def __init__(
        self, job: Job, private: Path, texts: Sequence[Path], seed: int, sizes: Sizes
    ) -> None:
        self.job, self.seed, self.sizes = job, seed, sizes
        self.length = job.scenario.training.sequence_length
        held = job.scenario.training.activation_bits
        self.widths = [bits for bits in WIDTHS if bits <= held]
        self.group = job.scenario.wire.group
        least = 2 * self.length
        own = read_tokens(private, job.tokenizer, least)
        half = len(own) // 2
        self.trained_on, held_out = own[:half], own[half:]
        self.others = [read_tokens(t, job.tokenizer, least) for t in texts if t != private]
        self.attacked = self._drawn(held_out, sizes.inverted, "attacked")
        counts = torch.bincount(self.attacked.flatten())
        self.chance = float(counts.max() / counts.sum())

    def _drawn(self, tokens: Tokens, sequences: int, what: str) -> Tensor:
        return mini_batch(tokens, sequences, self.length, self.seed, what).ids

    def rates(self) -> Iterator[Rate]:
        """Shares of tokens that each attack gets right, by attack, cut and bits."""
        llm, cuts = self.job.llm, range(self.job.llm.num_blocks)
        decoders = [self._decoder(llm, cut) for cut in cuts]
        yield from self._inverted(llm, decoders, "inversion")
        self._tune(llm)
        yield from self._inverted(llm, decoders, "late-inversion")
        for cut in cuts:
            yield from self._searched(llm, cut)
            yield from self._labelled(llm, cut)

    def _decoder(self, llm: AdaptedLlm, cut: int) -> Callable[[Tensor], Tensor]:
        per_text = -(-self.sizes.known_tokens // self.length // len(self.others))
        known = [self._drawn(text, per_text, f"known {i}") for i, text in enumerate(self.others)]
        source = torch.Generator().manual_seed(self.seed)
        # whatever no known text has is learnt from random tokens
        shape = (len(self.others) * per_text, self.length)
        drawn = torch.randint(llm.vocabulary, shape, generator=source)
        ids = torch.cat([*known, drawn])
        hidden = smashed(llm, cut, ids).float().flatten(0, 1)
        return inverter(hidden, ids.flatten(), llm.vocabulary, self.seed)

    def _tune(self, llm: AdaptedLlm) -> None:
        """Fine-tune as the runtime does at some cut; the result depends on none."""
        training = self.job.scenario.training
        device, server = self.job.device_side(1), self.job.server_side(1)
        shape = training.batch_size, self.length
        for number in range(self.sizes.rounds):
            update = optimiser(llm.trained(0, llm.num_blocks), self.sizes.learning_rate)
            for iteration in range(training.local_iterations):
                key = self.seed, "tuning", number, iteration
                batch = mini_batch(self.trained_on, *shape, *key)
                final = server.forward(device.forward(batch))
                device.backward(server.backward(device.head(final)[1]))
                step(update)

    def _inverted(
        self, llm: AdaptedLlm, decoders: Sequence[Callable[[Tensor], Tensor]], attack: Attack
    ) -> Iterator[Rate]:
        for cut, decode in enumerate(decoders):
            sent = smashed(llm, cut, self.attacked).float()
            for bits in self.widths:
                guess = decode(as_sent(sent, bits, self.group))
                yield (attack, cut, bits), _share(guess, self.attacked)

    def _searched(self, llm: AdaptedLlm, cut: int) -> Iterator[Rate]:
        ids = self.attacked[: self.sizes.searched, : self.sizes.searched_tokens]
        sent = smashed(llm, cut, ids).float()
        ways = [as_sent(sent, bits, self.group) for bits in self.widths]
        found = torch.stack(
            [
                search(llm, cut, sequence, self.widths, self.group)
                for sequence in zip(*ways, strict=True)
            ]
        )
        for place, bits in enumerate(self.widths):
            yield ("search", cut, bits), _share(found[:, place], ids)

    def _labelled(self, llm: AdaptedLlm, cut: int) -> Iterator[Rate]:
        ids = self.attacked[: self.sizes.labelled]
        final, gradient = final_gradient(llm, cut, ids)
        arrived = [as_sent(gradient, bits, self.group) for bits in self.widths]
        for bits, labels in zip(self.widths, infer_labels(llm, final, arrived), strict=True):
            yield ("label-inference", cut, bits), _share(labels, ids[:, 1:])


def _share(guess: Tensor, truth: Tensor) -> float:
    return float((guess == truth).double().mean())
