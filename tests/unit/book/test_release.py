"""`card.book.release`: one folder with all that a release publishes, the same bytes each time."""

import hashlib
import os
import re
import subprocess
from pathlib import Path
from zipfile import ZipFile

import pytest

from card.book.place import BookError, Place
from card.book.release import SUMS, gather

ROOT = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path):
    place = Place.of(tmp_path, "nominal")
    (place.html / "notebooks").mkdir(parents=True)
    (place.html / "index.html").write_text("first page")
    (place.html / "notebooks/01.html").write_text("chapter")
    place.pdf.write_bytes(b"print")
    place.report.write_bytes(b"report")
    return place


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "dist"
    folder.mkdir()
    for name in ("card_split_learning-0.1.0-py3-none-any.whl", "card_split_learning-0.1.0.tar.gz"):
        (folder / name).write_bytes(name.encode())
    return folder


def test_all_parts_are_there_with_their_digests(place, folder):
    files = gather(place, folder)
    endings = [re.sub(r".*0\.1\.0", "", file.name) for file in files]
    assert endings == [
        "-book.pdf",
        "-book.zip",
        "-report.pdf",
        "-py3-none-any.whl",
        ".tar.gz",
        SUMS,
    ]
    lines = (folder / SUMS).read_text().splitlines()
    assert lines == [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in files[:-1]
    ]


def test_the_archive_is_one_folder_with_the_whole_book_and_what_it_links_to(place, folder):
    gather(place, folder)
    (packed,) = folder.glob("*.zip")
    with ZipFile(packed) as archive:
        read = {name: archive.read(name) for name in archive.namelist()}
    assert read == {
        f"{packed.stem}/html/index.html": b"first page",
        f"{packed.stem}/html/notebooks/01.html": b"chapter",
        f"{packed.stem}/card.pdf": b"print",
        f"{packed.stem}/report.pdf": b"report",
    }


def test_equal_files_give_equal_bytes_whenever_they_were_written(place, folder):
    before = [file.read_bytes() for file in gather(place, folder)]
    for path in place.html.rglob("*.html"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o600)
    assert [file.read_bytes() for file in gather(place, folder)] == before


def test_digests_are_those_of_now(place, folder):
    gather(place, folder)
    place.report.write_bytes(b"another report")
    gather(place, folder)
    assert hashlib.sha256(b"another report").hexdigest() in (folder / SUMS).read_text()


@pytest.mark.parametrize("part", ["index.html", "card.pdf", "report.pdf", ".whl", ".tar.gz"])
def test_a_part_that_was_not_built_is_named(place, folder, part):
    for path in (*place.build.rglob("*"), *folder.iterdir()):
        if path.name.endswith(part):
            path.unlink()
    with pytest.raises(BookError, match=re.escape(part)):
        gather(place, folder)


def test_make_builds_every_part_before_it_gathers():
    done = subprocess.run(
        ["make", "--dry-run", "release", "TAG=v9"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    steps = ("rm -rf dist", '"v9" = ', "hatchling build", "card book nominal", "card pdf nominal",
             "card report", "card.book.release")  # fmt: skip
    places = [done.stdout.index(step) for step in steps]
    assert places == sorted(places)
