"""Trains the tiny LLM that the test bed fine-tunes: ``python data/checkpoints/make.py``.

It learns English from the beginning of the book that no device has. That takes about five minutes
on a processor. One thread keeps the order of sums, so that another run on the same machine
gives the same weights; they are stored in bfloat16.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from card.base.data_files import DATA
from card.llm import public_config
from card.training.llm.models import seeded_model
from card.training.llm.text import mini_batch, read_tokenizer, read_tokens

LLM = "tiny-llama-0.5m"
BOOK = DATA / "books" / "congress.txt"
BEGINNING = 175_365
"""Tokens that it is trained on; the rest is held out."""
STEPS, BATCH, LENGTH, PEAK_RATE, WEIGHT_DECAY = 2000, 16, 64, 2e-3, 0.5
"""Twelve times through the book; strong decay, or so small a book is learned by heart."""


def main(folder: Path) -> None:
    """Train and store the checkpoint."""
    torch.set_num_threads(1)
    tokens = read_tokens(BOOK, read_tokenizer()[0], LENGTH)
    own, unseen = tokens[:BEGINNING], tokens[BEGINNING:]
    model = seeded_model(public_config(LLM), torch.float32, seed=0).requires_grad_(True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=STEPS)
    judged = mini_batch(unseen, 128, LENGTH, "held out").ids
    for step in range(1, STEPS + 1):
        ids = mini_batch(own, BATCH, LENGTH, step).ids
        loss = model(input_ids=ids, labels=ids).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 200 == 0:
            with torch.no_grad():
                found = model(input_ids=judged, labels=judged).loss.item()
            print(f"step {step}: loss {loss.item():.3f}, held out {found:.3f}", flush=True)
    model.to(torch.bfloat16).save_pretrained(folder / LLM)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
