"""Tensors as bytes and back: only safetensors, and only what both ends agreed on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from card.base.units import BITS_PER_BYTE

_DTYPES = {
    "BOOL": torch.bool,
    "I8": torch.int8,
    "U8": torch.uint8,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
_LENGTH_BYTES = 8


class WireError(Exception):
    """A peer that broke the agreement or went away, in one readable line."""


@dataclass(frozen=True)
class TensorSpec:
    """What both ends agreed that a tensor is."""

    dtype: torch.dtype
    """Number format."""
    shape: tuple[int, ...]
    """Size along each axis."""

    @property
    def size_bytes(self) -> int:
        """Size of its elements [byte]."""
        count = 1
        for size in self.shape:
            count *= size
        return count * self.dtype.itemsize

    def __str__(self) -> str:
        """Number format and shape as a reader writes them."""
        return f"{str(self.dtype).removeprefix('torch.')} {list(self.shape)}"


def specs(tensors: Mapping[str, Tensor]) -> dict[str, TensorSpec]:
    """What given tensors are, as `decode` expects it."""
    return {name: TensorSpec(value.dtype, tuple(value.shape)) for name, value in tensors.items()}


def encode(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as safetensors, wherever and however they lie in memory."""
    return save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})


def decode(data: bytes, expected: Mapping[str, TensorSpec]) -> dict[str, Tensor]:
    """Tensors of what `encode` wrote, if they are exactly those expected.

    Parameters
    ----------
    data
        Bytes of a peer that is not trusted.
    expected
        Every tensor that must be there, by name; no other may be.

    Raises
    ------
    WireError
        Saying what differs. Until names, number formats, shapes and the size are found right, no
        tensor is made and nothing beyond the bounded header is parsed.
    """
    size_bytes = sum(spec.size_bytes for spec in expected.values())
    header_bytes = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if len(data) < _LENGTH_BYTES or header_bytes > header_limit_bytes(expected):
        raise WireError("the tensors have no header of an agreed size")
    start = _LENGTH_BYTES + header_bytes
    found = _header(data[_LENGTH_BYTES:start])
    for name in sorted(expected.keys() | found.keys()):
        if name not in found or name not in expected:
            what = "missing" if name in expected else "not agreed"
            raise WireError(f"tensor {name[:80]!r} is {what}; expected {_listed(expected)}")
        if found[name] != expected[name]:
            raise WireError(f"tensor {name!r} is {found[name]}, but {expected[name]} was agreed")
    if len(data) - start != size_bytes:
        raise WireError(f"the tensors have {len(data) - start} bytes, but {size_bytes} were agreed")
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise WireError(f"the tensors are damaged ({error})") from None
    if specs(tensors) != dict(expected):
        raise WireError("the header of the tensors names one of them twice")
    return tensors


def payload_bit(tensors: Mapping[str, Tensor]) -> int:
    """Size of the elements in what `encode` writes [bit], which is what the model counts."""
    return BITS_PER_BYTE * elements_bytes(encode(tensors))


def header_limit_bytes(expected: Mapping[str, TensorSpec]) -> int:
    """Longest header that `encode` writes for such tensors [byte], rounded up."""
    # per tensor: its name, at worst six characters for one, its format, two offsets, its shape
    entries = (6 * len(name) + 112 + 20 * len(spec.shape) for name, spec in expected.items())
    return 16 + sum(entries)


def elements_bytes(data: bytes) -> int:
    """Size of the elements in what `encode` wrote, read off its length [byte]."""
    return max(0, len(data) - _LENGTH_BYTES - int.from_bytes(data[:_LENGTH_BYTES], "little"))


def _header(text: bytes) -> dict[str, TensorSpec]:
    try:
        entries = json.loads(text)
        return {
            name: TensorSpec(_DTYPES[entry["dtype"]], tuple(map(_whole, entry["shape"])))
            for name, entry in entries.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise WireError("the header of the tensors is not that of safetensors") from None


def _whole(size: object) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(size)
    return size


def _listed(expected: Mapping[str, TensorSpec]) -> str:
    names = list(expected)
    return (", ".join(names[:4]) + (", …" if len(names) > 4 else "")) or "none"
