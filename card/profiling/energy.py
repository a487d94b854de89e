"""Energy and power by the optional package zeus, and the law of power over clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

from card.base.errors import ScenarioError, installing
from card.base.units import counted
from card.hardware.profile import PowerLaw, Reading

TOLERANCE = 0.1
"""Share of the measured power that the fitted law may miss."""
WINDOW_S = 2.0
"""Shortest time over which energy is read [s]; the counters move in steps of some 0.1 s."""


def fit_power_law(
    clocks_hz: Sequence[float], powers_w: Sequence[float], times_s: Sequence[float]
) -> PowerLaw:
    """Non-negative least-squares fit of P(f) = P₀ + P₁ f + ξ f³, and where it holds.

    Parameters
    ----------
    clocks_hz
        Clock of each point [Hz], in any order.
    powers_w
        Its power [W].
    times_s
        Time that the same work takes there [s].

    Raises
    ------
    ScenarioError
        If there are fewer than three clocks, or the lists differ in length.
    """
    if len({len(clocks_hz), len(powers_w), len(times_s)}) > 1 or len(set(clocks_hz)) < 3:
        raise ScenarioError(
            "a power law needs power and time at three clocks or more; given are "
            f"{counted(len(set(clocks_hz)), 'clock')}, {counted(len(powers_w), 'power')}, "
            f"{counted(len(times_s), 'time')}."
        )
    order = np.argsort(clocks_hz)
    clocks, powers, times = (np.asarray(v, float)[order] for v in (clocks_hz, powers_w, times_s))
    top = clocks[-1]  # f / f_max keeps the columns of one size
    design = np.column_stack([(clocks / top) ** power for power in (0, 1, 3)])
    coefficients, _ = nnls(design, powers)
    residuals = powers - design @ coefficients
    misses = np.flatnonzero(np.abs(residuals) > TOLERANCE * powers)
    start = int(misses[-1]) + 1 if misses.size else 0
    return PowerLaw(
        clocks_hz=tuple(clocks.tolist()),
        powers_w=tuple(powers.tolist()),
        times_s=tuple(times.tolist()),
        static_power_w=float(coefficients[0]),
        linear_power_w_per_hz=float(coefficients[1] / top),
        power_coefficient=float(coefficients[2] / top**3),
        residuals_w=tuple(residuals.tolist()),
        holds_from_hz=float(clocks[start]) if start < len(clocks) else None,
    )


def energy_and_power(accelerator: str, work: Callable[[], object]) -> tuple[Reading, Reading]:
    """Energy of one `work` [J] and mean power meanwhile [W], where the machine offers them."""
    try:
        energy_j, time_s, how = _read_energy(accelerator, work)
    except ImportError:
        absent = Reading(reason=f"zeus is not installed; {installing('energy')}")
        return absent, absent
    except Exception as error:  # zeus and its drivers raise many kinds; any means "not offered"
        absent = Reading(reason=f"zeus cannot read energy here ({type(error).__name__})")
        return absent, absent
    if not energy_j:
        absent = Reading(reason="the machine offers no energy counter that zeus can read")
        return absent, absent
    return Reading(value=energy_j, reason=how), Reading(value=energy_j / time_s, reason=how)


def idle_power_w(accelerator: str) -> Reading:
    """Power while the machine waits, ready to work [W], where it offers that.

    On a GPU with the context of this process alive. The first pause lets it come to rest.
    """
    torch.zeros(1, device=accelerator)
    return energy_and_power(accelerator, partial(time.sleep, WINDOW_S))[1]


def _read_energy(accelerator: str, work: Callable[[], object]) -> tuple[float, float, str]:
    """Energy [J] and time [s] of one `work` after the first, and which counter gave it."""
    on_gpu = accelerator == "cuda"
    gpus = [torch.cuda.current_device()] if on_gpu else []
    monitor: Any = import_module("zeus.monitor").ZeusMonitor(
        gpu_indices=gpus, cpu_indices=[] if on_gpu else None
    )
    work()
    monitor.begin_window("work", sync_execution=on_gpu)
    start, repeats = time.perf_counter(), 0
    while time.perf_counter() - start < WINDOW_S:
        work()
        repeats += 1
        if on_gpu:
            torch.cuda.synchronize()
    found = monitor.end_window("work", sync_execution=on_gpu)
    board_mj = getattr(found.soc_energy, "gpu_energy_mj" if on_gpu else "cpu_energy_mj", None)
    if board_mj is not None:
        return board_mj / 1e3 / repeats, found.time / repeats, "zeus, the board's own sensor"
    energy_j = sum((found.gpu_energy if on_gpu else found.cpu_energy or {}).values())
    counter = "NVML" if on_gpu else "RAPL, whole processor package"
    return energy_j / repeats, found.time / repeats, f"zeus, {counter}"


def sweep_clocks(work: Callable[[], object], *, points: int = 8) -> PowerLaw:
    """Power and time of the same work at several GPU clocks, which only its owner may lock.

    The clock is released at the end, whatever happens.

    Parameters
    ----------
    work
        What to repeat at each clock, e.g. `card.profiling.measure.block_work`.
    points
        How many of the clocks that the GPU offers, from the lowest to the highest.

    Raises
    ------
    ScenarioError
        If there is no NVIDIA GPU, zeus is not installed, or clocks may not be locked.
    """
    if not torch.cuda.is_available():
        raise ScenarioError("a sweep of clocks needs an NVIDIA GPU; torch finds none here.")
    try:
        gpus: Any = import_module("zeus.device").get_gpus()
    except ImportError:
        raise ScenarioError(f"a sweep of clocks needs zeus; {installing('energy')}.") from None
    except Exception as error:  # zeus raises its drivers' kinds
        raise ScenarioError(f"zeus cannot reach the GPU ({type(error).__name__}).") from error
    index, rows = torch.cuda.current_device(), []
    try:
        memory = max(gpus.get_supported_memory_clocks(index))
        offered = sorted(gpus.get_supported_graphics_clocks(index, memory))
        picked = np.linspace(0, len(offered) - 1, min(points, len(offered))).round().astype(int)
        for clock_mhz in (offered[i] for i in picked):
            gpus.set_gpu_locked_clocks(index, clock_mhz, clock_mhz)
            energy_j, time_s, _ = _read_energy("cuda", work)
            rows.append((1e6 * clock_mhz, energy_j / time_s, time_s))
    except Exception as error:  # zeus raises its drivers' kinds, most often: no permission
        raise ScenarioError(
            f"this GPU's clocks cannot be swept ({type(error).__name__}); only its owner may lock "
            f"them."
        ) from error
    finally:
        if rows:
            gpus.reset_gpu_locked_clocks(index)
    return fit_power_law(*zip(*rows, strict=True))
