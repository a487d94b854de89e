"""Frozen weights, tensor by tensor: from a checkpoint's files, or drawn from a seed.

Whoever runs a part of an LLM reads or draws the tensors of that part and no others; what names the
whole LLM, its fingerprint, is the same for all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from card.base.data_files import DATA, cache_folder
from card.base.errors import ScenarioError, shortened
from card.base.text_files import read_json_object
from card.base.whole_files import write_whole
from card.training.llm.four_bits import packed_parts, weight_of

_FORMATS = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8}
_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_KEPT = ".card-fingerprint.json"
_PIECE, _AT_ONCE, _READ, _TOLD = 1 << 22, 1 << 16, 1 << 23, 256


class Weights(Protocol):
    """Where frozen weights come from."""

    def tensors(self, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors by name, each in shape and number format of the one wanted, which has no data."""

    def has(self, name: str, like: Tensor) -> bool:
        """Whether a weight comes from here, or starts as its architecture defines it."""

    def digest(self, wanted: Mapping[str, Tensor]) -> str:
        """SHA-256 of what all weights follow from; `wanted` names those of the whole LLM."""


@dataclass(frozen=True)
class Drawn:
    """Random weights, each from a seed that follows from its name.

    Matrices are uniform; vectors start as their architecture defines them.
    """

    seed: int
    """Seed of all weights."""
    bound: float
    """Largest magnitude of a weight."""

    def has(self, name: str, like: Tensor) -> bool:
        """Whether a weight is drawn."""
        return like.ndim > 1

    def tensors(self, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Draw tensors, with as many threads as torch computes with."""
        found = {n: torch.empty(t.shape, dtype=t.dtype) for n, t in wanted.items()}
        pieces = [
            (tensor.view(-1)[start : start + _PIECE], start, f"{self.seed}/{name}")
            for name, tensor in found.items()
            for start in range(0, tensor.numel(), _PIECE)
        ]
        with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
            list(pool.map(lambda piece: _draw(piece[0], self.bound, piece[2], piece[1]), pieces))
        return found

    def digest(self, wanted: Mapping[str, Tensor]) -> str:
        """SHA-256 of names, shapes and the first numbers of each tensor.

        All others follow from the same steps, so ends whose generators differ do not agree.
        """
        digest = hashlib.sha256(f"drawn/1 {self.seed} {self.bound!r}".encode())
        for name, like in sorted(wanted.items()):
            first = torch.empty(min(like.numel(), _TOLD))
            _draw(first, self.bound, f"{self.seed}/{name}")
            digest.update(f" {name} {tuple(like.shape)} ".encode() + first.numpy().tobytes())
        return digest.hexdigest()


@torch.no_grad()
def fill(weight: Tensor, bound: float, key: str) -> None:
    """Fill with uniform numbers of at most ± `bound`, the same ones on every machine for a key.

    They come from integers by exact steps; torch's own generators promise no such thing across
    releases and processors.
    """
    flat = torch.empty(weight.numel(), dtype=weight.dtype)
    _draw(flat, bound, key)
    weight.copy_(flat.view(weight.shape))


def _draw(flat: Tensor, bound: float, key: str, start: int = 0) -> None:
    """Numbers of a key from `start` on, which is even: two come from each step of the generator."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big")
    generator = np.random.Generator(np.random.PCG64(seed).advance(start // 2))
    drawn = np.empty(_AT_ONCE, np.float32)
    for at in range(0, len(flat), _AT_ONCE):
        part = drawn[: len(flat) - at]
        generator.random(dtype=np.float32, out=part)
        part *= 2
        part -= 1
        part *= np.float32(bound)
        flat[at : at + len(part)] = torch.from_numpy(part)


class Stored:
    """Weights in the safetensors files of a checkpoint, as transformers' `save_pretrained` writes.

    Parameters
    ----------
    folder
        The checkpoint.
    prefix
        What names of the whole LLM begin with and those of a checkpoint may not.

    Raises
    ------
    ScenarioError
        If it has no such files, one is missing, damaged or holds other number formats, or the index
        names what is not there. No weight is read before.
    """

    def __init__(self, folder: Path, prefix: str = "model") -> None:
        self._folder, self._prefix = folder, prefix
        self._files: dict[str, str] = {}
        self._open: dict[str, Any] = {}
        listed = self._listed()
        for file in sorted(set(listed.values())) or [self._single()]:
            with self._opened(file) as shard:
                held = {*shard.keys()}
                for name in sorted(held):
                    format = shard.get_slice(name).get_dtype()
                    if (
                        format not in _FORMATS
                        and name.endswith("weight")
                        and not packed_parts(name, listed or held)
                    ):
                        raise self._unreadable(
                            f"{name!r} in {file} has the number format {format}, allowed are "
                            f"{', '.join(_FORMATS)}; give the LLM without quantised weights"
                        )
            if absent := sorted(n for n, f in listed.items() if f == file and n not in held):
                raise self._unreadable(f"{_INDEX} says that {absent[0]!r} is in {file}, where it "
                                       f"is not; get both again")  # fmt: skip
            self._files |= {n: file for n in held if listed.get(n, file) == file}

    def _unreadable(self, why: str) -> ScenarioError:
        return ScenarioError(f"{self._folder} is no checkpoint that can be read: {why}.")

    def _listed(self) -> dict[str, str]:
        """File of each tensor by the index; nothing if there is none."""
        index = self._folder / _INDEX
        if not index.is_file():
            return {}
        listed = read_json_object(index, "get it again from its publisher").get("weight_map")
        if not isinstance(listed, dict) or not listed:
            raise self._unreadable(f"{_INDEX} has no weight_map; get it again")
        for name, file in listed.items():
            if not isinstance(file, str) or not re.fullmatch(r"[\w.-]+\.safetensors", file):
                raise self._unreadable(
                    f"{_INDEX} names {shortened(file)} for {shortened(name)}, which is no "
                    f".safetensors file of the folder; get it again"
                )
        return listed

    def _single(self) -> str:
        if (self._folder / _SINGLE).is_file():
            return _SINGLE
        pickled = [p.name for p in sorted(self._folder.glob("*.bin"))]
        if pickled:
            raise self._unreadable(
                f"{shortened(pickled[0])} is a pickle, which could run code when it is opened; "
                f"save the LLM with safe_serialization, as {_SINGLE}"
            )
        raise self._unreadable(f"there is neither {_SINGLE} nor {_INDEX}")

    def _opened(self, file: str) -> Any:
        try:
            return safe_open(str(self._folder / file), framework="pt")
        except (OSError, SafetensorError) as error:
            missing = "" if (self._folder / file).is_file() else "is missing: "
            raise self._unreadable(f"{file} {missing}{str(error).splitlines()[0]}") from error

    def _names(self, name: str) -> list[str]:
        """What a checkpoint may call a weight of the whole LLM."""
        short = name.removeprefix(f"{self._prefix}.")
        names = [name, short, *(["embed_out.weight"] * (name == "lm_head.weight"))]
        return names + [n.replace(".mlp.", ".block_sparse_moe.") for n in names if ".mlp." in n]

    def sources(self, name: str) -> list[list[str]]:
        """Tensors that make up a weight: one, or for each expert those that are stacked.

        Raises
        ------
        ScenarioError
            If the checkpoint lacks one.
        """
        for called in self._names(name):
            if called in self._files:
                return [[called]]
            stem, _, part = called.rpartition("experts.")
            for gate, up, down in (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2")):
                parts = {"gate_up_proj": (gate, up), "down_proj": (down,)}.get(part, ())
                found: list[list[str]] = []
                while parts and f"{stem}experts.{len(found)}.{parts[0]}.weight" in self._files:
                    found.append([f"{stem}experts.{len(found)}.{p}.weight" for p in parts])
                if found:
                    return found
        raise ScenarioError(f"{self._folder} lacks the weight {name!r}; save the checkpoint again.")

    def has(self, name: str, like: Tensor) -> bool:
        """Every weight comes from the checkpoint."""
        return True

    def in_four_bits(self, name: str) -> bool:
        """Whether a matrix is held as `card.training.llm.four_bits` says."""
        ((key, *_), *_) = self.sources(name)
        return bool(packed_parts(key, self._files))

    def check(self, wanted: Mapping[str, Tensor]) -> None:
        """See that all weights of an LLM are there in their shapes, without reading one.

        Raises
        ------
        ScenarioError
            If one is missing, or has another shape.
        """
        for name, like in wanted.items():
            sources = self.sources(name)
            if len(sources) == 1 and len(sources[0]) == 1:
                (key,) = sources[0]
                shape = tuple(self._shard(key).get_slice(key).get_shape())
                if shape != tuple(like.shape) and not self.in_four_bits(name):
                    raise self._unreadable(
                        f"{key!r} has shape {shape}, config.json makes it {tuple(like.shape)}"
                    )
        self._open.clear()

    def _shard(self, key: str) -> Any:
        file = self._files[key]
        if file not in self._open:
            self._open[file] = self._opened(file)
        return self._open[file]

    def tensors(self, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Read tensors; those in the format wanted stay in the file's own memory map."""
        found = {name: self._tensor(name, like) for name, like in wanted.items()}
        self._open.clear()
        return found

    def _tensor(self, name: str, like: Tensor) -> Tensor:
        sources = self.sources(name)
        if len(sources) == 1 and len(sources[0]) == 1:
            (key,) = sources[0]
            whole: Tensor = self._shard(key).get_tensor(key)
            if self.in_four_bits(name):
                return self._packed(key, whole, like.shape)
            return whole if whole.dtype == like.dtype else self._converted(key, like)
        stacked = torch.empty(like.shape, dtype=like.dtype)
        for row, keys in zip(stacked, sources, strict=True):
            row.copy_(torch.cat([self._shard(key).get_tensor(key) for key in keys]))
        return stacked

    def _packed(self, key: str, data: Tensor, shape: torch.Size) -> Tensor:
        named = packed_parts(key, self._files)
        parts = {part: self._shard(n).get_tensor(n) for part, n in named.items()}
        weight = weight_of(data, parts, shape)
        if weight is None:
            raise self._unreadable(f"{key!r} is no matrix of shape {tuple(shape)} in four bits")
        return weight

    def _converted(self, key: str, like: Tensor) -> Tensor:
        """In pieces, each from a memory map of its own, so that no more than one is held twice."""
        converted = torch.empty(like.shape, dtype=like.dtype)
        rows = max(1, _PIECE // max(1, converted[:1].numel()))
        for start in range(0, len(converted), rows):
            with self._opened(self._files[key]) as shard:
                converted[start : start + rows] = shard.get_slice(key)[start : start + rows]
        return converted

    def digest(self, _: Mapping[str, Tensor]) -> str:
        """SHA-256 over names, shapes, formats and content of all tensors, however they are sharded.

        It is computed once and kept beside the files, or in the user's cache folder where they are
        shipped or may not be written, until one of them is changed or replaced: its size, a time,
        of which no program sets that of the last change (ctime), or its place on the disk.
        """
        files = sorted(set(self._files.values()))
        stats = [(self._folder / file).stat() for file in files]
        known = {
            file: [one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino]
            for file, one in zip(files, stats, strict=True)
        }
        own = self._folder / _KEPT
        places = [] if self._folder.resolve().is_relative_to(DATA.resolve()) else [own]
        if cache := cache_folder():
            path = hashlib.sha256(os.fsencode(self._folder.resolve())).hexdigest()
            places.append(cache / "fingerprints" / f"{path}.json")
        for place in places:
            with suppress(OSError, ValueError, KeyError, TypeError):
                kept = json.loads(place.read_bytes())
                if kept["files"] == known and re.fullmatch("[0-9a-f]{64}", kept["digest"]):
                    return str(kept["digest"])
        digest = self._read_all(files)
        for place in places:
            with suppress(OSError):  # nowhere to keep it: it is computed again next time
                if place is not own:
                    place.parent.mkdir(parents=True, exist_ok=True)
                write_whole(place, json.dumps({"files": known, "digest": digest}) + "\n")
                break
        return digest

    def _read_all(self, files: Iterable[str]) -> str:
        jobs: list[Callable[[], str]] = []
        for file in files:
            path = self._folder / file
            with path.open("rb") as opened:
                (size,) = struct.unpack("<Q", opened.read(8))
                header = json.loads(opened.read(size))
            for name, of in header.items():
                if name != "__metadata__" and self._files.get(name) == file:
                    first, last = (8 + size + offset for offset in of["data_offsets"])
                    label = f"{name} {of['dtype']} {tuple(of['shape'])}"
                    jobs.append(partial(_hashed, path, first, last - first, label))
        with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
            lines = sorted(pool.map(lambda job: job(), jobs))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _hashed(path: Path, first: int, size: int, label: str) -> str:
    """What a tensor is called, and the SHA-256 of its bytes in a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(first)
        while size and (read := file.read(min(size, _READ))):
            digest.update(read)
            size -= len(read)
    return f"{label} {digest.hexdigest()}"
