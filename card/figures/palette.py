"""Colours of every figure, by day and by night."""

from __future__ import annotations

import colorsys

COLOURS = {
    "blue": "#0072B2",
    "vermillion": "#C85200",
    "green": "#00805D",
    "purple": "#CC79A7",
    "sky": "#3A9BD6",
    "orange": "#C78500",
    "grey": "#7F7F7F",
    "black": "#000000",
}
"""Colour-blind-safe palette by name, Okabe and Ito's with four hues darker to stand on white."""

TEXT_COLOURS = {
    COLOURS["purple"]: "#9C4579",
    COLOURS["sky"]: "#1F77AB",
    COLOURS["orange"]: "#8F5F00",
    COLOURS["grey"]: "#666666",
}
"""What text takes instead of a colour that would be too faint to read on white."""

LIGHT_PAGE = "#FFFFFF"
"""Background of figures by day."""

DARK_PAGE = "#14181E"
"""Background of figures by night, the same as that of the book's pages."""

DARK_COLOURS = {
    COLOURS["blue"]: "#4A9FE0",
    COLOURS["vermillion"]: "#F0803A",
    COLOURS["green"]: "#2DBA8E",
    COLOURS["purple"]: "#E39AC6",
    COLOURS["sky"]: "#9AD6FA",
    COLOURS["orange"]: "#F5BE41",
    COLOURS["grey"]: "#858C94",
    COLOURS["black"]: "#E6E9ED",
    TEXT_COLOURS[COLOURS["purple"]]: "#E39AC6",
    TEXT_COLOURS[COLOURS["sky"]]: "#9AD6FA",
    TEXT_COLOURS[COLOURS["orange"]]: "#F5BE41",
    TEXT_COLOURS[COLOURS["grey"]]: "#A9B0B8",
    LIGHT_PAGE: DARK_PAGE,
}
"""What each named colour becomes by night."""


def dark(colour: str) -> str:
    """Colour `#rrggbb` that takes another's place by night.

    A colour without a pair of its own, such as a tint or a step of a colour map, keeps its hue and
    trades its lightness for the opposite, between the night's page and its ink.
    """
    known = DARK_COLOURS.get(colour.upper())
    if known:
        return known
    hue, lightness, saturation = colorsys.rgb_to_hls(*_channels(colour))
    flipped = colorsys.hls_to_rgb(hue, 1 - lightness, saturation)
    page, ink = _channels(DARK_PAGE), _channels(DARK_COLOURS[COLOURS["black"]])
    mixed = (low + part * (high - low) for part, low, high in zip(flipped, page, ink, strict=True))
    return "#" + "".join(f"{round(255 * part):02X}" for part in mixed)


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue
