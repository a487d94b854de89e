"""Files appear whole or not at all: what cannot be written leaves what was there, and no more."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from card.base.whole_files import check_writable, write_whole


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_text_is_utf8_and_replaces_what_was_there(tmp_path):
    file = tmp_path / "a.txt"
    write_whole(file, "α → β")
    write_whole(file, "≥ \udce9")
    assert file.read_bytes() == "≥ \\udce9".encode()
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, little_room):
    (tmp_path / "old.json").write_text("old")
    for name in ("old.json", "new.json"):
        with pytest.raises(OSError, match="File too large"):
            write_whole(tmp_path / name, "x" * 5000)
    assert names(tmp_path) == ["old.json"]
    assert (tmp_path / "old.json").read_text() == "old"


def test_a_new_file_has_the_mode_asked_for_and_an_old_one_keeps_its_own(tmp_path):
    write_whole(tmp_path / "secret", b"s", mode=0o600)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    (tmp_path / "old").touch(mode=0o640)
    (tmp_path / "old").chmod(0o640)
    write_whole(tmp_path / "old", b"s")
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "kept").write_text("old")
    (tmp_path / "link").symlink_to("kept")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "kept").read_text() == "new"


def test_a_device_stays_a_device(tmp_path):
    write_whole("/dev/null", "gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(OSError, match="No space left"):
        write_whole("/dev/full", "x")
    code = "from card.base.whole_files import write_whole; write_whole('/dev/stdout', 'piped')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).stdout == b"piped"


@pytest.mark.parametrize("name", ["", "nowhere/a", "file/a", "a" * 300])
def test_a_place_that_cannot_be_is_refused_before_anything_is_written(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"folder|long"):
        check_writable(tmp_path / name)
    assert names(tmp_path) == ["file"]


def test_a_place_that_can_be_is_not_touched(tmp_path):
    check_writable(tmp_path / "a")
    assert names(tmp_path) == []
