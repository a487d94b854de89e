"""`card.figures.palette` and `.picture`: legible by day and by night, and the same bytes again."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from card.figures.image_files import PNG_DPI, png, svg, themed
from card.figures.palette import (
    COLOURS,
    DARK_COLOURS,
    DARK_PAGE,
    LIGHT_PAGE,
    TEXT_COLOURS,
    dark,
)

# WCAG 2.2, success criteria 1.4.3 and 1.4.11
TEXT, GRAPHICS = 4.5, 3.0
PAINTS = re.compile(r'\b(?:fill|stroke)(?:: |=")(#\w{6})')


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours `#rrggbb`, 1 to 21, as WCAG 2 defines it."""
    darker, lighter = sorted(map(_luminance, (first, second)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), channels, strict=True))


@pytest.fixture
def figure() -> Iterator[Figure]:
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure = Figure()
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=COLOURS["orange"], label="a line")
        axes.bar([0], [1], color="#fbeee6", edgecolor="black", hatch="//")
        axes.text(0.5, 0.5, "a label", color=COLOURS["orange"])
        yield figure


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)  # by definition
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)  # just fails, famously


@pytest.mark.parametrize("name", COLOURS)
def test_a_colour_stands_out_from_its_page(name: str) -> None:
    colour = COLOURS[name]
    assert contrast(colour, LIGHT_PAGE) >= GRAPHICS
    assert contrast(dark(colour), DARK_PAGE) >= GRAPHICS


@pytest.mark.parametrize("name", COLOURS)
def test_text_in_a_colour_is_readable(name: str) -> None:
    ink = TEXT_COLOURS.get(COLOURS[name], COLOURS[name])
    assert contrast(ink, LIGHT_PAGE) >= TEXT
    assert contrast(dark(ink), DARK_PAGE) >= TEXT


@pytest.mark.parametrize("name", ["blue", "vermillion", "green"])
def test_white_text_reads_on_a_bar_and_so_does_what_it_becomes(name: str) -> None:
    assert contrast(LIGHT_PAGE, COLOURS[name]) >= TEXT
    assert contrast(dark(LIGHT_PAGE), dark(COLOURS[name])) >= TEXT


@pytest.mark.parametrize("ink", ["#222222", "#262626", "#444444", "#555555", "#666666"])
def test_inks_without_a_pair_of_their_own_stay_readable(ink: str) -> None:
    assert contrast(dark(ink), DARK_PAGE) >= TEXT


def test_a_light_tint_becomes_a_dark_one_and_a_dark_step_a_light_one() -> None:
    assert contrast(dark("#fbeee6"), DARK_PAGE) < 1.3
    assert contrast(dark("#08306b"), DARK_PAGE) > GRAPHICS


def test_every_paint_of_a_figure_is_exchanged_by_night(figure: Figure) -> None:
    picture = svg(figure)
    sheet, drawing = picture.split("</style>", 1)
    paints = set(PAINTS.findall(drawing))
    assert {COLOURS["orange"].lower(), "#fbeee6", "#000000", "#ffffff"} <= paints
    for colour in paints:
        assert f'{colour}"]{{' in sheet
    # Matplotlib names no colour where something is black; it then inherits this one
    assert f".card-figure{{fill:{DARK_COLOURS['#000000']}}}" in sheet
    assert '<svg class="card-figure"' in picture


def test_a_drawing_by_hand_is_exchanged_too() -> None:
    assert '[fill="#ffffff"]{fill:#14181E!important}' in themed('<svg><path fill="#ffffff"/></svg>')


def test_the_book_s_own_drawing_follows_the_palette() -> None:
    drawing = (Path(__file__).parents[3] / "book/_assets/split.svg").read_text(encoding="utf-8")
    plain = re.sub(r"<style>.*?</style>", "", drawing).replace(' class="card-figure"', "")
    assert themed(plain) == drawing, "write it anew with `themed`"
    assert {COLOURS["green"].lower(), COLOURS["vermillion"].lower()} <= set(PAINTS.findall(plain))


def test_text_stays_text_in_a_shade_that_reads(figure: Figure) -> None:
    picture = svg(figure)
    label = next(line for line in picture.splitlines() if ">a label</text>" in line)
    assert TEXT_COLOURS[COLOURS["orange"]].lower() in label
    assert "'DejaVu Sans', Verdana, sans-serif" in label


def test_equal_figures_give_equal_files(figure: Figure) -> None:
    assert svg(figure) == svg(figure)
    assert png(figure) == png(figure)
    assert "<dc:date>" not in svg(figure)


def test_a_png_is_small_and_large_enough_for_a_slide(figure: Figure) -> None:
    picture = Image.open(io.BytesIO(png(figure)))
    assert picture.mode == "P"
    assert picture.width > 5 * PNG_DPI, "the figure is 6.4 inch wide, less its margins"
    assert "Date" not in picture.info


def test_no_power_of_ten_stands_apart_from_the_numbers_of_an_axis():
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 4e7], [0, 3e-9])
    svg(figure)
    for axis, last in ((axes.xaxis, "40\N{THIN SPACE}M"), (axes.yaxis, "3\N{THIN SPACE}n")):
        assert axis.get_offset_text().get_text() == ""
        assert last in [label.get_text() for label in axis.get_ticklabels()]
