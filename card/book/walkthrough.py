"""What the page *Your own study* shows: one shipped study, from its question to its figure."""

from __future__ import annotations

from pathlib import Path

from card.base.errors import extra
from card.book.comparison_page import WORDS, amount, span
from card.book.markdown import plain, table, write
from card.book.provenance import code_path
from card.figures.image_files import write_figure
from card.figures.policies import label_of
from card.figures.style import use_style
from card.figures.sweeps import along
from card.studies.comparison import Comparison, compare
from card.studies.scenario_values import with_unit
from card.studies.study_file import load_study
from card.studies.sweep import sweep

with extra("book", "card.book.walkthrough"):
    import matplotlib as mpl

STUDY = "bigger-llm"
"""The study that the page walks through."""


def walkthrough(generated: Path, results: Path) -> None:
    """Compute the page's tables and its figure anew.

    Parameters
    ----------
    generated
        Folder of computed pages, which receives the tables.
    results
        Folder of results, which receives the picture `your_study`, as SVG and PNG.
    """
    study = load_study(STUDY)
    found = compare(study.base, study.scenario)
    write(generated / "your_study_parameters.md", parameters_table(found))
    write(generated / "your_study_changes.md", changes_table(found))
    assert study.sweep is not None, f"{STUDY}.yml has a sweep; this page is about it"
    grid = sweep(study.scenario, study.sweep.over, study.sweep.policies)
    with mpl.rc_context():
        use_style()
        write_figure(results / "your_study", along(grid, *grid.delay_s.dims[:2]))


def parameters_table(found: Comparison) -> str:
    """Markdown table of the values that differ."""
    rows = [
        (code_path(d.path), *(plain(with_unit(v, d.unit)) for v in (d.first, d.second)))
        for d in found.parameters
    ]
    return table(("Parameter", "base", "study"), rows)


def changes_table(found: Comparison) -> str:
    """Markdown table of mean delay and server energy in both, with the change's interval."""
    rows = []
    for item in found.changes:
        word, unit = WORDS[item.quantity]
        if item.quantity != "device_energy_j" and item.policy != "exhaustive":
            means = (amount(item.first, unit), amount(item.second, unit))
            moved = span(item.low, item.high, unit)
            rows.append((f"{label_of(item.policy)}: {word}", *means, moved))
    return table(("Mean per round", "base", "study", "change, 95 % interval"), rows)
