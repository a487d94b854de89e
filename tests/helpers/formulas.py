"""The Explorer's formulas in JavaScript: `card`'s own functions, called with symbols, and printed.

`python tests/helpers/formulas.py` writes the file that the pages load. A test fails while it is not
what the functions say.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sympy as sp

from card.costs import Costs, rounds
from card.hardware.power import coefficient_at
from card.solver.clock import cycle_price
from card.solver.optimum import Extremes, weighted_sum
from card.studies.timeline import PARTS, so_far, step_s

FILE = Path(__file__).resolve().parents[2] / "book/_assets/explorer-formulas.js"
HEAD = """\
/* The Explorer's formulas: the functions of `card`, called with symbols by SymPy, and printed.

Made by `python tests/helpers/formulas.py`; what is changed by hand here, a test finds. */

"use strict";

const ExplorerFormulas = {
"""


class _Named(defaultdict[str, sp.Symbol]):
    """Symbols of numbers above 0, by name."""

    def __missing__(self, name: str) -> sp.Symbol:
        self[name] = sp.Symbol(name, positive=True)
        return self[name]


class _Column:
    """A table of a system, in every place of which the same symbol stands."""

    def __init__(self, symbol: sp.Symbol) -> None:
        self.symbol = symbol

    def __getitem__(self, _: object) -> sp.Symbol:
        return self.symbol


def formulas() -> dict[str, sp.Expr]:
    """Expressions by the names of what they give, whose symbols are named as in `card`.

    Work, bits and overheads are those of a whole round, which here has one iteration.
    """
    named = _Named()
    law = ("static_power_w", "linear_power_w_per_hz", "power_coefficient")
    columns = ("throughput_flops", "device_overhead_s", "server_overhead_s", "server_launch_s")
    profile = ("device_flop", "server_flop", "uplink_bit", "downlink_bit", "adapter_bit")
    arrays = SimpleNamespace(
        local_iterations=1,
        flops_per_hz=named["flops_per_hz"],
        profile=SimpleNamespace(**{name: _Column(named[name]) for name in profile}),
        **{name: _Column(named[name]) for name in columns},
        **{name: named[name] for name in law},
    )
    up, down, clock = named["uplink_bps"], named["downlink_bps"], named["frequency_hz"]
    moved = ("device_compute_s", "uplink_s", "downlink_s", "adapter_down_s", "adapter_up_s")
    costs: Any = Costs(**{item.name: named[item.name] for item in fields(Costs)} | {"in_flight": 1})
    by_then = so_far(costs, {part: named[part.removesuffix("_s") + "_done"] for part in PARTS})
    extremes = Extremes(*(named[name] for name in Extremes._fields))
    prices = named["delay_price"], named["energy_price"]
    scored = weighted_sum(extremes, *prices, named["delay_s"], named["energy_j"])
    price = cycle_price(arrays, clock, *prices, named["ratio"])
    slope = sp.horner(sp.expand(sp.diff(price, clock) * clock**2), clock)
    cube = sp.Symbol("cube", positive=True)
    (stationary,) = sp.solve(slope.subs(named["ratio"], 0).expand().subs(clock**3, cube), cube)
    power = rounds.server_power_w(arrays, clock)
    found = {
        **dict(zip(moved, rounds.fixed_parts(arrays, 0, 0, up, down), strict=True)),
        "overhead_s": rounds.busy_overhead_s(arrays, 0),
        "cycles": rounds.server_cycles(arrays, 0),
        "busy_s": rounds.busy_s(named["overhead_s"], named["cycles"], clock),
        "power_coefficient": coefficient_at(
            named["max_power_w"], named["static_power_w"], named["clock_hz"], named[law[1]]
        ),
        "server_power_w": power,
        "server_power_slope": sp.diff(power, clock),
        "delay_s": costs.delay_s,
        "energy_j": costs.energy_j,
        "device_energy_j": costs.device_energy_j,
        "step_s": step_s(named["share"], named["stage_s"], named["local_iterations"]),
        "passed_s": by_then.delay_s,
        "spent_j": by_then.energy_j,
        "device_spent_j": by_then.device_energy_j,
        "objective": scored,
        "cycle_price": price,
        "price_slope": slope,
        "price_curvature": sp.horner(sp.expand(sp.diff(slope, clock)), clock),
        "stationary_hz": sp.cbrt(stationary),
        **_radio(named),
    }
    return {name: sp.nsimplify(expression, rational=True) for name, expression in found.items()}


def _radio(named: _Named) -> dict[str, sp.Expr]:
    """The link's laws, which in `card` take levels from arrays of any library."""
    gain = (
        10 ** (-named["reference_loss_db"] / 10)
        * named["distance_m"] ** -named["path_loss_exponent"]
    )
    level_w = 10 ** (named["power_dbm"] / 10) / 1000
    noise_w = 10 ** (named["noise_dbm_per_hz"] / 10) / 1000 * named["bandwidth_hz"]
    loss = 10 ** ((named["noise_figure_db"] + named["gap_db"]) / 10)
    used = named["bandwidth_hz"] * (1 - named["overhead_share"])
    return {
        "gain": gain,
        "level_w": level_w,
        "usable_snr": level_w * named["gain"] / noise_w / loss,
        "rate_bps": used * named["mean_nats"] / sp.log(2),
    }


def javascript() -> str:
    """What the file says: an object of functions, each of one object with the symbols as keys."""
    lines = []
    for name, expression in formulas().items():
        keys = ", ".join(sorted(map(str, expression.free_symbols)))
        lines.append(f"  {name}: ({{ {keys} }}) => {sp.jscode(expression)},\n")
    return HEAD + "".join(lines) + "};\n"


if __name__ == "__main__":
    FILE.write_text(javascript(), encoding="utf-8")
