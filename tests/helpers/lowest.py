"""Constraints that install the lowest version of everything that `pyproject.toml` allows.

`python tests/helpers/lowest.py` writes them to `tests/lowest.txt`.
"""

import tomllib
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tests" / "lowest.txt"


def lowest(project):
    """Lines of a constraints file: each requirement of a project at its lowest version."""
    listed = chain(project["dependencies"], *project["optional-dependencies"].values())
    found = {}
    for item in map(Requirement, listed):
        (bound,) = (one.version for one in item.specifier if one.operator in {">=", "=="})
        found[item.name] = f"{item.name}=={bound}"
    return [found[name] for name in sorted(found, key=str.lower)]


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    FILE.write_text("\n".join(lowest(project)) + "\n")
