"""Environments with the package, what it cannot do without, and some of its extras."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

import card
from card.base import DISTRIBUTION


def build(kind, source, folder):
    """The wheel or the source archive of a tree."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


def environment(folder: Path, *extras: str, wheel: Path | None = None) -> Path:
    """Interpreter of a new environment, made of links to what this one has.

    The package is that of a wheel, or else that of the checkout.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in needed(DISTRIBUTION, extras) - {DISTRIBUTION}:
        found = metadata.distribution(name)
        tops = {Path(str(file)).parts[0] for file in found.files or ()} - {"..", "__pycache__"}
        for top in tops:
            link = site / top
            if not link.is_symlink():  # distributions may share a folder
                link.symlink_to(found.locate_file(top))
    if wheel:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        subprocess.run([*pip, "--target", site, wheel], check=True)
        return folder / "bin" / "python"
    (site / "card.pth").write_text(f"{Path(card.__file__).parents[1]}\n")
    found = metadata.distribution(DISTRIBUTION)
    (info,) = found.locate_file("").glob(f"{DISTRIBUTION.replace('-', '_')}-*.dist-info")
    (site / info.name).symlink_to(info)
    return folder / "bin" / "python"


def needed(name: str, extras: tuple[str, ...] = ()) -> set[str]:
    """Names of a distribution and of all that it needs, with some of its extras."""
    found, waiting = set(), [(name, tuple(extras))]
    while waiting:
        one, asked = waiting.pop()
        one = re.sub(r"[-_.]+", "-", one).lower()
        if (one, asked) in found:
            continue
        found.add((one, asked))
        for item in map(Requirement, metadata.requires(one) or ()):
            wanted = [{"extra": extra} for extra in ("", *asked)]
            if not item.marker or any(map(item.marker.evaluate, wanted)):
                waiting.append((item.name, tuple(sorted(item.extras))))
    return {one for one, _ in found}
