"""Results as tables for a paper, a spreadsheet or another program."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from card.base.errors import ScenarioError, needs
from card.base.letters import not_utf8
from card.base.text_files import check_kept
from card.base.whole_files import remedy_of
from card.studies.bootstrap import mean_intervals
from card.studies.sweep_store import as_store, is_whole, plain

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_WITHIN = ("state", "device", "round")
_SCORES = ("objective", "delay_s", "energy_j", "device_energy_j")
_COLUMNS = (*(f"{name}{end}" for name in _SCORES for end in ("", "_low", "_high")), "infeasible")
_HEADS = {
    "objective": "objective",
    "delay_s": "delay [s]",
    "energy_j": "server energy [J]",
    "device_energy_j": "device energy [J]",
    "infeasible": "infeasible [1]",
}
_TOLD = ("title", "source", "rounds", "seed", "scenario_hash")
_SHEET_BYTES, _CELL_BYTES, _LETTER_BYTES = 1000, 64, 6
"""What a sheet has around all cells at most, around each, and for a letter [byte]."""
_WRITTEN = ("source", "seed", "scenario_hash")
"""What results of every kind say of themselves."""


def read_results(file: str | Path) -> xr.Dataset:
    """Results that `card simulate`, `sweep` or `benchmark` wrote with `--output`.

    Parameters
    ----------
    file
        A `.nc` file or a `.zarr` store.

    Raises
    ------
    ScenarioError
        If it is not there, damaged, or of something else.
    MissingExtraError
        If the library that reads it is not installed.
    """
    import xarray as xr

    path = Path(file).absolute()  # or else xarray takes a folder called ~ for the home
    remedy = "give a .nc or .zarr that card simulate, sweep or benchmark wrote with --output."
    if not path.exists():
        raise ScenarioError(f"{file} does not exist; {remedy}")
    check_kept(path)
    if library := _library_for(path):
        needs("sweep", str(file), library)
    odd = not_utf8(str(path))
    if odd and library == "netCDF4":
        raise ScenarioError(
            f"{file} cannot be read: the library of netCDF opens no path with {odd!a} in it, which "
            "is not UTF-8; rename that."
        )
    try:
        # from memory where that library, which reads the classic format, too, opens no such path
        source = io.BytesIO(path.read_bytes()) if odd and path.is_file() else path
        results = xr.open_dataset(source, **as_store(path))
        of_card = {"delay_s", "energy_j"} <= set(results.data_vars) and "policy" in results.dims
        damaged = of_card and not _is_whole(results)
        known = "digest" in results.attrs or "content_hash" in results.attrs
    except Exception as error:  # the libraries that read results raise errors of many kinds
        reason = " ".join(str(error).split())
        raise ScenarioError(f"{file} cannot be read ({reason:.100}); {remedy}") from error
    if not of_card:
        raise ScenarioError(f"{file} holds no results; {remedy}")
    if damaged:
        why = "it is not what was written" if known else "it has no digest that would tell a change"
        raise ScenarioError(f"{file} is damaged: {why}; {remedy}")
    return results


def _library_for(path: Path) -> str:
    """Module that reads what a sweep is kept in; none for the classic format of netCDF."""
    if path.suffix == ".zarr":
        return "zarr"
    with path.open("rb") if path.is_file() else io.BytesIO() as file:
        return "netCDF4" if file.read(4) == b"\x89HDF" else ""


def _is_whole(results: xr.Dataset) -> bool:
    """Whether results are what was written, as their digest says; those without one are not."""
    numbers = all(values.dtype.kind in "biuf" for values in results.data_vars.values())
    if not (numbers and set(_WRITTEN) <= set(results.attrs)):
        return False
    if {"fingerprint", "digest"} & set(results.attrs):  # a sweep that was written
        return "fingerprint" in results.attrs and is_whole(results)
    complete = all(bool(results[name].notnull().all()) for name in ("delay_s", "energy_j"))
    return complete and results.attrs.get("content_hash") == content_hash(results)


def with_digest(results: xr.Dataset) -> xr.Dataset:
    """Results with the digest by which a file of them is known to be whole."""
    return results.assign_attrs(content_hash=content_hash(results))


def content_hash(results: xr.Dataset) -> str:
    """Digest of all values and attributes, in whatever type of number a file has kept them.

    The classic format of netCDF does not notice that the end of a file is missing.
    """

    def attributes(of: Any) -> str:
        told = plain(of.attrs)
        return json.dumps({key: told[key] for key in sorted(told) if key != "content_hash"})

    digest = hashlib.sha256()
    for name in sorted(map(str, results.variables)):
        values = results[name].values
        cells = values.astype("<f8" if values.dtype.kind in "biuf" else "U")
        said = cells.tobytes() if cells.dtype.kind == "f" else repr(cells.tolist()).encode()
        digest.update(f"{name} {cells.shape} {attributes(results[name])} ".encode() + said)
    digest.update(attributes(results).encode())
    return digest.hexdigest()[:16]


def as_frame(results: xr.Dataset) -> pd.DataFrame:
    """A row per policy and point or scenario: means over states, devices and rounds, in SI units.

    Device energy is NaN where that of one device is not known. What the results are of stands in
    `attrs`: title, version, rounds, seed and scenario's hash.
    """
    kept = results[[name for name in _COLUMNS if name in results]]
    means = kept.mean([dim for dim in _WITHIN if dim in kept.dims], skipna=False)
    attributes = plain(results.attrs)
    told = {key: attributes[key] for key in _TOLD if key in attributes}
    if "round" in results.dims:
        told["rounds"] = results.sizes["round"]
        ends = mean_intervals(results)
        means = means.assign(
            {
                f"{name}_{end}": found.sel(statistic=end, drop=True)
                for name, found in ends.items()
                for end in ("low", "high")
            }
        )
    order = [str(dim) for dim in means.dims if dim != "policy"]
    whole = means.to_dataframe(dim_order=[*order, "policy"])
    frame = whole[[name for name in _COLUMNS if name in whole]]
    frame.attrs.update(told)
    return frame


def write_table(frame: pd.DataFrame, suffix: str) -> bytes:
    """A file of a table, by its ending, which says of what it is.

    Parameters
    ----------
    frame
        Result of `as_frame`.
    suffix
        One of `WRITERS`.

    Raises
    ------
    MissingExtraError
        If a library that writes it is not installed.
    """
    needs("export", suffix, *_MODULES[suffix])
    return WRITERS[suffix](frame)


def _csv(frame: pd.DataFrame) -> bytes:
    told = {str(key): str(value) for key, value in frame.attrs.items()}
    return bytes(frame.assign(**told).to_csv(lineterminator="\n").encode())


def _tex(frame: pd.DataFrame) -> bytes:
    """LaTeX with booktabs; an interval stands behind its mean."""
    shown = {}
    for name, head in _HEADS.items():
        if name not in frame:
            continue
        cells = frame[name].map(_digits)
        if f"{name}_low" in frame:
            ends = zip(frame[f"{name}_low"], frame[f"{name}_high"], strict=True)
            said = [
                "" if low != low else f" ({_digits(low)}–{_digits(high)})" for low, high in ends
            ]
            cells = cells + said
        shown[head] = cells
    table = frame.assign(**shown)[list(shown)].reset_index()
    styled = (
        table.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    )
    of = "; ".join(f"{key} {value}" for key, value in frame.attrs.items()).replace("\n", " ")
    return f"% {of}\n{styled.to_latex(hrules=True)}".encode()


def _xlsx(frame: pd.DataFrame) -> bytes:
    import pandas as pd

    results = frame.reset_index().map(_in_xml)
    about = pd.DataFrame({key: [_in_xml(str(value))] for key, value in frame.attrs.items()}).T
    _check_temporary(sum(map(_sheet_bytes, (results, about))))
    file = io.BytesIO()
    with pd.ExcelWriter(file, engine="openpyxl") as book:
        results.to_excel(book, sheet_name="results", index=False)
        about.to_excel(book, sheet_name="about", header=False)
        for cell in (cell for sheet in book.sheets.values() for row in sheet for cell in row):
            cell.data_type = "s" if cell.data_type == "f" else cell.data_type  # words, no formula
    return file.getvalue()


def _sheet_bytes(table: pd.DataFrame) -> int:
    """What a sheet takes at most before it is packed [byte]."""
    cells = (1 + table.shape[0]) * (1 + table.shape[1])
    letters = len(table.to_csv().encode())
    return _SHEET_BYTES + _CELL_BYTES * cells + _LETTER_BYTES * letters


def _check_temporary(size: int) -> None:
    """Try whether temporary files may have so many bytes, as the library of .xlsx writes them."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(bytes(size))
            file.flush()
    except OSError as error:
        place = f" {tempfile.tempdir}" if tempfile.tempdir else ""  # there may be none at all
        raise ScenarioError(
            f".xlsx needs {size:,} bytes in the folder of temporary files{place} "
            f"({error.strerror}); set TMPDIR to another one, or {remedy_of(error)}."
        ) from None


def _in_xml(cell: Any) -> Any:
    """A cell in whose words each character that XML, and so .xlsx, cannot hold is escaped."""
    if not isinstance(cell, str):
        return cell
    odd = r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
    return re.sub(odd, lambda one: ascii(one[0])[1:-1], cell)


def _parquet(frame: pd.DataFrame) -> bytes:
    plain = frame.reset_index()
    plain.attrs = frame.attrs
    return bytes(plain.to_parquet(engine="pyarrow", index=False))


WRITERS: dict[str, Callable[[Any], bytes]] = {
    ".tex": _tex,
    ".csv": _csv,
    ".xlsx": _xlsx,
    ".parquet": _parquet,
}
"""What writes a table, by ending."""
_MODULES = {
    ".tex": ("pandas", "jinja2"),
    ".csv": ("pandas",),
    ".xlsx": ("pandas", "openpyxl"),
    ".parquet": ("pandas", "pyarrow"),
}


def _digits(value: float) -> str:
    return "–" if value != value else f"{float(f'{value:.4g}'):,.10g}"
