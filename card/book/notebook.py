"""What a chapter needs out of sight: it saves results and figures, and gives numbers to its prose.

Every number and picture of the book so also lies beside it as data, and none of its sentences
holds a number that was typed. Names of other modules are handed on, so that a chapter's imports
come from few places.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from card.base.errors import extra
from card.book.explorer_controls import panel
from card.book.explorer_panel import document
from card.book.markdown import (
    interval,
    percent,
    reproduced,
    scientific,
    settled,
    table,
    to_json,
    write,
)
from card.book.pages import claims_page
from card.book.prose import prose, quote
from card.book.tables import (
    changed,
    digits,
    duration,
    extensions_table,
    machines_table,
    moves,
    operation_table,
    peaks_table,
    rates_table,
    scenario_table,
    settled_mean,
)
from card.figures.image_files import write_figure
from card.llm import closed_forms
from card.scenario.penalties import PenaltyTable
from card.solver import scipy_search
from card.studies import calibration, learning, privacy, schedules, sensitivity, speed
from card.studies.bootstrap import RESAMPLES, interval_of_means, mean_intervals, reductions
from card.studies.claims import applied, recorded_claims
from card.studies.explorer import explore
from card.studies.export import with_digest
from card.studies.extensions import extensions, reached
from card.studies.scenario_values import taken
from card.studies.timeline import busy, mini_batch_frames, round_steps

with extra("book", "card.book.notebook"):
    from matplotlib.figure import Figure


def save_result(name: str, obj: Any) -> None:
    """Save a result of a notebook as data beside the book; equal content gives equal bytes.

    Parameters
    ----------
    name
        File name without suffix. The file lies in the folder that the environment variable
        CARD_RESULTS names, or else in `_build/results`.
    obj
        A Dataset (saved as `.nc` with its digest, small whole numbers in two bytes), a DataFrame
        or Series (`.csv`), or nested mappings, sequences, dataclasses and numbers (`.json`, where
        a number that is not known, NaN, is null).

    Raises
    ------
    ValueError
        If a number for JSON is infinite; None says so there.
    """
    if isinstance(obj, xr.Dataset):
        whole = {
            key: {"dtype": "int16"}
            for key, item in obj.data_vars.items()
            if item.dtype.kind == "i" and abs(item).max() < 2**15
        }
        with_digest(obj).to_netcdf(_result(f"{name}.nc"), engine="scipy", encoding=whole)
    elif isinstance(obj, (pd.DataFrame, pd.Series)):
        named = any(level is not None for level in obj.index.names)
        obj.to_csv(_result(f"{name}.csv"), index=named, lineterminator="\n")
    else:
        write(_result(f"{name}.json"), to_json(obj))


def save_figure(name: str, figure: Figure) -> None:
    """Save a figure as SVG, also one for phones, and PNG; equal figures give equal bytes."""
    write_figure(_result(name), figure)


def _result(name: str) -> Path:
    folder = Path(os.environ.get("CARD_RESULTS", "_build/results"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name
