"""Pictures of the framework: who computes what, and when."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from card.base.units import counted
from card.figures.labels import apart
from card.figures.style import COLOURS, PART_COLOURS, PART_HATCHES, WIDTH_IN
from card.studies.timeline import ADAPTERS, LANES, Step

_DEVICE, _SERVER = COLOURS["vermillion"], COLOURS["green"]
_TINT = {_DEVICE: "#FBEEE6", _SERVER: "#E6F4EF"}
_INK, _QUIET = "#222222", "#666666"
_BOX_LETTERS = 13
"""Letters of a name that a device's box holds."""

_LANE_COLOURS = {
    "device": PART_COLOURS["device_compute_s"],
    "uplink": PART_COLOURS["uplink_s"],
    "server": PART_COLOURS["server_compute_s"],
    "downlink": PART_COLOURS["downlink_s"],
}


def timeline(steps: Sequence[Step], iterations: int) -> Figure:
    """One round as a Gantt chart: the whole of it, and its first mini-batch enlarged.

    Parameters
    ----------
    steps
        Busy intervals of the round, in order.
    iterations
        Mini-batches per round.
    """
    per_batch = (len(steps) - sum(step.label == ADAPTERS for step in steps)) // iterations
    opening = 1 if steps[0].label == ADAPTERS else 0
    zoom = steps[: opening + per_batch]
    figure = Figure(figsize=(WIDTH_IN, 5.4), layout="constrained")
    whole, close = figure.subplots(2, 1, height_ratios=[2, 3])
    for axes, shown in ((whole, steps), (close, zoom)):
        for step in shown:
            adapters = step.label == ADAPTERS
            axes.barh(
                LANES.index(step.lane) + 0.15,
                step.duration_s,
                left=step.start_s,
                height=0.45,
                color=COLOURS["grey"] if adapters else _LANE_COLOURS[step.lane],
                hatch=PART_HATCHES["adapter_s"] if adapters and axes is close else None,
                edgecolor="white",
                linewidth=0,
            )
        axes.set_yticks([lane + 0.15 for lane in range(len(LANES))], LANES)
        axes.set_ylim(len(LANES) - 0.4, -0.6)
        axes.set_xlim(0, shown[-1].start_s + shown[-1].duration_s)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("time since the turn began [s]")
    _label_steps(close, zoom)
    batches = counted(iterations, "mini-batch")
    whole.set_title(f"The whole round: {batches} (grey: adapters)")
    close.set_title("Its beginning: adapters and the first mini-batch")
    return figure


def _label_steps(axes: Axes, steps: Sequence[Step]) -> None:
    """Write each step's label above its bar, kept inside the axes."""
    end = steps[-1].start_s + steps[-1].duration_s
    for step in steps:
        middle = (step.start_s + step.duration_s / 2) / end
        side = "left" if middle < 0.15 else "right" if middle > 0.85 else "center"
        anchor = {
            "left": step.start_s + 0.006 * end,
            "center": middle * end,
            "right": step.start_s + step.duration_s,
        }[side]
        axes.text(
            anchor,
            LANES.index(step.lane) - 0.1,
            step.label,
            ha=side,
            va="bottom",
            fontsize=9,
            color=_INK,
        )


def framework(device_names: Sequence[str], topology: str = "vanilla") -> Figure:
    """Drawing of the framework: one device and the server share the LLM, devices take turns.

    Parameters
    ----------
    device_names
        Names of the devices in the order of their turns.
    topology
        `vanilla` (head and loss on the server) or `u-shaped` (on the device).
    """
    figure = Figure(figsize=(WIDTH_IN, 5.0), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 70)
    axes.axis("off")
    vanilla = topology == "vanilla"
    _panel(axes, 1, 35, "Device", "keeps its file", _DEVICE)
    _panel(axes, 64, 35, "Edge server", "clock f", _SERVER)
    rows = ["embedding", "block 1", "⋮", "block c"]
    _stack(axes, 5, rows if vanilla else [*rows, "head, loss"], _DEVICE)
    _stack(axes, 68, ["block c + 1", "⋮", "block I", *(["head, loss"] if vanilla else [])], _SERVER)
    up, down = PART_COLOURS["uplink_s"], PART_COLOURS["downlink_s"]
    back = "gradients" if vanilla else "final states,\ngradients"
    sent = "smashed data,\nlabels" if vanilla else "smashed data,\ngradients"
    _arrow(axes, (37, 51), (63, 51), up, sent)
    _arrow(axes, (63, 42), (37, 42), down, back)
    _arrow(axes, (63, 28), (37, 28), COLOURS["grey"], "adapters:\nfetch, return", "<|-|>")
    for y, text in ((60, "for every\nmini-batch"), (35, "once per round")):
        axes.text(50, y, text, ha="center", va="center", fontsize=9, color=_QUIET, style="italic")
    axes.text(50, 65.5, "Radio link", ha="center", va="center", fontsize=11.5, fontweight="bold")
    _turns(axes, device_names)
    return figure


