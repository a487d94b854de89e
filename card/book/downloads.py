"""Lays out what a book offers for download: notebooks, figures, data, and a page of them all."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from card.base.units import counted
from card.book.indexes import Picture
from card.book.markdown import code, table, write
from card.book.place import Place
from card.figures.image_files import PHONE

_SAVED = re.compile(r"save_(?:result|figure)\(\s*\"(\w+)\"")
_FIGURE = re.compile(
    r'<figure\b[^>]*\bid="([\w-]+)">\s*<img\b[^>]*\bsrc="([^"]+)".*?(?=</p>\s*</figcaption>)',
    re.DOTALL,
)
_PRINTS = re.compile(r'<p class="prints">.*?</p>', re.DOTALL)
_IMAGE = re.compile(r'_images/[^"]+"')
_TAG = re.compile(r"<img\b[^>]*>")
_NARROW = "(max-width: 576px)"
_MANY = 6
_SVG, _PNG = "image/svg+xml", "image/png"


def lift_figures(notebook: Path, folder: Path) -> None:
    """Save the figures of an executed notebook as SVG and PNG, named as its cells name them."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    for name, data in _figures(content):
        write(folder / f"{name}.svg", _joined(data[_SVG]))
        if PHONE in data:
            write(folder / f"{name}-phone.svg", _joined(data[PHONE]))
        if _PNG in data:
            (folder / f"{name}.png").write_bytes(base64.b64decode(_joined(data[_PNG])))


def for_pages(content: Mapping[str, Any]) -> dict[str, Any]:
    """An executed notebook whose figures are SVG alone, which follow the theme of a page."""
    return _without((_PNG, PHONE), content)


def for_readers(content: Mapping[str, Any]) -> dict[str, Any]:
    """An executed notebook whose figures are PNG alone: Jupyter shows no SVG from elsewhere."""
    return _without((_SVG, PHONE), content)


def _without(kinds: Sequence[str], content: Mapping[str, Any]) -> dict[str, Any]:
    copied: dict[str, Any] = deepcopy(dict(content))
    outputs = (output for cell in copied["cells"] for output in cell.get("outputs", ()))
    for data in (output.get("data", {}) for output in outputs):
        if {_SVG, _PNG} <= data.keys():
            for kind in kinds:
                data.pop(kind, None)
    return copied


def downloads_page(notebooks: Path, results: Path, pictures: Sequence[Picture]) -> str:
    """Markdown of the page that lists every notebook, figure and data file.

    Parameters
    ----------
    notebooks
        Folder of the executed notebooks.
    results
        Folder of results; those of chapters lie in its `figures/`.
    pictures
        Figures of the book in its order. One that was drawn by hand has no file here and no row.
    """
    contents = {
        path: json.loads(path.read_text("utf-8")) for path in sorted(notebooks.glob("*.ipynb"))
    }
    chapters = {path: f"{{doc}}`notebooks/{path.stem}`" for path in contents}
    writers = {
        name: chapters[path]
        for path, content in contents.items()
        for name in _SAVED.findall("".join(_joined(cell["source"]) for cell in content["cells"]))
    }
    parts = [
        "## Notebooks",
        "Executed, with all outputs.",
        table(
            ("Chapter", "Notebook"),
            [
                (chapters[path], _sized(f"_sources/notebooks/{path.name}", path))
                for path in contents
            ],
        ),
        "## Figures",
        "SVG follows the reader's light or dark theme; PNG is for slides and has a white page.",
        table(
            ("Figure", "SVG", "PNG", "Shows"),
            list(_figure_rows(pictures, results)),
        ),
        "## Data",
        "What the figures and the sentences of the book are made of, in full precision.",
        table(
            ("File", "Holds", "Computed in"),
            [
                (
                    _sized(f"results/{path.name}", path),
                    holds(path),
                    writers.get(path.stem, "the book's build"),
                )
                for path in sorted(results.iterdir())
                if path.suffix in (".csv", ".json", ".nc")
            ],
        ),
    ]
    return "\n\n".join(parts)


