"""Trains the tiny LLM that the test bed fine-tunes: ``python data/checkpoints/make.py``.

It takes about two minutes on a processor. One thread keeps the order of sums, so that another run
on the same machine gives the same weights; they are stored in bfloat16.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import torch

from card.base.data_files import DATA
from card.llm import public_config
from card.training.llm.models import seeded_model
from card.training.llm.text import mini_batch, read_tokenizer

LLM = "tiny-llama-0.5m"
KINDS = ("stories", "news")
"""Kinds of text that no device has."""
CHARACTERS, STEPS, BATCH, LENGTH, PEAK_RATE = 400_000, 1500, 16, 64, 3e-3


def main(folder: Path) -> None:
    """Train on a mix of the kinds and store the checkpoint."""
    torch.set_num_threads(1)
    make = runpy.run_path(str(DATA / "text" / "make.py"))
    tokenizer, _ = read_tokenizer()
    texts = [make["text"](kind, CHARACTERS) for kind in KINDS]
    corpora = [np.array(tokenizer.encode(text).ids) for text in texts]
    model = seeded_model(public_config(LLM), torch.float32, seed=0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=STEPS)
    for step in range(STEPS):
        halves = [
            mini_batch(c, BATCH // len(KINDS), LENGTH, i, step) for i, c in enumerate(corpora)
        ]
        ids = torch.cat([half.ids for half in halves])
        loss = model(input_ids=ids, labels=ids).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == STEPS - 1:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
    model.to(torch.bfloat16).save_pretrained(folder / LLM)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
