"""What a run needs to go on after its machine stopped: adapters and state after a round.

A checkpoint is a directory that appears whole or not at all, and shows by its manifest whether it
is still as written. Two are kept, so that one is left when the newest is damaged.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from card.training.wire.tensors import encode

_VERSION = 1
_KEPT = 2
_ADAPTERS, _STATE, _MANIFEST = "adapters.safetensors", "state.json", "manifest.json"
_KEYS = {"version", "round", "files"}
_UNFINISHED = ".unfinished-"


class CheckpointError(Exception):
    """A checkpoint that cannot be used, what is wrong with it, and which one can be."""


@dataclass(frozen=True)
class Checkpoint:
    """What a run was after a round."""

    path: Path
    """Directory that it was read from."""
    round: int
    """Round that was finished."""
    adapters: dict[str, Tensor]
    """Trained weights by name."""
    state: dict[str, Any]
    """Everything else, as JSON has it."""


def save(
    folder: Path | str, round: int, adapters: Mapping[str, Tensor], state: Mapping[str, Any]
) -> Path:
    """Write the checkpoint of a round; only the two newest stay.

    A run that went back to an earlier round takes another course from there: checkpoints of this
    round and later ones are replaced. One process at a time may write to a folder.

    Parameters
    ----------
    folder
        Of all checkpoints of a run; made if it is missing.
    round
        Round that is finished, from 0.
    adapters
        Trained weights by name.
    state
        Everything else, of which JSON can hold every value.

    Returns
    -------
    Path
        The new directory, such as `round-000012`; once it is returned, it outlasts a power cut.

    Raises
    ------
    CheckpointError
        If the state is not JSON, or the folder cannot be written.
    """
    folder = Path(folder)
    try:
        contents = {_ADAPTERS: encode(adapters), _STATE: _json(dict(state))}
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the state of round {round} cannot be saved: {error}.") from None
    listed = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in contents.items()
    }
    contents[_MANIFEST] = _json({"version": _VERSION, "round": round, "files": listed})
    target = folder / _name(round)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover)
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder))
        try:
            _fill(unfinished, contents)
            for other in _rounds(folder):
                if other >= round:
                    _remove(folder / _name(other))
            unfinished.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        _sync(folder)
        for other in _rounds(folder)[:-_KEPT]:
            _remove(folder / _name(other))
    except OSError as error:
        raise CheckpointError(
            f"{target} cannot be written ({error.strerror}); earlier checkpoints are as they were."
        ) from None
    return target


def latest(folder: Path | str) -> Checkpoint | None:
    """Newest checkpoint in a folder, or None if there is none.

    Raises
    ------
    CheckpointError
        If it is damaged; going back to an earlier round is for the user to decide.
    """
    rounds = _rounds(Path(folder))
    return read(Path(folder) / _name(rounds[-1])) if rounds else None


def read(path: Path | str) -> Checkpoint:
    """One checkpoint, if it is whole.

    Raises
    ------
    CheckpointError
        Saying which file is missing or changed, and which checkpoint is whole.
    """
    path = Path(path)
    try:
        return _read(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}; {_remedy(path)}.") from None


def _read(path: Path) -> Checkpoint:
    parts = re.fullmatch(r"round-(\d{6,})", path.name)
    if not parts or not path.is_dir():
        raise CheckpointError("is not a checkpoint")
    manifest = _manifest(_bytes(path, _MANIFEST))
    if manifest["round"] != int(parts[1]):
        raise CheckpointError(f"has the {_MANIFEST} of round {manifest['round']}")
    contents = {name: _bytes(path, name) for name in (_ADAPTERS, _STATE)}
    for name, data in contents.items():
        size, digest = manifest["files"][name]["bytes"], manifest["files"][name]["sha256"]
        if len(data) < size:
            raise CheckpointError(f"is damaged: {name} is truncated, {len(data)} of {size} bytes")
        if len(data) > size or hashlib.sha256(data).hexdigest() != digest:
            raise CheckpointError(f"is damaged: {name} has changed since it was written")
    try:
        return Checkpoint(path, int(parts[1]), load(contents[_ADAPTERS]), _parsed(contents[_STATE]))
    except (SafetensorError, ValueError):
        raise CheckpointError("was not written by this program") from None


def _manifest(data: bytes) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = _parsed(data)
        if manifest["version"] != _VERSION:
            raise CheckpointError(
                f"has version {manifest['version']}, and this program reads {_VERSION}"
            )
        wanted = {name: {"bytes": int, "sha256": str} for name in (_ADAPTERS, _STATE)}
        files = manifest["files"].items()
        found = {name: {key: type(value) for key, value in e.items()} for name, e in files}
        # written anew, what was read must be the same, so any byte that changed shows
        if found == wanted and _json(manifest) == data and manifest.keys() == _KEYS:
            return manifest
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise CheckpointError(f"is damaged: {_MANIFEST} has changed since it was written")


def _remedy(path: Path) -> str:
    """What to do instead of reading a checkpoint that is not whole."""
    for other in reversed(_rounds(path.parent)):
        whole = path.parent / _name(other)
        with suppress(CheckpointError):
            if whole != path and _read(whole):
                return f"resume from {whole.name} with --resume {whole.name}"
    return "no whole checkpoint is left, so start anew"


def _fill(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files that outlast a power cut."""
    for name, data in contents.items():
        with (folder / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    _sync(folder)


def _bytes(path: Path, name: str) -> bytes:
    try:
        return (path / name).read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"is damaged: {name} is missing") from None
    except OSError as error:
        raise CheckpointError(f"has a {name} that cannot be read ({error.strerror})") from None


def _name(round: int) -> str:
    return f"round-{round:06d}"


def _rounds(folder: Path) -> list[int]:
    """Rounds that have a checkpoint, whole or not, in order."""
    names = (re.fullmatch(r"round-(\d{6,})", path.name) for path in folder.glob("round-*"))
    return sorted(int(parts[1]) for parts in names if parts)


def _remove(path: Path) -> None:
    """Remove a checkpoint so that no part of it is ever taken for one."""
    doomed = path.with_name(f"{_UNFINISHED}{path.name}")
    path.rename(doomed)
    shutil.rmtree(doomed)


def _sync(folder: Path) -> None:
    """Have the names in a directory outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _parsed(data: bytes) -> dict[str, Any]:
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("not a mapping")
    return value