def link_figures(html_folder: Path) -> None:
    """Show each figure of a rendered book from its file among the results, and link to its files.

    So the book holds no picture twice.
    """

    def linked(found: re.Match[str]) -> str:
        name, source = found.groups()
        for stem in (f"figures/{name}", Path(source).stem):
            if (html_folder / f"results/{stem}.png").is_file():
                links = (
                    f'<a href="{root}results/{stem}.{kind}" download>{kind.upper()}</a>'
                    for kind in ("svg", "png")
                )
                shown = found[0].replace(f'"{source}"', f'"{root}results/{stem}.svg"')
                if (html_folder / f"results/{stem}-phone.svg").is_file():
                    phone = f'<source media="{_NARROW}" srcset="{root}results/{stem}-phone.svg">'
                    shown = _TAG.sub(rf"<picture>{phone}\g<0></picture>", shown, count=1)
                return f'{shown} <span class="figure-files">{" ".join(links)}</span>'
        return found[0]

    shown = ""
    for page in html_folder.rglob("*.html"):
        root = "../" * (len(page.relative_to(html_folder).parts) - 1)
        text = _FIGURE.sub(linked, page.read_text(encoding="utf-8"))
        page.write_text(text, encoding="utf-8")
        shown += "".join(_IMAGE.findall(text))
    for picture in html_folder.glob("_images/*"):
        if picture.name not in shown:
            picture.unlink()


def offer_prints(place: Place) -> None:
    """Have the downloads page of a built book link to its PDF and its report, as far as there are.

    They lie beside the folder of the pages, and stay there.
    """
    prints = {"the book as a PDF": place.pdf, "the report, a PDF of four pages": place.report}
    links = [
        f"{_link(f'../{file.name}', words)} ({size(file.stat().st_size)})"
        for words, file in prints.items()
        if file.is_file()
    ]
    page = place.html / "downloads.html"
    said = f'<p class="prints">For paper: {" and ".join(links)}.</p>'
    write(page, _PRINTS.sub(lambda _: said, page.read_text(encoding="utf-8")))


def holds(path: Path) -> str:
    """What a data file holds, in a line of Markdown: its columns, variables or keys."""
    if path.suffix == ".csv":
        frame = pd.read_csv(path)
        return f"{counted(len(frame), 'row')} of {_names(frame.columns)}"
    if path.suffix == ".nc":
        with xr.open_dataset(path, engine="scipy") as dataset:
            sizes = ", ".join(f"`{dim}` ({size:,})" for dim, size in dataset.sizes.items())
            return f"{_names(dataset.data_vars)} over {sizes}"
    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, list):
        kind = f" of {_names(content[0])}" if content and isinstance(content[0], dict) else ""
        return counted(len(content), "record") + kind
    return _names(content) if isinstance(content, dict) else "one value"


def size(byte: int) -> str:
    """Size of a file as people read it, in kB or MB."""
    return f"{byte / 1e6:.1f}\u00a0MB" if byte >= 999_500 else f"{byte / 1e3:.1f}\u00a0kB"


def _figures(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and output of each figure of a notebook."""
    for cell in content["cells"]:
        figure = cell["metadata"].get("mystnb", {}).get("figure", {})
        for output in cell.get("outputs", ()):
            if _SVG in output.get("data", {}) and "name" in figure:
                yield figure["name"], output["data"]


def _figure_rows(pictures: Sequence[Picture], results: Path) -> Iterator[tuple[str, ...]]:
    for _, name, caption in pictures:
        # The build draws the figures of Markdown pages under names of their own
        for stem in (f"figures/{name}", name.removeprefix("fig-").replace("-", "_")):
            if (results / f"{stem}.png").is_file():
                yield f"{{numref}}`{name}`", *_pair(results, stem), caption.rstrip(".")
                break


def _pair(results: Path, name: str) -> Iterator[str]:
    for kind in ("svg", "png"):
        file = results / f"{name}.{kind}"
        text = size(file.stat().st_size)
        yield _link(f"results/{name}.{kind}", text, f"{file.stem} as {kind.upper()}, {text}")


def _sized(target: str, file: Path) -> str:
    return f"{_link(target, file.name)} ({size(file.stat().st_size)})"


def _link(target: str, text: str, label: str = "") -> str:
    # Written as HTML, since a Markdown link to a file makes the book hold a second copy of it
    name = f' aria-label="{html.escape(label)}"' if label else ""
    return f'<a href="{target}" download{name}>{html.escape(text)}</a>'


def _names(items: Iterable[Any]) -> str:
    names = [code(str(item)) for item in items]
    more = f" and {len(names) - _MANY:,} more" if len(names) > _MANY else ""
    return ", ".join(names[:_MANY]) + more


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
