"""What a notebook hands to the book: results as data, figures as files, numbers for the prose.

Every number and picture of the book so also lies beside it as data, and none of its sentences
holds a number that was typed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from card.book.markdown import to_json, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def quote(values: Mapping[str, object]) -> None:
    """Give the prose of a notebook values by name, which it pastes where its text says so.

    Parameters
    ----------
    values
        Text or numbers by the name that the text uses; numbers are shown as Python writes them.
    """
    from myst_nb import glue  # type: ignore[import-untyped]  # part of the `book` extra

    for name, value in values.items():
        glue(name, value, display=False)


def save_result(name: str, obj: Any) -> None:
    """Save a result of a notebook as data beside the book; equal content gives equal bytes.

    Parameters
    ----------
    name
        File name without suffix. The file lies in the folder that the environment variable
        CARD_RESULTS names, or else in `_build/results`.
    obj
        A Dataset (saved as `.nc`), a DataFrame or Series (`.csv`), or nested mappings, sequences,
        dataclasses and numbers (`.json`).

    Raises
    ------
    ValueError
        If a number for JSON is not finite; None says so there.
    """
    if isinstance(obj, xr.Dataset):
        obj.to_netcdf(_result(f"{name}.nc"), engine="scipy")
    elif isinstance(obj, (pd.DataFrame, pd.Series)):
        named = any(level is not None for level in obj.index.names)
        obj.to_csv(_result(f"{name}.csv"), index=named, lineterminator="\n")
    else:
        write(_result(f"{name}.json"), to_json(obj))


def save_figure(name: str, figure: Figure) -> None:
    """Save a figure as `<name>.svg` and `.png` beside the book; equal figures give equal bytes."""
    # Whoever made the figure has loaded matplotlib; the command line starts without it
    from card.figures.picture import png, svg

    write(_result(f"{name}.svg"), svg(figure, name=name))
    _result(f"{name}.png").write_bytes(png(figure))


def _result(name: str) -> Path:
    folder = Path(os.environ.get("CARD_RESULTS", "_build/results"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name
