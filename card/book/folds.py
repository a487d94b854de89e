"""Sphinx extension of the book: one fold for the code of neighbouring cells.

Cells are short for those who run them. A reader of the page sees one fold before each output, and
in it the cells that lead there.
"""

from __future__ import annotations

from typing import Any

from card.base.errors import extra

with extra("book", "card.book.folds"):
    from docutils import nodes  # type: ignore[import-untyped]
    from myst_nb.sphinx_ import (  # type: ignore[import-untyped]
        HideCodeCellNode,
        depart_HideCellInput,
        visit_HideCellInput,
    )
    from sphinx.application import Sphinx
    from sphinx.transforms.post_transforms import SphinxPostTransform
    from sphinx.writers.html5 import HTML5Translator


class JoinCells(SphinxPostTransform):
    """Moves the code of a folded cell that shows nothing into the folded cell right after it."""

    default_priority = 198  # myst-nb folds at 199
    formats = ("html",)

    def run(self, **_: Any) -> None:
        """Join the cells of one page."""
        for cell in list(self.document.findall(_is_folded)):
            after = cell.next_node(descend=False, siblings=True)
            if after is None or not _is_folded(after) or any(part.children for part in cell[1:]):
                continue
            after[0].insert(0, cell[0].children)
            cell.parent.remove(cell)


def _is_folded(node: nodes.Node) -> bool:
    return isinstance(node, nodes.container) and node.get("hide_mode") == "input"


def visit_fold(translator: HTML5Translator, node: HideCodeCellNode) -> None:
    """Open a fold whose name for a screen reader is what it shows."""
    start = len(translator.body)
    visit_HideCellInput(translator, node)
    label = ' aria-label="Toggle hidden content"'
    translator.body[start:] = [line.replace(label, "") for line in translator.body[start:]]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.setup_extension("myst_nb")
    app.add_post_transform(JoinCells)
    app.add_node(HideCodeCellNode, override=True, html=(visit_fold, depart_HideCellInput))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
