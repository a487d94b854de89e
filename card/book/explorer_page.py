"""The Explorer's markup: its controls and the places of its pictures, which scripts then fill.

Everything has its size from the start, so that nothing moves when the scripts arrive.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from card.figures.palette import dark
from card.figures.style import PART_COLOURS, POLICY_LOOKS

View = Literal["whole", "small", "border", "pair"]
"""All controls and pictures; one decision; the map whose borders flip it; the two claims."""

_PARTS = {
    "device": "device_compute_s",
    "uplink": "uplink_s",
    "server": "server_compute_s",
    "downlink": "downlink_s",
    "adapters": "adapter_s",
}
"""Part of the delay that each colour of the page stands for."""

_CHOICES = {
    "device": "Device",
    "state": "Channel state",
    "llm": "LLM",
    "topology": "Topology",
    "up": "Bits per number up",
    "down": "Bits per number down",
    "server": "Server",
}
_SLIDERS = {
    "weight": "Delay weight",
    "distance": "Distance",
    "band": "Bandwidth",
    "static": "Static power",
    "waiting": "Waiting power",
}
_CONTROLS: Mapping[View, tuple[str, ...]] = {
    "whole": (
        *("weight", "distance", "band", "state", "static", "waiting"),
        *("device", "server", "llm", "topology", "up", "down"),
    ),
    "small": ("weight", "distance", "band"),
    "border": ("weight", "band", "device"),
    "pair": ("weight", "band"),
}
_PANELS: Mapping[View, tuple[str, ...]] = {
    "whole": ("cut", "delay", "energy", "round", "map", "front"),
    "small": ("cut", "delay", "round"),
    "border": ("map", "delay"),
    "pair": ("pair",),
}
_TITLES = {
    "cut": "Where to cut, how fast to clock",
    "map": "Where else which cut wins",
    "front": "Its place ★ among all weights",
    "delay": "Delay of the round, energy at the server",
    "energy": "Energy of the round",
    "round": "The round, played",
    "pair": "Two reductions at once",
}
_HEIGHTS_PX = {
    **{"cut": 184, "map": 320, "front": 390, "delay": 160, "energy": 160, "pair": 330},
    "round": 270,
}
_WITHOUT = {
    "whole": " The figure and the table below show the scenario as it stands.",
    "border": " The figure above shows the same plane for every device.",
    "pair": " The map further below shows where both numbers are met.",
}
_AXES = ("distance", "weight", "band", "static", "waiting")
_PLAYER = """<div class="ex-player"><button type="button">Play</button>
<label>Step of the round <input type="range" name="step" min="0" value="0"></label></div>
<p class="ex-now"><span></span><span></span><span></span><span></span></p>"""
_PATTERNS = """<svg class="ex-patterns" aria-hidden="true"><defs>
<pattern id="ex-uplink" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V6"/></pattern>
<pattern id="ex-downlink" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)"><path d="M0 0V6"/></pattern>
<pattern id="ex-server" width="5" height="5" patternUnits="userSpaceOnUse"><path d="M0 0H5"/></pattern>
<pattern id="ex-adapters" width="5" height="5" patternUnits="userSpaceOnUse"><path d="M0 0H5M0 0V5"/></pattern>
</defs></svg>"""  # noqa: E501


def element(content: Mapping[str, Any], view: View = "whole") -> str:
    """HTML of the Explorer, which `explorer.js` brings to life; no other file is asked for.

    Parameters
    ----------
    content
        What `card.book.explorer_panel.document` returns; for `pair` with the published reductions
        under `published`.
    view
        What of it stands in the page.
    """
    colours = {name: PART_COLOURS[part] for name, part in _PARTS.items()}
    colours["card"] = POLICY_LOOKS["card"].color
    by_night = {name: dark(colour) for name, colour in colours.items()}
    style = f".explorer {_variables(colours)}html[data-theme=dark] .explorer {_variables(by_night)}"
    # only pages of the book have the style sheet that shows the controls, and their scripts
    style += ".ex-live{display:none}"
    # a script ends at the first </, whatever it is in
    data = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return (
        f'<style>{style}</style><div class="explorer ex-{view}" data-view="{view}">'
        '<p class="ex-without">The controls work on the book\'s web pages.</p>'
        f"<noscript><p>The controls need JavaScript.{_WITHOUT.get(view, '')}</p>"
        "<style>.explorer .ex-live{display:none}</style></noscript>"
        f'<div class="ex-live">{_live(view)}</div>'
        f'<script type="application/json">{data}</script></div>'
    ).replace("\n", "")


def _live(view: View) -> str:
    controls = "".join(_control(name) for name in _CONTROLS[view])
    panels = "".join(_panel(name, view) for name in _PANELS[view])
    patterns = _PATTERNS if view != "pair" else ""
    legend = '<p class="ex-legend" aria-hidden="true"></p>' if view != "pair" else ""
    command = (
        '<div class="ex-command"><p class="ex-title">The same decision from the command line</p>'
        '<pre tabindex="0"><code></code></pre><button type="button">Copy</button></div>'
    )
    return (
        f'{patterns}<form class="ex-controls" aria-label="What is decided for">{controls}'
        '<button type="reset">Back to the scenario</button></form>'
        '<p class="ex-decision"></p><p class="ex-said" role="status" aria-live="polite"></p>'
        f'<div class="ex-panels">{panels}</div>{legend}{command if view == "whole" else ""}'
        '<ul class="ex-limits"></ul>'
    )


def _control(name: str) -> str:
    if name in _CHOICES:
        return f'<label>{_CHOICES[name]} <select name="{name}"></select></label>'
    return (
        f'<label>{_SLIDERS[name]} <span class="ex-value" aria-hidden="true"></span>'
        f'<input type="range" name="{name}"></label>'
    )


def _panel(name: str, view: View) -> str:
    axes = _PLAYER if name == "round" else ""
    if name == "map" and view == "whole":
        options = "".join(f'<option value="{axis}">{_SLIDERS[axis]}</option>' for axis in _AXES)
        axes = (
            '<div class="ex-axes">'
            f'<label>Across <select name="across">{options}</select></label>'
            f'<label>Upwards <select name="upwards">{options}</select></label></div>'
        )
    return (
        f'<div class="ex-panel-{name}"><p class="ex-title">{_TITLES[name]}</p>{axes}'
        f'<svg data-panel="{name}" role="img" style="height:{_HEIGHTS_PX[name]}px"></svg></div>'
    )


def _variables(colours: Mapping[str, str]) -> str:
    return "{" + ";".join(f"--ex-{name}:{colour}" for name, colour in colours.items()) + "}"
