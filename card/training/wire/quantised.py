"""Smashed data and gradients on the wire in the bits of a round: floats, or integers with scales.

Integers are symmetric about zero. Each group of a token's values shares one scale, a float16, and
is divided into equal steps of it: 127 either side in 8 bits, 7 in 4, of which two share a byte.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from card.training.wire.tensors import TensorSpec, WireError

FLOATS = {32: torch.float32, 16: torch.bfloat16}
"""Number formats of bits that are sent as floats."""
INTEGERS = {8: torch.int8, 4: torch.uint8}
"""Number formats that carry integers; of 4 bits two to a byte, the first in its lower half."""
_HIDDEN, _STEPS, _SCALES = "hidden", "hidden.steps", "hidden.scales"


@dataclass(frozen=True)
class Form:
    """How hidden states of one mini-batch, or their gradients, are written in some bits."""

    bits: int
    """Bits per number, of 32, 16, 8 and 4."""
    group: int
    """Values of a token that share one scale, where integers are sent."""
    shape: tuple[int, ...]
    """What is written, (..., H)."""

    @property
    def specs(self) -> dict[str, TensorSpec]:
        """Tensors that cross, by name."""
        if self.bits in FLOATS:
            return {_HIDDEN: TensorSpec(FLOATS[self.bits], self.shape)}
        *tokens, width = self.shape
        halved = (-(-math.prod(self.shape) // 2),)
        return {
            _STEPS: TensorSpec(INTEGERS[self.bits], self.shape if self.bits == 8 else halved),
            _SCALES: TensorSpec(torch.float16, (*tokens, -(-width // self.group))),
        }

    @property
    def _most(self) -> int:
        """Steps on either side of zero."""
        return (1 << (self.bits - 1)) - 1

    def written(
        self, values: Tensor, noise: torch.Generator | None = None, gain: float = 1.0
    ) -> dict[str, Tensor]:
        """Numbers as they cross.

        Parameters
        ----------
        values
            Numbers (..., H).
        noise
            What integers are rounded up or down by at random, so that their mean is the number
            itself (Gupta et al. 2015, arXiv 1502.02551); to the nearest one if None.
        gain
            Multiplies numbers before they are divided into steps, for float16 has no scales below
            6e-8; a power of two changes nothing else. `read` takes it back.

        Returns
        -------
        dict of str to Tensor
            As `specs` has them.

        Raises
        ------
        WireError
            If a number is not finite, or too large for a scale in float16.
        """
        if self.bits in FLOATS:
            return {_HIDDEN: values.to(FLOATS[self.bits])}
        peaks, grouped = self._grouped(values.float() * gain)
        if not bool(peaks.isfinite().all()):
            raise WireError(f"numbers that are not finite cannot be sent in {self.bits} bits")
        scales = _rounded_up(peaks, self._most)
        if not bool(scales.isfinite().all()):
            raise WireError(
                f"numbers up to {float(peaks.max()) / gain:.3g} cannot be sent in {self.bits} "
                f"bits: no scale in float16 reaches so far; send 16 bits"
            )
        exact = torch.where(scales > 0, grouped / scales.float(), 0.0)
        if noise is None:
            whole = exact.round()
        else:
            whole = (exact + torch.rand(exact.shape, generator=noise)).floor()
        steps = whole.to(torch.int8).flatten(-2)[..., : self.shape[-1]].contiguous()
        return {
            _STEPS: steps if self.bits == 8 else _packed(steps.flatten()),
            _SCALES: scales.squeeze(-1),
        }

    def read(self, tensors: Mapping[str, Tensor], gain: float = 1.0) -> Tensor:
        """Numbers (..., H) of what `written` made, once they are of the agreed `specs`.

        Raises
        ------
        WireError
            If no `written` makes such steps or scales.
        """
        if self.bits in FLOATS:
            return tensors[_HIDDEN]
        steps, scales = tensors[_STEPS], tensors[_SCALES].float()
        if self.bits == 4:
            steps = _unpacked(steps)[: math.prod(self.shape)].reshape(self.shape)
        if not bool((scales.isfinite() & (scales >= 0)).all()):
            raise WireError("a scale is not a number from 0 on")
        if int(steps.min()) < -self._most:
            raise WireError(
                f"a step is {int(steps.min())}; {self.bits} bits have {self._most} of it"
            )
        _, grouped = self._grouped(steps.float())
        back = (grouped * scales.unsqueeze(-1)).flatten(-2)[..., : self.shape[-1]]
        return back / gain

    def _grouped(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Largest magnitude of each group (..., G, 1), and values in groups (..., G, group)."""
        group = min(self.group, values.shape[-1])
        padded = nn.functional.pad(values, (0, -values.shape[-1] % group))
        grouped = padded.reshape(*values.shape[:-1], -1, group)
        return grouped.abs().amax(dim=-1, keepdim=True), grouped


@dataclass(frozen=True)
class Forms:
    """What hidden states and gradients are written as in one round."""

    up: Form
    """From the device to the server."""
    down: Form
    """From the server to the device."""
    seed: int
    """Of the noise that gradients are rounded with."""

    def crossed(self, values: Tensor, *key: int, up: bool, gradient: bool) -> Tensor:
        """Numbers as the other end reads them, without a wire in between.

        Parameters
        ----------
        values
            Hidden states or gradients, (B, L, H).
        *key
            What names the message, as for `noise`.
        up
            Whether they go up.
        gradient
            Whether they are gradients, which are rounded at random.
        """
        form = self.up if up else self.down
        if not gradient:
            return form.read(form.written(values))
        return form.read(form.written(values, self.noise(*key), self.gain), self.gain)

    def noise(self, *key: int) -> torch.Generator:
        """Noise of one message, the same for the same key on every machine."""
        digest = hashlib.sha256(repr((self.seed, *key)).encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))

    @property
    def gain(self) -> float:
        """Gain of gradients, about the number of tokens that the loss is a mean over.

        A power of two, which changes nothing but what float16 can hold, and which both ends know.
        """
        return 2.0 ** math.ceil(math.log2(math.prod(self.up.shape[:-1])))


def _rounded_up(peaks: Tensor, most: int) -> Tensor:
    """Least float16 of which `most` steps reach a peak; so nothing is ever cut off."""
    scales = (peaks / most).half()
    short = scales.float() * most < peaks
    return torch.where(short, (scales.view(torch.int16) + 1).view(torch.float16), scales)


def _packed(steps: Tensor) -> Tensor:
    """Integers from -7 to 7 (n,), two to a byte (n / 2,), and zero behind an odd one."""
    even = nn.functional.pad(steps, (0, len(steps) % 2))
    low, high = (even & 0xF).view(torch.uint8).reshape(-1, 2).unbind(dim=1)
    return low | (high << 4)


def _unpacked(packed: Tensor) -> Tensor:
    """Integers (2 n,) of bytes (n,), of four bits each in two's complement."""
    halves = torch.stack([packed & 0xF, packed >> 4], dim=1).flatten().to(torch.int8)
    return torch.where(halves > 7, halves - 16, halves)
