"""Writes the devices' texts and their tokenizer, always the same: ``python data/text/make.py``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from random import Random
from typing import Any

import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = Path(__file__).parent
DEVICES = ("weather", "recipes", "timetable", "machine-log", "letters")
CHARACTERS = 40_000
VOCABULARY = 512
SLOT = re.compile(r"\{(?:(\d+)-(\d+)|([\w-]+))\}")


def text(kind: str, characters: int, seed: int = 0) -> str:
    """Entries of one kind of text, at least so many characters."""
    grammar: dict[str, list[str]] = yaml.safe_load((HERE / "grammars.yml").read_text("utf-8"))[kind]
    random = Random(f"{kind}/{seed}").random  # the one method that stays the same over versions

    def entry(rule: str) -> str:
        choices = grammar[rule]
        return SLOT.sub(fill, choices[int(random() * len(choices))])

    def fill(slot: Any) -> str:
        low, high, rule = slot.groups()
        return entry(rule) if rule else str(int(low) + int(random() * (int(high) - int(low) + 1)))

    entries = []
    while sum(map(len, entries)) < characters:
        entries.append(entry("text"))
        entries[-1] = entries[-1][0].upper() + entries[-1][1:]
    return "".join(entries)


def tokenizer(texts: list[str]) -> Tokenizer:
    """Byte-level BPE trained on texts."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    return made


def main(folder: Path) -> None:
    """Write all files."""
    texts = {kind: text(kind, CHARACTERS) for kind in DEVICES}
    for kind, content in texts.items():
        (folder / f"{kind}.txt").write_text(content, encoding="utf-8", newline="\n")
    tokenizer(list(texts.values())).save(str(folder / "tokenizer.json"))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
