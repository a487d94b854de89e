"""Turns a figure into a file: SVG that follows the reader's theme, PNG for slides.

One SVG serves light and dark pages. Its own style sheet exchanges every colour by night, which a
browser decides from the colour scheme of the page that shows the picture.
"""

from __future__ import annotations

import io
import re

import matplotlib as mpl
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from card.figures.palette import COLOURS, TEXT_COLOURS, dark
from card.figures.phones import for_phone

PNG_DPI = 200
"""Resolution of PNG files [dots per inch]."""
PHONE = "application/vnd.card.phone+svg"
"""Kind of output that has a figure for phones, which Jupyter knows not to show."""

_PAINT = re.compile(r"\b(fill|stroke)(: |=\")(#[0-9a-fA-F]{6})\b")
# Named by matplotlib alone, the font leaves readers who lack it with a narrow serif; the next ones
# have much the same widths
_FONTS = ("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")


def svg(figure: Figure, *, name: str = "card") -> str:
    """Figure as SVG text that follows the reader's theme; equal figures give equal text.

    Parameters
    ----------
    figure
        The figure; text in colours too faint to read gets a darker shade of them.
    name
        What the identifiers inside the file are derived from.
    """
    legible(figure)
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    return themed(file.getvalue().replace(*_FONTS))


def png(figure: Figure) -> bytes:
    """Figure as PNG with at most 256 colours, for a white page; equal figures give equal bytes."""
    legible(figure)
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", bbox_inches="tight", dpi=PNG_DPI)
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        small, format="png", optimize=True, dpi=(PNG_DPI, PNG_DPI)
    )
    return small.getvalue()


def themed(picture: str) -> str:
    """SVG text with a style sheet that exchanges its colours by night.

    Parameters
    ----------
    picture
        SVG whose elements name their colours as `#rrggbb`, in a style or as attributes.
    """
    rules = sorted({(kind, sign, colour) for kind, sign, colour in _PAINT.findall(picture)})
    # What names no colour is black, by inheritance. The other rules name no ancestor, since what
    # `use` repeats has none of them.
    night = [f".card-figure{{fill:{dark(COLOURS['black'])}}}"]
    for kind, sign, colour in rules:
        where = f'[style*="{kind}: {colour}"]' if sign == ": " else f'[{kind}="{colour}"]'
        night.append(f"{where}{{{kind}:{dark(colour)}!important}}")
    sheet = f"<style>@media (prefers-color-scheme:dark){{{''.join(night)}}}</style>"
    return re.sub(r"<svg\b([^>]*)>", rf'<svg class="card-figure"\1>{sheet}', picture, count=1)


def phone_svg(figure: Figure, *, name: str = "card-phone") -> str:
    """Figure as `svg` gives it, but with its panels in one column as wide as a phone."""
    return svg(for_phone(figure), name=name)


def show_in_notebooks() -> None:
    """Let a notebook show figures as SVG that follows the theme, as PNG, and as SVG for phones."""
    from IPython import get_ipython  # only in Jupyter

    def shown(figure: Figure, **_: object) -> dict[str, str | bytes]:
        return {"image/svg+xml": svg(figure), "image/png": png(figure), PHONE: phone_svg(figure)}

    get_ipython().display_formatter.mimebundle_formatter.for_type(Figure, shown)


def legible(figure: Figure) -> None:
    """Give text in colours too faint to read a darker shade of them."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        colour = to_hex(text.get_color()).upper()
        if colour in TEXT_COLOURS:
            text.set_color(TEXT_COLOURS[colour])
