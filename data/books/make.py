"""Writes the books: ``python data/books/make.py brotli-1.2.1.tar.gz``, Brotli's source from PyPI.

Its tests carry texts of the Canterbury corpus, three of which are in the public domain. What
Project Gutenberg and the editors put around them is left out, and lines are tidied; no word is
changed. Of Paradise Lost the first books are kept, so that texts are of a size.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tarfile
from pathlib import Path

ARCHIVE_SHA256 = "02b2f7b5a83485efe448a44ddf7983def05c3bb1dcf917d4f7154070260e13de"
BOOKS = {
    "carroll": ("alice29.txt", "CHAPTER I\n", None),
    "shakespeare": ("asyoulik.txt", "ACT I\n", None),
    "milton": ("plrabn12.txt", "Book I\n", "Book IV\n"),
}
"""File in the archive, where the text begins, and before what it ends."""


def tidied(text: str, begin: str, end: str | None) -> str:
    """The text itself, without space around its lines and with one empty line at most."""
    text = re.sub(r" *\r?\n", "\n", text)
    start = text.index(begin)
    stop = text.index(end, start) if end else len(text.rstrip("\x1a"))
    lines = (re.sub(r"\s+", " ", line).strip() for line in text[start:stop].splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def main(archive: Path, folder: Path) -> None:
    """Write all books."""
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


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent)
