"""Turns a figure into a file: SVG that follows the reader's theme, PNG for slides.

Before that, text becomes legible, letters are found and marks made whole.

One SVG serves light and dark pages. Its own style sheet exchanges every colour by night, which a
browser decides from the colour scheme of the page that shows the picture.
"""

from __future__ import annotations

import io
import re
import warnings
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, findSystemFonts, fontManager, get_font
from matplotlib.text import Text
from matplotlib.ticker import EngFormatter
from PIL import Image

from card.base.errors import ScenarioWarning
from card.base.units import FloatArray
from card.figures.labels import FONT
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
_CUT_PX, _AIR_PX = 0.5, 1.0
"""What is missing of a mark before limits move, and what they leave then beyond the mark [px]."""
_NO_MARKERS = (None, "None", "none", " ", "")
_LEAST = 1e-9
"""What rounding may put a point beyond a limit, as a share of a panel."""
_GLYPH = "Glyph .* missing"
"""What Matplotlib warns of, letter by letter, wherever it measures or draws text."""
_PASSES = 20
"""More than limits need to settle, since wider ones bring marks nearer to the edge again."""


def svg(figure: Figure, *, name: str = "card") -> str:
    """Figure as SVG text that follows the reader's theme; equal figures give equal text.

    Parameters
    ----------
    figure
        The figure; text in colours too faint to read gets a darker shade of them.
    name
        What the identifiers inside the file are derived from.
    """
    finished(figure, drawn=False)
    return _svg(figure, name)


def png(figure: Figure) -> bytes:
    """Figure as PNG with at most 256 colours, for a white page; equal figures give equal bytes."""
    finished(figure, drawn=True)
    return _png(figure)


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as SVG, SVG for phones, and PNG, beside each other.

    Parameters
    ----------
    path
        The files without `.svg`, `-phone.svg` and `.png`, in a folder that is there.
    figure
        The figure; equal ones give equal bytes.
    """
    picture, narrow, pixels = pictures(figure, name=path.name)
    path.with_name(f"{path.name}.svg").write_text(picture, "utf-8")
    path.with_name(f"{path.name}-phone.svg").write_text(narrow, "utf-8")
    path.with_name(f"{path.name}.png").write_bytes(pixels)


def pictures(figure: Figure, *, name: str = "card") -> tuple[str, str, bytes]:
    """Figure as `svg`, `phone_svg` and `png` give it, but laid out only once."""
    finished(figure, drawn=False)
    picture, narrow = _svg(figure, name), phone_svg(figure, name=f"{name}-phone")
    _find_letters(figure)
    engine = figure.get_layout_engine()
    figure.set_layout_engine("none")  # all stays where it was laid for the first file
    pixels = _png(figure)
    figure.set_layout_engine(engine or "none")
    return picture, narrow, pixels


def _svg(figure: Figure, name: str) -> str:
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    return themed(file.getvalue().replace(*_FONTS))


def _png(figure: Figure) -> bytes:
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
    narrow = for_phone(figure)
    _touch_up(narrow)
    return _svg(narrow, name)


def show_in_notebooks() -> None:
    """Let a notebook show figures as SVG that follows the theme, as PNG, and as SVG for phones.

    Letters that no font has are told by `finished` alone, and no more whenever text is measured.
    """
    from IPython import get_ipython  # only in Jupyter

    def shown(figure: Figure, **_: object) -> dict[str, str | bytes]:
        return dict(zip(("image/svg+xml", PHONE, "image/png"), pictures(figure), strict=True))

    warnings.filterwarnings("ignore", _GLYPH)
    get_ipython().display_formatter.mimebundle_formatter.for_type(Figure, shown)


def finished(figure: Figure, *, drawn: bool) -> None:
    """Make text legible, letters found and marks whole.

    Parameters
    ----------
    figure
        The figure, which is changed.
    drawn
        Whether letters are drawn in the file, which otherwise has text and leaves fonts to readers.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _GLYPH)  # which is told once, below
        figure.draw_without_rendering()  # lays it out, and writes the words of ticks
    _touch_up(figure)
    if drawn:
        _find_letters(figure)


