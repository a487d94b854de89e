"""What a machine says of itself: names, versions, clock, memory; read as found, never changed.

And what a table says of its measurement there.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from card.base.llm_configs import llm_name
from card.base.provenance import Source
from card.base.units import BITS_PER_BYTE
from card.hardware.profile import Machine, Reading
from card.scenario import Scenario
from card.training.llm.models import shipped_checkpoint


def machine(accelerator: str) -> Machine:
    """The processor that runs the LLM."""
    system = f"{platform.system()} {platform.machine()}"
    if accelerator == "cuda":
        gpu = torch.cuda.get_device_properties(torch.cuda.current_device())
        return Machine(
            processor=gpu.name,
            accelerator=True,
            cores=gpu.multi_processor_count,
            memory_gb=gpu.total_memory / 1e9,
            system=system,
        )
    named = re.search(r"^model name\s*:\s*(.+)$", _text("/proc/cpuinfo"), flags=re.MULTILINE)
    return Machine(
        processor=named[1].strip() if named else platform.processor() or platform.machine(),
        accelerator=False,
        cores=torch.get_num_threads(),
        memory_gb=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9,
        system=system,
    )


def software(accelerator: str) -> dict[str, str]:
    """Versions that matter, and the instructions that torch uses on a processor."""
    names = ("torch", "transformers", "peft", "safetensors")
    found = {"python": platform.python_version(), **{name: version(name) for name in names}}
    if accelerator == "cuda":
        return {**found, "cuda": str(torch.version.cuda)}
    return {**found, "instructions": torch.backends.cpu.get_cpu_capability()}


def measured_now(
    command: str, scenario: Scenario, weights: Path | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What a `card.scenario.tables.MeasuredTable` that a command measured says beside its rows."""
    folder = weights or shipped_checkpoint(scenario.llm)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    from_where = f"weights of {folder.name}" if folder else "random weights"
    training, lora = scenario.training, scenario.lora
    return {
        "llm": llm_name(scenario.llm, scenario.llm_config),
        "origin": Source(kind="measured", source=f"{command} on {date}, {from_where}."),
        "date": date,
        "machine": machine("cpu"),
        "software": software("cpu"),
        "settings": {
            **settings,
            "sequence_length": training.sequence_length,
            "batch_size": training.batch_size,
            "local_iterations": training.local_iterations,
            "group": scenario.wire.group,
            "rank": lora.rank,
            "targets": list(lora.targets),
            "weights": folder.name if folder else None,
        },
    }


def available_bit(accelerator: str) -> int:
    """Memory that is free to use now [bit]."""
    if accelerator == "cuda":
        return int(torch.cuda.mem_get_info()[0]) * BITS_PER_BYTE
    free = re.search(r"^MemAvailable:\s*(\d+) kB", _text("/proc/meminfo"), flags=re.MULTILINE)
    return int(free[1]) * 1024 * BITS_PER_BYTE if free else 0


def clock_hz(accelerator: str, busy: Callable[[], object]) -> Reading:
    """Clock as found, of a GPU while `busy` keeps it at work."""
    if accelerator == "cuda":
        return _gpu_clock_hz(busy)
    pattern = "cpu[0-9]*/cpufreq/scaling_cur_freq"
    files = [str(path) for path in Path("/sys/devices/system/cpu").glob(pattern)]
    khz = [float(text) for text in map(_text, files) if text]
    if khz:
        return Reading(value=1e3 * median(khz), reason="median of scaling_cur_freq")
    mhz = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _text("/proc/cpuinfo"), flags=re.MULTILINE)
    if mhz:
        shown = "cpu MHz of /proc/cpuinfo; a virtual machine shows the nominal clock"
        return Reading(value=1e6 * median(map(float, mhz)), reason=shown)
    return Reading(reason="the system shows no processor clock")


def _gpu_clock_hz(busy: Callable[[], object]) -> Reading:
    uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
    query = ["nvidia-smi", f"--id=GPU-{uuid}", "--query-gpu=clocks.sm"]
    for _ in range(20):
        busy()
    try:
        command = [*query, "--format=csv,noheader,nounits"]
        shown = subprocess.run(command, capture_output=True, check=True, timeout=30)
        return Reading(value=1e6 * float(shown.stdout), reason="nvidia-smi, clocks.sm, under load")
    except (OSError, subprocess.SubprocessError, ValueError):
        return Reading(reason="nvidia-smi shows no clock for this GPU")
    finally:
        torch.cuda.synchronize()


def peak_memory_bit(accelerator: str, work: Callable[[], object]) -> Reading:
    """Most memory in use during `work`."""
    if accelerator == "cuda":
        torch.cuda.reset_peak_memory_stats()
        work()
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated() * BITS_PER_BYTE
        return Reading(value=peak, reason="torch's allocator, weights of the parts included")
    try:
        # 5 resets the peak of the resident set, as proc(5) says
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return Reading(reason="the system does not let a process reset its peak resident set")
    work()
    peak_kb = re.search(r"^VmHWM:\s*(\d+) kB", _text("/proc/self/status"), flags=re.MULTILINE)
    if not peak_kb:
        return Reading(reason="the system shows no peak resident set")
    peak = int(peak_kb[1]) * 1024 * BITS_PER_BYTE
    return Reading(value=peak, reason="peak resident set of the process, libraries included")


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except OSError:
        return ""
