"""The visual language of every figure: what colours mean, sizes, typography."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.scale import LogScale, register_scale
from matplotlib.ticker import LogFormatterSciNotation

from card.base.units import RAISED
from card.figures.image_files import show_in_notebooks
from card.figures.labels import FONT, NAME_LETTERS, apart
from card.figures.palette import COLOURS as COLOURS

WIDTH_IN = 7.2
"""Width of a figure across the page [inch]."""
NARROW_IN = 5.0
"""Width below which a figure is one for a column of a paper [inch]."""
_INK = "0.15"
"""Grey of lines and letters, as a share of white."""

POLICY_LABELS = {
    "card": "CARD",
    "device_only": "device only",
    "server_only": "server only",
    "random_cut": "random cut",
    "static_cut": "static cut",
    "delay_optimal": "delay-optimal",
    "energy_optimal": "energy-optimal",
    "exhaustive": "exhaustive",
    "clock_only": "clock only",
    "cut_only": "cut only",
    "devices_priced": "devices priced",
    "budget": "budget",
    "budget_online": "budget, online",
    "channel_blind": "channel-blind",
    "makespan": "makespan",
    "lyapunov": "Lyapunov",
    "alternating_cut_first": "alternating, cut first",
    "alternating_clock_first": "alternating, clock first",
    "evolution": "evolution",
    "genetic": "genetic",
}

DEVICE_COLOURS = tuple(
    COLOURS[name] for name in ("blue", "vermillion", "green", "purple", "black", "sky", "orange")
)
"""Colours of devices, or of their groups."""
MOST_ROWS = 20
"""Devices up to which each has a row or a panel of its own."""


Marker = str | tuple[int, Literal[0, 1, 2], int]
LineStyle = Literal["-", "--", ":", "-."] | tuple[float, Sequence[float]]


class Look(NamedTuple):
    """What Matplotlib draws a policy with."""

    color: str
    """As `#rrggbb`."""
    marker: Marker
    """A letter of Matplotlib's, or the points, kind and angle [deg] of a star."""


POLICY_LOOKS = {
    "card": Look(COLOURS["blue"], "o"),
    "device_only": Look(COLOURS["vermillion"], "s"),
    "server_only": Look(COLOURS["green"], "^"),
    "random_cut": Look(COLOURS["grey"], "X"),
    "static_cut": Look(COLOURS["orange"], "D"),
    "delay_optimal": Look(COLOURS["purple"], "v"),
    "energy_optimal": Look(COLOURS["sky"], "P"),
    "exhaustive": Look(COLOURS["black"], "*"),
    "clock_only": Look(COLOURS["black"], "h"),
    "cut_only": Look(COLOURS["black"], (4, 1, 0)),
    "devices_priced": Look(COLOURS["green"], (6, 1, 0)),
    "budget": Look(COLOURS["purple"], "H"),
    "budget_online": Look(COLOURS["purple"], (4, 1, 45)),
    "channel_blind": Look(COLOURS["orange"], "p"),
    "makespan": Look(COLOURS["green"], "<"),
    "lyapunov": Look(COLOURS["sky"], ">"),
    "alternating_cut_first": Look(COLOURS["vermillion"], "8"),
    "alternating_clock_first": Look(COLOURS["grey"], "d"),
    "evolution": Look(COLOURS["black"], (3, 1, 0)),
    "genetic": Look(COLOURS["black"], (3, 1, 180)),
}
"""Looks of the shipped policies, each with a mark of its own."""

_COLOURS, _MARKERS = [*COLOURS.values()], [look.marker for look in POLICY_LOOKS.values()]
_PAIRS = [
    Look(_COLOURS[(place + turn) % len(_COLOURS)], marker)
    for turn in range(len(_COLOURS))
    for place, marker in enumerate(_MARKERS)
]
_FREE = [look for look in _PAIRS if look not in POLICY_LOOKS.values()]


class StateLook(NamedTuple):
    """What Matplotlib draws a channel state with."""

    color: str
    """As `#rrggbb`, where colours are free for states; the first ones stand for nothing else."""
    marker: Marker
    """As a policy's."""
    linestyle: LineStyle
    """A name of Matplotlib's, or lengths of dashes and gaps in line widths, from an offset."""
    ink: str
    """Colour of a line over coloured areas."""


_STATE_COLOURS = [COLOURS[name] for name in ("black", "purple", "orange", "grey", "sky", "green")]
_STATE_MARKERS: list[Marker] = [
    *"os^DvP*X<>phHd8",
    (4, 1, 0),
    (4, 1, 45),
    (6, 1, 0),
    (3, 1, 0),
    (3, 1, 180),
]
_STATE_LINES: list[LineStyle] = [
    *("-", "--", ":", "-."),
    *((0, dashes) for dashes in ((8.0, 2.0), (4.0, 1.5, 1.0, 1.5, 1.0, 1.5), (1.0, 4.0))),
    *((0, dashes) for dashes in ((8.0, 2.0, 1.0, 2.0), (8.0, 2.0, 3.0, 2.0), (3.0, 4.0))),
]

PART_LABELS = {
    "device_compute_s": "device computes",
    "uplink_s": "uplink",
    "server_compute_s": "server computes",
    "downlink_s": "downlink",
    "adapter_s": "adapters",
}
PART_COLOURS = {
    "device_compute_s": COLOURS["vermillion"],
    "uplink_s": COLOURS["sky"],
    "server_compute_s": COLOURS["green"],
    "downlink_s": COLOURS["blue"],
    "adapter_s": COLOURS["grey"],
}
PART_HATCHES = dict(zip(PART_COLOURS, (None, "////", "---", "\\\\\\\\", "xxx"), strict=True))
"""What tells the parts of a round apart where colours do not."""


