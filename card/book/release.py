"""Gathers what a release publishes: beside the package the book, its print, the report, digests.

`python -m card.book.release` does so in `dist`, once all of it is built; `make release` builds it.
"""

from __future__ import annotations

import hashlib
import shutil
from importlib import metadata
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from card.base import DISTRIBUTION
from card.book.build import ROOT
from card.book.place import BookError, Place

SUMS = "SHA256SUMS"
"""Name of the file of digests, which `sha256sum --check` reads."""
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16


def gather(place: Place, folder: Path) -> list[Path]:
    """Put a book, its print and the report into a folder, with the digests of all that is there.

    The same files give the same bytes.

    Parameters
    ----------
    place
        Where the book has been built and printed.
    folder
        Folder with the package's wheel and source archive.

    Returns
    -------
    list of Path
        All files to publish, by name; the digests come last.

    Raises
    ------
    BookError
        If one of the parts has not been built.
    """
    parts = (place.html / "index.html", place.pdf, place.report)
    missing = [part for part in parts if not part.is_file()]
    missing += [folder / kind for kind in ("*.whl", "*.tar.gz") if not list(folder.glob(kind))]
    if missing:
        names = ", ".join(map(str, missing))
        raise BookError(f"There is no {names}; make release builds all that is published.")
    stem = f"{DISTRIBUTION}-{metadata.version(DISTRIBUTION)}"
    archive(place, folder / f"{stem}-book.zip")
    shutil.copyfile(place.pdf, folder / f"{stem}-book.pdf")
    shutil.copyfile(place.report, folder / f"{stem}-report.pdf")
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != SUMS)
    lines = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    sums = folder / SUMS
    sums.write_text("".join(lines), encoding="utf-8")
    return [*files, sums]


def archive(place: Place, target: Path) -> None:
    """Pack a book's pages with its print and the report, to which they link, into a zip file.

    Times and owners are left out. All is in one folder that has the file's name.

    Parameters
    ----------
    place
        Where the book has been built and printed.
    target
        File to write.
    """
    pages = (path for path in place.html.rglob("*") if path.is_file())
    paths = sorted((*pages, place.pdf, place.report))
    with ZipFile(target, "w", ZIP_DEFLATED, compresslevel=9) as packed:
        for path in paths:
            entry = ZipInfo(f"{target.stem}/{path.relative_to(place.build).as_posix()}", _FIRST_DAY)
            entry.external_attr = _READABLE
            entry.create_system = 3  # on Windows, too
            entry.compress_type = ZIP_DEFLATED
            packed.writestr(entry, path.read_bytes(), compresslevel=9)


if __name__ == "__main__":
    for file in gather(Place.of(ROOT, "nominal"), ROOT / "dist"):
        print(file)
