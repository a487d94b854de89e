"""Clock and energy counter of the NVIDIA GPU that torch computes on, by NVML."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch

from card.base.errors import ScenarioError, installing


class Gpu:
    """One GPU as NVML knows it.

    Parameters
    ----------
    uuid
        What NVML knows it by, as in `GPU-1b2c…`.

    Raises
    ------
    ScenarioError
        If nvidia-ml-py is not installed, or NVML has no such GPU; each method, if NVML refuses.
    """

    def __init__(self, uuid: str) -> None:
        try:
            self._nvml: Any = import_module("pynvml")
        except ImportError:
            raise ScenarioError(f"nvidia-ml-py is not installed; {installing('energy')}.") from None
        with self._asked("be reached"):
            self._nvml.nvmlInit()
            self._handle = self._nvml.nvmlDeviceGetHandleByUUID(uuid)

    @classmethod
    def at_hand(cls) -> Gpu:
        """The GPU that torch computes on now."""
        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        return cls(f"GPU-{uuid}")

    def read_j(self) -> float:
        """Energy since the driver was loaded [J]; the counter moves in steps of some 0.1 s."""
        with self._asked("tell its energy"):
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3

    def lock(self, frequency_hz: float) -> float:
        """Lock the clock that is offered nearest to a frequency [Hz]; returns it [Hz].

        Only the GPU's owner may, until `release`.
        """
        nvml, handle = self._nvml, self._handle
        with self._asked("have its clock locked"):
            memory_mhz = nvml.nvmlDeviceGetSupportedMemoryClocks(handle)
            if not memory_mhz:
                raise ScenarioError("the GPU lists no clocks that it could be locked to.")
            offered_mhz = nvml.nvmlDeviceGetSupportedGraphicsClocks(handle, max(memory_mhz))
            nearest_mhz = min(offered_mhz, key=lambda mhz: abs(1e6 * mhz - frequency_hz))
            nvml.nvmlDeviceSetGpuLockedClocks(handle, nearest_mhz, nearest_mhz)
        return 1e6 * float(nearest_mhz)

    def release(self) -> None:
        """Let the clock move as the driver has it; a lock of somebody else's goes, too."""
        with self._asked("have its clock released"):
            self._nvml.nvmlDeviceResetGpuLockedClocks(self._handle)

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._nvml.NVMLError as error:
            raise ScenarioError(f"the GPU cannot {what}: NVML says {error}.") from None
