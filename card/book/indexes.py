"""Writes the indexes of the book: its symbols, equations, figures and claims.

Pages are MyST Markdown; the book includes them from `_generated/`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from card.base.yaml_files import read_yaml
from card.book.markdown import reproduced, table, write
from card.book.notation import Equation, Symbol, notation


class Picture(NamedTuple):
    """A figure of the book."""

    page: str
    """Page that it stands on, without suffix."""
    name: str
    """Label that the book refers to it by."""
    caption: str
    """First sentence of its caption."""


def indexes(root: Path, source: Path, claims: Sequence[Mapping[str, Any]]) -> None:
    """Write all indexes into a staged book.

    Parameters
    ----------
    root
        Root of the repository, which has the table of contents.
    source
        The staged book, with its executed notebooks.
    claims
        The claims, as `card.studies.claims.claims` finds them.
    """
    generated = source / "_generated"
    write(generated / "symbols.md", symbols_index())
    write(generated / "equations.md", equations_index())
    contents = read_yaml(root / "_toc.yml")
    write(generated / "figures.md", figures_index(pictures(source, pages_of(contents))))
    write(generated / "claims_index.md", claims_index(claims) if claims else "")


def symbols_index() -> str:
    """Table of symbols per topic, each row an anchor that formulas link to."""
    head = ("Symbol", "Meaning", "Unit", "In code", "First\u00a0in")
    parts = []
    for topic, group in notation().symbols.items():
        rows = [_symbol_row(symbol) for symbol in group]
        parts += [f"## {topic}", table(head, rows, numbers_right=False)]
    return "\n\n".join(parts)


def _symbol_row(symbol: Symbol) -> tuple[str, ...]:
    only = f" (only in chapter {int(symbol.chapter)})" if symbol.chapter else ""
    return (
        f'<span id="{symbol.anchor}"></span>${_without_bars(symbol.latex)}$',
        f"{symbol.meaning}{only}",
        symbol.unit or "–",
        _in_code(symbol.home, symbol.code),
        _reference(symbol.defined),
    )


def _without_bars(latex: str) -> str:
    """LaTeX that a cell of a Markdown table can hold."""
    return re.sub(r"\|([^|]*)\|", r"\\lvert \1 \\rvert", latex)


def _in_code(home: str, text: str) -> str:
    return f"{{py:obj}}`{text} <card.{home}>`" if home else "–"


def _reference(label: str) -> str:
    kind, name = ("numref", "Fig.\u00a0%s") if label.startswith("fig-") else ("eq", "")
    return f"{{{kind}}}`{name} <{label}>`" if name else f"{{{kind}}}`{label}`"


def equations_index() -> str:
    """Table of numbered equations, each with what computes it or why nothing does."""
    head = ("Equation", "What it states", "Computed by")
    return table(head, [_equation_row(equation) for equation in notation().equations])


def _equation_row(equation: Equation) -> tuple[str, ...]:
    computed = _in_code(equation.home, equation.home) if equation.home else equation.reason
    return f"{{eq}}`{equation.label}`", equation.meaning, computed


def pages_of(contents: Mapping[str, Any]) -> list[str]:
    """Pages of a table of contents in the order that a reader turns them."""
    own = [contents[key] for key in ("root", "file") if key in contents]
    parts = [part for key in ("parts", "chapters", "sections") for part in contents.get(key, ())]
    return own + [page for part in parts for page in pages_of(part)]


def pictures(source: Path, pages: Iterable[str]) -> list[Picture]:
    """Figures of the pages of a staged book."""
    found = []
    for page in pages:
        notebook, markdown = source / f"{page}.ipynb", source / f"{page}.md"
        drawn = _of_notebook(notebook) if notebook.is_file() else _of_markdown(markdown)
        found += [Picture(page, name, _first_sentence(caption)) for name, caption in drawn]
    return found


def _of_notebook(path: Path) -> Iterator[tuple[str, str]]:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"]) if cell["cell_type"] == "markdown" else ""
        figure = cell["metadata"].get("mystnb", {}).get("figure")
        yield from [(figure["name"], figure["caption"])] if figure else _drawn(text)


def _of_markdown(path: Path) -> Iterator[tuple[str, str]]:
    yield from _drawn(path.read_text(encoding="utf-8"))


def _drawn(text: str) -> Iterator[tuple[str, str]]:
    """Name and caption of the figures that Markdown holds as directives."""
    for body in re.findall(r"^(?:```|:::)\{figure\}.*?\n(.*?)\n(?:```|:::)$", text, re.S | re.M):
        name = re.search(r"^:name: (\S+)$", body, re.M)
        if name:
            yield name[1], body.partition("\n\n")[2]


def _first_sentence(caption: str) -> str:
    return re.split(r"(?<=\.)\s+(?=[A-Z{])", " ".join(caption.split()), maxsplit=1)[0]


def figures_index(found: Sequence[Picture]) -> str:
    """Table of figures with their numbers, captions and pages."""
    rows = [
        (f"{{numref}}`{figure.name}`", figure.caption, f"{{doc}}`/{figure.page}`")
        for figure in found
    ]
    return table(("Figure", "What it shows", "Page"), rows)


def claims_index(claims: Sequence[Mapping[str, Any]]) -> str:
    """Table of the letter's claims: what is said, against what it is read, and what is found."""
    rows = [
        (
            f"**{claim['id']}**",
            claim["text"],
            f"`{claim['benchmark']}`",
            *(reproduced(claim, name) for name in ("nominal", "calibrated", "realistic")),
            claim["status"],
        )
        for claim in claims
    ]
    found = ("Nominal", "Calibrated", "Realistic", "Status")
    head = ("Claim", "Abstract of the letter", "Read against", *found)
    return table(head, rows)
