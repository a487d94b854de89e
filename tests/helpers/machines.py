"""Measured profiles in files, which differ in how fast they say that a machine is."""

import json
from pathlib import Path

from card.base.data_files import DATA

_RECORDED = json.loads((DATA / "profiles/cpu-epyc-2-cores.json").read_text("utf-8"))

NO_POWER = {"title": "a board", "cores": 2048, "clock_hz": 1e9, "memory_gb": 8}
"""Hardware of which nothing says what power it draws."""


def machine(path: Path, slower: float = 1.0) -> Path:
    """File of the shipped profile, with a block that takes some times as long."""
    path.parent.mkdir(exist_ok=True)
    parts = json.loads(json.dumps(_RECORDED["parts"]))
    parts["block"]["forward"]["median_s"] *= slower
    path.write_text(json.dumps({**_RECORDED, "parts": parts}), "utf-8")
    return path


def study(folder: Path, slower: float = 1.0, text: str = "") -> Path:
    """Study in a folder of its own, with the profile of its first device beside it."""
    machine(folder / "mine.json", slower)
    path = folder / "study.yml"
    device = "devices: {device-1: {hardware: mine.json, utilisation: 1.0}}"
    path.write_text(f"base: nominal\ntitle: t\n{text or device}\n", "utf-8")
    return path