def _touch_up(figure: Figure) -> None:
    """Make text legible and marks whole on a figure that was drawn before."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if axis.get_offset_text().get_text():  # a power of ten that stands apart from its numbers
            axis.set_major_formatter(EngFormatter(sep="\N{THIN SPACE}"))
    for text in _texts(figure):
        colour = to_hex(text.get_color()).upper()
        if colour in TEXT_COLOURS:
            text.set_color(TEXT_COLOURS[colour])
    for axes in figure.axes:
        _keep_marks_whole(axes, figure.dpi)


def _texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if isinstance(text, Text)]


def _find_letters(figure: Figure) -> None:
    """Take letters that the style's font lacks from others that are installed, or warn of them."""
    texts = _texts(figure)
    own = _letters_of(findfont(FontProperties(family=FONT)))
    wanted = {letter for text in texts for letter in text.get_text() if not letter.isspace()}
    missing = {ord(letter) for letter in wanted} - own
    if not missing:
        return
    fonts = []
    for name, file in _installed():
        if found := missing & _letters_of(file):
            fonts.append(name)
            missing -= found
    for text in texts:
        if not own.issuperset(map(ord, text.get_text())):
            text.set_fontfamily([*text.get_fontfamily(), *fonts])
    if missing:
        warnings.warn(
            f"no font that is installed has {' '.join(map(chr, sorted(missing)))}, drawn as boxes; "
            f"install one that has them, such as Noto Sans CJK, or take the format svg.",
            ScenarioWarning,
            stacklevel=2,
        )


def _installed() -> list[tuple[str, str]]:
    """Names and files of upright fonts of plain weight, also of those Matplotlib knows not yet."""
    known = {entry.fname for entry in fontManager.ttflist}
    for file in findSystemFonts():
        if file not in known:
            with suppress(OSError, RuntimeError):  # it is none that can be read
                fontManager.addfont(file)
    plain = [
        (entry.name, entry.fname)
        for entry in fontManager.ttflist
        if entry.style == "normal" and entry.weight in (400, "normal", "regular")
    ]
    return sorted((name, file) for name, file in plain if not name.startswith("Last Resort"))


@lru_cache(maxsize=256)
def _letters_of(file: str) -> frozenset[int]:
    """Letters that a font has, by their numbers."""
    return frozenset(get_font(file).get_charmap())


def _keep_marks_whole(axes: Axes, dpi: float) -> None:
    """Widen limits until the marks of all points that are within them are whole."""
    places, halves_pt = _marks(axes)
    for side, axis in enumerate((axes.xaxis, axes.yaxis)):
        length_px, halves = axes.bbox.size[side], halves_pt * dpi / 72
        at, half = places[:, side], halves / length_px
        if not (np.minimum(at, 1 - at) < half - _CUT_PX / length_px).any():
            continue
        half, below, above = half + _AIR_PX / length_px, 0.0, 0.0
        for _ in range(_PASSES):
            wider = half * (1 + below + above)
            below, above = max(0.0, np.max(wider - at)), max(0.0, np.max(wider - (1 - at)))
        scale = axis.get_transform()
        low, high = scale.transform(axis.get_view_interval())
        ends = np.array([low - below * (high - low), high + above * (high - low)])
        limits = scale.inverted().transform(ends).tolist()
        axes.set(**{f"{'xy'[side]}lim": limits})


def _marks(axes: Axes) -> tuple[FloatArray, FloatArray]:
    """Marks within the limits: their places as shares of a panel, `(marks, 2)`, half sizes [pt]."""
    found = []
    for line in axes.lines:
        if line.get_marker() not in _NO_MARKERS and line.get_transform() == axes.transData:
            size_pt = line.get_markersize() + line.get_markeredgewidth()
            points = np.asarray(line.get_xydata(), dtype=np.float64)
            found.append((points[_marked(line.get_markevery())], size_pt))
    for marks in axes.collections:
        if isinstance(marks, PathCollection) and len(marks.get_sizes()):
            size_pt = float(np.sqrt(np.max(marks.get_sizes())))
            found.append((np.ma.filled(marks.get_offsets(), np.nan), size_pt))
    points = np.concatenate([np.empty((0, 2)), *(points for points, _ in found)])
    halves = np.repeat([size / 2 for _, size in found], [len(points) for points, _ in found])
    with np.errstate(all="ignore"):  # what a scale has no place for is not drawn
        places = (axes.transData + axes.transAxes.inverted()).transform(points)
    within = np.all((places > -_LEAST) & (places < 1 + _LEAST), axis=1)
    return places[within], halves[within]


def _marked(every: Any) -> slice:
    """Points of a line that have marks, where each so-manyth has, from the first or another on."""
    start, step = every if isinstance(every, tuple) else (0, every)
    return slice(start, None, step)
