"""An environment with the package and what it cannot do without, and none of its extras."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

import card


def core_only(folder: Path) -> Path:
    """Interpreter of a new environment, made of links to what this one has."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in needed("card") - {"card"}:
        found = metadata.distribution(name)
        tops = {Path(str(file)).parts[0] for file in found.files or ()} - {"..", "__pycache__"}
        for top in tops:
            (site / top).symlink_to(found.locate_file(top))
    (site / "card.pth").write_text(f"{Path(card.__file__).parents[1]}\n")
    (info,) = metadata.distribution("card").locate_file("").glob("card-*.dist-info")
    (site / info.name).symlink_to(info)
    return folder / "bin" / "python"


def needed(name: str) -> set[str]:
    """Names of a distribution and of all that it needs without extras."""
    found, waiting = set(), [name]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        wanted = map(Requirement, metadata.requires(name) or ())
        waiting += [
            item.name for item in wanted if not item.marker or item.marker.evaluate({"extra": ""})
        ]
    return found
