"""`card.book.downloads`: figures lifted out of notebooks, and a page that lists every file."""

import base64
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import xarray as xr

from card.book.downloads import (
    downloads_page,
    for_pages,
    for_readers,
    holds,
    lift_figures,
    link_figures,
    offer_prints,
    size,
)
from card.book.indexes import Picture
from card.book.place import Place
from card.figures.image_files import PHONE


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    """One executed notebook with a figure and a saved result."""
    picture = {
        "image/svg+xml": ["<svg/>\n"],
        "image/png": base64.b64encode(b"png").decode(),
        PHONE: ["<svg>phone</svg>\n"],
    }
    cell: dict[str, Any] = {
        "cell_type": "code",
        "metadata": {"mystnb": {"figure": {"name": "fig-rates", "caption": "Rates. With more."}}},
        "source": ['save_result("rates", rates)\n', 'save_result(\n    "wrapped", 1)'],
        "outputs": [{"output_type": "display_data", "data": picture, "metadata": {}}],
    }
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / "01_model.ipynb").write_text(json.dumps({"cells": [cell], "metadata": {}}))
    return folder


def test_a_figure_is_lifted_by_its_name(notebooks: Path, tmp_path: Path) -> None:
    lift_figures(notebooks / "01_model.ipynb", tmp_path)
    assert (tmp_path / "fig-rates.svg").read_text() == "<svg/>\n"
    assert (tmp_path / "fig-rates.png").read_bytes() == b"png"
    assert (tmp_path / "fig-rates-phone.svg").read_text() == "<svg>phone</svg>\n"


def test_pages_and_readers_get_one_picture_each(notebooks: Path) -> None:
    content = json.loads((notebooks / "01_model.ipynb").read_text())
    for copied, kind in ((for_pages, "image/svg+xml"), (for_readers, "image/png")):
        assert list(copied(content)["cells"][0]["outputs"][0]["data"]) == [kind]
    del content["cells"][0]["metadata"]["mystnb"]  # a figure without a name is one, too
    assert list(for_pages(content)["cells"][0]["outputs"][0]["data"]) == ["image/svg+xml"]
    data = content["cells"][0]["outputs"][0]["data"]
    del data["image/png"], data[PHONE]
    assert for_readers(content) == content, "the only picture stays"


def test_the_page_lists_every_file_once_and_says_who_computes_it(
    notebooks: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    lift_figures(notebooks / "01_model.ipynb", results / "figures")
    for kind in ("svg", "png"):
        (results / f"headline.{kind}").touch()
    (results / "rates.json").write_text('{"good": 1, "poor": 0}')
    (results / "wrapped.json").write_text("1")
    (results / "provenance.json").write_text("{}")

    pictures = [
        Picture("index", "fig-headline", "At a glance."),
        Picture("idea", "fig-split", "Drawn by hand."),
        Picture("notebooks/01_model", "fig-rates", "Rates."),
    ]
    page = downloads_page(notebooks, results, pictures)
    assert page.index("fig-headline") < page.index("fig-rates"), "in the order of the book"
    assert "fig-split" not in page
    lines = page.splitlines()

    def line(text: str) -> str:
        (found,) = [row for row in lines if text in row]
        return found

    assert 'href="_sources/notebooks/01_model.ipynb" download' in line("01_model.ipynb")
    figure = line("{numref}`fig-rates`")
    assert 'href="results/figures/fig-rates.svg"' in figure
    assert 'href="results/figures/fig-rates.png"' in figure
    assert figure.endswith("| Rates |")
    assert 'href="results/headline.png"' in line("{numref}`fig-headline`")
    assert "`good`, `poor` | {doc}`notebooks/01_model`" in line("results/rates.json")
    assert "{doc}`notebooks/01_model`" in line("results/wrapped.json")
    assert "the book's build" in line("results/provenance.json")


def test_a_figure_links_to_its_files_from_wherever_it_stands(tmp_path: Path) -> None:
    figure = (
        '<figure class="align-default" id="{name}">\n<img alt="A figure" src="{source}" />\n'
        "<figcaption>\n<p>Words.</p>\n</figcaption>\n</figure>"
    )
    for name in ("figures/fig-rates.png", "headline.png"):
        (tmp_path / "results" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "results" / name).touch()
    (tmp_path / "notebooks").mkdir()
    chapter, first = tmp_path / "notebooks/01_model.html", tmp_path / "index.html"
    chapter.write_text(figure.format(name="fig-rates", source="../_images/0af3.svg"))
    drawn_by_hand = figure.format(name="fig-split", source="_images/split.svg")
    first.write_text(figure.format(name="fig-top", source="_images/headline.svg") + drawn_by_hand)

    (tmp_path / "_images").mkdir()
    for name in ("0af3", "split", "headline"):
        (tmp_path / f"_images/{name}.svg").touch()

    link_figures(tmp_path)

    assert 'src="../results/figures/fig-rates.svg"' in chapter.read_text()
    assert 'src="results/headline.svg"' in first.read_text()
    assert [path.name for path in (tmp_path / "_images").iterdir()] == ["split.svg"], "held once"
    for kind in ("svg", "png"):
        assert f'href="../results/figures/fig-rates.{kind}"' in chapter.read_text()
        assert f'href="results/headline.{kind}"' in first.read_text()
    assert first.read_text().endswith(drawn_by_hand), "its file is the picture itself"


def test_the_page_offers_the_prints_that_there_are(tmp_path: Path) -> None:
    place = Place.of(tmp_path, "nominal")
    place.html.mkdir(parents=True)
    page = place.html / "downloads.html"
    page.write_text('<h1>Downloads</h1>\n<p class="prints">Not yet\nprinted.</p>\n<p>More</p>\n')
    for file, others in ((place.pdf, 0), (place.report, 1)):
        file.write_bytes(b"1234")
        offer_prints(place)
        text = page.read_text()
        assert f'<a href="../{file.name}" download>' in text
        assert text.count("<a href") == 1 + others
        assert text.endswith("(0.0\N{NO-BREAK SPACE}kB).</p>\n<p>More</p>\n")
    assert "Not yet" not in text


def test_what_a_file_holds_is_read_from_the_file(tmp_path: Path) -> None:
    frame = pd.DataFrame({"cut": range(1200), "delay_s": 0.1})
    frame.to_csv(tmp_path / "a.csv", index=False)
    xr.Dataset({"delay_s": ("cut", [0.1, 0.2])}).to_netcdf(tmp_path / "a.nc", engine="scipy")
    (tmp_path / "list.json").write_text('[{"round": 1}, {"round": 2}]')
    (tmp_path / "many.json").write_text(json.dumps(dict.fromkeys("abcdefgh", 0)))
    (tmp_path / "code.json").write_text('{"`card.sweep`, here": 1}')

    assert holds(tmp_path / "a.csv") == "1,200 rows of `cut`, `delay_s`"
    assert holds(tmp_path / "a.nc") == "`delay_s` over `cut` (2)"
    assert holds(tmp_path / "list.json") == "2 records of `round`"
    assert holds(tmp_path / "many.json") == "`a`, `b`, `c`, `d`, `e`, `f` and 2 more"
    assert holds(tmp_path / "code.json") == "`` `card.sweep`, here ``"


@pytest.mark.parametrize(
    ("byte", "text"),
    [
        (92, "0.1\u00a0kB"),
        (9_747, "9.7\u00a0kB"),
        (999_500, "1.0\u00a0MB"),
        (2_067_004, "2.1\u00a0MB"),
    ],
)
def test_sizes_read_as_people_write_them(byte: int, text: str) -> None:
    assert size(byte) == text