def use_style(width_in: float = WIDTH_IN) -> None:
    """Set the style of all figures, smaller for a column, and what a notebook shows of them."""
    size = 10 if width_in >= NARROW_IN else 8
    mpl.rcParams.update(
        {
            "figure.figsize": (WIDTH_IN, 3.6),
            "figure.constrained_layout.h_pad": 0.1,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "font.family": FONT,
            "font.size": size,
            "text.color": _INK,
            "axes.labelsize": size,
            "axes.labelcolor": _INK,
            "axes.titlesize": 1.05 * size,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.edgecolor": _INK,
            "axes.linewidth": 1.25,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.formatter.useoffset": False,
            "axes.prop_cycle": cycler(color=[*COLOURS.values()]),
            "grid.color": "#E6E6E6",
            "grid.linewidth": 0.8,
            "legend.fontsize": 0.9 * size,
            "legend.title_fontsize": 12,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "lines.solid_capstyle": "round",
            "patch.edgecolor": "white",
            "patch.force_edgecolor": True,
            "svg.fonttype": "none",
            # fonts that a journal can embed: no Type 3
            "pdf.fonttype": 42,
            "ps.fonttype": 42,
            # names of devices and states are no formulas, whatever signs they have
            "text.parse_math": False,
            "svg.hashsalt": "card",
        }
    )
    ticks = {"major.size": 6, "major.width": 1.25, "minor.size": 4, "minor.width": 1}
    for axis in ("xtick", "ytick"):
        mpl.rc(axis, color=_INK, labelsize=0.9 * size, **ticks)
    register_scale(_PlainLog)
    if "inline" in mpl.get_backend():
        show_in_notebooks()


class _PlainPowers(LogFormatterSciNotation):
    """Powers in raised digits, since text is not read as formulas."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        written = super().__call__(x, pos).replace(r"\times", "×")
        written = re.sub(r"\$\\mathdefault\{(.*)\}\$", r"\1", written)
        return re.sub(r"\^\{(.*?)\}", lambda power: power[1].translate(RAISED), written)


class _PlainLog(LogScale):
    """Matplotlib's logarithmic scale with such powers."""

    def __init__(self, *before: Axis, **options: Any) -> None:  # matplotlib 3.10 hands an axis over
        super().__init__(*before, **options)

    def set_default_locators_and_formatters(self, axis: Axis) -> None:
        """Choose the places and texts of the ticks."""
        super().set_default_locators_and_formatters(axis)
        axis.set_major_formatter(_PlainPowers(self.base))
        axis.set_minor_formatter(_PlainPowers(self.base, labelOnlyBase=self.subs is not None))


def looks(policies: Iterable[str]) -> dict[str, Look]:
    """Colour and mark of each policy in one picture; no two share both.

    Shipped policies look alike in every picture. Others take pairs that are free, those first of
    which the shipped ones in the picture have neither colour nor mark; pairs repeat after 140.
    """
    names = list(policies)
    seen = {trait for name in names for trait in POLICY_LOOKS.get(name, ())}
    free = cycle(sorted(_FREE, key=lambda look: len(seen.intersection(look))))
    return {name: POLICY_LOOKS.get(name) or next(free) for name in names}


def state_looks(states: Iterable[str]) -> dict[str, StateLook]:
    """What tells the channel states of one picture apart, in their order.

    Marks alone do, styles of a line with its ink, and with its colour; they repeat after 20 states.
    """
    return {
        state: StateLook(
            _STATE_COLOURS[place % len(_STATE_COLOURS)],
            _STATE_MARKERS[place % len(_STATE_MARKERS)],
            _STATE_LINES[place % len(_STATE_LINES)],
            COLOURS["purple" if place // len(_STATE_LINES) % 2 else "black"],
        )
        for place, state in enumerate(states)
    }


def device_groups(names: Sequence[str]) -> dict[str, list[int]]:
    """Positions of the devices that share a colour and a label, by that label.

    Each device is a group while there are enough colours. More devices are grouped by their names
    without a number at the end, such as `orin-nx` for `orin-nx-2`; more groups than that are one.
    """
    return _groups(names, len(DEVICE_COLOURS))


def device_rows(names: Sequence[str]) -> dict[str, list[int]]:
    """Positions of the devices that share a row or a panel, by its label.

    Each has its own up to `MOST_ROWS` devices; more are grouped as by `device_groups`.
    """
    return _groups(names, MOST_ROWS)


def representatives(names: Sequence[str]) -> list[int]:
    """Positions of the first device of every row, which stands for the others."""
    return [members[0] for members in device_rows(names).values()]


def _groups(names: Sequence[str], most: int) -> dict[str, list[int]]:
    words = apart(names, NAME_LETTERS)
    if len(words) <= most:
        return {name: [index] for index, name in enumerate(words)}
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        groups.setdefault(re.sub(r"[-_]?\d+$", "", name) or name, []).append(index)
    if len(groups) > most:
        return {"devices": [*range(len(names))]}
    return dict(zip(apart(list(groups), NAME_LETTERS), groups.values(), strict=True))


def label_line(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Write a label beside a line in the line's colour, instead of a legend."""
    axes.annotate(
        text, (x, y), (6, 0), textcoords="offset points", color=colour, va="center", fontsize=9
    )
