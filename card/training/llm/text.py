"""Personal text as token ids, and the mini-batches that a device draws from it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer

from card.base.data_files import DATA
from card.base.errors import ScenarioError
from card.training.llm.split import Batch

TOKENIZER = DATA / "books" / "tokenizer.json"
"""The shipped tokenizer, byte-level BPE of 512 entries, trained on English.

:meta hide-value:
"""

Tokens = npt.NDArray[np.int64]


def read_tokenizer(path: Path = TOKENIZER) -> tuple[Tokenizer, str]:
    """Tokenizer of a `tokenizer.json`, and the SHA-256 of that file.

    Both ends of a cut compare the hash: with another tokenizer the same ids are another text.

    Raises
    ------
    ScenarioError
        If the file is missing or holds no tokenizer.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ScenarioError(f"the tokenizer {path} cannot be read: {error.strerror}.") from error
    try:
        tokenizer = Tokenizer.from_buffer(data)
    # the tokenizers package raises nothing more specific
    except Exception as error:
        raise ScenarioError(
            f"{path} is not a tokenizer ({error}); give a tokenizer.json of the tokenizers package."
        ) from error
    return tokenizer, hashlib.sha256(data).hexdigest()


def read_tokens(path: Path, tokenizer: Tokenizer, least: int = 2) -> Tokens:
    """Token ids of a text file, (K,).

    Parameters
    ----------
    path
        A file of UTF-8 text.
    tokenizer
        As `read_tokenizer` returns it.
    least
        Tokens that it must have, the length of a sequence.

    Raises
    ------
    ScenarioError
        If the file is missing, empty, not UTF-8, or too short.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"the text {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(
            f"{path} is not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x}); "
            f"save it as UTF-8."
        ) from error
    if not text.strip():
        raise ScenarioError(f"{path} has no text in it; give a file with the text to train on.")
    tokens = np.array(tokenizer.encode(text).ids, dtype=np.int64)
    if len(tokens) < least:
        raise ScenarioError(
            f"{path} has {len(tokens)} tokens; give at least {least}, one sequence."
        )
    return tokens


def held_out(tokens: Tokens, least: int = 1) -> tuple[Tokens, Tokens | None]:
    """A text's first nine tenths, to train on, and its last tenth, to see what was learned.

    Parameters
    ----------
    tokens
        Token ids, (K,).
    least
        Tokens that the tenth must have, or all are trained on and none is held out.
    """
    unseen = len(tokens) // 10
    if unseen < least:
        return tokens, None
    return tokens[:-unseen], tokens[-unseen:]


def mini_batch(tokens: Tokens, batch_size: int, sequence_length: int, *key: int | str) -> Batch:
    """Sequences from random places of a text, the same ones for the same key on every machine.

    There is no state, so an iteration that is repeated after a fault has the mini-batch it had.

    Parameters
    ----------
    tokens
        Token ids, (K,).
    batch_size
        Sequences (B).
    sequence_length
        Tokens of each sequence (L).
    *key
        What names the mini-batch, such as seed, device, turn and iteration.

    Raises
    ------
    ScenarioError
        If the text is shorter than a sequence.
    """
    places = len(tokens) - sequence_length + 1
    if places < 1:
        raise ScenarioError(
            f"training.sequence_length = {sequence_length} exceeds the {len(tokens)} tokens of the "
            f"text; give at most {len(tokens)}, or more text."
        )
    digest = hashlib.sha256(repr(key).encode()).digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
    starts = random.integers(places, size=batch_size)
    ids = tokens[starts[:, None] + np.arange(sequence_length)]
    return Batch(torch.from_numpy(ids))
