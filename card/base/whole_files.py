"""Files that appear whole or not at all, in UTF-8 whatever the locale."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from pathlib import Path

_SEPARATORS = (os.sep, os.altsep or os.sep)
_REMEDIES = {
    errno.ENOENT: "make its folder",
    errno.ENOTDIR: "remove the file that stands where its folder should",
    errno.EEXIST: "remove what is there",
    errno.EISDIR: "one in it",
    errno.ELOOP: "remove the link, which leads back to itself",
    errno.ENAMETOOLONG: "shorten the name",
    errno.EACCES: "let this user write there",
    errno.EPERM: "let this user write there",
    errno.EROFS: "let the disk be written to",
}


def write_whole(path: Path | str, content: str | bytes, mode: int = 0o666) -> None:
    """Write a file under another name beside its own, and give it its own once it is whole.

    Parameters
    ----------
    path
        The file. What a link leads to is replaced, not the link; a device or a pipe, such as
        `/dev/stdout`, is written to as it is.
    content
        What it shall hold; text as UTF-8, and what that lacks as an escape.
    mode
        Who may read and write a new file, less what the process's mask takes away.

    Raises
    ------
    OSError
        If it cannot be written; what was there before stays, and nothing else is left behind.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    check_writable(path)
    path = Path(path)
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    target = path.resolve()
    fresh = target.with_name(f".card-{secrets.token_hex(8)}")
    try:
        # created with its mode: a secret is at no time open to others
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, fresh)
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def remedy_of(error: Exception) -> str:
    """What helps where a file could not be written, but for naming another one."""
    return _REMEDIES.get(getattr(error, "errno", None) or 0, "make room for it")


def check_writable(path: Path | str) -> None:
    """Try whether a file could be written, without writing it.

    Raises
    ------
    OSError
        If it is a folder, its folder is missing, or this user may not write there.
    """
    folder_named = str(path).endswith(_SEPARATORS)  # which a Path forgets
    path = Path(path)
    if path.is_dir() or folder_named:
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    try:
        path.stat()  # which also refuses a link that leads back to itself
    except (FileNotFoundError, NotADirectoryError):
        pass
    else:
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "this user may not change it", str(path))
        return
    folder = path.resolve().parent
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no folder for it", str(path))
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, "this user may not write in its folder", str(path))
