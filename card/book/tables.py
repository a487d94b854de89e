"""Markdown tables of chapters, and numbers as tables write them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from card.base.llm_configs import llm_title
from card.base.provenance import Source
from card.base.units import counted
from card.book.markdown import interval, percent, plain, scientific, settled, table
from card.book.notation import notation
from card.book.pages import brief
from card.hardware import Hardware, Profile
from card.hardware.catalogue import NumberFormat
from card.llm import architecture
from card.scenario import Scenario
from card.simulation import means
from card.studies.extensions import EXTENSIONS, MEANS
from card.studies.scenario_values import Parameter, parameters, show, with_unit
from card.studies.speed import BASELINE

if TYPE_CHECKING:
    import xarray as xr

_UNITS_S = {"years": 365.25 * 86400, "days": 86400, "h": 3600, "min": 60}


def duration(seconds: float) -> str:
    """A time in the largest unit that it fills at least twice."""
    for unit, size in _UNITS_S.items():
        if seconds >= 2 * size:
            return f"{_spoken(seconds / size)} {unit}"
    return f"{_spoken(seconds)} s"


def _spoken(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def digits(value: float) -> str:
    """A measured number with as many digits as it deserves: three from 10 on, two below."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 10 else f"{value:#.2g}".rstrip(".")


def settled_mean(value: float | None, low: float | None, high: float | None, unit: str = "") -> str:
    """A mean with the digits that its 95 % interval settles, and one more: at least tenths.

    The last digit is the first that the interval leaves open, so that whoever computes with
    rounded means gets what the means themselves give. A unit stands behind if one is given. A mean
    that is not known (NaN, or None as JSON has it) is a dash.

    Examples
    --------
    >>> settled_mean(1341.8, 1338.0, 1345.0), settled_mean(1341.8, 1300.0, 1380.0)
    ('1,342', '1,340')
    >>> settled_mean(13.42, 13.39, 13.45, "s")
    '13.4 s'
    """
    if value is None or math.isnan(value):
        return "–"
    half = 0.0 if low is None or high is None else max(value - low, high - value)
    step = 10.0 ** max(-1, math.ceil(math.log10(2 * half)) - 1) if half > 0 else 0.1
    return f"{step * round(value / step):,.{int(step < 1)}f} {unit}".rstrip()


def saved(reduction: Mapping[str, float | None]) -> str:
    """A reduction and its 95 % interval, with the same digits."""
    value, low, high = (reduction[key] for key in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return settled(reduction)
    return f"{percent(value, 2)} ({interval(low, high)})"


def changed(reduction: Mapping[str, float | None]) -> str:
    """What a reduction does, in words and with its 95 % interval: a negative one is a rise."""
    value, low, high = (reduction[key] for key in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return settled(reduction)
    if not (value or low or high):
        return "the same"
    if value < 0:
        return f"rises by {saved({'value': -value, 'low': -high, 'high': -low})}"
    return f"falls by {saved(reduction)}"


def extensions_table(reached: Mapping[str, Mapping[str, Any]]) -> str:
    """What CARD and its extensions take and save, as `card.studies.extensions.reached` finds it."""
    head = (
        "what is decided",
        "delay saved against *device only*",
        "server energy saved against *server only*",
        "delay [s]",
        "server [J]",
        "devices [J]",
    )
    rows = [
        (
            name,
            saved(found["delay"]),
            saved(found["energy"]),
            *(settled_mean(*found[key]) for key in MEANS),
        )
        for name in EXTENSIONS
        if (found := reached.get(name))
    ]
    return table(head, rows)


def moves(reduction: Mapping[str, float | None]) -> str:
    """What a reduction does, as a sentence goes on: a negative one is a rise.

    Examples
    --------
    >>> moves({"value": 0.0252, "low": 0.0227, "high": 0.0277})
    'falls by 2.3 to 2.8 %'
    >>> moves({"value": 0.002, "low": -0.004, "high": 0.008})
    'may rise by up to 0.4 % or fall by up to 0.8 %'
    """
    value, low, high = (reduction[key] for key in ("value", "low", "high"))
    if value is None:
        return "has nothing to be compared with"
    if not (value or low or high):
        return "stays the same"
    text = settled(reduction).replace("−", "").removesuffix(" %")
    if low is not None and high is not None and low < 0 < high:
        if " to " not in text:
            return f"changes by {_some(text)}"
        rise, fall = (_some(end, "up to ") for end in text.split(" to "))
        return f"may rise by {rise} or fall by {fall}"
    towards = value or (low or 0.0) + (high or 0.0)
    return f"{'rises' if towards < 0 else 'falls'} by {_some(text)}"


def _some(share: str, limit: str = "") -> str:
    """A share in per cent, or what is known of one that is written as none."""
    return "less than 0.1 %" if share == "0.0" else f"{limit}{share} %"


def scenario_table(scenario: Scenario) -> str:
    """What a scenario's symbols stand for, and its LLM and processors, with the kind of origin.

    Terms that are zero or absent are left out.
    """
    by_name = {symbol.code: symbol for symbol in notation().listed if symbol.chapter in ("", "01")}
    boards = [device.board.title for device in scenario.devices]
    parts = {"llm": ("LLM", llm_title(scenario.llm, scenario.llm_config))}
    parts |= {"server.hardware": ("server", scenario.server.board.title)}
    parts |= {"devices.hardware": ("devices", show(brief(boards)))}
    rows = [
        (what, "", plain(title), kind_of(scenario.source_of(path)))
        for path, (what, title) in parts.items()
    ]
    groups: dict[str, list[Parameter]] = {}
    for item in parameters(scenario):
        groups.setdefault(item.shared, []).append(item)
    for shared, items in groups.items():
        *_, section, key = ("", *shared.split("."))
        of_devices = by_name.get(f"device_{key}") if section == "devices" else None
        symbol, values = of_devices or by_name.get(key), [item.value for item in items]
        if symbol is None or set(values) <= {0, None}:
            continue
        one = values[0] if len(set(values)) == 1 else brief(values)
        whose = f" ({section})" if section in ("server", "devices") else ""
        whose = " (of some devices)" if shared.startswith("devices.link.") else whose
        text = plain(with_unit(one, symbol.unit.removeprefix("1")))
        kinds = dict.fromkeys(kind_of(item.source) for item in items)
        rows.append((symbol.meaning + whose, f"${symbol.latex}$", text, ", ".join(kinds)))
    return table(("Quantity", "Symbol", "Value", "Origin"), rows)


def kind_of(source: Source | None) -> str:
    """Kind of an origin; a dash where nothing is said."""
    return source.kind if source else "–"


def peaks_table(items: Iterable[Hardware]) -> str:
    """Peak rate of each processor by number format, without sparsity [TFLOP/s]."""
    formats: dict[str, NumberFormat] = {
        "FP32": "fp32", "TF32": "tf32", "bfloat16": "bf16", "FP16": "fp16", "INT8": "int8",
    }  # fmt: skip
    rows = []
    for item in items:
        peaks = [item.peak_flops.get(one) for one in formats.values()]
        cells = [f"{flops / 1e12:.2f}" if flops else "–" for flops in peaks]
        rows.append((item.title, f"{item.cores:,}", f"{item.clock_hz / 1e9:.3f}", *cells))
    return table(("Datasheet", "cores", "clock [GHz]", *formats), rows)


def machines_table(profiles: Mapping[str, Profile]) -> str:
    """What was measured, with what and how, a column for each profile by its heading."""

    def facts(item: Profile) -> dict[str, str]:
        where, how = item.machine, item.settings
        units = "multiprocessors" if where.accelerator else "virtual cores"
        return {
            "Processor": f"{where.processor}, {where.cores} {units}",
            "Memory": f"{where.memory_gb:.1f} GB",
            "Software": ", ".join(f"{name} {text}" for name, text in item.software.items()),
            "Date": item.date,
            "LLM": architecture(how.llm).title,
            "Adapters": f"LoRA of rank {how.rank} on {', '.join(how.targets)}",
            "Mini-batch": f"{how.batch_size} x {counted(how.sequence_length, 'token')}",
            "Number format": "bfloat16" if how.activation_bits == 16 else "float32",
        }

    columns = [facts(profile) for profile in profiles.values()]
    rows = [(key, *(column[key] for column in columns)) for key in columns[0]]
    return table(("Measured", *profiles), rows)


def rates_table(rates: Mapping[str, float], gaps: Mapping[str, float | None]) -> str:
    """How often each method decides, against scipy, and its worst objective above CARD's.

    Parameters
    ----------
    rates
        Decisions per second by method [1/s], as `card.studies.speed.decision_rates` has them.
    gaps
        Largest excess by method [1], as `card.studies.speed.worst_gaps` has them.
    """
    rows = []
    for label, rate in rates.items():
        gap = gaps[label]
        numbers = (rate, 1e6 / rate, rate / rates[BASELINE])
        rows.append((label, *map(digits, numbers), "–" if gap is None else scientific(gap)))
    head = ("method", "decisions per second", "µs per decision", "× scipy", "worst excess of U")
    return table(head, rows)


def operation_table(runs: Mapping[str, xr.Dataset], num_blocks: int) -> str:
    """What CARD's rounds cost, and where and how fast they compute, a column per simulation.

    Parameters
    ----------
    runs
        Datasets of `card.simulate` by name.
    num_blocks
        Blocks of the LLM.
    """
    columns = []
    for run in runs.values():
        ours, mean = run.sel(policy="card"), means(run)["card"]
        clock_hz = float(ours.frequency_hz.where(ours.server_compute_s > 0).mean())
        columns.append(
            {
                "delay per round": _told(mean["delay_s"], 1, "s"),
                "server energy per round": _told(mean["energy_j"], 0, "J"),
                "device energy per round": _told(mean["device_energy_j"], 0, "J"),
                "device-rounds with all blocks on the device": percent(
                    float((ours.cut == num_blocks).mean())
                ),
                "mean server clock while it works": _told(clock_hz / 1e9, 2, "GHz"),
            }
        )
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    return table(("CARD", *runs), rows)


def _told(value: float, digits: int, unit: str) -> str:
    """A number with its unit; a dash if it is not known."""
    return "–" if math.isnan(value) else f"{value:.{digits}f} {unit}"
