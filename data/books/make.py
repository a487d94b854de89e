"""Writes the books: ``python data/books/make.py brotli-1.2.1.tar.gz``, Brotli's source from PyPI.

Its tests carry four texts of the Canterbury corpus, all in the public domain. What Project
Gutenberg and the editors put around them is left out, and lines are tidied; no word is changed. Of
Paradise Lost the first books are kept, so that texts are of a size, and of the workshop's
proceedings all but the list of people's addresses. The proceedings are the book that no device
has; their beginning is what the tokenizer is trained on.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tarfile
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

ARCHIVE_SHA256 = "02b2f7b5a83485efe448a44ddf7983def05c3bb1dcf917d4f7154070260e13de"
BOOKS = {
    "carroll": ("alice29.txt", "CHAPTER I\n", None),
    "shakespeare": ("asyoulik.txt", "ACT I\n", None),
    "milton": ("plrabn12.txt", "Book I\n", "Book IV\n"),
    "congress": ("lcet10.txt", "INTRODUCTION\n", "Appendix III: DIRECTORY OF PARTICIPANTS\n"),
}
"""File in the archive, where the text begins, and before what it ends."""
NOBODYS = "congress"
BEGINNING = 364_865
"""Characters of that book that the tokenizer is trained on; the rest is held out."""
VOCABULARY = 512


def tidied(text: str, begin: str, end: str | None) -> str:
    """The text itself, without space around its lines and with one empty line at most."""
    text = re.sub(r" *\r?\n", "\n", text)
    start = text.index(begin)
    stop = text.index(end, start) if end else len(text.rstrip("\x1a"))
    lines = (re.sub(r"\s+", " ", line).strip() for line in text[start:stop].splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def tokenizer(text: str) -> Tokenizer:
    """Byte-level BPE, trained on the beginning of a text."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([text[:BEGINNING]], trainer)
    return made


def main(archive: Path, folder: Path) -> None:
    """Write all books, and the tokenizer."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != ARCHIVE_SHA256:
        raise SystemExit(f"{archive} has the SHA-256 {found}; give Brotli 1.2.1's source.")
    with tarfile.open(archive) as files:
        at = {Path(name).name: name for name in files.getnames() if "testdata" in name}
        for book, (name, begin, end) in BOOKS.items():
            raw = files.extractfile(at[name])
            assert raw is not None, name
            text = tidied(raw.read().decode("ascii"), begin, end)
            (folder / f"{book}.txt").write_text(text, encoding="utf-8", newline="\n")
    tokenizer((folder / f"{NOBODYS}.txt").read_text("utf-8")).save(str(folder / "tokenizer.json"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent)