def _panel(axes: Axes, x: float, width: float, title: str, subtitle: str, colour: str) -> None:
    style = "round,pad=0,rounding_size=2"
    axes.add_patch(
        FancyBboxPatch((x, 20), width, 49, style, facecolor=_TINT[colour], edgecolor=colour)
    )
    axes.text(x + 4, 65.5, title, fontsize=11.5, fontweight="bold", color=colour, va="center")
    axes.text(x + 4, 61.8, subtitle, fontsize=9, color=_QUIET, va="center")


def _stack(axes: Axes, x: float, rows: Sequence[str], colour: str) -> None:
    """Parts of the LLM from bottom to top; small squares are adapters."""
    for place, text in enumerate(rows):
        y = 22.5 + 7.5 * place
        if text == "⋮":
            axes.text(x + 10.5, y + 3, text, ha="center", va="center", fontsize=13, color=colour)
            continue
        style = "round,pad=0,rounding_size=1"
        axes.add_patch(
            FancyBboxPatch((x, y), 21, 6, style, facecolor="white", edgecolor=colour, linewidth=1.4)
        )
        axes.text(x + 10.5, y + 3, text, ha="center", va="center", fontsize=10, color=_INK)
        if text.startswith("block"):
            axes.plot(x + 26, y + 3, marker="s", markersize=8, color=colour)
            if text in ("block 1", "block I"):  # beside the dots, where no box is in the way
                at = y + 7.4 if text == "block 1" else y - 1.4
                axes.text(x + 30, at, "adapter", ha="right", va="center", fontsize=8, color=colour)


def _arrow(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    colour: str,
    text: str,
    style: str = "-|>",
) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle=style, mutation_scale=15, linewidth=2.4, color=colour, shrinkA=0
        )
    )
    axes.text(50, start[1] + 1.1, text, ha="center", va="bottom", fontsize=9.5, color=_INK)


def _turns(axes: Axes, names: Sequence[str]) -> None:
    """Row of devices below the panels; the first one has its turn."""
    shown = list(names) if len(names) <= 5 else [*names[:3], "…", names[-1]]
    shown = apart(shown, _BOX_LETTERS)
    step, width = 98 / len(shown), min(98 / len(shown) - 4, 16)
    for place, name in enumerate(shown):
        x, active = 1 + place * step, place == 0
        box = FancyBboxPatch(
            (x, 4),
            width,
            7,
            "round,pad=0,rounding_size=1.4",
            facecolor=_TINT[_DEVICE] if active else "white",
            edgecolor=_DEVICE if active else COLOURS["grey"],
            linewidth=2.0 if active else 1.0,
        )
        axes.add_patch(box)
        axes.text(x + width / 2, 7.5, name, ha="center", va="center", fontsize=9, color=_INK)
        if place:
            _link(axes, x - step + width, x)
    axes.plot([1 + width / 2] * 2, [11.2, 19.8], color=_DEVICE, linestyle=":", linewidth=1.6)
    axes.text(
        4 + width / 2, 15.5, "its turn; the others wait", fontsize=9, color=_QUIET, va="center"
    )
    axes.text(99, 1, "after the last, the first again", fontsize=9, color=_QUIET, ha="right")


def _link(axes: Axes, start: float, end: float) -> None:
    axes.add_patch(
        FancyArrowPatch(
            (start + 0.4, 7.5),
            (end - 0.4, 7.5),
            arrowstyle="-|>",
            mutation_scale=10,
            color=COLOURS["grey"],
            shrinkA=0,
            shrinkB=0,
        )
    )
